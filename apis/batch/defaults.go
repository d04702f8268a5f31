package batch

import (
	"maps"
	"math"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

func defaultJob(j *batchv1.Job) {
	// A job that says neither runs one pod; one that says only parallelism is a work queue.
	if j.Spec.Completions == nil && j.Spec.Parallelism == nil {
		resource.SetPointer(&j.Spec.Completions, 1)
	}
	resource.SetPointer(&j.Spec.Parallelism, 1)
	if j.Spec.BackoffLimitPerIndex != nil {
		resource.SetPointer(&j.Spec.BackoffLimit, int32(math.MaxInt32))
	}
	resource.SetPointer(&j.Spec.BackoffLimit, 6)
	resource.SetPointer(&j.Spec.CompletionMode, batchv1.NonIndexedCompletion)
	resource.SetPointer(&j.Spec.Suspend, false)
	resource.SetPointer(&j.Spec.ManualSelector, false)
	if j.Spec.PodFailurePolicy != nil {
		resource.SetPointer(&j.Spec.PodReplacementPolicy, batchv1.Failed)
	}
	resource.SetPointer(&j.Spec.PodReplacementPolicy, batchv1.TerminatingOrFailed)
	if labels := j.Spec.Template.Labels; labels != nil && len(j.Labels) == 0 {
		j.Labels = maps.Clone(labels)
	}
	defaultJobTemplate(&j.Spec)
}

// defaultJobTemplate fills what a job gets in a cron job's template already.
func defaultJobTemplate(s *batchv1.JobSpec) {
	if s.PodFailurePolicy != nil {
		for i := range s.PodFailurePolicy.Rules {
			conditions := s.PodFailurePolicy.Rules[i].OnPodConditions
			for j := range conditions {
				resource.SetDefault(&conditions[j].Status, corev1.ConditionTrue)
			}
		}
	}
	pod.DefaultTemplate(&s.Template)
}

func defaultCronJob(c *batchv1.CronJob) {
	resource.SetDefault(&c.Spec.ConcurrencyPolicy, batchv1.AllowConcurrent)
	resource.SetPointer(&c.Spec.Suspend, false)
	resource.SetPointer(&c.Spec.SuccessfulJobsHistoryLimit, 3)
	resource.SetPointer(&c.Spec.FailedJobsHistoryLimit, 1)
	defaultJobTemplate(&c.Spec.JobTemplate.Spec)
}

// The labels that tie pods to their job, and their names from before they had a prefix.
const (
	legacyControllerUID = "controller-uid"
	legacyJobName       = "job-name"
)

// prepareJob gives the job a selector of its own, by its UID, unless its author wants another.
func prepareJob(j *batchv1.Job) {
	if j.Spec.ManualSelector != nil && *j.Spec.ManualSelector {
		return
	}
	if j.Spec.Template.Labels == nil {
		j.Spec.Template.Labels = map[string]string{}
	}
	labels, uid := j.Spec.Template.Labels, string(j.UID)
	resource.SetPointer(&j.Spec.Selector, metav1.LabelSelector{})
	if j.Spec.Selector.MatchLabels == nil {
		j.Spec.Selector.MatchLabels = map[string]string{}
	}
	for key, value := range map[string]string{
		batchv1.ControllerUidLabel: uid, legacyControllerUID: uid, batchv1.JobNameLabel: j.Name, legacyJobName: j.Name,
	} {
		// A value that is there already and differs is an error, which validation reports.
		if _, ok := labels[key]; !ok {
			labels[key] = value
		}
	}
	if _, ok := j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel]; !ok {
		j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel] = uid
	}
}
