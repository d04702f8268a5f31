package controllers_test

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// crashes is how often the controllers die in the model test.
const crashes = 25

// modelJobs is how many jobs there are in it, of so many pods each.
const (
	modelJobs   = 3
	completions = 6
)

var modelled = []string{"replicaset-controller", "deployment-controller", "statefulset-controller", "daemonset-controller", "job-controller", "garbage-collector-controller"}

// model follows the pods of all workloads as a watch shows them, and checks at
// each event what must hold at every instant.
type model struct {
	e  *env
	mu sync.Mutex
	// pods are those that exist, by name.
	pods map[string]*corev1.Pod
	// ended are the jobs' pods that ended, by job and phase.
	ended map[string]map[corev1.PodPhase]map[types.UID]bool
	// complete tells that the deployment had all its pods once.
	complete bool
}

// TestModel drives random changes through all workload controllers at once,
// while they crash at every kind of write, see their caches late, and meet
// conflicts; and checks their invariants at each change of a pod, and that all
// comes right in the end.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	e := start(t, "ttl-after-finished-controller") // one that has nothing to do
	for _, name := range []string{"n1", "n2", "n3"} {
		e.node(name, map[string]string{"daemons": "yes"})
	}
	m := &model{e: e, pods: map[string]*corev1.Pod{}, ended: map[string]map[corev1.PodPhase]map[types.UID]bool{}}
	e.onChange(t.Context(), &corev1.PodList{}, m.see)
	m.kubelet()
	m.populate()
	for range crashes {
		done := e.doomed(rng, modelled...)
		for crashed := false; !crashed; {
			m.disturb(rng)
			select {
			case <-done:
				crashed = true
			case <-time.After(time.Duration(rng.IntN(30)) * time.Millisecond):
			}
		}
	}
	e.run(modelled...)
	m.settle()
}

// populate makes a workload of each kind.
func (m *model) populate() {
	e := m.e
	d := deployment("web", 4)
	d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(1)), MaxUnavailable: new(intstr.FromInt32(1))}}
	d.Spec.RevisionHistoryLimit = new(int32(2))
	set := statefulSet("db", 3)
	set.Spec.VolumeClaimTemplates = nil
	ds := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "agent"},
		Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}}, Template: template("app", "agent")},
	}
	ds.Spec.Template.Spec.NodeName = ""
	ds.Spec.Template.Spec.NodeSelector = map[string]string{"daemons": "yes"}
	for _, obj := range []client.Object{replicaSet("rs", 3), d, set, ds} {
		e.create(obj)
	}
	for i := range modelJobs {
		j := job(fmt.Sprint("job-", i), 2, completions, "")
		j.Spec.BackoffLimit = new(int32(1000))
		j.Spec.Template.Labels = map[string]string{"app": "job"}
		if i == 0 {
			j.Spec.CompletionMode = new(batchv1.IndexedCompletion)
		}
		e.create(j)
	}
}

// disturb changes one thing at random.
func (m *model) disturb(rng *rand.Rand) {
	e := m.e
	image := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"image:%d"}]}}}}`, rng.IntN(3))
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: e.ns, Name: name} }
	switch rng.IntN(8) {
	case 0:
		e.patch(&appsv1.ReplicaSet{ObjectMeta: meta("rs")}, fmt.Sprintf(`{"spec":{"replicas":%d}}`, rng.IntN(6)))
	case 1, 2:
		m.kill(rng, "rs")
	case 3:
		e.patch(&appsv1.Deployment{ObjectMeta: meta("web")}, image)
	case 4:
		e.patch(&appsv1.StatefulSet{ObjectMeta: meta("db")}, fmt.Sprintf(`{"spec":{"replicas":%d}}`, 1+rng.IntN(4)))
	case 5:
		e.patch(&appsv1.StatefulSet{ObjectMeta: meta("db")}, image)
	case 6:
		e.patch(&appsv1.DaemonSet{ObjectMeta: meta("agent")}, image)
	case 7:
		m.kill(rng, "job")
	}
}

// kill deletes one of an app's pods.
func (m *model) kill(rng *rand.Rand, app string) {
	m.mu.Lock()
	var names []string
	for name, p := range m.pods {
		if p.Labels["app"] == app && p.DeletionTimestamp == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var victim *corev1.Pod
	if len(names) > 0 {
		victim = m.pods[names[rng.IntN(len(names))]].DeepCopy()
	}
	m.mu.Unlock()
	if victim == nil {
		return
	}
	if err := m.e.Delete(m.e.t.Context(), victim, client.Preconditions{UID: &victim.UID}); client.IgnoreNotFound(err) != nil {
		m.e.t.Errorf("killing pod %s: %v", victim.Name, err)
	}
}

// kubelet makes pods ready, or ends those of jobs: one in three fails.
func (m *model) kubelet() {
	e := m.e
	pods := make(chan *corev1.Pod, 10000) // so that the watch is never kept waiting
	go func() {
		for p := range pods {
			switch {
			case p.DeletionTimestamp != nil && p.Labels["app"] == "job" && p.Status.Phase == corev1.PodPending:
				m.mark(p, corev1.PodFailed) // of which another event comes
			case p.DeletionTimestamp != nil:
				_ = e.Delete(e.t.Context(), p, client.GracePeriodSeconds(0), client.Preconditions{UID: &p.UID})
			case p.Labels["app"] != "job":
				e.markReady(p, 1)
			default:
				h := fnv.New32()
				h.Write([]byte(p.UID))
				m.mark(p, []corev1.PodPhase{corev1.PodFailed, corev1.PodSucceeded, corev1.PodSucceeded}[h.Sum32()%3])
			}
		}
	}()
	e.onChange(e.t.Context(), &corev1.PodList{}, func(ev watch.Event) {
		if p, ok := ev.Object.(*corev1.Pod); ok && ev.Type != watch.Deleted && (p.Status.Phase == corev1.PodPending || p.DeletionTimestamp != nil) {
			pods <- p
		}
	})
}

// mark ends a pod, long enough ago that its job need not wait to replace it;
// unless it has changed: it may be on its way out, when it must fail.
func (m *model) mark(p *corev1.Pod, phase corev1.PodPhase) {
	status := fmt.Sprintf(`{"metadata":{"uid":%q,"resourceVersion":%q},"status":{"phase":%q,"containerStatuses":[{"name":"c","image":"image:1","imageID":"","ready":false,"restartCount":0,
		"state":{"terminated":{"exitCode":1,"finishedAt":"2020-01-01T00:00:00Z"}}}]}}`, p.UID, p.ResourceVersion, phase)
	err := m.e.Status().Patch(m.e.t.Context(), p.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(status)))
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) && m.e.t.Context().Err() == nil {
		m.e.t.Errorf("ending pod %s: %v", p.Name, err)
	}
}

// see takes an event of a pod, and checks what must always hold.
func (m *model) see(ev watch.Event) {
	p, ok := ev.Object.(*corev1.Pod)
	if !ok {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.pods[p.Name]
	if m.pods[p.Name] = p; ev.Type == watch.Deleted {
		delete(m.pods, p.Name)
	}
	if m.e.t.Context().Err() != nil {
		return
	}
	begins := p.DeletionTimestamp != nil && (was == nil || was.DeletionTimestamp == nil)
	switch app := p.Labels["app"]; app {
	case "web":
		m.checkDeployment()
	case "agent":
		m.checkDaemons()
	case "db":
		m.checkOrder(p, ev.Type == watch.Added && was == nil, begins)
	case "rs":
		if n := m.count("rs", active); n > 6 {
			m.e.t.Errorf("the replica set has %d active pods; more than 5 were never asked for", n)
		}
	case "job":
		m.note(p)
	}
}

func active(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded
}

func isReady(p *corev1.Pod) bool {
	return active(p) && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue })
}

func (m *model) count(app string, is func(*corev1.Pod) bool) int {
	n := 0
	for _, p := range m.pods {
		if p.Labels["app"] == app && is(p) {
			n++
		}
	}
	return n
}

// checkDeployment: of four pods never more than five, and three ready from when
// all have once been.
func (m *model) checkDeployment() {
	have, ready := m.count("web", active), m.count("web", isReady)
	m.complete = m.complete || ready >= 4
	if have > 5 || m.complete && ready < 3 {
		m.e.t.Errorf("the deployment has %d active pods, %d of them ready", have, ready)
	}
}

// checkDaemons: a node has one daemon at most.
func (m *model) checkDaemons() {
	on := map[string]int{}
	for _, p := range m.pods {
		if p.Labels["app"] == "agent" && active(p) {
			node := p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
			if on[node]++; on[node] > 1 {
				m.e.t.Errorf("node %s has %d daemons", node, on[node])
			}
		}
	}
}

// checkOrder: a pod is made when all of lower ordinals are ready, and goes when
// no other one is on its way.
func (m *model) checkOrder(p *corev1.Pod, made, goes bool) {
	var ordinal int
	if _, err := fmt.Sscanf(p.Name, "db-%d", &ordinal); err != nil {
		m.e.t.Errorf("the stateful set has pod %s", p.Name)
	}
	if made {
		for i := range ordinal {
			if lower := m.pods[fmt.Sprint("db-", i)]; lower == nil || !isReady(lower) {
				m.e.t.Errorf("%s is made while db-%d is not ready", p.Name, i)
			}
		}
	}
	if !goes {
		return
	}
	for name, other := range m.pods {
		if other.Labels["app"] == "db" && name != p.Name && other.DeletionTimestamp != nil {
			m.e.t.Errorf("%s goes while %s does", p.Name, name)
		}
	}
}

// note keeps which pods of jobs ended.
func (m *model) note(p *corev1.Pod) {
	if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
		return
	}
	job := p.Labels[batchv1.JobNameLabel]
	if m.ended[job] == nil {
		m.ended[job] = map[corev1.PodPhase]map[types.UID]bool{corev1.PodSucceeded: {}, corev1.PodFailed: {}}
	}
	m.ended[job][p.Status.Phase][p.UID] = true
}

// settle waits until everything is as it was last asked for, and checks it.
func (m *model) settle() {
	e := m.e
	rs, d, set := &appsv1.ReplicaSet{}, &appsv1.Deployment{}, &appsv1.StatefulSet{}
	e.get("rs", rs)
	e.waitReplicaSet("rs", *rs.Spec.Replicas)
	e.eventually("the deployment is rolled out", func() error {
		e.get("web", d)
		return errors.Join(expect("observedGeneration", d.Status.ObservedGeneration, d.Generation), expect("replicas", d.Status.Replicas, int32(4)),
			expect("updated", d.Status.UpdatedReplicas, int32(4)), expect("available", d.Status.AvailableReplicas, int32(4)))
	}, &appsv1.DeploymentList{})
	e.get("db", set)
	e.waitStatefulSet("db", *set.Spec.Replicas)
	e.waitDaemonSet("agent", 3)
	for i := range modelJobs {
		m.checkJob(e.waitJob(fmt.Sprint("job-", i), batchv1.JobComplete))
	}
	e.eventually("no pod is left that nobody asked for", func() error {
		for app, want := range map[string]int{"rs": int(*rs.Spec.Replicas), "web": 4, "db": int(*set.Spec.Replicas), "agent": 3} {
			if err := expect("pods of "+app, len(e.pods("app", app)), want); err != nil {
				return err
			}
		}
		return m.orphans()
	}, &corev1.PodList{})
	var names []string
	for _, p := range e.pods("app", "db") {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	for i, name := range names {
		if name != fmt.Sprint("db-", i) {
			e.t.Errorf("the ordinals have a gap: %s", strings.Join(names, " "))
		}
	}
}

// orphans tells of pods that nothing controls, or that a finished job holds.
func (m *model) orphans() error {
	for _, p := range m.e.pods() {
		if metav1.GetControllerOf(&p) == nil || len(p.Finalizers) > 0 {
			return fmt.Errorf("pod %s has owners %v and finalizers %v", p.Name, p.OwnerReferences, p.Finalizers)
		}
	}
	return nil
}

// checkJob compares a job's counts with the pods that were seen to end: each
// counts once.
func (m *model) checkJob(j *batchv1.Job) {
	m.e.eventually("all pods of the job are seen", func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		ended := m.ended[j.Name]
		return errors.Join(expect(j.Name+": pods that succeeded", len(ended[corev1.PodSucceeded]), int(j.Status.Succeeded)),
			expect(j.Name+": pods that failed", len(ended[corev1.PodFailed]), int(j.Status.Failed)), expect(j.Name+": completions", j.Status.Succeeded, int32(completions)))
	}, &corev1.PodList{})
	if j.Status.UncountedTerminatedPods != nil && len(j.Status.UncountedTerminatedPods.Succeeded)+len(j.Status.UncountedTerminatedPods.Failed) > 0 {
		m.e.t.Errorf("%s: uncounted are %+v", j.Name, j.Status.UncountedTerminatedPods)
	}
}
