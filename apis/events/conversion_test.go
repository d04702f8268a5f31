package events

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestViews(t *testing.T) {
	at := metav1.NewMicroTime(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
	core := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, InvolvedObject: corev1.ObjectReference{Name: "web"}, Reason: "Pulled", Message: "m",
		Source: corev1.EventSource{Component: "kubelet"}, FirstTimestamp: metav1.Time(at), LastTimestamp: metav1.Time(at), Count: 2, Type: "Normal",
		EventTime: at, Series: &corev1.EventSeries{Count: 3, LastObservedTime: at}, Action: "a", Related: &corev1.ObjectReference{Name: "r"},
		ReportingController: "c", ReportingInstance: "i",
	}
	want := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e"}, Regarding: corev1.ObjectReference{Name: "web"}, Reason: "Pulled", Note: "m",
		DeprecatedSource: corev1.EventSource{Component: "kubelet"}, DeprecatedFirstTimestamp: metav1.Time(at), DeprecatedLastTimestamp: metav1.Time(at),
		DeprecatedCount: 2, Type: "Normal", EventTime: at, Series: &eventsv1.EventSeries{Count: 3, LastObservedTime: at}, Action: "a",
		Related: &corev1.ObjectReference{Name: "r"}, ReportingController: "c", ReportingInstance: "i",
	}
	var got eventsv1.Event
	fromCore(core, &got)
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("from core (-want +got):\n%s", diff)
	}
	var back corev1.Event
	toCore(&got, &back)
	if diff := cmp.Diff(core, &back); diff != "" {
		t.Errorf("back (-want +got):\n%s", diff)
	}
}
