package controllers_test

import (
	"errors"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

func replicaSet(name string, replicas int32) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: name},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			Template: template("app", name),
		},
	}
}

func (e *env) waitReplicaSet(name string, replicas int32) *appsv1.ReplicaSet {
	e.t.Helper()
	rs := &appsv1.ReplicaSet{}
	e.eventually(fmt.Sprintf("replica set %s has %d ready pods", name, replicas), func() error {
		e.get(name, rs)
		return errors.Join(
			expect("replicas", rs.Status.Replicas, replicas),
			expect("readyReplicas", rs.Status.ReadyReplicas, replicas),
			expect("availableReplicas", rs.Status.AvailableReplicas, replicas),
			expect("observedGeneration", rs.Status.ObservedGeneration, rs.Generation))
	}, &appsv1.ReplicaSetList{})
	return rs
}

func TestReplicaSet(t *testing.T) {
	e := start(t, "replicaset-controller")
	e.kubelet()
	rs := replicaSet("web", 3)
	e.create(rs)
	e.waitReplicaSet("web", 3)

	t.Run("names and owns its pods", func(t *testing.T) {
		for _, p := range e.pods("app", "web") {
			if p.GenerateName != "web-" || !metav1.IsControlledBy(&p, rs) {
				t.Errorf("pod %s has generateName %q and owners %v", p.Name, p.GenerateName, p.OwnerReferences)
			}
		}
	})
	t.Run("replaces a pod that is deleted", func(t *testing.T) {
		gone := e.pods("app", "web")[0]
		e.delete(&gone)
		e.eventually("three pods without the deleted one", func() error {
			pods := e.pods("app", "web")
			for _, p := range pods {
				if p.UID == gone.UID {
					return fmt.Errorf("pod %s is still there", p.Name)
				}
			}
			return expect("pods", len(pods), 3)
		}, &corev1.PodList{})
	})
	t.Run("releases a pod whose label changed, and adopts it again", func(t *testing.T) {
		released := e.pods("app", "web")[0]
		e.patch(&released, `{"metadata":{"labels":{"app":"other"}}}`)
		e.eventually("the pod is released and replaced", func() error {
			e.get(released.Name, &released)
			return errors.Join(expect("owners", len(released.OwnerReferences), 0), expect("pods", len(e.pods("app", "web")), 3))
		}, &corev1.PodList{})
		e.patch(&released, `{"metadata":{"labels":{"app":"web"}}}`)
		e.eventually("one of four is deleted", func() error {
			owned := 0
			for _, p := range e.pods("app", "web") {
				if metav1.IsControlledBy(&p, rs) {
					owned++
				}
			}
			return errors.Join(expect("pods", len(e.pods("app", "web")), 3), expect("owned", owned, 3))
		}, &corev1.PodList{})
	})
	t.Run("scales down and up", func(t *testing.T) {
		e.patch(rs, `{"spec":{"replicas":1}}`)
		e.waitReplicaSet("web", 1)
		e.patch(rs, `{"spec":{"replicas":40}}`)
		e.waitReplicaSet("web", 40)
	})
}

func TestReplicaSetAdoptsOrphansOfAnother(t *testing.T) {
	e := start(t, "replicationcontroller-controller")
	e.kubelet()
	stop := e.run("replicaset-controller")
	old := replicaSet("web", 4)
	e.create(old)
	e.waitReplicaSet("web", 4)
	stop() // so that what begins next sees all of this, not the new set before it
	// No garbage collector runs here, so that orphaning is done by hand.
	e.delete(old, client.PropagationPolicy(metav1.DeletePropagationBackground))
	for _, p := range e.pods("app", "web") {
		e.patch(&p, `{"metadata":{"ownerReferences":null}}`)
	}
	before := e.pods("app", "web")
	next := replicaSet("web", 4)
	e.create(next)
	e.run("replicaset-controller")
	e.waitReplicaSet("web", 4)
	after := e.pods("app", "web")
	if len(after) != 4 {
		t.Fatalf("%d pods, want the 4 that there were", len(after))
	}
	for i := range after {
		if after[i].UID != before[i].UID || !metav1.IsControlledBy(&after[i], next) {
			t.Errorf("pod %s was not adopted: owners %v", after[i].Name, after[i].OwnerReferences)
		}
	}
}

// A controller that starts anew while another's writes are fresh must not make
// more pods than asked for.
func TestReplicaSetSurvivesRestarts(t *testing.T) {
	e := start(t, "replicationcontroller-controller")
	most := 0
	e.create(replicaSet("web", 60))
	for range 4 {
		stop := e.run("replicaset-controller")
		e.eventually("some pods are made", func() error {
			if n := len(e.pods("app", "web")); n > most {
				most = n
				return nil
			} else if n == 60 {
				return nil
			}
			return errors.New("no more pods")
		}, &corev1.PodList{})
		stop()
	}
	e.run("replicaset-controller")
	e.kubelet()
	e.waitReplicaSet("web", 60)
	if n := len(e.pods("app", "web")); n != 60 {
		t.Errorf("%d pods, want 60", n)
	}
}

func TestReplicationController(t *testing.T) {
	e := start(t, "replicationcontroller-controller")
	e.kubelet()
	tmpl := template("app", "mysql")
	rc := &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "mysql"},
		Spec:       corev1.ReplicationControllerSpec{Replicas: new(int32(2)), Selector: map[string]string{"app": "mysql"}, Template: &tmpl},
	}
	e.create(rc)
	ready := func(n int32) {
		t.Helper()
		e.eventually(fmt.Sprintf("%d pods are ready", n), func() error {
			e.get("mysql", rc)
			return errors.Join(expect("replicas", rc.Status.Replicas, n), expect("ready", rc.Status.ReadyReplicas, n),
				expect("fullyLabeled", rc.Status.FullyLabeledReplicas, n))
		}, &corev1.ReplicationControllerList{})
	}
	ready(2)
	e.patch(rc, `{"spec":{"replicas":5}}`)
	ready(5)
	e.patch(rc, `{"spec":{"replicas":0}}`)
	ready(0)
	e.eventually("no pod is active", func() error {
		for _, p := range e.pods("app", "mysql") {
			if podstatus.Active(&p) {
				return fmt.Errorf("pod %s is active", p.Name)
			}
		}
		return nil
	}, &corev1.PodList{})
}
