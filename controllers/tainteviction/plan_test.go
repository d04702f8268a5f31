package tainteviction

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDeadline(t *testing.T) {
	seen := time.Unix(100, 0)
	added := metav1.NewTime(time.Unix(50, 0))
	taint := corev1.Taint{Key: "k", Effect: corev1.TaintEffectNoExecute}
	old := corev1.Taint{Key: "old", Effect: corev1.TaintEffectNoExecute, TimeAdded: &added}
	tolerate := func(key string, seconds ...int64) corev1.Toleration {
		out := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists}
		if len(seconds) > 0 {
			out.TolerationSeconds = &seconds[0]
		}
		return out
	}
	for _, tc := range []struct {
		name        string
		taints      []corev1.Taint
		tolerations []corev1.Toleration
		want        int64 // -1 is never
	}{
		{"not tolerated", []corev1.Taint{taint}, nil, 100},
		{"tolerated", []corev1.Taint{taint}, []corev1.Toleration{tolerate("k")}, -1},
		{"for a while", []corev1.Taint{taint}, []corev1.Toleration{tolerate("k", 30)}, 130},
		{"the shortest counts", []corev1.Taint{taint}, []corev1.Toleration{tolerate("k"), tolerate("k", 30), tolerate("", 60)}, 130},
		{"less than nothing", []corev1.Taint{taint}, []corev1.Toleration{tolerate("k", -5)}, 100},
		{"since the taint was added", []corev1.Taint{old}, []corev1.Toleration{tolerate("", 300)}, 350},
		{"the first of two", []corev1.Taint{taint, old}, []corev1.Toleration{tolerate("k", 30), tolerate("old", 90)}, 130},
		{"one of two", []corev1.Taint{taint, old}, []corev1.Toleration{tolerate("k")}, 50},
	} {
		t.Run(tc.name, func(t *testing.T) {
			due, ever := deadline(tc.taints, tc.tolerations, seen)
			got := int64(-1)
			if ever {
				got = due.Unix()
			}
			if got != tc.want {
				t.Errorf("due at %d, want %d", got, tc.want)
			}
		})
	}
}
