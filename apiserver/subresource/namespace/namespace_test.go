package namespace_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/apiserver/apiservertest"
)

func TestDeletionInTwoSteps(t *testing.T) {
	cfg, _ := apiservertest.Start(t)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, namespaces := t.Context(), client.CoreV1().Namespaces()
	ns, err := namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(ns.Spec.Finalizers) != 1 || ns.Spec.Finalizers[0] != corev1.FinalizerKubernetes || ns.Status.Phase != corev1.NamespaceActive {
		t.Errorf("a new namespace: %v %v", ns.Spec.Finalizers, ns.Status.Phase)
	}
	other := types.UID("other")
	if err := namespaces.Delete(ctx, "gone", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}); !apierrors.IsConflict(err) {
		t.Errorf("deleting another namespace of the name: %v", err)
	}
	if err := namespaces.Delete(ctx, "gone", metav1.DeleteOptions{DryRun: []string{"All"}}); err != nil {
		t.Errorf("dry run: %v", err)
	}
	for range 2 { // the second deletion changes nothing
		if err := namespaces.Delete(ctx, "gone", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ns, err = namespaces.Get(ctx, "gone", metav1.GetOptions{})
	if err != nil || ns.Status.Phase != corev1.NamespaceTerminating || ns.DeletionTimestamp == nil {
		t.Fatalf("after its deletion: %v %v, %v", ns.Status.Phase, ns.DeletionTimestamp, err)
	}
	_, err = client.CoreV1().ConfigMaps("gone").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "late"}}, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("creating in a terminating namespace: %v", err)
	}
	// Finalizers go by /finalize alone, and the object with the last of them.
	ns.Spec.Finalizers = nil
	kept, err := namespaces.Update(ctx, ns, metav1.UpdateOptions{})
	if err != nil || len(kept.Spec.Finalizers) != 1 {
		t.Fatalf("finalizers by an ordinary update: %v, %v", kept.Spec.Finalizers, err)
	}
	kept.Spec.Finalizers = nil
	if _, err := namespaces.Finalize(ctx, kept, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := namespaces.Get(ctx, "gone", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after the last finalizer: %v", err)
	}
}
