package controllers_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func job(name string, parallelism, completions int32, end corev1.PodPhase) *batchv1.Job {
	t := template("end", string(end))
	t.Spec.RestartPolicy = corev1.RestartPolicyNever
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: name},
		Spec:       batchv1.JobSpec{Parallelism: &parallelism, Completions: &completions, Template: t},
	}
}

func (e *env) waitJob(name string, kind batchv1.JobConditionType) *batchv1.Job {
	e.t.Helper()
	j := &batchv1.Job{}
	e.eventually(fmt.Sprintf("job %s is %s", name, kind), func() error {
		e.get(name, j)
		if slices.ContainsFunc(j.Status.Conditions, func(c batchv1.JobCondition) bool {
			return c.Type == kind && c.Status == corev1.ConditionTrue
		}) {
			return nil
		}
		return fmt.Errorf("its status is %+v", j.Status)
	}, &batchv1.JobList{})
	return j
}

// Each pod is counted once, though the controller is killed again and again.
func TestJobCountsEachPodOnce(t *testing.T) {
	e := start(t, "replicaset-controller")
	e.kubelet()
	var mu sync.Mutex
	made := map[types.UID]bool{}
	e.onChange(t.Context(), &corev1.PodList{}, func(ev watch.Event) {
		if p, ok := ev.Object.(*corev1.Pod); ok && ev.Type == watch.Added {
			mu.Lock()
			made[p.UID] = true
			mu.Unlock()
		}
	})
	e.create(job("sum", 8, 60, corev1.PodSucceeded))
	j := &batchv1.Job{}
	for round := range 5 {
		stop := e.run("job-controller")
		e.eventually("some pods are counted", func() error {
			e.get("sum", j)
			if int(j.Status.Succeeded) < 10*(round+1) {
				return fmt.Errorf("%d are counted", j.Status.Succeeded)
			}
			return nil
		}, &batchv1.JobList{})
		stop()
	}
	e.run("job-controller")
	j = e.waitJob("sum", batchv1.JobComplete)
	mu.Lock()
	defer mu.Unlock()
	if err := errors.Join(expect("succeeded", j.Status.Succeeded, int32(60)), expect("failed", j.Status.Failed, int32(0)),
		expect("pods made", len(made), 60)); err != nil {
		t.Error(err)
	}
	for _, p := range e.pods() {
		if len(p.Finalizers) > 0 {
			t.Errorf("pod %s has finalizers %v", p.Name, p.Finalizers)
		}
	}
}

func TestJobIndexed(t *testing.T) {
	e := start(t, "job-controller")
	e.kubelet()
	j := job("parts", 3, 7, corev1.PodSucceeded)
	j.Spec.CompletionMode = new(batchv1.IndexedCompletion)
	e.create(j)
	j = e.waitJob("parts", batchv1.JobComplete)
	if j.Status.CompletedIndexes != "0-6" || j.Status.Succeeded != 7 {
		t.Errorf("completed are %q, %d", j.Status.CompletedIndexes, j.Status.Succeeded)
	}
}

func TestJobFails(t *testing.T) {
	e := start(t, "job-controller")
	e.kubelet()
	j := job("doomed", 2, 2, corev1.PodFailed)
	j.Spec.BackoffLimit = new(int32(0))
	e.create(j)
	j = e.waitJob("doomed", batchv1.JobFailed)
	if j.Status.Failed < 1 || j.Status.Succeeded != 0 || j.Status.Active != 0 {
		t.Errorf("status is %+v", j.Status)
	}
}

// The pods of a job that is deleted are not held back by their finalizer.
func TestJobDeleted(t *testing.T) {
	e := start(t, "job-controller")
	j := job("gone", 3, 3, "")
	j.Spec.Template.Labels = map[string]string{"broken": "yes"}
	e.create(j)
	e.eventually("there are pods", func() error { return expect("pods", len(e.pods()), 3) }, &corev1.PodList{})
	e.delete(j, client.PropagationPolicy(metav1.DeletePropagationBackground))
	e.eventually("the pods have no finalizer", func() error {
		for _, p := range e.pods() {
			if len(p.Finalizers) > 0 {
				return fmt.Errorf("pod %s has %v", p.Name, p.Finalizers)
			}
		}
		return nil
	}, &corev1.PodList{})
}

func TestJobSuspended(t *testing.T) {
	e := start(t, "job-controller")
	j := job("pause", 2, 2, "")
	j.Spec.Template.Labels = map[string]string{"broken": "yes"}
	j.Spec.Suspend = new(true)
	e.create(j)
	e.waitJob("pause", batchv1.JobSuspended)
	if n := len(e.pods()); n != 0 {
		t.Errorf("%d pods of a suspended job", n)
	}
	e.patch(j, `{"spec":{"suspend":false}}`)
	active := func(n int) {
		t.Helper()
		e.eventually(fmt.Sprintf("%d pods are active", n), func() error {
			e.get("pause", j)
			live := 0
			for _, p := range e.pods() {
				if p.DeletionTimestamp == nil {
					live++
				}
			}
			return errors.Join(expect("active", j.Status.Active, int32(n)), expect("pods", live, n))
		}, &batchv1.JobList{}, &corev1.PodList{})
	}
	active(2)
	e.patch(j, `{"spec":{"suspend":true}}`)
	active(0)
	if j.Status.Failed != 0 {
		t.Errorf("%d pods count as failed", j.Status.Failed)
	}
}
