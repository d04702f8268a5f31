package service

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func svc(namespace, name string, selector map[string]string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{Selector: selector}}
}

func pod(app string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: app, Labels: map[string]string{"app": app}}}
	for _, f := range change {
		f(p)
	}
	return p
}

func TestPodHandler(t *testing.T) {
	web, db := map[string]string{"app": "web"}, map[string]string{"app": "db"}
	c := fake.NewClientBuilder().WithObjects(svc("ns", "web", web), svc("ns", "also-web", web), svc("ns", "db", db),
		svc("ns", "by-hand", nil), svc("other", "elsewhere", web)).Build()
	h := PodHandler{Reader: c}
	update := func(was, is *corev1.Pod) func(queue) {
		return func(q queue) {
			h.Update(context.Background(), event.UpdateEvent{ObjectOld: was, ObjectNew: is}, q)
		}
	}
	ready := func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	for _, tc := range []struct {
		name  string
		event func(queue)
		want  []string
	}{
		{"created", func(q queue) { h.Create(t.Context(), event.CreateEvent{Object: pod("web")}, q) }, []string{"also-web", "web"}},
		{"deleted", func(q queue) { h.Delete(t.Context(), event.DeleteEvent{Object: pod("db")}, q) }, []string{"db"}},
		{"becomes ready", update(pod("db"), pod("db", ready)), []string{"db"}},
		{"gets an address", update(pod("db"), pod("db", func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.1" })), []string{"db"}},
		{"fails", update(pod("db"), pod("db", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })), []string{"db"}},
		{"changes in nothing that shows", update(pod("db"), pod("db", func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} })), nil},
		{"changes sides", update(pod("db"), pod("web")), []string{"also-web", "db", "web"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			tc.event(q)
			var got []string
			for q.Len() > 0 {
				r, _ := q.Get()
				got = append(got, r.Name)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("services (-want +got):\n%s", diff)
			}
		})
	}
}
