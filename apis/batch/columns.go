package batch

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

var jobColumns = slices.Concat([]resource.Column[*batchv1.Job]{
	resource.Name[*batchv1.Job](),
	resource.Text("Status", func(j *batchv1.Job) any { return jobStatus(j) }),
	resource.Text("Completions", func(j *batchv1.Job) any { return completions(j) }),
	resource.Text("Duration", func(j *batchv1.Job) any { return jobDuration(j) }),
	resource.Age[*batchv1.Job](),
}, pod.ContainerColumns(func(j *batchv1.Job) *corev1.PodSpec { return &j.Spec.Template.Spec }),
	[]resource.Column[*batchv1.Job]{
		resource.Text("Selector", func(j *batchv1.Job) any { return resource.SelectorText(j.Spec.Selector) }).Wide(),
	})

func jobStatus(j *batchv1.Job) string {
	has := func(kind batchv1.JobConditionType) bool {
		return slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
			return c.Type == kind && c.Status == corev1.ConditionTrue
		})
	}
	switch {
	case has(batchv1.JobComplete):
		return "Complete"
	case has(batchv1.JobFailed):
		return "Failed"
	case j.DeletionTimestamp != nil:
		return "Terminating"
	case has(batchv1.JobSuspended):
		return "Suspended"
	case has(batchv1.JobFailureTarget):
		return "FailureTarget"
	case has(batchv1.JobSuccessCriteriaMet):
		return "SuccessCriteriaMet"
	}
	return "Running"
}

func completions(j *batchv1.Job) string {
	switch {
	case j.Spec.Completions != nil:
		return fmt.Sprintf("%d/%d", j.Status.Succeeded, *j.Spec.Completions)
	case resource.Deref(j.Spec.Parallelism) > 1:
		return fmt.Sprintf("%d/1 of %d", j.Status.Succeeded, *j.Spec.Parallelism)
	}
	return fmt.Sprintf("%d/1", j.Status.Succeeded)
}

func jobDuration(j *batchv1.Job) any {
	start, end := j.Status.StartTime, j.Status.CompletionTime
	switch {
	case start == nil:
		return ""
	case end == nil:
		return *start // goes on
	}
	return duration.HumanDuration(end.Sub(start.Time))
}

var cronJobColumns = slices.Concat([]resource.Column[*batchv1.CronJob]{
	resource.Name[*batchv1.CronJob](),
	resource.Text("Schedule", func(c *batchv1.CronJob) any { return c.Spec.Schedule }),
	resource.Text("Timezone", func(c *batchv1.CronJob) any { return resource.OrNone(resource.Deref(c.Spec.TimeZone)) }),
	{Name: "Suspend", Type: "boolean", Value: func(c *batchv1.CronJob) any {
		if c.Spec.Suspend == nil {
			return resource.Unset
		}
		if *c.Spec.Suspend {
			return "True"
		}
		return "False"
	}},
	resource.Number("Active", func(c *batchv1.CronJob) int { return len(c.Status.Active) }),
	resource.Text("Last Schedule", func(c *batchv1.CronJob) any {
		if c.Status.LastScheduleTime == nil {
			return resource.None
		}
		return *c.Status.LastScheduleTime
	}),
	resource.Age[*batchv1.CronJob](),
}, pod.ContainerColumns(func(c *batchv1.CronJob) *corev1.PodSpec { return &c.Spec.JobTemplate.Spec.Template.Spec }),
	[]resource.Column[*batchv1.CronJob]{
		resource.Text("Selector", func(c *batchv1.CronJob) any { return resource.SelectorText(c.Spec.JobTemplate.Spec.Selector) }).Wide(),
	})
