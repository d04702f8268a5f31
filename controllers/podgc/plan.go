package podgc

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// surplus are the finished pods that are more than are kept: evicted ones
// first, then the oldest.
func surplus(pods []corev1.Pod, keep int) []*corev1.Pod {
	var done []*corev1.Pod
	for i := range pods {
		if finished(&pods[i]) {
			done = append(done, &pods[i])
		}
	}
	if len(done) <= keep {
		return nil
	}
	slices.SortFunc(done, func(a, b *corev1.Pod) int {
		if evictedA, evictedB := a.Status.Reason == "Evicted", b.Status.Reason == "Evicted"; evictedA != evictedB {
			if evictedA {
				return -1
			}
			return 1
		}
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return slices.Compare([]string{a.Namespace, a.Name}, []string{b.Namespace, b.Name})
	})
	return done[:len(done)-keep]
}
