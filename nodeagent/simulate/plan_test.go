package simulate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// testPod is a pod with an init container "prepare" if init, and a container "main".
func testPod(policy corev1.RestartPolicy, init bool, annotations map[string]string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: "p", UID: "u", Annotations: annotations}}
	p.Spec = corev1.PodSpec{RestartPolicy: policy, Containers: []corev1.Container{{Name: "main", Image: "main:1"}}}
	if init {
		p.Spec.InitContainers = []corev1.Container{{Name: "prepare", Image: "prepare:1"}}
	}
	return p
}

// say tells what a pod is like in a line: phase, Ready, and each container's state.
func say(s corev1.PodStatus) string {
	out := string(s.Phase)
	for _, c := range s.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			out += " ready"
		}
	}
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for _, c := range list {
			out += " " + c.Name + ":"
			switch {
			case c.State.Running != nil:
				out += "running"
			case c.State.Terminated != nil:
				out += c.State.Terminated.Reason
			default:
				out += c.State.Waiting.Reason
			}
			if c.RestartCount > 0 {
				out += "x" + string('0'+rune(c.RestartCount))
			}
		}
	}
	return out
}

func TestLives(t *testing.T) {
	const never = time.Duration(-1)
	type moment struct {
		at   time.Duration
		want string
		next time.Duration // when it goes on, from the beginning
	}
	for name, c := range map[string]struct {
		pod   *corev1.Pod
		edit  func(*corev1.Pod)
		lives []moment
	}{
		"by default it runs at once": {pod: testPod("Always", true, nil), lives: []moment{{0, "Running ready prepare:Completed main:running", never}}},
		"it takes its time": {
			pod: testPod("Always", true, map[string]string{StartAfter: "1s", ReadyAfter: "5s", FinishAfter + ".prepare": "2s"}),
			lives: []moment{
				{0, "Pending prepare:PodInitializing main:PodInitializing", time.Second},
				{time.Second, "Pending prepare:running main:PodInitializing", 3 * time.Second},
				{3 * time.Second, "Pending prepare:Completed main:ContainerCreating", 4 * time.Second},
				{4 * time.Second, "Running prepare:Completed main:running", 9 * time.Second},
				{9 * time.Second, "Running ready prepare:Completed main:running", never},
			},
		},
		"it ends again and again": {
			pod: testPod("Always", false, map[string]string{FinishAfter: "1s", ExitCode: "1"}),
			lives: []moment{
				{0, "Running ready main:running", time.Second},
				{1500 * time.Millisecond, "Running ready main:runningx1", 2 * time.Second},
				{2 * time.Second, "Running main:CrashLoopBackOffx2", 12 * time.Second},
				{12 * time.Second, "Running ready main:runningx2", 13 * time.Second},
				{13 * time.Second, "Running main:CrashLoopBackOffx3", 33 * time.Second},
			},
		},
		"it fails twice and succeeds": {
			pod: testPod("OnFailure", false, map[string]string{FinishAfter: "0s", ExitCode: "1,1,0"}),
			lives: []moment{
				{0, "Running main:CrashLoopBackOffx2", 10 * time.Second},
				{10 * time.Second, "Succeeded main:Completedx2", never},
			},
		},
		"it fails for good": {
			pod:   testPod("Never", false, map[string]string{FinishAfter: "1s", ExitCode: "137", ExitReason: "OOMKilled"}),
			lives: []moment{{time.Minute, "Failed main:OOMKilled", never}},
		},
		"an init container fails for good": {
			pod:   testPod("Never", true, map[string]string{ExitCode + ".prepare": "3"}),
			lives: []moment{{0, "Failed prepare:Error main:PodInitializing", never}},
		},
		"its image cannot be pulled": {
			pod:   testPod("Always", false, map[string]string{PullError: "no such image"}),
			lives: []moment{{0, "Pending main:ImagePullBackOff", never}, {time.Hour, "Pending main:ImagePullBackOff", never}},
		},
		"it is unready while it says so": {
			pod:   testPod("Always", false, map[string]string{Ready: "false"}),
			lives: []moment{{0, "Running main:running", never}},
		},
		"its deadline passes": {
			pod: testPod("Never", false, nil), edit: func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = new(int64(5)) },
			lives: []moment{{0, "Running ready main:running", 5 * time.Second}, {5 * time.Second, "Failed main:Error", never}},
		},
		"a sidecar starts before and ends after": {
			pod: testPod("Never", true, map[string]string{FinishAfter + ".main": "3s", StartAfter + ".prepare": "1s"}),
			edit: func(p *corev1.Pod) {
				p.Spec.InitContainers[0].RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
			},
			lives: []moment{
				{0, "Pending prepare:PodInitializing main:PodInitializing", time.Second},
				{time.Second, "Running ready prepare:running main:running", 4 * time.Second},
				{4 * time.Second, "Succeeded prepare:Completed main:Completed", never},
			},
		},
		"a readiness gate is closed": {
			pod: testPod("Always", false, nil), edit: func(p *corev1.Pod) { p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "mine"}} },
			lives: []moment{{0, "Running main:running", never}},
		},
		"pods of Jobs finish": {
			pod: testPod("Never", false, nil), edit: func(p *corev1.Pod) {
				p.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Controller: new(true)}}
			},
			lives: []moment{{0, "Running ready main:running", DefaultFinish}, {DefaultFinish, "Succeeded main:Completed", never}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.edit != nil {
				c.edit(c.pod)
			}
			l := newLife(t0)
			does := Profile{}.read(c.pod)
			for _, m := range c.lives {
				now := t0.Add(m.at)
				next := never
				if at := l.advance(c.pod, does, now); !at.IsZero() {
					next = at.Sub(t0)
				}
				c.pod.Status = l.show(c.pod, does, place{"127.1.0.1", "100.64.0.2"}, now)
				if got := say(c.pod.Status); got != m.want || next != m.next {
					t.Errorf("after %v: %s, next %v; want %s, next %v", m.at, got, next, m.want, m.next)
				}
				if again := l.show(c.pod, does, place{"127.1.0.1", "100.64.0.2"}, now); !cmp.Equal(c.pod.Status, again) {
					t.Errorf("after %v: showing it again changes it: %s", m.at, cmp.Diff(c.pod.Status, again))
				}
			}
		})
	}
}

func TestDeletedPodsStop(t *testing.T) {
	p := testPod("Always", false, nil)
	does := Profile{}.read(p)
	l := newLife(t0)
	l.advance(p, does, t0)
	l.stopAt = t0.Add(3 * time.Second)
	if next := l.advance(p, does, t0.Add(time.Second)); !next.Equal(l.stopAt) {
		t.Errorf("it goes on at %v, want when it stops", next)
	}
	l.advance(p, does, l.stopAt)
	s := l.show(p, does, place{}, l.stopAt)
	if got := say(s); got != "Failed main:Error" || s.ContainerStatuses[0].State.Terminated.ExitCode != killed {
		t.Errorf("it ends as %s with %v", got, s.ContainerStatuses[0].State)
	}
}

func TestResumeGoesOn(t *testing.T) {
	p := testPod("Always", false, map[string]string{FinishAfter: "1m", ExitCode: "1"})
	does := Profile{}.read(p)
	l := newLife(t0)
	at := t0.Add(61 * time.Second) // in its second run
	l.advance(p, does, at)
	p.Status = l.show(p, does, place{}, at)
	r := resume(p, at.Add(time.Second))
	if next := r.advance(p, does, at.Add(time.Second)); !next.Equal(t0.Add(2 * time.Minute)) {
		t.Errorf("the second run ends %v after the beginning, want 2m", next.Sub(t0))
	}
	if diff := cmp.Diff(p.Status, r.show(p, does, place{}, at.Add(time.Second))); diff != "" {
		t.Errorf("taking it up again changes it: %s", diff)
	}
}

func TestSpans(t *testing.T) {
	for text, want := range map[string]time.Duration{"": time.Hour, "2s": 2 * time.Second, "never": -1, "nonsense": time.Hour, "-1s": time.Hour, "3s-1s": time.Hour} {
		p := testPod("Always", false, map[string]string{StartAfter: text})
		if got := span(p, StartAfter, "main", time.Hour); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
	p := testPod("Always", false, map[string]string{StartAfter: "1s-3s"})
	first := span(p, StartAfter, "main", 0)
	if again := span(p, StartAfter, "main", 0); first < time.Second || first > 3*time.Second || first != again {
		t.Errorf("1s-3s is %v and then %v", first, again)
	}
}

func TestMeterNeverFalls(t *testing.T) {
	var m meter
	if got := m.read("a", 2, t0, t0.Add(10*time.Second)); got != 20*time.Second {
		t.Errorf("10 s at 2 cores are %v", got)
	}
	if got := m.read("a", 0.5, t0, t0.Add(12*time.Second)); got != 21*time.Second {
		t.Errorf("and 2 s at half a core %v", got)
	}
	if got := m.read("a", 1, t0.Add(20*time.Second), t0.Add(21*time.Second)); got != time.Second {
		t.Errorf("a new run begins with %v", got)
	}
}

func TestAddresses(t *testing.T) {
	o, err := Options{Pools: []Pool{{Count: 3, Zones: []string{"a", "b"}}}}.complete()
	if err != nil {
		t.Fatal(err)
	}
	n := o.newNode(2, 2, &o.Pools[0])
	if n.name != "simulated-2" || n.zone != "a" || n.address.String() != "127.1.0.3" || n.pods.String() != "100.64.2.0/24" {
		t.Errorf("the third node is %s in %s at %s with %s", n.name, n.zone, n.address, n.pods)
	}
	seen := map[string]bool{}
	for range 253 {
		ip, err := n.podIP()
		if err != nil || seen[ip.String()] || !n.pods.Contains(ip) {
			t.Fatalf("address %d is %v, %v", len(seen), ip, err)
		}
		seen[ip.String()] = true
	}
	if _, err := (Options{Pools: []Pool{{Count: 20000}}}).complete(); err == nil {
		t.Error("more nodes than there are ranges are accepted")
	}
}

func TestFleetFollowsPools(t *testing.T) {
	f := newFleet()
	settle := func(pools ...Pool) (added, removed []string) {
		t.Helper()
		o, err := Options{Pools: pools}.complete()
		if err != nil {
			t.Fatal(err)
		}
		a, r := f.settle(o)
		for _, n := range a {
			added = append(added, n.name+" "+n.address.String())
		}
		for _, n := range r {
			removed = append(removed, n.name)
		}
		return added, removed
	}
	for i, c := range []struct {
		pools          []Pool
		added, removed []string
	}{
		{[]Pool{{Name: "a", Count: 2}}, []string{"a-0 127.1.0.1", "a-1 127.1.0.2"}, nil},
		{[]Pool{{Name: "a", Count: 2}}, nil, nil},
		{[]Pool{{Name: "a", Count: 1}, {Name: "b", Count: 2}}, []string{"b-0 127.1.0.2", "b-1 127.1.0.3"}, []string{"a-1"}},
		{[]Pool{{Name: "b", Count: 2}}, nil, []string{"a-0"}},
		{nil, nil, []string{"b-0", "b-1"}},
	} {
		added, removed := settle(c.pools...)
		if diff := cmp.Diff([][]string{c.added, c.removed}, [][]string{added, removed}); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
	}
}
