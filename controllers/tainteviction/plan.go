package tainteviction

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// noExecute are the taints of a node that evict.
func noExecute(n *corev1.Node) (out []corev1.Taint) {
	for _, t := range n.Spec.Taints {
		if t.Effect == corev1.TaintEffectNoExecute {
			out = append(out, t)
		}
	}
	return out
}

// deadline is when a pod must leave because of these taints, if ever. seen is
// the start of the time for taints that do not tell when they were added.
func deadline(taints []corev1.Taint, tolerations []corev1.Toleration, seen time.Time) (due time.Time, ever bool) {
	for i := range taints {
		start := seen
		if taints[i].TimeAdded != nil {
			start = taints[i].TimeAdded.Time
		}
		patience, forever := tolerated(&taints[i], tolerations)
		if forever {
			continue
		}
		if d := start.Add(patience); !ever || d.Before(due) {
			due, ever = d, true
		}
	}
	return due, ever
}

// tolerated is for how long a taint is tolerated: the shortest time of the
// tolerations for it, or not at all.
func tolerated(t *corev1.Taint, tolerations []corev1.Toleration) (patience time.Duration, forever bool) {
	found := false
	for i := range tolerations {
		if !tolerations[i].ToleratesTaint(klog.Logger{}, t, false) {
			continue
		}
		seconds := tolerations[i].TolerationSeconds
		if seconds == nil {
			if !found {
				forever = true
			}
			found = true
			continue
		}
		d := time.Duration(max(*seconds, 0)) * time.Second
		if !found || forever || d < patience {
			patience, forever = d, false
		}
		found = true
	}
	return patience, forever
}
