package pod

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/nodeagent/lifecycle"
)

// isUrgent tells whether others act on what changed, as they do on phases,
// readiness and the ends of containers. What a starting pod goes through on
// its way may wait a moment, and often need not be written at all.
func isUrgent(before, now *corev1.Pod) bool {
	var old corev1.PodStatus
	if before != nil {
		old = before.Status
	}
	if isReady(&old) != isReady(&now.Status) || (old.Phase != now.Status.Phase && now.Status.Phase != corev1.PodPending) {
		return true
	}
	return !slices.Equal(summary(&old), summary(&now.Status))
}

func isReady(s *corev1.PodStatus) bool {
	return slices.ContainsFunc(s.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// summary is what containers do, beside being made.
func summary(s *corev1.PodStatus) []string {
	var out []string
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			c := &list[i]
			switch {
			case c.State.Running != nil:
				out = append(out, c.Name+" runs "+strconv.FormatBool(c.Ready))
			case c.State.Terminated != nil:
				out = append(out, c.Name+" ended "+c.ContainerID)
			case c.State.Waiting != nil && c.State.Waiting.Reason != lifecycle.ReasonCreating && c.State.Waiting.Reason != lifecycle.ReasonInitializing:
				out = append(out, c.Name+" waits "+c.State.Waiting.Reason)
			}
		}
	}
	return out
}
