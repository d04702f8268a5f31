package podgc

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSurplus(t *testing.T) {
	pod := func(name string, age int64, phase corev1.PodPhase, reason string) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1000-age, 0))},
			Status:     corev1.PodStatus{Phase: phase, Reason: reason},
		}
	}
	pods := []corev1.Pod{
		pod("young", 1, corev1.PodSucceeded, ""), pod("old", 9, corev1.PodFailed, ""), pod("runs", 99, corev1.PodRunning, ""),
		pod("evicted", 2, corev1.PodFailed, "Evicted"), pod("middle", 5, corev1.PodSucceeded, ""),
	}
	for keep, want := range map[int][]string{4: nil, 3: {"evicted"}, 2: {"evicted", "old"}, 0: {"evicted", "old", "middle", "young"}} {
		var got []string
		for _, p := range surplus(pods, keep) {
			got = append(got, p.Name)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("keeping %d (-want +got):\n%s", keep, d)
		}
	}
}
