package lifecycle

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Crash back-off: the first restart is at once, the next after 10 s, then
// twice as long each time up to 5 min; ten quiet minutes forget it all.
const (
	FirstBackoff = 10 * time.Second
	MaxBackoff   = 5 * time.Minute
	backoffReset = 2 * MaxBackoff
)

// Backoff is one container's restart history.
type Backoff struct {
	Delay time.Duration
	At    time.Time
}

// Wait is how long after finished the container must not be restarted.
func (b Backoff) Wait(finished time.Time) time.Duration {
	if b.Delay == 0 || finished.Sub(b.At) > backoffReset {
		return 0
	}
	return b.Delay
}

// Next is the history after a restart at now of a container that ended at
// finished.
func (b Backoff) Next(finished, now time.Time) Backoff {
	if b.Delay == 0 || finished.Sub(b.At) > backoffReset {
		return Backoff{Delay: FirstBackoff, At: now}
	}
	return Backoff{Delay: min(2*b.Delay, MaxBackoff), At: now}
}

func backoffMessage(d time.Duration, pod *corev1.Pod, container string) string {
	return fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", d, container, pod.Name, pod.Namespace, pod.UID)
}

// policy is the container's own restart policy, or the pod's.
func policy(pod *corev1.Pod, c *corev1.Container) corev1.RestartPolicy {
	if c.RestartPolicy != nil {
		return corev1.RestartPolicy(*c.RestartPolicy)
	}
	if pod.Spec.RestartPolicy == "" {
		return corev1.RestartPolicyAlways
	}
	return pod.Spec.RestartPolicy
}

// restarts tells whether a container that ended with this code starts again.
func restarts(pod *corev1.Pod, c *corev1.Container, exitCode int32) bool {
	for _, r := range c.RestartPolicyRules {
		if r.Action == corev1.ContainerRestartRuleActionRestart && ruleMatches(r.ExitCodes, exitCode) {
			return true
		}
	}
	switch policy(pod, c) {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return exitCode != 0
	}
	return true
}

func ruleMatches(r *corev1.ContainerRestartRuleOnExitCodes, code int32) bool {
	if r == nil {
		return false
	}
	in := slices.Contains(r.Values, code)
	return in == (r.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn)
}

// initRestarts is restarts for a regular init container: Always means until
// it succeeds.
func initRestarts(pod *corev1.Pod, c *corev1.Container, exitCode int32) bool {
	return exitCode != 0 && restarts(pod, c, exitCode)
}
