package job

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newJob(parallelism, completions int32, change ...func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "job", UID: "job"},
		Spec: batchv1.JobSpec{Parallelism: &parallelism, Completions: &completions, BackoffLimit: new(int32(6)),
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"job": "job"}},
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}},
		Status: batchv1.JobStatus{StartTime: &metav1.Time{Time: now.Add(-time.Minute)}},
	}
	for _, f := range change {
		f(j)
	}
	return j
}

func indexed(j *batchv1.Job)   { j.Spec.CompletionMode = new(batchv1.IndexedCompletion) }
func workQueue(j *batchv1.Job) { j.Spec.Completions = nil }
func suspend(j *batchv1.Job)   { j.Spec.Suspend = new(true) }
func deadline(s int64) func(*batchv1.Job) {
	return func(j *batchv1.Job) { j.Spec.ActiveDeadlineSeconds = &s }
}
func backoffLimit(n int32) func(*batchv1.Job) {
	return func(j *batchv1.Job) { j.Spec.BackoffLimit = &n }
}
func perIndex(n int32) func(*batchv1.Job) {
	return func(j *batchv1.Job) { indexed(j); j.Spec.BackoffLimitPerIndex = &n }
}
func replaceFailed(j *batchv1.Job) { j.Spec.PodReplacementPolicy = new(batchv1.Failed) }

// parsePod reads "name state [index] [flags]". States: run, ready, ok, fail (an
// hour ago), fail-now, gone (being deleted). Flags: untracked, exit=N, count=N.
func parsePod(t *testing.T, s string) *corev1.Pod {
	t.Helper()
	f := strings.Fields(s)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: f[0], UID: types.UID(f[0]),
		Finalizers: []string{batchv1.JobTrackingFinalizer}, Annotations: map[string]string{}}}
	end := func(phase corev1.PodPhase, at time.Time) {
		p.Status.Phase = phase
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(at)}}}}
	}
	switch f[1] {
	case "run":
		p.Status.Phase = corev1.PodRunning
	case "ready":
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	case "ok":
		end(corev1.PodSucceeded, now.Add(-2*time.Hour))
	case "fail":
		end(corev1.PodFailed, now.Add(-time.Hour))
	case "fail-now":
		end(corev1.PodFailed, now)
	case "gone":
		p.Status.Phase = corev1.PodRunning
		p.DeletionTimestamp = &metav1.Time{Time: now.Add(-time.Hour)}
	default:
		t.Fatalf("reading %q", s)
	}
	for _, flag := range f[2:] {
		var n int32
		switch {
		case flag == "untracked":
			p.Finalizers = nil
		case strings.HasPrefix(flag, "exit="):
			fmt.Sscanf(flag, "exit=%d", &n)
			p.Status.ContainerStatuses[0].State.Terminated.ExitCode = n
		case strings.HasPrefix(flag, "count="):
			p.Annotations[batchv1.JobIndexFailureCountAnnotation] = strings.TrimPrefix(flag, "count=")
		default:
			p.Annotations[batchv1.JobCompletionIndexAnnotation] = flag
		}
	}
	return p
}

func show(a actions) string {
	var parts []string
	if n := len(a.create); n > 0 {
		s := fmt.Sprintf("create %d", n)
		for _, c := range a.create {
			if c.index != noIndex {
				s += fmt.Sprintf(" #%d", c.index)
			}
			if c.failures > 0 {
				s += fmt.Sprintf("(%d)", c.failures)
			}
		}
		parts = append(parts, s)
	}
	names := func(what string, pods []*corev1.Pod) {
		if len(pods) > 0 {
			s := what
			for _, p := range pods {
				s += " " + p.Name
			}
			parts = append(parts, s)
		}
	}
	names("remove", a.remove)
	st := a.status
	parts = append(parts, fmt.Sprintf("%d/%d/%d", st.Active, st.Succeeded, st.Failed))
	if un := st.UncountedTerminatedPods; len(un.Succeeded)+len(un.Failed) > 0 {
		parts = append(parts, fmt.Sprintf("uncounted %v%v", un.Succeeded, un.Failed))
	}
	if st.CompletedIndexes != "" {
		parts = append(parts, "done "+st.CompletedIndexes)
	}
	if st.FailedIndexes != nil && *st.FailedIndexes != "" {
		parts = append(parts, "given up "+*st.FailedIndexes)
	}
	for _, c := range st.Conditions {
		if c.Status == corev1.ConditionTrue {
			parts = append(parts, string(c.Type)+"="+c.Reason)
		}
	}
	names("untrack", a.untrack)
	if a.after > 0 {
		parts = append(parts, "after "+a.after.String())
	}
	return strings.Join(parts, "; ")
}

func TestPlan(t *testing.T) {
	failJob := func(j *batchv1.Job) {
		j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
			{Action: batchv1.PodFailurePolicyActionFailJob, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{42}}},
			{Action: batchv1.PodFailurePolicyActionIgnore, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{43}}},
			{Action: batchv1.PodFailurePolicyActionFailIndex, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{44}}},
		}}
	}
	success := func(rule batchv1.SuccessPolicyRule) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			indexed(j)
			j.Spec.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{rule}}
		}
	}
	for _, tc := range []struct {
		name string
		job  *batchv1.Job
		pods []string
		want string
	}{
		// "active/succeeded/failed" follows what is created and removed.
		{"first pods", newJob(2, 5), nil, "create 2; 2/0/0"},
		{"no more than completions", newJob(5, 2), nil, "create 2; 2/0/0"},
		{"a pod succeeded: counted later, replaced now", newJob(2, 5), []string{"a ok", "b run"}, "create 1; 2/0/0; uncounted [a][]; untrack a"},
		{"too many", newJob(1, 5), []string{"a run", "b ready"}, "remove a; 1/0/0"},
		{"failed long ago: replaced", newJob(1, 1), []string{"a fail"}, "create 1; 1/0/0; uncounted [][a]; untrack a"},
		{"failed just now: waits", newJob(1, 1), []string{"a fail-now"}, "0/0/0; uncounted [][a]; untrack a; after 10s"},
		{"failed three times: waits longer", newJob(1, 1), []string{"a fail-now", "b fail-now untracked", "c fail-now untracked"}, "0/0/0; uncounted [][a]; untrack a; after 40s"},
		{"deleted: counts as failed, is replaced", newJob(1, 1), []string{"a gone"}, "create 1; 1/0/0; uncounted [][a]; untrack a"},
		{"deleted, but only failed are replaced", newJob(1, 1, replaceFailed), []string{"a gone"}, "0/0/0"},
		{"enough, but some still run", newJob(2, 1), []string{"a ok", "b run"}, "remove b; 0/0/0; uncounted [a][]; untrack a"},

		{"work queue", newJob(3, 0, workQueue), nil, "create 3; 3/0/0"},
		{"work queue: one succeeded, none is made any more", newJob(3, 0, workQueue), []string{"a ok", "b run", "c run"}, "2/0/0; uncounted [a][]; untrack a"},

		{"too many failures", newJob(1, 1, backoffLimit(0)), []string{"a fail", "b run"}, "remove b; 0/0/0; uncounted [][a]; FailureTarget=BackoffLimitExceeded; untrack a"},
		{"too late", newJob(1, 1, deadline(60)), []string{"a run"}, "remove a; 0/0/0; FailureTarget=DeadlineExceeded"},
		{"in time", newJob(1, 1, deadline(90)), []string{"a run"}, "1/0/0; after 30s"},
		{"suspended", newJob(1, 1, suspend), []string{"a run"}, "remove a; 0/0/0; Suspended=JobSuspended"},

		{"failure policy: fails", newJob(1, 1, failJob), []string{"a fail exit=42"}, "0/0/0; uncounted [][a]; FailureTarget=PodFailurePolicy; untrack a"},
		{"failure policy: ignored", newJob(1, 1, failJob), []string{"a fail exit=43"}, "create 1; 1/0/0; untrack a"},
		{"failure policy: no rule matches", newJob(1, 1, failJob), []string{"a fail exit=1"}, "create 1; 1/0/0; uncounted [][a]; untrack a"},

		{"indexed", newJob(2, 5, indexed), nil, "create 2 #0 #1; 2/0/0"},
		{"indexed: the next ones", newJob(3, 5, indexed), []string{"a ok 0", "b run 1", "c ok 3"}, "create 2 #2 #4; 3/2/0; done 0,3; untrack a c"},
		{"indexed: two of an index, one beyond", newJob(3, 3, indexed), []string{"a run 0", "b run 0", "c run 7"}, "remove b c; 1/0/0"},
		{"indexed: another success of an index", newJob(1, 3, indexed), []string{"a ok 0 untracked", "b ok 0"}, "create 1 #1; 1/1/0; done 0; untrack b"},
		{"per index: carries its failures on", newJob(2, 2, perIndex(2)), []string{"a fail 0 count=1", "b run 1"}, "create 1 #0(2); 2/0/0"},
		{"per index: counted once carried on", newJob(2, 2, perIndex(2)), []string{"a fail 0 count=1", "b run 1", "c run 0 count=2"}, "2/0/0; uncounted [][a]; untrack a"},
		{"per index: given up", newJob(2, 2, perIndex(1)), []string{"a fail 0 count=1", "b run 1"}, "1/0/0; uncounted [][a]; given up 0; untrack a"},
		{"per index: all others done", newJob(2, 2, perIndex(1)), []string{"a fail 0 count=1", "b ok 1"},
			"0/1/0; uncounted [][a]; done 1; given up 0; FailureTarget=FailedIndexes; untrack a b"},
		{"per index: the policy gives it up", newJob(2, 2, perIndex(5), failJob), []string{"a fail 0 exit=44", "b run 1"}, "1/0/0; uncounted [][a]; given up 0; untrack a"},
		{"success policy: a count", newJob(3, 5, success(batchv1.SuccessPolicyRule{SucceededCount: new(int32(2))})), []string{"a ok 0", "b ok 4", "c run 2"},
			"remove c; 0/2/0; done 0,4; SuccessCriteriaMet=SuccessPolicy; untrack a b"},
		{"success policy: of some indexes", newJob(3, 5, success(batchv1.SuccessPolicyRule{SucceededIndexes: new("1-3"), SucceededCount: new(int32(2))})), []string{"a ok 0", "b ok 1", "c run 2"},
			"create 2 #3 #4; 3/2/0; done 0,1; untrack a b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var pods []*corev1.Pod
			for _, s := range tc.pods {
				pods = append(pods, parsePod(t, s))
			}
			before := tc.job.DeepCopy()
			a := plan(observed{job: tc.job, pods: pods, settled: true}, now)
			if diff := cmp.Diff(tc.want, show(a)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tc.job); diff != "" {
				t.Errorf("the plan changed the job:\n%s", diff)
			}
		})
	}
}

// Nothing is created or deleted while earlier writes are unseen; counting goes
// on all the same.
func TestPlanUnsettled(t *testing.T) {
	a := plan(observed{job: newJob(2, 5), pods: []*corev1.Pod{parsePod(t, "a ok")}}, now)
	if got, want := show(a), "0/0/0; uncounted [a][]; untrack a"; got != want {
		t.Errorf("plan is %q, not %q", got, want)
	}
}

// A pod goes through the stages of being counted, one pass after another.
func TestPlanCountsOnce(t *testing.T) {
	j := newJob(1, 1)
	pod := parsePod(t, "a ok")
	step := func(want string, pods ...*corev1.Pod) {
		t.Helper()
		a := plan(observed{job: j, pods: pods, settled: true}, now)
		if got := show(a); got != want {
			t.Fatalf("plan is %q, not %q", got, want)
		}
		j = j.DeepCopy()
		j.Status = a.status
		if finished(j) {
			return
		}
		// The same again, if the controller died before it did anything else.
		if got := show(plan(observed{job: j, pods: pods, settled: true}, now)); got != want {
			t.Fatalf("plan anew is %q, not %q", got, want)
		}
	}
	step("0/0/0; uncounted [a][]; SuccessCriteriaMet=CompletionsReached; untrack a", pod)
	free := pod.DeepCopy()
	free.Finalizers = nil
	step("0/1/0; SuccessCriteriaMet=CompletionsReached; Complete=CompletionsReached", free)
	if j.Status.CompletionTime == nil {
		t.Error("there is no completion time")
	}
}

func TestPlanFailsOnlyWhenAllAreGone(t *testing.T) {
	j := newJob(2, 2, backoffLimit(0), replaceFailed)
	setCondition(&j.Status, batchv1.JobFailureTarget, corev1.ConditionTrue, "BackoffLimitExceeded", "m", now)
	for _, tc := range []struct{ pod, want string }{
		{"b run", "remove b; 0/0/0; FailureTarget=BackoffLimitExceeded"},
		{"b gone", "0/0/0; uncounted [][b]; FailureTarget=BackoffLimitExceeded; untrack b"},
		{"b gone untracked", "0/0/0; FailureTarget=BackoffLimitExceeded"},
		{"b fail untracked", "0/0/0; FailureTarget=BackoffLimitExceeded; Failed=BackoffLimitExceeded"},
	} {
		if got := show(plan(observed{job: j, pods: []*corev1.Pod{parsePod(t, tc.pod)}, settled: true}, now)); got != tc.want {
			t.Errorf("%s: plan is %q, not %q", tc.pod, got, tc.want)
		}
	}
}

func TestPlanResumes(t *testing.T) {
	j := newJob(1, 1)
	setCondition(&j.Status, batchv1.JobSuspended, corev1.ConditionTrue, "JobSuspended", "", now.Add(-time.Hour))
	a := plan(observed{job: j, settled: true}, now)
	if conditionIs(&a.status, batchv1.JobSuspended) || !a.status.StartTime.Time.Equal(now) || len(a.create) != 1 {
		t.Errorf("status is %+v, created are %d", a.status, len(a.create))
	}
}

func TestIndexes(t *testing.T) {
	for _, s := range []string{"", "0", "1,3-5,7", "0,1,3", "0-99"} {
		if got := parseIndexes(s, 100).format(100); got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	}
	if got := parseIndexes("0-9", 4).format(4); got != "0-3" {
		t.Errorf("cut to 4 indexes: %q", got)
	}
}

func TestNewPod(t *testing.T) {
	j := newJob(1, 5, perIndex(3))
	j.Spec.Template.Spec.InitContainers = []corev1.Container{{Name: "i", Env: []corev1.EnvVar{{Name: indexVariable, Value: "mine"}}}}
	p := newPod(j, creation{index: 3, failures: 2})
	if p.GenerateName != "job-3-" || p.Spec.Hostname != "job-3" || !tracked(p) || indexOf(p) != 3 || failuresOf(p, batchv1.JobIndexFailureCountAnnotation) != 2 {
		t.Errorf("pod is %+v", p.ObjectMeta)
	}
	if env := p.Spec.Containers[0].Env; len(env) != 1 || env[0].Name != indexVariable {
		t.Errorf("environment is %v", env)
	}
	if env := p.Spec.InitContainers[0].Env; len(env) != 1 || env[0].Value != "mine" {
		t.Errorf("the init container's environment is %v", env)
	}
	if plain := newPod(newJob(1, 1), creation{index: noIndex}); plain.GenerateName != "job-" || !slices.Equal(plain.Finalizers, []string{batchv1.JobTrackingFinalizer}) {
		t.Errorf("pod is %+v", plain.ObjectMeta)
	}
}
