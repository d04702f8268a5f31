package controllers_test

import (
	"errors"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (e *env) waitDaemonSet(name string, n int32) *appsv1.DaemonSet {
	e.t.Helper()
	ds := &appsv1.DaemonSet{}
	e.eventually(fmt.Sprintf("daemon set %s has %d up-to-date daemons", name, n), func() error {
		e.get(name, ds)
		st := ds.Status
		return errors.Join(expect("desired", st.DesiredNumberScheduled, n), expect("current", st.CurrentNumberScheduled, n),
			expect("updated", st.UpdatedNumberScheduled, n), expect("available", st.NumberAvailable, n),
			expect("misscheduled", st.NumberMisscheduled, int32(0)), expect("observedGeneration", st.ObservedGeneration, ds.Generation))
	}, &appsv1.DaemonSetList{})
	return ds
}

func (e *env) node(name string, labels map[string]string) *corev1.Node {
	e.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	e.create(n)
	// A node is born with a taint, which goes when it becomes ready.
	e.patch(n, `{"spec":{"taints":null}}`)
	return n
}

func TestDaemonSet(t *testing.T) {
	e := start(t, "daemonset-controller")
	e.kubelet()
	ssd := map[string]string{"disk": "ssd"}
	e.node("a", ssd)
	b := e.node("b", ssd)
	ds := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "agent"},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "agent"}},
			Template: template("app", "agent"),
		},
	}
	ds.Spec.Template.Spec.NodeName = ""
	ds.Spec.Template.Spec.NodeSelector = ssd
	e.create(ds)
	e.waitDaemonSet("agent", 2)

	t.Run("nodes come and go", func(t *testing.T) {
		e.node("c", ssd)
		e.waitDaemonSet("agent", 3)
		e.patch(b, `{"metadata":{"labels":{"disk":"hdd"}}}`)
		e.waitDaemonSet("agent", 2)
	})
	t.Run("a daemon that is deleted returns", func(t *testing.T) {
		gone := e.pods("app", "agent")[0]
		e.delete(&gone)
		e.eventually("another is there", func() error {
			pods := e.pods("app", "agent")
			for _, p := range pods {
				if p.UID == gone.UID {
					return errors.New("it is still there")
				}
			}
			return expect("pods", len(pods), 2)
		}, &corev1.PodList{})
		e.waitDaemonSet("agent", 2)
	})
	t.Run("a new template is rolled out, and kept in the history", func(t *testing.T) {
		before := map[types.UID]bool{}
		for _, p := range e.pods("app", "agent") {
			before[p.UID] = true
		}
		e.patch(ds, `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"image:2"}]}}}}`)
		e.waitDaemonSet("agent", 2)
		for _, p := range e.pods("app", "agent") {
			if before[p.UID] || p.Spec.Containers[0].Image != "image:2" {
				t.Errorf("pod %s has image %s", p.Name, p.Spec.Containers[0].Image)
			}
		}
		var history appsv1.ControllerRevisionList
		if err := e.List(t.Context(), &history); err != nil {
			t.Fatal(err)
		}
		if len(history.Items) != 2 {
			t.Errorf("%d revisions, want 2", len(history.Items))
		}
		for _, r := range history.Items {
			if r.Revision != 1 && r.Revision != 2 || !metav1.IsControlledBy(&r, ds) {
				t.Errorf("revision %s has number %d and owners %v", r.Name, r.Revision, r.OwnerReferences)
			}
		}
	})
}
