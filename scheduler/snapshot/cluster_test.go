package snapshot

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

func somePod(r *rand.Rand, i int) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprint(i), UID: types.UID(fmt.Sprint(i)), Labels: map[string]string{"app": fmt.Sprint(r.IntN(3))}}}
	p.Spec.NodeName = fmt.Sprintf("n%d", r.IntN(4))
	p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{HostPort: int32(r.IntN(3))}}}}
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": *resource.NewMilliQuantity(int64(r.IntN(1000)), resource.DecimalSI), "x.io/y": *resource.NewQuantity(int64(r.IntN(2)), resource.DecimalSI)}
	if r.IntN(3) == 0 {
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "k"}}}}
	}
	return p
}

// TestIncrementsEqualAFreshCount drives random changes and compares with a cluster that was told of the end alone.
func TestIncrementsEqualAFreshCount(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c := NewCluster()
	have := map[int]*corev1.Pod{}
	selector := labels.SelectorFromSet(labels.Set{"app": "1"})
	for step := range 3000 {
		i := r.IntN(40)
		switch r.IntN(4) {
		case 0:
			c.RemovePod(types.UID(fmt.Sprint(i)))
			delete(have, i)
		case 1:
			name := fmt.Sprintf("n%d", r.IntN(4))
			if c.Node(name) != nil && r.IntN(3) == 0 {
				c.RemoveNode(name)
			} else {
				c.SetNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
			}
		default:
			p := somePod(r, i)
			c.SetPod(p)
			have[i] = p
		}
		if step%50 == 0 {
			c.CountSpread("ns", selector)
		}
	}
	fresh := NewCluster()
	for _, n := range c.Nodes() {
		fresh.SetNode(n.Node)
	}
	for _, p := range have {
		fresh.SetPod(p)
	}
	if d := cmp.Diff(describe(fresh, selector), describe(c, selector)); d != "" {
		t.Errorf("(-fresh +incremental):\n%s", d)
	}
}

// describe shows what decisions can see.
func describe(c *Cluster, s labels.Selector) map[string]string {
	out := map[string]string{}
	counter := c.CountSpread("ns", s)
	out["total"] = fmt.Sprint(counter.Total)
	for name, n := range c.nodes {
		var pods []string
		for _, p := range n.SortedPods() {
			pods = append(pods, p.Name)
		}
		out[name] = fmt.Sprintf("known=%v cpu=%d y=%d pods=%v ports=%v count=%d",
			n.Node != nil, n.Requested.MilliCPU, n.Requested.Scalar["x.io/y"], pods, n.ports, counter.ByNode[n])
	}
	for key, w := range c.Wishes() {
		for n, pods := range w.ByNode {
			out[key+" on "+n.Name] = fmt.Sprint(pods)
		}
	}
	return out
}

func TestSetNamespaceRecounts(t *testing.T) {
	c := NewCluster()
	c.SetNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}})
	c.SetNamespace("ns", labels.Set{"team": "a"})
	c.SetPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "p"}, Spec: corev1.PodSpec{NodeName: "n"}})
	term := Term{Selector: labels.Everything(), NamespaceSelector: labels.SelectorFromSet(labels.Set{"team": "a"})}
	if got := c.CountTerms(term).Total; got != 1 {
		t.Fatalf("counted %d pods, want 1", got)
	}
	c.SetNamespace("ns", labels.Set{"team": "b"})
	if got := c.CountTerms(term).Total; got != 0 {
		t.Errorf("counted %d pods after the namespace changed, want 0", got)
	}
}

func TestBudgets(t *testing.T) {
	c := NewCluster()
	c.SetBudget(Budget{Namespace: "ns", Name: "b", Selector: labels.SelectorFromSet(labels.Set{"app": "1"}), Allowed: 1, Disrupted: map[string]bool{"gone": true}})
	pod := func(name, app string) *Pod {
		return NewPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{"app": app}}})
	}
	got := c.Violating([]*Pod{pod("gone", "1"), pod("a", "1"), pod("b", "1"), pod("c", "2")})
	if d := cmp.Diff([]bool{false, false, true, false}, got); d != "" {
		t.Errorf("violating (-want +got):\n%s", d)
	}
}
