package job

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// verdict is what a job's failure policy says of a failed pod.
type verdict struct {
	action batchv1.PodFailurePolicyAction
	// message tells why the job fails, if it does.
	message string
}

// judge applies the failure policy; without one, or a rule that matches, a
// failed pod counts.
func judge(j *batchv1.Job, p *corev1.Pod) verdict {
	if j.Spec.PodFailurePolicy == nil {
		return verdict{action: batchv1.PodFailurePolicyActionCount}
	}
	for i := range j.Spec.PodFailurePolicy.Rules {
		rule := &j.Spec.PodFailurePolicy.Rules[i]
		var why string
		switch {
		case rule.OnExitCodes != nil:
			why = matchExitCodes(p, rule.OnExitCodes)
		default:
			why = matchConditions(p, rule.OnPodConditions)
		}
		if why == "" || (rule.Action == batchv1.PodFailurePolicyActionFailIndex && j.Spec.BackoffLimitPerIndex == nil) {
			continue
		}
		return verdict{rule.Action, fmt.Sprintf("%s matching %s rule at index %d", why, rule.Action, i)}
	}
	return verdict{action: batchv1.PodFailurePolicyActionCount}
}

func matchExitCodes(p *corev1.Pod, rule *batchv1.PodFailurePolicyOnExitCodesRequirement) string {
	for _, s := range append(slices.Clone(p.Status.ContainerStatuses), p.Status.InitContainerStatuses...) {
		if s.State.Terminated == nil || s.State.Terminated.ExitCode == 0 || (rule.ContainerName != nil && *rule.ContainerName != s.Name) {
			continue
		}
		code := s.State.Terminated.ExitCode
		if slices.Contains(rule.Values, code) == (rule.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn) {
			return fmt.Sprintf("Container %s for pod %s/%s failed with exit code %d", s.Name, p.Namespace, p.Name, code)
		}
	}
	return ""
}

func matchConditions(p *corev1.Pod, patterns []batchv1.PodFailurePolicyOnPodConditionsPattern) string {
	for _, c := range p.Status.Conditions {
		for _, pattern := range patterns {
			want := pattern.Status
			if want == "" {
				want = corev1.ConditionTrue
			}
			if pattern.Type == c.Type && want == c.Status {
				return fmt.Sprintf("Pod %s/%s has condition %s", p.Namespace, p.Name, c.Type)
			}
		}
	}
	return ""
}

// successRule tells which rule of the success policy the completed indexes
// meet; it is negative if none.
func successRule(j *batchv1.Job, succeeded indexSet) int {
	if j.Spec.SuccessPolicy == nil {
		return -1
	}
	return slices.IndexFunc(j.Spec.SuccessPolicy.Rules, func(rule batchv1.SuccessPolicyRule) bool {
		of := succeeded
		want := 0
		if rule.SucceededIndexes != nil {
			wanted := parseIndexes(*rule.SucceededIndexes, completions(j))
			of, want = indexSet{}, len(wanted)
			for i := range wanted {
				if succeeded[i] {
					of[i] = true
				}
			}
		}
		if rule.SucceededCount != nil {
			want = int(*rule.SucceededCount)
		}
		return len(of) >= want
	})
}
