package job

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/controllers/internal/podcontrol"
	"coracle.dev/coracle/controllers/internal/podstatus"
)

const (
	firstDelay   = 10 * time.Second
	longestDelay = 10 * time.Minute

	indexVariable = "JOB_COMPLETION_INDEX"
)

// creation is a pod to be made.
type creation struct {
	index int
	// failures and ignored are how often the index failed before.
	failures, ignored int32
}

// newPod makes a pod of the job.
func newPod(j *batchv1.Job, c creation) *corev1.Pod {
	p := podcontrol.FromTemplate(&j.Spec.Template, j, kind)
	if !tracked(p) {
		p.Finalizers = append(p.Finalizers, batchv1.JobTrackingFinalizer)
	}
	if c.index == noIndex {
		return p
	}
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	index := strconv.Itoa(c.index)
	p.Annotations[batchv1.JobCompletionIndexAnnotation] = index
	p.Labels[batchv1.JobCompletionIndexAnnotation] = index
	if j.Spec.BackoffLimitPerIndex != nil {
		p.Annotations[batchv1.JobIndexFailureCountAnnotation] = strconv.Itoa(int(c.failures))
		if c.ignored > 0 {
			p.Annotations[batchv1.JobIndexIgnoredFailureCountAnnotation] = strconv.Itoa(int(c.ignored))
		}
	}
	p.GenerateName = podcontrol.Prefix(fmt.Sprintf("%s-%s", j.Name, index))
	p.Spec.Hostname = fmt.Sprintf("%s-%s", j.Name, index)
	for _, containers := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range containers {
			setIndexVariable(&containers[i])
		}
	}
	return p
}

// setIndexVariable gives a container its index, unless it has a variable of
// that name already.
func setIndexVariable(c *corev1.Container) {
	if slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == indexVariable }) {
		return
	}
	c.Env = append(c.Env, corev1.EnvVar{Name: indexVariable, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: fmt.Sprintf("metadata.labels['%s']", batchv1.JobCompletionIndexAnnotation)},
	}})
}

// tracked tells whether the pod is yet to be counted.
func tracked(p *corev1.Pod) bool { return slices.Contains(p.Finalizers, batchv1.JobTrackingFinalizer) }

// failed tells whether the pod counts as failed. A pod that is being deleted
// does at once, unless the job replaces pods only when they have ended.
func failed(j *batchv1.Job, p *corev1.Pod) bool {
	if p.Status.Phase == corev1.PodFailed {
		return true
	}
	return p.DeletionTimestamp != nil && p.Status.Phase != corev1.PodSucceeded && !onlyFailed(j)
}

// onlyFailed tells whether a pod is replaced only when it has ended.
func onlyFailed(j *batchv1.Job) bool {
	return j.Spec.PodReplacementPolicy != nil && *j.Spec.PodReplacementPolicy == batchv1.Failed
}

// restarts sums up the restarts of pods that restart their containers
// themselves.
func restarts(j *batchv1.Job, pods []*corev1.Pod) int32 {
	if j.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyOnFailure {
		return 0
	}
	n := int32(0)
	for _, p := range pods {
		if podstatus.Finished(p) {
			continue
		}
		for _, s := range append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...) {
			n += s.RestartCount
		}
	}
	return n
}

// delay is how long no pod is to be made after the failures of those given:
// twice as long after each failure since the last success.
func delay(j *batchv1.Job, pods []*corev1.Pod, now time.Time) time.Duration {
	var success, last time.Time
	for _, p := range pods {
		if at := ended(p); p.Status.Phase == corev1.PodSucceeded && at.After(success) {
			success = at
		}
	}
	failures := 0
	for _, p := range pods {
		at := ended(p)
		if !failed(j, p) || !at.After(success) {
			continue
		}
		failures++
		if at.After(last) {
			last = at
		}
	}
	if failures == 0 {
		return 0
	}
	wait := firstDelay
	for i := 1; i < failures && wait < longestDelay; i++ {
		wait *= 2
	}
	return max(0, last.Add(min(wait, longestDelay)).Sub(now))
}

// ended is when the pod's last container ended, as far as that is known.
func ended(p *corev1.Pod) time.Time {
	var at time.Time
	for _, s := range append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...) {
		if t := s.State.Terminated; t != nil && t.FinishedAt.After(at) {
			at = t.FinishedAt.Time
		}
	}
	if !at.IsZero() {
		return at
	}
	if c := podstatus.Condition(p, corev1.PodReady); c != nil && c.Status == corev1.ConditionFalse && !c.LastTransitionTime.IsZero() {
		return c.LastTransitionTime.Time
	}
	if p.DeletionTimestamp != nil {
		return p.DeletionTimestamp.Time
	}
	return p.CreationTimestamp.Time
}
