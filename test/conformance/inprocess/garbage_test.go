package inprocess

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const replicas = 10

func TestGarbageCollector(t *testing.T) {
	e := cluster(t)
	parallel(t, []subtest{
		{"deployment in the background", e.collectDeployment},
		{"deployment orphans", e.orphanDeployment},
		{"replication controller in the background", e.collectController},
		{"replication controller after owned pods", e.collectForeground},
		{"replication controller orphans", e.orphanController},
		{"dependency cycle", e.collectCycle},
		{"multiple owners", e.collectShared},
	})
}

func propagation(p metav1.DeletionPropagation) metav1.DeleteOptions {
	return metav1.DeleteOptions{PropagationPolicy: &p}
}

// gone waits until getting an object says that there is none.
func gone[T any](t *testing.T, name string, get func(context.Context, string, metav1.GetOptions) (T, error)) {
	t.Helper()
	eventually(t, name+" is gone", func(ctx context.Context) error {
		if _, err := get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errors.Join(err, errors.New("it is there"))
		}
		return nil
	})
}

// settledPods waits until there are as many pods, none of which is being deleted.
func (e *env) settledPods(t *testing.T, ns string, count int) []corev1.Pod {
	t.Helper()
	var list *corev1.PodList
	eventually(t, fmt.Sprintf("there are %d pods", count), func(ctx context.Context) (err error) {
		if list, err = e.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{}); err != nil {
			return err
		}
		for _, p := range list.Items {
			if p.DeletionTimestamp != nil {
				return fmt.Errorf("%s is being deleted", p.Name)
			}
		}
		if len(list.Items) != count {
			return fmt.Errorf("there are %d", len(list.Items))
		}
		return nil
	})
	return list.Items
}

// deployed makes a Deployment and waits for its pods; it returns the name of its ReplicaSet.
func (e *env) deployed(t *testing.T, ns string) (set string) {
	t.Helper()
	must(e.AppsV1().Deployments(ns).Create(t.Context(), simpleDeployment("web", 2), metav1.CreateOptions{}))(t)
	return e.settledPods(t, ns, 2)[0].OwnerReferences[0].Name
}

func (e *env) collectDeployment(t *testing.T) {
	ns := e.settled(t)
	set := e.deployed(t, ns)
	must(0, e.AppsV1().Deployments(ns).Delete(t.Context(), "web", propagation(metav1.DeletePropagationBackground)))(t)
	gone(t, set, e.AppsV1().ReplicaSets(ns).Get)
	e.settledPods(t, ns, 0)
}

func (e *env) orphanDeployment(t *testing.T) {
	ns := e.settled(t)
	set := e.deployed(t, ns)
	must(0, e.AppsV1().Deployments(ns).Delete(t.Context(), "web", propagation(metav1.DeletePropagationOrphan)))(t)
	gone(t, "web", e.AppsV1().Deployments(ns).Get)
	rs := must(e.AppsV1().ReplicaSets(ns).Get(t.Context(), set, metav1.GetOptions{}))(t)
	if len(rs.OwnerReferences) != 0 || rs.DeletionTimestamp != nil {
		t.Errorf("the replica set is owned by %v, deleted at %v", rs.OwnerReferences, rs.DeletionTimestamp)
	}
	for _, p := range e.settledPods(t, ns, 2) {
		if len(p.OwnerReferences) != 1 {
			t.Errorf("pod %s is owned by %v", p.Name, p.OwnerReferences)
		}
	}
}

// controlled makes a ReplicationController and waits for its pods.
func (e *env) controlled(t *testing.T, ns, name string, count int32) *corev1.ReplicationController {
	t.Helper()
	rc := &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Name: name}}
	rc.Spec.Replicas, rc.Spec.Selector = &count, map[string]string{"app": name}
	rc.Spec.Template = &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: rc.Spec.Selector}, Spec: pod("p").Spec}
	rc = must(e.CoreV1().ReplicationControllers(ns).Create(t.Context(), rc, metav1.CreateOptions{}))(t)
	if count > 0 {
		e.settledPods(t, ns, int(count))
	}
	return rc
}

func (e *env) collectController(t *testing.T) {
	ns := e.settled(t)
	e.controlled(t, ns, "web", 2)
	must(0, e.CoreV1().ReplicationControllers(ns).Delete(t.Context(), "web", propagation(metav1.DeletePropagationBackground)))(t)
	e.settledPods(t, ns, 0)
}

func (e *env) collectForeground(t *testing.T) {
	ns := e.settled(t)
	e.controlled(t, ns, "web", replicas)
	must(0, e.CoreV1().ReplicationControllers(ns).Delete(t.Context(), "web", propagation(metav1.DeletePropagationForeground)))(t)
	gone(t, "web", e.CoreV1().ReplicationControllers(ns).Get)
	if n := len(must(e.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{}))(t).Items); n != 0 {
		t.Errorf("the controller is gone, and %d of its pods are there", n)
	}
}

func (e *env) orphanController(t *testing.T) {
	ns := e.settled(t)
	e.controlled(t, ns, "web", replicas)
	must(0, e.CoreV1().ReplicationControllers(ns).Delete(t.Context(), "web", propagation(metav1.DeletePropagationOrphan)))(t)
	gone(t, "web", e.CoreV1().ReplicationControllers(ns).Get)
	for _, p := range e.settledPods(t, ns, replicas) {
		if len(p.OwnerReferences) != 0 {
			t.Errorf("pod %s is owned by %v", p.Name, p.OwnerReferences)
		}
	}
}

// own makes a pod owned by something else.
func (e *env) own(t *testing.T, ns, name, kind string, owner metav1.Object) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":%q,"name":%q,"uid":%q,"controller":true,"blockOwnerDeletion":true}]}}`, kind, owner.GetName(), owner.GetUID())
	if kind == "ReplicationController" { // another owner, that does not control
		patch = fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":%q,"name":%q,"uid":%q}]}}`, kind, owner.GetName(), owner.GetUID())
	}
	must(e.CoreV1().Pods(ns).Patch(t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}))(t)
}

func (e *env) collectCycle(t *testing.T) {
	ns := e.settled(t)
	var made []*corev1.Pod
	for _, name := range []string{"pod1", "pod2", "pod3"} {
		made = append(made, must(e.CoreV1().Pods(ns).Create(t.Context(), pod(name), metav1.CreateOptions{}))(t))
	}
	e.own(t, ns, "pod1", "Pod", made[2])
	e.own(t, ns, "pod2", "Pod", made[0])
	e.own(t, ns, "pod3", "Pod", made[1])
	must(0, e.CoreV1().Pods(ns).Delete(t.Context(), "pod1", metav1.DeleteOptions{}))(t)
	e.settledPods(t, ns, 0)
}

func (e *env) collectShared(t *testing.T) {
	ns := e.settled(t)
	e.controlled(t, ns, "first", replicas)
	second := e.controlled(t, ns, "second", 0)
	shared := map[string]bool{}
	for _, p := range e.settledPods(t, ns, replicas)[:replicas/2] {
		e.own(t, ns, p.Name, "ReplicationController", second)
		shared[p.Name] = true
	}
	must(0, e.CoreV1().ReplicationControllers(ns).Delete(t.Context(), "first", propagation(metav1.DeletePropagationForeground)))(t)
	gone(t, "first", e.CoreV1().ReplicationControllers(ns).Get)
	for _, p := range e.settledPods(t, ns, replicas/2) {
		if !shared[p.Name] || len(p.OwnerReferences) != 1 || p.OwnerReferences[0].UID != second.UID {
			t.Errorf("pod %s is there, owned by %v", p.Name, p.OwnerReferences)
		}
	}
}
