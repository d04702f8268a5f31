package inprocess

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestNamespaces(t *testing.T) {
	e := cluster(t)
	parallel(t, []subtest{
		{"apply a finalizer", e.finalizeNamespace},
		{"apply an update", e.updateNamespace},
		{"apply changes to the status", e.namespaceStatus},
		{"deletion removes pods", e.deleteNamespacePods},
		{"deletion removes services", e.deleteNamespaceServices},
		{"patch", e.patchNamespace},
		{"ordered deletion", e.orderedDeletion},
	})
}

func (e *env) finalizeNamespace(t *testing.T) {
	name, api := e.namespace(t), e.CoreV1().Namespaces()
	const fake = "example.com/fake"
	has := func() bool {
		return slices.Contains(must(api.Get(t.Context(), name, metav1.GetOptions{}))(t).Spec.Finalizers, fake)
	}
	ns := must(api.Get(t.Context(), name, metav1.GetOptions{}))(t)
	ns.Spec.Finalizers = append(ns.Spec.Finalizers, fake)
	ns = must(api.Finalize(t.Context(), ns, metav1.UpdateOptions{}))(t)
	if !has() {
		t.Error("the finalizer is not there")
	}
	ns.Spec.Finalizers = slices.DeleteFunc(ns.Spec.Finalizers, func(f corev1.FinalizerName) bool { return f == fake })
	must(api.Finalize(t.Context(), ns, metav1.UpdateOptions{}))(t)
	if has() {
		t.Error("the finalizer is still there")
	}
}

func (e *env) updateNamespace(t *testing.T) {
	name, api := e.namespace(t), e.CoreV1().Namespaces()
	ns := must(api.Get(t.Context(), name, metav1.GetOptions{}))(t)
	ns.Labels["updated"] = "yes"
	must(api.Update(t.Context(), ns, metav1.UpdateOptions{}))(t)
	if ns = must(api.Get(t.Context(), name, metav1.GetOptions{}))(t); ns.Labels["updated"] != "yes" {
		t.Errorf("the labels are %v", ns.Labels)
	}
}

func (e *env) patchNamespace(t *testing.T) {
	name, api := e.namespace(t), e.CoreV1().Namespaces()
	must(api.Patch(t.Context(), name, types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"patched":"yes"}}}`), metav1.PatchOptions{}))(t)
	if ns := must(api.Get(t.Context(), name, metav1.GetOptions{}))(t); ns.Labels["patched"] != "yes" {
		t.Errorf("the labels are %v", ns.Labels)
	}
}

func (e *env) namespaceStatus(t *testing.T) {
	name, api := e.namespace(t), e.CoreV1().Namespaces()
	ns := &corev1.Namespace{}
	must(0, e.CoreV1().RESTClient().Get().Resource("namespaces").Name(name).SubResource("status").Do(t.Context()).Into(ns))(t)
	if ns.Status.Phase != corev1.NamespaceActive {
		t.Errorf("the phase is %s", ns.Status.Phase)
	}
	has := func(ns *corev1.Namespace, kind corev1.NamespaceConditionType) {
		t.Helper()
		if !slices.ContainsFunc(ns.Status.Conditions, func(c corev1.NamespaceCondition) bool { return c.Type == kind && c.Status == "True" }) {
			t.Errorf("the conditions are %v, want %s", ns.Status.Conditions, kind)
		}
	}
	patch := `{"metadata":{"annotations":{"patched":"yes"}},"status":{"conditions":[{"type":"StatusPatch","status":"True","reason":"E2E","message":"patched"}]}}`
	ns = must(api.Patch(t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"))(t)
	has(ns, "StatusPatch")
	ns.Status.Conditions = append(ns.Status.Conditions, corev1.NamespaceCondition{Type: "StatusUpdate", Status: "True", Reason: "E2E", Message: "updated"})
	has(must(api.UpdateStatus(t.Context(), ns, metav1.UpdateOptions{}))(t), "StatusUpdate")
}

// recreated deletes a namespace, waits until it is gone, and makes one of the same name.
func (e *env) recreated(t *testing.T, name string) {
	t.Helper()
	must(0, e.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}))(t)
	gone(t, name, e.CoreV1().Namespaces().Get)
	must(e.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))(t)
}

func (e *env) deleteNamespacePods(t *testing.T) {
	ns := e.settled(t)
	must(e.CoreV1().Pods(ns).Create(t.Context(), pod("p"), metav1.CreateOptions{}))(t)
	eventually(t, "the pod runs", func(ctx context.Context) error {
		if p := must(e.CoreV1().Pods(ns).Get(ctx, "p", metav1.GetOptions{}))(t); p.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it is %s", p.Status.Phase)
		}
		return nil
	})
	e.recreated(t, ns)
	if list := must(e.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{}))(t); len(list.Items) != 0 {
		t.Errorf("%d pods are left", len(list.Items))
	}
}

func (e *env) deleteNamespaceServices(t *testing.T) {
	ns := e.settled(t)
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
	must(e.CoreV1().Services(ns).Create(t.Context(), s, metav1.CreateOptions{}))(t)
	e.recreated(t, ns)
	if list := must(e.CoreV1().Services(ns).List(t.Context(), metav1.ListOptions{}))(t); len(list.Items) != 0 {
		t.Errorf("%d services are left", len(list.Items))
	}
}

// orderedDeletion holds a pod, and sees that nothing else of the namespace goes before it.
func (e *env) orderedDeletion(t *testing.T) {
	ns := e.settled(t)
	held := pod("held")
	held.Finalizers = []string{"example.com/hold"}
	must(e.CoreV1().Pods(ns).Create(t.Context(), held, metav1.CreateOptions{}))(t)
	must(e.CoreV1().ConfigMaps(ns).Create(t.Context(), configMap("last"), metav1.CreateOptions{}))(t)
	must(0, e.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}))(t)
	eventually(t, "the namespace waits for the pod", func(ctx context.Context) error {
		p := must(e.CoreV1().Pods(ns).Get(ctx, "held", metav1.GetOptions{}))(t)
		if p.DeletionTimestamp == nil {
			return errors.New("the pod is not being deleted")
		}
		status := must(e.CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{}))(t).Status
		if !slices.ContainsFunc(status.Conditions, func(c corev1.NamespaceCondition) bool {
			return c.Type == corev1.NamespaceFinalizersRemaining && c.Status == corev1.ConditionTrue
		}) {
			return fmt.Errorf("the namespace's conditions are %v", status.Conditions)
		}
		return nil
	})
	if cm := must(e.CoreV1().ConfigMaps(ns).Get(t.Context(), "last", metav1.GetOptions{}))(t); cm.DeletionTimestamp != nil {
		t.Error("a ConfigMap is deleted before the pod is gone")
	}
	must(e.CoreV1().Pods(ns).Patch(t.Context(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}))(t)
	gone(t, ns, e.CoreV1().Namespaces().Get)
}
