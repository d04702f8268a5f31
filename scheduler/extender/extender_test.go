package extender

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	configv1 "k8s.io/kube-scheduler/config/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// serve is an extender that lets pods onto nodes b and c, and likes c best. The node d it refuses for good. Of victims
// it spares the first.
func serve(t *testing.T) (url string, bound *extenderv1.ExtenderBindingArgs) {
	bound = &extenderv1.ExtenderBindingArgs{}
	mux := http.NewServeMux()
	answer := func(verb string, args any, result func() any) {
		mux.HandleFunc("POST /api/"+verb, func(w http.ResponseWriter, r *http.Request) {
			if err := json.NewDecoder(r.Body).Decode(args); err != nil {
				t.Errorf("decoding a request: %v", err)
			}
			if err := json.NewEncoder(w).Encode(result()); err != nil {
				t.Errorf("answering: %v", err)
			}
		})
	}
	var f extenderv1.ExtenderArgs
	answer("filter", &f, func() any {
		names := []string{"b", "c"}
		if f.NodeNames == nil {
			list := &corev1.NodeList{}
			for _, n := range f.Nodes.Items {
				if slices.Contains(names, n.Name) {
					list.Items = append(list.Items, n)
				}
			}
			return extenderv1.ExtenderFilterResult{Nodes: list, FailedAndUnresolvableNodes: extenderv1.FailedNodesMap{"d": "never"}}
		}
		return extenderv1.ExtenderFilterResult{NodeNames: &names, FailedNodes: extenderv1.FailedNodesMap{"a": "not now"}, FailedAndUnresolvableNodes: extenderv1.FailedNodesMap{"d": "never"}}
	})
	var s extenderv1.ExtenderArgs
	answer("score", &s, func() any { return extenderv1.HostPriorityList{{Host: "c", Score: 10}, {Host: "b", Score: 1}} })
	var p extenderv1.ExtenderPreemptionArgs
	answer("preempt", &p, func() any {
		out := extenderv1.ExtenderPreemptionResult{NodeNameToMetaVictims: map[string]*extenderv1.MetaVictims{}}
		for node, victims := range p.NodeNameToMetaVictims {
			if node != "a" {
				out.NodeNameToMetaVictims[node] = &extenderv1.MetaVictims{Pods: victims.Pods[1:]}
			}
		}
		return out
	})
	answer("bind", bound, func() any { return extenderv1.ExtenderBindingResult{} })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/api/", bound
}

func cluster() *snapshot.Cluster {
	c := snapshot.NewCluster()
	for _, name := range []string{"a", "b", "c", "d"} {
		c.SetNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return c
}

func pod(name string) *snapshot.Pod {
	return snapshot.NewPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name)}})
}

func TestDecisions(t *testing.T) {
	url, bound := serve(t)
	for _, cache := range []bool{true, false} {
		e, err := New(configv1.Extender{URLPrefix: url, FilterVerb: "filter", PrioritizeVerb: "score", Weight: 2, PreemptVerb: "preempt", BindVerb: "bind", NodeCacheCapable: cache})
		if err != nil {
			t.Fatal(err)
		}
		choice := framework.Choice{Extenders: []framework.Extender{e.Extender}}
		if got := framework.Schedule(nil, cluster(), pod("p"), choice); got.Node != "c" {
			t.Errorf("with a cache of nodes %v: chose %q", cache, got.Node)
		}
		if err := e.Bind(t.Context(), pod("p").Pod, "c"); err != nil || bound.PodName != "p" || bound.Node != "c" {
			t.Errorf("binding: %v, %+v", err, bound)
		}
	}
	only := framework.Plugin{Name: "Only", Filter: func(*snapshot.Cluster, *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
		return func(n *snapshot.Node) *framework.Status {
			if n.Name == "b" || n.Name == "c" {
				return framework.Never("no")
			}
			return nil
		}, nil
	}}
	e, _ := New(configv1.Extender{URLPrefix: url, FilterVerb: "filter", NodeCacheCapable: true})
	got := framework.Schedule([]framework.Plugin{only}, cluster(), pod("p"), framework.Choice{Extenders: []framework.Extender{e.Extender}})
	if got.Failure == nil || got.Failure.Message() != "0/4 nodes are available: 1 never, 1 not now, 2 no." || got.Failure.Rejected&framework.Outside == 0 {
		t.Errorf("refused by all: %+v", got.Failure)
	}
}

func TestPreempt(t *testing.T) {
	url, _ := serve(t)
	e, err := New(configv1.Extender{URLPrefix: url, PreemptVerb: "preempt", NodeCacheCapable: true})
	if err != nil {
		t.Fatal(err)
	}
	victims := []*snapshot.Pod{pod("x"), pod("y")}
	left, err := e.Preempt(pod("p"), []*framework.Preemption{{Node: "a", Victims: victims}, {Node: "b", Victims: victims}})
	if err != nil || len(left) != 1 || left[0].Node != "b" || len(left[0].Victims) != 1 || left[0].Victims[0].Name != "y" {
		t.Errorf("left %+v (%v)", left, err)
	}
}

func TestFailures(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for _, ignorable := range []bool{false, true} {
		e, err := New(configv1.Extender{URLPrefix: server.URL, FilterVerb: "filter", Ignorable: ignorable})
		if err != nil {
			t.Fatal(err)
		}
		got := framework.Schedule(nil, cluster(), pod("p"), framework.Choice{Extenders: []framework.Extender{e.Extender}})
		if ignorable && got.Node == "" || !ignorable && (got.Err == nil || !strings.Contains(got.Err.Error(), "404")) {
			t.Errorf("ignorable %v: %+v", ignorable, got)
		}
	}
}

func TestManagedResources(t *testing.T) {
	e, err := New(configv1.Extender{URLPrefix: "http://127.0.0.1:1", FilterVerb: "f", ManagedResources: []configv1.ExtenderManagedResource{{Name: "example.com/x"}}})
	if err != nil {
		t.Fatal(err)
	}
	p := pod("p")
	if e.Wants(p) {
		t.Error("it wants a pod that uses nothing of its")
	}
	p.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"example.com/x": resource.MustParse("1")}}}}
	if !e.Wants(p) {
		t.Error("it does not want a pod that uses what it manages")
	}
}
