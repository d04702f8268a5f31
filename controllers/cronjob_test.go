package controllers_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func cronJob(name string, policy batchv1.ConcurrencyPolicy) *batchv1.CronJob {
	// Due in the minute in which the test began, and not in the next.
	schedule := fmt.Sprintf("%d * * * *", time.Now().UTC().Minute())
	t := template("app", name)
	t.Spec.RestartPolicy = corev1.RestartPolicyNever
	return &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: name},
		Spec: batchv1.CronJobSpec{
			Schedule: schedule, TimeZone: new("Etc/UTC"), ConcurrencyPolicy: policy, Suspend: new(true),
			JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: t}},
		},
	}
}

// begin lets a suspended cron job run which is overdue since a while.
func (e *env) begin(cj *batchv1.CronJob) {
	e.t.Helper()
	cj.Status.LastScheduleTime = &metav1.Time{Time: time.Now().Add(-5 * time.Minute)}
	if err := e.Status().Update(e.t.Context(), cj); err != nil {
		e.t.Fatalf("writing the status: %v", err)
	}
	e.patch(cj, `{"spec":{"suspend":false}}`)
}

// earlier makes a job that the cron job started by schedule three minutes ago.
func (e *env) earlier(cj *batchv1.CronJob) *batchv1.Job {
	e.t.Helper()
	at := time.Now().Add(-3 * time.Minute).Truncate(time.Minute)
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: e.ns, Name: fmt.Sprintf("%s-%d", cj.Name, at.Unix()/60),
			Annotations:     map[string]string{batchv1.CronJobScheduledTimestampAnnotation: at.Format(time.RFC3339)},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cj, batchv1.SchemeGroupVersion.WithKind("CronJob"))},
		},
		Spec: *cj.Spec.JobTemplate.Spec.DeepCopy(),
	}
	e.create(j)
	return j
}

// jobsOf lists the jobs of a cron job.
func (e *env) jobsOf(cj *batchv1.CronJob) []batchv1.Job {
	e.t.Helper()
	var list batchv1.JobList
	if err := e.List(e.t.Context(), &list, client.InNamespace(e.ns)); err != nil {
		e.t.Fatalf("listing jobs: %v", err)
	}
	var mine []batchv1.Job
	for _, j := range list.Items {
		if metav1.IsControlledBy(&j, cj) {
			mine = append(mine, j)
		}
	}
	return mine
}

// waitActive waits until n jobs are active, and there are as many in all.
func (e *env) waitActive(cj *batchv1.CronJob, n, all int) {
	e.t.Helper()
	e.eventually(fmt.Sprintf("cron job %s has %d active jobs", cj.Name, n), func() error {
		e.get(cj.Name, cj)
		return errors.Join(expect("active jobs", len(cj.Status.Active), n), expect("jobs", len(e.jobsOf(cj)), all))
	}, &batchv1.CronJobList{}, &batchv1.JobList{})
}

func TestCronJob(t *testing.T) {
	e := start(t, "cronjob-controller", "job-controller", "garbage-collector-controller")
	e.kubelet()
	t.Run("starts a job, follows it, and cleans up", func(t *testing.T) {
		cj := cronJob("works", batchv1.AllowConcurrent)
		cj.Spec.JobTemplate.Spec.Template.Labels["end"] = string(corev1.PodSucceeded)
		cj.Spec.SuccessfulJobsHistoryLimit = new(int32(0))
		e.create(cj)
		e.begin(cj)
		e.eventually("a job succeeded, and is gone", func() error {
			e.get(cj.Name, cj)
			if cj.Status.LastSuccessfulTime == nil || time.Since(cj.Status.LastScheduleTime.Time) > 2*time.Minute {
				return fmt.Errorf("status is %+v", cj.Status)
			}
			return errors.Join(expect("active", len(cj.Status.Active), 0), expect("jobs", len(e.jobsOf(cj)), 0))
		}, &batchv1.CronJobList{}, &batchv1.JobList{})
	})
	t.Run("starts none while suspended", func(t *testing.T) {
		cj := cronJob("suspended", batchv1.AllowConcurrent)
		e.create(cj)
		// That the controller is past it shows in what it does for a later one.
		next := cronJob("next", batchv1.AllowConcurrent)
		e.create(next)
		e.begin(next)
		e.waitActive(next, 1, 1)
		if n := len(e.jobsOf(cj)); n != 0 {
			t.Errorf("%d jobs", n)
		}
	})
	for policy, want := range map[batchv1.ConcurrencyPolicy][2]int{
		batchv1.AllowConcurrent: {2, 2}, batchv1.ReplaceConcurrent: {1, 1}, batchv1.ForbidConcurrent: {1, 1},
	} {
		t.Run(string(policy), func(t *testing.T) {
			cj := cronJob("c"+map[batchv1.ConcurrencyPolicy]string{"Allow": "a", "Replace": "r", "Forbid": "f"}[policy], policy)
			e.create(cj)
			j := e.earlier(cj)
			e.waitActive(cj, 1, 1)
			e.begin(cj)
			if policy == batchv1.ForbidConcurrent {
				e.eventually("an event tells why none is started", func() error { return e.told(cj.Name, "JobAlreadyActive") }, &corev1.EventList{})
			} else {
				e.eventually("the time is noted", func() error {
					e.get(cj.Name, cj)
					return expect("late", time.Since(cj.Status.LastScheduleTime.Time) > 150*time.Second, false)
				}, &batchv1.CronJobList{})
			}
			e.waitActive(cj, want[0], want[1])
			kept := false
			for _, other := range e.jobsOf(cj) {
				kept = kept || other.UID == j.UID
			}
			if kept == (policy == batchv1.ReplaceConcurrent) {
				t.Errorf("the earlier job is kept: %v", kept)
			}
		})
	}
}

// told tells whether an event of a reason was told of an object.
func (e *env) told(name, reason string) error {
	var list corev1.EventList
	if err := e.List(e.t.Context(), &list, client.InNamespace(e.ns)); err != nil {
		return err
	}
	for _, ev := range list.Items {
		if ev.InvolvedObject.Name == name && ev.Reason == reason {
			return nil
		}
	}
	return fmt.Errorf("no event %s of %s", reason, name)
}
