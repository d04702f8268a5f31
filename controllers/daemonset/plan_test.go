package daemonset

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func set(surge, unavailable string, change ...func(*appsv1.DaemonSet)) *appsv1.DaemonSet {
	s, u := intstr.Parse(surge), intstr.Parse(unavailable)
	ds := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "ds", UID: "ds"},
		Spec: appsv1.DaemonSetSpec{
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxSurge: &s, MaxUnavailable: &u}},
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{NodeSelector: map[string]string{"os": "linux"}}},
		},
	}
	for _, f := range change {
		f(ds)
	}
	return ds
}

// node reads "name [windows] [taint=effect]".
func node(s string) *corev1.Node {
	f := strings.Fields(s)
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: f[0], Labels: map[string]string{"os": "linux"}}}
	for _, flag := range f[1:] {
		if key, effect, ok := strings.Cut(flag, "="); ok {
			n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: corev1.TaintEffect(effect)})
		} else {
			n.Labels["os"] = flag
		}
	}
	return n
}

// pod reads "name node hash state", the state being ready, run, ok, fail, gone.
func pod(i int, s string) *corev1.Pod {
	f := strings.Fields(s)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: f[0], UID: types.UID(f[0]), CreationTimestamp: metav1.NewTime(now.Add(time.Duration(i-100) * time.Minute)),
			Labels: map[string]string{appsv1.DefaultDaemonSetUniqueLabelKey: f[2]}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	pin(&p.Spec, f[1])
	switch f[3] {
	case "ready":
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	case "ok":
		p.Status.Phase = corev1.PodSucceeded
	case "fail":
		p.Status.Phase = corev1.PodFailed
	case "gone":
		p.DeletionTimestamp = &metav1.Time{Time: now}
	}
	return p
}

func show(a actions) string {
	var parts []string
	if len(a.create) > 0 {
		parts = append(parts, "create "+strings.Join(a.create, " "))
	}
	if len(a.remove) > 0 {
		names := ""
		for _, p := range a.remove {
			names += " " + p.Name
		}
		parts = append(parts, "remove"+names)
	}
	st := a.status
	parts = append(parts, fmt.Sprintf("%d/%d/%d/%d/%d/%d", st.DesiredNumberScheduled, st.CurrentNumberScheduled, st.NumberReady, st.UpdatedNumberScheduled, st.NumberAvailable, st.NumberMisscheduled))
	if a.after > 0 {
		parts = append(parts, "after "+a.after.String())
	}
	return strings.Join(parts, "; ")
}

func TestPlan(t *testing.T) {
	onDelete := func(ds *appsv1.DaemonSet) { ds.Spec.UpdateStrategy.Type = appsv1.OnDeleteDaemonSetStrategyType }
	for _, tc := range []struct {
		name   string
		set    *appsv1.DaemonSet
		nodes  []string
		pods   []string
		delays map[string]time.Duration
		want   string // … desired/current/ready/updated/available/misscheduled
	}{
		{"one on each node that fits", set("0", "1"), []string{"a", "b", "c windows"}, nil, nil, "create a b; 2/0/0/0/0/0"},
		{"taints of nodes are borne, others not", set("0", "1"),
			[]string{"a node.kubernetes.io/not-ready=NoExecute", "b node.kubernetes.io/unschedulable=NoSchedule", "c mine=NoSchedule", "d mine=PreferNoSchedule"}, nil, nil, "create a b d; 3/0/0/0/0/0"},
		{"NoSchedule does not drive off, NoExecute does", set("0", "1"), []string{"a mine=NoSchedule", "b mine=NoExecute"}, []string{"p a new ready", "q b new ready"}, nil,
			"remove q; 0/0/0/0/0/2"},
		{"a node that fits no longer", set("0", "1"), []string{"a windows"}, []string{"p a new ready"}, nil, "remove p; 0/0/0/0/0/1"},
		{"two on a node: the older stays", set("0", "1"), []string{"a"}, []string{"p a new ready", "q a new ready"}, nil, "remove q; 1/1/1/1/1/0"},
		{"ended", set("0", "1"), []string{"a", "b"}, []string{"p a new ok", "q b new fail"}, nil, "remove p q; 2/2/0/2/0/0"},
		{"failed again too soon", set("0", "1"), []string{"a"}, []string{"p a new fail"}, map[string]time.Duration{"a": 4 * time.Second}, "1/1/0/1/0/0; after 4s"},
		{"being deleted: waits until it is gone", set("0", "1"), []string{"a"}, []string{"p a new gone"}, nil, "1/1/0/1/0/0"},

		{"update: one at a time", set("0", "1"), []string{"a", "b"}, []string{"p a old ready", "q b old ready"}, nil, "remove p; 2/2/2/0/2/0"},
		{"update: the new one is not available yet", set("0", "1"), []string{"a", "b"}, []string{"p a new run", "q b old ready"}, nil, "2/2/1/1/1/0"},
		{"update: it is", set("0", "1"), []string{"a", "b"}, []string{"p a new ready", "q b old ready"}, nil, "remove q; 2/2/2/1/2/0"},
		{"update: one is on its way out", set("0", "1"), []string{"a", "b"}, []string{"p a old gone", "q b old ready"}, nil, "2/2/1/0/1/0"},
		{"update: what does not work goes at once", set("0", "1"), []string{"a", "b"}, []string{"p a old run", "q b old ready"}, nil, "remove p; 2/2/1/0/1/0"},
		{"update: half", set("0", "50%"), []string{"a", "b", "c"}, []string{"p a old ready", "q b old ready", "r c old ready"}, nil, "remove p q; 3/3/3/0/3/0"},
		{"update by hand", set("0", "1", onDelete), []string{"a"}, []string{"p a old ready"}, nil, "1/1/1/0/1/0"},

		{"surge: the new one first", set("1", "0"), []string{"a", "b"}, []string{"p a old ready", "q b old ready"}, nil, "create a; 2/2/2/0/2/0"},
		{"surge: waits for it", set("1", "0"), []string{"a", "b"}, []string{"p a old ready", "q b old ready", "r a new run"}, nil, "2/2/2/0/2/0"},
		{"surge: then the old one goes", set("1", "0"), []string{"a", "b"}, []string{"p a old ready", "q b old ready", "r a new ready"}, nil, "create b; remove p; 2/2/2/0/2/0"},
		{"surge: the old one does not work", set("1", "0"), []string{"a"}, []string{"p a old run", "r a new run"}, nil, "remove p; 1/1/0/0/0/0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := observed{set: tc.set, hash: "new", settled: true, delays: tc.delays}
			for _, s := range tc.nodes {
				o.nodes = append(o.nodes, node(s))
			}
			for i, s := range tc.pods {
				o.pods = append(o.pods, pod(i, s))
			}
			if diff := cmp.Diff(tc.want, show(plan(o, now))); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			o.settled = false
			if a := plan(o, now); len(a.create)+len(a.remove) > 0 {
				t.Errorf("acts while earlier writes are unseen: %s", show(a))
			}
		})
	}
}

func TestNewPod(t *testing.T) {
	ds := set("0", "1")
	ds.Spec.Template.Spec.HostNetwork = true
	ds.Spec.Template.Spec.Tolerations = []corev1.Toleration{{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}
	p := newPod(ds, "hash", "a")
	if nodeOf(p) != "a" || p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] != "hash" || p.GenerateName != "ds-" {
		t.Errorf("pod is %+v", p.ObjectMeta)
	}
	if len(p.Spec.Tolerations) != len(tolerations)+1 {
		t.Errorf("tolerations are %v", p.Spec.Tolerations)
	}
	if !slices.ContainsFunc(p.Spec.Tolerations, func(t corev1.Toleration) bool { return t.Key == corev1.TaintNodeNetworkUnavailable }) {
		t.Error("a daemon in the node's network does not bear that there is no other")
	}
}

func TestBackoff(t *testing.T) {
	at := now
	b := newBackoff(func() time.Time { return at })
	for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		b.failed("ds", "a")
		if got := b.delays("ds")["a"]; got != want {
			t.Errorf("waits %v, not %v", got, want)
		}
	}
	at = at.Add(time.Hour)
	if d := b.delays("ds"); len(d) != 0 {
		t.Errorf("waits %v after an hour", d)
	}
	b.failed("ds", "a")
	if got := b.delays("ds")["a"]; got != time.Second {
		t.Errorf("starts afresh with %v", got)
	}
	b.forget("ds")
	if len(b.nodes) != 0 {
		t.Error("a set that is gone is kept")
	}
}
