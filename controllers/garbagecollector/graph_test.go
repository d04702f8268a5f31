package garbagecollector

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var things = resource{Version: "v1", Resource: "things"}

func thing(name string, owners ...metav1.OwnerReference) object {
	return object{
		identity: identity{apiVersion: "v1", kind: "Thing", namespace: "ns", name: name, uid: types.UID(name)},
		resource: things, resourceVersion: "1", owners: owners,
	}
}

func owned(by string, block ...bool) metav1.OwnerReference {
	r := metav1.OwnerReference{APIVersion: "v1", Kind: "Thing", Name: by, UID: types.UID(by)}
	if len(block) > 0 {
		r.BlockOwnerDeletion = &block[0]
	}
	return r
}

func deleting(o object, finalizer string) object {
	o.deleting, o.orphan, o.foreground = true, finalizer == metav1.FinalizerOrphanDependents, finalizer == metav1.FinalizerDeleteDependents
	return o
}

func texts(todo []work) []string {
	out := []string{}
	for _, w := range todo {
		text := string(w.uid)
		if w.orphan {
			text += " orphan"
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestGraph is a transcript: after each event, what is to be looked at.
func TestGraph(t *testing.T) {
	g := newGraph()
	foreground, orphan := metav1.FinalizerDeleteDependents, metav1.FinalizerOrphanDependents
	for i, step := range []struct {
		what string
		do   func() []work
		want []string
	}{
		{"a dependent comes before its owner", func() []work { return g.observe(thing("b", owned("a"))) }, []string{"a"}},
		{"the owner comes", func() []work { return g.observe(thing("a")) }, nil},
		{"a second dependent", func() []work { return g.observe(thing("c", owned("a", true), owned("x"))) }, []string{"x"}},
		{"nothing new", func() []work { return g.observe(thing("c", owned("a", true), owned("x"))) }, nil},
		{"x is nowhere", func() []work { return g.absent(refIdentity("ns", owned("x"))) }, []string{"c"}},
		{"the owner is deleted, its dependents first", func() []work { return g.observe(deleting(thing("a"), foreground)) }, []string{"a", "b", "c"}},
		{"a dependent no longer blocks", func() []work { return g.observe(thing("c", owned("a", false))) }, []string{"a", "c"}},
		{"a dependent goes", func() []work { return g.remove("c") }, []string{"a"}},
		{"the owner goes", func() []work { return g.remove("a") }, []string{"b"}},
		{"another owner, whose dependents stay", func() []work { g.observe(thing("d")); return g.observe(deleting(thing("d"), orphan)) }, []string{"d orphan"}},
		{"a reference to another place", func() []work {
			ref := owned("b")
			ref.Kind = "Other"
			return g.observe(thing("e", ref))
		}, []string{"e"}},
		{"all of them anew, without b", func() []work { todo, _ := g.replace(things, []object{thing("d"), thing("e", owned("b"))}); return todo }, []string{"e"}},
	} {
		if d := cmp.Diff(step.want, texts(step.do()), cmp.Transformer("", func(s []string) []string { return slices.Clone(append([]string{}, s...)) })); d != "" {
			t.Errorf("step %d, %s (-want +got):\n%s", i, step.what, d)
		}
	}
}

// TestAbsentElsewhere: two dependents say that an owner is in different places.
func TestAbsentElsewhere(t *testing.T) {
	g := newGraph()
	wrong := owned("a")
	wrong.Kind = "Other"
	g.observe(thing("b", wrong))
	g.observe(thing("c", owned("a")))
	if got := texts(g.absent(refIdentity("ns", wrong))); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("to be looked at: %v", got)
	}
	g.observe(thing("a"))
	if n := g.nodes["a"]; len(n.dependents) != 1 || n.dependents["c"] == nil {
		t.Errorf("the owner has the dependents %v, want c", n.dependents)
	}
}

func TestPlan(t *testing.T) {
	dependent := &node{object: thing("d", owned("n", true)), observed: true}
	waitingDependent := &node{object: deleting(thing("d", owned("n", true)), metav1.FinalizerDeleteDependents), observed: true}
	with := func(o object, dependents ...*node) *node {
		n := &node{object: o, observed: true, dependents: map[types.UID]*node{}}
		for _, d := range dependents {
			n.dependents[d.uid] = d
		}
		return n
	}
	standings := map[types.UID]standing{"there": there, "gone": gone, "waiting": waiting}
	orphaning := thing("n", owned("gone"))
	orphaning.orphan = true
	for _, tc := range []struct {
		name string
		node *node
		want action
	}{
		{"no owners", with(thing("n")), action{}},
		{"an owner", with(thing("n", owned("there"))), action{}},
		{"one of two is gone", with(thing("n", owned("there"), owned("gone"), owned("waiting"))), action{release: []types.UID{"gone", "waiting"}}},
		{"all are gone", with(thing("n", owned("gone"))), action{deletion: metav1.DeletePropagationBackground}},
		{"all are gone, and it is to orphan", with(orphaning), action{deletion: metav1.DeletePropagationOrphan}},
		{"the owner waits", with(thing("n", owned("waiting"))), action{deletion: metav1.DeletePropagationBackground}},
		{"the owner waits, and others wait for this", with(thing("n", owned("waiting")), dependent), action{deletion: metav1.DeletePropagationForeground}},
		{"a circle", with(thing("n", owned("waiting")), waitingDependent), action{deletion: metav1.DeletePropagationForeground, unblock: true}},
		{"is being deleted", with(deleting(thing("n", owned("gone")), "")), action{}},
		{"waits for a dependent", with(deleting(thing("n"), metav1.FinalizerDeleteDependents), dependent), action{first: []types.UID{"d"}}},
		{"waits for one that waits", with(deleting(thing("n"), metav1.FinalizerDeleteDependents), waitingDependent), action{}},
		{"waits for nobody", with(deleting(thing("n"), metav1.FinalizerDeleteDependents)), action{finalize: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := plan(tc.node, func(r metav1.OwnerReference) standing { return standings[r.UID] })
			if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(action{})); d != "" {
				t.Errorf("action (-want +got):\n%s", d)
			}
		})
	}
}

// TestGraphInvariants drives random events and checks the edges after each. As
// in a cluster, a uid does not come back.
func TestGraphInvariants(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	g := newGraph()
	var lives [12]int
	dead := map[types.UID]bool{}
	die := func(i int) { dead[types.UID(fmt.Sprintf("t%d.%d", i, lives[i]))] = true; lives[i]++ }
	name := func(i int) string { return fmt.Sprintf("t%d.%d", i, lives[i]) }
	owner := func() string { // at times one that is dead
		i := r.IntN(12)
		return fmt.Sprintf("t%d.%d", i, max(0, lives[i]-r.IntN(2)))
	}
	for range 20000 {
		i := r.IntN(12)
		uid := types.UID(name(i))
		switch r.IntN(12) {
		case 0:
			g.remove(uid)
			die(i)
		case 1:
			if n := g.nodes[uid]; n == nil || !n.observed {
				g.absent(refIdentity("ns", owned(name(i))))
				die(i)
			}
		case 2:
			g.demote(things)
		case 3:
			g.replace(things, []object{thing(name(i), owned(owner()))})
			for j := range lives {
				if j != i {
					die(j)
				}
			}
		default:
			var owners []metav1.OwnerReference
			for range r.IntN(3) {
				if ref := owned(owner(), r.IntN(2) == 0); !slices.ContainsFunc(owners, func(o metav1.OwnerReference) bool { return o.UID == ref.UID }) {
					owners = append(owners, ref)
				}
			}
			g.observe(thing(name(i), owners...))
		}
		check(t, g, dead)
	}
}

func check(t *testing.T, g *graph, dead map[types.UID]bool) {
	t.Helper()
	for uid, n := range g.nodes {
		if !n.observed && len(n.dependents) == 0 {
			t.Fatalf("%s is kept although nobody refers to it", uid)
		}
		if n.observed != (g.byResource[things][uid] == n) {
			t.Fatalf("%s: observed is %v, but that is not how it is filed", uid, n.observed)
		}
		for _, d := range n.dependents {
			if g.nodes[d.uid] != d || !slices.ContainsFunc(d.owners, func(r metav1.OwnerReference) bool { return r.UID == uid }) {
				t.Fatalf("%s has the dependent %s, which does not refer to it", uid, d.uid)
			}
		}
		for _, ref := range n.owners {
			if owner := g.nodes[ref.UID]; owner != nil && !dead[ref.UID] && owner.dependents[uid] != n {
				t.Fatalf("%s is owned by %s, which does not know", uid, ref.UID)
			}
		}
	}
}
