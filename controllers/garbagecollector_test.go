package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const collector = "garbage-collector-controller"

func configMap(name string, owners ...metav1.OwnerReference) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: name, OwnerReferences: owners}}
}

func ref(of client.Object, block bool) metav1.OwnerReference {
	kind, apiVersion := "ConfigMap", "v1"
	if _, is := of.(*unstructured.Unstructured); is {
		kind, apiVersion = "Boat", "example.com/v1"
	}
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: of.GetName(), UID: of.GetUID(), BlockOwnerDeletion: &block}
}

func missing(name string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: name, UID: types.UID("00000000-0000-0000-0000-000000000000")}
}

// gone waits until an object is deleted.
func (e *env) gone(objects ...client.Object) {
	e.t.Helper()
	for _, o := range objects {
		e.eventually(fmt.Sprintf("%T %s is gone", o, o.GetName()), func() error {
			err := e.Get(e.t.Context(), client.ObjectKeyFromObject(o), o.DeepCopyObject().(client.Object))
			if apierrors.IsNotFound(err) {
				return nil
			}
			return errors.Join(err, errors.New("it exists"))
		}, &corev1.ConfigMapList{}, &corev1.PodList{})
	}
}

func (e *env) owners(name string, want ...string) {
	e.t.Helper()
	e.eventually(fmt.Sprintf("%s is owned by %v", name, want), func() error {
		var o corev1.ConfigMap
		if err := e.Get(e.t.Context(), types.NamespacedName{Namespace: e.ns, Name: name}, &o); err != nil {
			return err
		}
		var got []string
		for _, r := range o.OwnerReferences {
			got = append(got, r.Name)
		}
		return expect("owners", fmt.Sprint(got), fmt.Sprint(want))
	}, &corev1.ConfigMapList{})
}

func TestGarbageInTheBackground(t *testing.T) {
	e := start(t, collector)
	a := configMap("a")
	e.create(a)
	b := configMap("b", ref(a, false))
	e.create(b)
	c := configMap("c", ref(b, true))
	e.create(c)
	other := configMap("other")
	e.create(other)
	shared := configMap("shared", ref(a, true), ref(other, true), missing("never"))
	e.create(shared)
	lost := configMap("lost", missing("never"))
	e.create(lost)
	e.gone(lost)
	e.owners("shared", "a", "other")
	e.delete(a, client.PropagationPolicy(metav1.DeletePropagationBackground))
	e.gone(a, b, c)
	e.owners("shared", "other")
}

func TestGarbageInTheForeground(t *testing.T) {
	e := start(t, collector)
	a := configMap("a")
	e.create(a)
	b := configMap("b", ref(a, true))
	b.Finalizers = []string{"example.com/hold"}
	e.create(b)
	free := configMap("free", ref(a, false))
	e.create(free)
	e.delete(a, client.PropagationPolicy(metav1.DeletePropagationForeground))
	e.eventually("b is being deleted", func() error {
		e.get("b", b)
		if b.DeletionTimestamp == nil {
			return errors.New("it is not")
		}
		return nil
	}, &corev1.ConfigMapList{})
	e.get("a", a)
	if a.DeletionTimestamp == nil {
		t.Error("the owner is not being deleted")
	}
	e.patch(b, `{"metadata":{"finalizers":null}}`)
	e.gone(b, a, free)
}

func TestGarbageInACircle(t *testing.T) {
	e := start(t, collector)
	a := configMap("a")
	e.create(a)
	b := configMap("b", ref(a, true))
	e.create(b)
	c := configMap("c", ref(b, true))
	e.create(c)
	block := true
	a.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "c", UID: c.UID, BlockOwnerDeletion: &block}}
	if err := e.Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	e.delete(a, client.PropagationPolicy(metav1.DeletePropagationForeground))
	e.gone(a, b, c)
}

func TestOrphans(t *testing.T) {
	e := start(t, collector)
	a := configMap("a")
	e.create(a)
	for i := range 20 {
		e.create(configMap(fmt.Sprint("d", i), ref(a, true)))
	}
	e.delete(a, client.PropagationPolicy(metav1.DeletePropagationOrphan))
	e.gone(a)
	for i := range 20 {
		e.owners(fmt.Sprint("d", i))
	}
}

// TestGarbageOfCustomKinds has an object of a kind that appears while the
// collector runs own one of a built-in kind, and the other way round.
func TestGarbageOfCustomKinds(t *testing.T) {
	e := start(t, collector)
	ext, err := apiextensions.NewForConfig(e.cfg)
	if err != nil {
		t.Fatal(err)
	}
	preserve := true
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "boats.example.com"}}
	crd.Spec = apiextensionsv1.CustomResourceDefinitionSpec{
		Group: "example.com", Scope: apiextensionsv1.NamespaceScoped,
		Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "boats", Kind: "Boat"},
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &preserve}}}},
	}
	if _, err := ext.ApiextensionsV1().CustomResourceDefinitions().Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	boat := func(name string, owners ...metav1.OwnerReference) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Boat"}}
		u.SetNamespace("test")
		u.SetName(name)
		u.SetOwnerReferences(owners)
		return u
	}
	coracle := boat("coracle")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for err = e.Create(ctx, coracle); err != nil; err = e.Create(ctx, coracle) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("creating an object of the new kind: %v", err)
		}
	}
	paddle := configMap("paddle", ref(coracle, true))
	e.create(paddle)
	a := configMap("a")
	e.create(a)
	skiff := boat("skiff", ref(a, false))
	e.create(skiff)
	e.delete(coracle, client.PropagationPolicy(metav1.DeletePropagationForeground))
	e.gone(paddle)
	e.delete(a)
	for {
		err := e.Get(ctx, client.ObjectKeyFromObject(skiff), skiff)
		if apierrors.IsNotFound(err) {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the dependent of the custom kind is still there: %v", err)
		}
	}
}

// TestGarbageOfADeployment deletes the top of three levels.
func TestGarbageOfADeployment(t *testing.T) {
	e := start(t, collector, "deployment-controller", "replicaset-controller")
	e.kubelet()
	d := deployment("web", 5)
	e.create(d)
	e.waitDeployment("web", 5)
	e.delete(d, client.PropagationPolicy(metav1.DeletePropagationBackground))
	e.eventually("all pods are gone or going", func() error {
		for _, p := range e.pods() {
			if p.DeletionTimestamp == nil {
				return fmt.Errorf("pod %s stays", p.Name)
			}
		}
		return nil
	}, &corev1.PodList{})
	e.eventually("the replica sets are gone", func() error {
		var sets appsv1.ReplicaSetList
		if err := e.List(t.Context(), &sets, client.InNamespace(e.ns)); err != nil {
			return err
		}
		return expect("their number", len(sets.Items), 0)
	}, &appsv1.ReplicaSetList{})
}
