package controllers_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// run is that a pod is left to run.
const run = -1

// endIndexes ends the pods of indexed jobs with the exit code that code gives for
// the job's name and the pod's index.
func (e *env) endIndexes(code func(job string, index int) int32) {
	pods := make(chan *corev1.Pod, 10000) // so that the watch is never kept waiting
	go func() {
		for p := range pods {
			index, err := strconv.Atoi(p.Annotations[batchv1.JobCompletionIndexAnnotation])
			if c := code(p.Labels[batchv1.JobNameLabel], index); err == nil {
				e.end(p, c)
			}
		}
	}()
	e.onChange(e.t.Context(), &corev1.PodList{}, func(ev watch.Event) {
		p, ok := ev.Object.(*corev1.Pod)
		if ok && ev.Type != watch.Deleted && (p.Status.Phase == corev1.PodPending || p.DeletionTimestamp != nil && p.Status.Phase == corev1.PodRunning) {
			pods <- p
		}
	})
}

func (e *env) end(p *corev1.Pod, code int32) {
	st := corev1.PodStatus{Phase: corev1.PodSucceeded}
	switch {
	case p.DeletionTimestamp != nil:
		_ = e.Delete(e.t.Context(), p, client.GracePeriodSeconds(0))
		code = 143
		fallthrough
	case code > 0:
		st.Phase = corev1.PodFailed
	case code == run:
		st.Phase = corev1.PodRunning
	}
	if code != run {
		// Long enough ago that the index need not wait to be tried again.
		longAgo := metav1.NewTime(time.Now().Add(-time.Minute))
		st.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", Image: "image:1", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: longAgo}}}}
	}
	p = p.DeepCopy()
	p.Status = st
	if err := e.Status().Update(e.t.Context(), p); client.IgnoreNotFound(err) != nil && e.t.Context().Err() == nil {
		e.t.Logf("ending pod %s: %v", p.Name, err) // it changed: the next event brings it again
	}
}

func indexedJob(name string, parallelism, completions int32, change func(*batchv1.JobSpec)) *batchv1.Job {
	j := job(name, parallelism, completions, "")
	j.Spec.Template.Labels = map[string]string{"broken": "yes"} // not for the kubelet that knows no exit codes
	j.Spec.CompletionMode = new(batchv1.IndexedCompletion)
	change(&j.Spec)
	return j
}

func odd(_ string, index int) int32 { return int32(index % 2 * 7) }

func exitCodes(action batchv1.PodFailurePolicyAction) *batchv1.PodFailurePolicy {
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{Action: action,
		OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{7}}}}}
}

func TestJobIndexes(t *testing.T) {
	e := start(t, "job-controller")
	e.endIndexes(func(job string, index int) int32 {
		switch job {
		case "some": // of which only the first ends
			return map[bool]int32{true: 0, false: run}[index == 0]
		case "early":
			return map[bool]int32{true: 7, false: run}[index == 0]
		case "all":
			return 0
		}
		return odd(job, index)
	})
	reason := func(j *batchv1.Job, kind batchv1.JobConditionType) string {
		for _, c := range j.Status.Conditions {
			if c.Type == kind {
				return c.Reason
			}
		}
		return ""
	}
	t.Run("each index has failures of its own", func(t *testing.T) {
		e.create(indexedJob("each", 2, 4, func(s *batchv1.JobSpec) {
			s.BackoffLimitPerIndex = new(int32(1))
		}))
		j := e.waitJob("each", batchv1.JobFailed)
		if err := errors.Join(expect("failed indexes", *j.Status.FailedIndexes, "1,3"), expect("completed indexes", j.Status.CompletedIndexes, "0,2"),
			expect("failed", j.Status.Failed, int32(4)), expect("succeeded", j.Status.Succeeded, int32(2)), expect("reason", reason(j, batchv1.JobFailed), "FailedIndexes")); err != nil {
			t.Error(err)
		}
	})
	t.Run("an exit code fails its index at once", func(t *testing.T) {
		e.create(indexedJob("index", 2, 4, func(s *batchv1.JobSpec) {
			s.BackoffLimitPerIndex, s.PodFailurePolicy = new(int32(1)), exitCodes(batchv1.PodFailurePolicyActionFailIndex)
		}))
		j := e.waitJob("index", batchv1.JobFailed)
		if err := errors.Join(expect("failed indexes", *j.Status.FailedIndexes, "1,3"), expect("completed indexes", j.Status.CompletedIndexes, "0,2"), expect("failed", j.Status.Failed, int32(2))); err != nil {
			t.Error(err)
		}
	})
	t.Run("too many failed indexes end the job", func(t *testing.T) {
		e.create(indexedJob("most", 1, 10, func(s *batchv1.JobSpec) {
			s.BackoffLimitPerIndex, s.MaxFailedIndexes = new(int32(0)), new(int32(1))
		}))
		j := e.waitJob("most", batchv1.JobFailed)
		if err := errors.Join(expect("failed indexes", *j.Status.FailedIndexes, "1,3"), expect("reason", reason(j, batchv1.JobFailed), "MaxFailedIndexesExceeded")); err != nil {
			t.Error(err)
		}
	})
	t.Run("an exit code fails the job at once", func(t *testing.T) {
		e.create(indexedJob("early", 2, 2, func(s *batchv1.JobSpec) { s.PodFailurePolicy = exitCodes(batchv1.PodFailurePolicyActionFailJob) }))
		j := e.waitJob("early", batchv1.JobFailed)
		if got := reason(j, batchv1.JobFailed); got != "PodFailurePolicy" {
			t.Errorf("the reason is %s", got)
		}
	})
	succeeds := func(name string, completed string, policy *batchv1.SuccessPolicy) {
		t.Helper()
		e.create(indexedJob(name, 2, 2, func(s *batchv1.JobSpec) { s.SuccessPolicy = policy }))
		j := e.waitJob(name, batchv1.JobComplete)
		if err := errors.Join(expect("completed indexes", j.Status.CompletedIndexes, completed), expect("reason", reason(j, batchv1.JobComplete), "SuccessPolicy"),
			expect("the criterion's reason", reason(j, batchv1.JobSuccessCriteriaMet), "SuccessPolicy"), expect("active", j.Status.Active, int32(0))); err != nil {
			t.Error(fmt.Errorf("%s: %w", name, err))
		}
		e.delete(j, client.PropagationPolicy(metav1.DeletePropagationBackground))
	}
	t.Run("a success policy that all meet", func(t *testing.T) {
		succeeds("all", "0,1", &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededIndexes: new("0-1")}}})
	})
	t.Run("a success policy by count", func(t *testing.T) {
		succeeds("some", "0", &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededCount: new(int32(1))}}})
	})
	t.Run("a success policy by index", func(t *testing.T) {
		succeeds("some", "0", &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededIndexes: new("0")}}})
	})
}
