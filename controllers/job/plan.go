package job

import (
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

// burst is the most pods that one pass creates, deletes or counts.
const burst = 500

// observed is what a pass knows of a job that has not finished. Nothing of it
// is changed.
type observed struct {
	job *batchv1.Job
	// pods are the job's, those included that ended.
	pods []*corev1.Pod
	// settled tells that the pods written last are among them.
	settled bool
}

// actions are what a pass does, in this order; what follows a write that fails
// is left for the next pass. The status takes all pods to be created and
// deleted that are to be.
type actions struct {
	create []creation
	// remove are pods to be deleted; those in uncounted lose their finalizer
	// first, as they do not count.
	remove    []*corev1.Pod
	uncounted bool
	status    batchv1.JobStatus
	// untrack are pods that lose their finalizer once the status is written.
	untrack []*corev1.Pod
	events  []notice
	// after is when the job is to be looked at again; zero: on events.
	after time.Duration
}

// notice is an event to be told.
type notice struct{ kind, reason, message string }

// pass is a decision under way.
type pass struct {
	j       *batchv1.Job
	pods    []*corev1.Pod
	active  []*corev1.Pod
	now     time.Time
	indexed bool
	limit   int // of indexes
	// succeeded and failedIndexes are indexes; wins and losses count pods.
	succeeded, failedIndexes indexSet
	wins, losses             int32
	terminating              int32
	out                      actions
}

// plan decides what is to be done for a job that has not finished.
func plan(o observed, now time.Time) actions {
	p := newPass(o, now)
	p.count()
	p.evaluate()
	target := p.target()
	if o.settled {
		switch {
		case target != nil:
			p.removeActive(p.active, false)
		case suspended(p.j):
			p.removeActive(p.active, true)
		default:
			p.manage()
		}
	}
	p.finish(target)
	return p.out
}

func newPass(o observed, now time.Time) *pass {
	p := &pass{j: o.job, pods: o.pods, now: now, limit: completions(o.job)}
	p.indexed = o.job.Spec.CompletionMode != nil && *o.job.Spec.CompletionMode == batchv1.IndexedCompletion
	p.out.status = *o.job.Status.DeepCopy()
	ready := int32(0)
	for _, pod := range o.pods {
		switch {
		case podstatus.Active(pod):
			p.active = append(p.active, pod)
			if podstatus.Ready(pod) {
				ready++
			}
		case podstatus.Terminating(pod):
			p.terminating++
		}
	}
	p.out.status.Ready = &ready
	p.startOrSuspend()
	return p
}

// startOrSuspend notes when the job was started, suspended or resumed.
func (p *pass) startOrSuspend() {
	st := &p.out.status
	was := conditionIs(st, batchv1.JobSuspended)
	switch {
	case suspended(p.j) && !was:
		setCondition(st, batchv1.JobSuspended, corev1.ConditionTrue, "JobSuspended", "Job suspended", p.now)
		p.event(corev1.EventTypeNormal, "Suspended", "Job suspended")
	case !suspended(p.j) && was:
		setCondition(st, batchv1.JobSuspended, corev1.ConditionFalse, "JobResumed", "Job resumed", p.now)
		p.event(corev1.EventTypeNormal, "Resumed", "Job resumed")
		st.StartTime = &metav1.Time{Time: p.now}
	case !suspended(p.j) && st.StartTime == nil:
		st.StartTime = &metav1.Time{Time: p.now}
	}
}

// evaluate looks for a reason to end the job.
func (p *pass) evaluate() {
	st := &p.out.status
	if conditionIs(st, batchv1.JobFailureTarget) || conditionIs(st, batchv1.JobSuccessCriteriaMet) {
		return
	}
	if reason, message := p.failure(); reason != "" {
		setCondition(st, batchv1.JobFailureTarget, corev1.ConditionTrue, reason, message, p.now)
		return
	}
	if reason, message := p.success(); reason != "" {
		setCondition(st, batchv1.JobSuccessCriteriaMet, corev1.ConditionTrue, reason, message, p.now)
	}
}

func (p *pass) failure() (reason, message string) {
	if p.j.Spec.PodFailurePolicy != nil {
		for _, pod := range p.pods {
			if v := judge(p.j, pod); failed(p.j, pod) && v.action == batchv1.PodFailurePolicyActionFailJob {
				return batchv1.JobReasonPodFailurePolicy, v.message
			}
		}
	}
	if limit := p.j.Spec.BackoffLimit; limit != nil {
		again := restarts(p.j, p.pods)
		if p.losses > *limit || (again > 0 && again >= *limit) {
			return batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit"
		}
	}
	if left, has := p.untilDeadline(); has && left <= 0 {
		return batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline"
	}
	if p.perIndex() {
		if most := p.j.Spec.MaxFailedIndexes; most != nil && len(p.failedIndexes) > int(*most) {
			return batchv1.JobReasonMaxFailedIndexesExceeded, "Job has exceeded the specified maximal number of failed indexes"
		}
		if len(p.failedIndexes) > 0 && len(p.failedIndexes)+len(p.succeeded) >= p.limit {
			return batchv1.JobReasonFailedIndexes, "Job has failed indexes"
		}
	}
	return "", ""
}

// untilDeadline is what is left of the time the job may be active.
func (p *pass) untilDeadline() (time.Duration, bool) {
	if p.j.Spec.ActiveDeadlineSeconds == nil || suspended(p.j) || p.out.status.StartTime == nil {
		return 0, false
	}
	deadline := p.out.status.StartTime.Add(time.Duration(*p.j.Spec.ActiveDeadlineSeconds) * time.Second)
	return deadline.Sub(p.now), true
}

func (p *pass) success() (reason, message string) {
	if rule := successRule(p.j, p.succeeded); p.indexed && rule >= 0 {
		return batchv1.JobReasonSuccessPolicy, fmt.Sprintf("Matched rules at index %d", rule)
	}
	done := false
	if p.j.Spec.Completions == nil {
		// A work queue: once a pod succeeded the others only finish.
		done = p.wins > 0 && len(p.active) == 0
	} else {
		done = p.wins >= *p.j.Spec.Completions && len(p.active) == 0
	}
	if done {
		return batchv1.JobReasonCompletionsReached, "Reached expected number of succeeded pods"
	}
	return "", ""
}

// target is the condition that says how the job will end, or nil.
func (p *pass) target() *batchv1.JobCondition {
	for _, t := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobSuccessCriteriaMet} {
		if c := condition(&p.out.status, t); c != nil && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// removeActive deletes active pods, which count as failed or not at all.
func (p *pass) removeActive(pods []*corev1.Pod, uncounted bool) {
	p.out.remove = pods[:min(len(pods), burst)]
	p.out.uncounted = uncounted
}

// manage creates the pods that are missing, or deletes those in surplus.
func (p *pass) manage() {
	surplus := p.unwanted()
	want := p.wanted()
	if n := len(p.active) - len(surplus) - want; n > 0 {
		rest := slices.DeleteFunc(slices.Clone(p.active), func(pod *corev1.Pod) bool { return slices.Contains(surplus, pod) })
		surplus = append(surplus, podstatus.Victims(rest, nil, n, p.now)...)
	}
	if len(surplus) > 0 {
		p.removeActive(surplus, true)
		return
	}
	missing := want - len(p.active)
	if onlyFailed(p.j) {
		missing -= int(p.terminating)
	}
	if missing <= 0 {
		return
	}
	if p.indexed {
		p.createIndexes(min(missing, burst))
		return
	}
	if wait := delay(p.j, p.pods, p.now); wait > 0 {
		p.again(wait)
		return
	}
	for range min(missing, burst) {
		p.out.create = append(p.out.create, creation{index: noIndex})
	}
}

// wanted is how many pods are to be active.
func (p *pass) wanted() int {
	parallelism := int(value(p.j.Spec.Parallelism, 1))
	if p.j.Spec.Completions == nil {
		if p.wins > 0 {
			return len(p.active)
		}
		return parallelism
	}
	return max(0, min(parallelism, int(*p.j.Spec.Completions)-int(p.wins)-len(p.failedIndexes)))
}

// finish writes the counts that the actions lead to, and, when nothing is left
// to be waited for, the end.
func (p *pass) finish(target *batchv1.JobCondition) {
	st := &p.out.status
	removed := int32(len(p.out.remove))
	st.Active = int32(len(p.active)+len(p.out.create)) - removed
	st.Terminating = new(p.terminating + removed)
	if left, has := p.untilDeadline(); has && target == nil {
		p.again(left)
	}
	un := st.UncountedTerminatedPods
	if target == nil || len(p.active) > 0 || p.terminating > 0 || len(un.Failed)+len(un.Succeeded) > 0 ||
		slices.ContainsFunc(p.pods, tracked) {
		return
	}
	if target.Type == batchv1.JobFailureTarget {
		setCondition(st, batchv1.JobFailed, corev1.ConditionTrue, target.Reason, target.Message, p.now)
		p.event(corev1.EventTypeWarning, target.Reason, target.Message)
		return
	}
	setCondition(st, batchv1.JobComplete, corev1.ConditionTrue, target.Reason, target.Message, p.now)
	st.CompletionTime = &metav1.Time{Time: p.now}
	p.event(corev1.EventTypeNormal, "Completed", "Job completed")
}

func (p *pass) event(kind, reason, message string) {
	p.out.events = append(p.out.events, notice{kind, reason, message})
}

// again asks for another pass, the sooner of those asked for.
func (p *pass) again(after time.Duration) {
	if p.out.after == 0 || after < p.out.after {
		p.out.after = max(after, time.Millisecond)
	}
}

func suspended(j *batchv1.Job) bool { return j.Spec.Suspend != nil && *j.Spec.Suspend }

func completions(j *batchv1.Job) int { return int(value(j.Spec.Completions, 0)) }

func value(p *int32, otherwise int32) int32 {
	if p == nil {
		return otherwise
	}
	return *p
}
