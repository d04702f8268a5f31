package namespace

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

// source has the namespace there in its cache, and late only in the storage.
func source(t *testing.T) (*Source, *fake.Clientset) {
	t.Helper()
	there := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "there"}}
	client := fake.NewClientset(there, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "late"}})
	s := NewSource(admission.Create, admission.Update, admission.Delete)
	if s.ValidateInitialization() == nil {
		t.Error("a source without a client is no error")
	}
	f := informers.NewSharedInformerFactory(client, 0)
	s.SetExternalKubeClientSet(client)
	s.SetExternalKubeInformerFactory(f)
	if err := f.Core().V1().Namespaces().Informer().GetStore().Add(there); err != nil {
		t.Fatal(err)
	}
	s.SetReadyFunc(func() bool { return true })
	return s, client
}

func creation(kind, namespace string, dryRun bool) admission.Attributes {
	return admission.NewAttributesRecord(nil, nil, corev1.SchemeGroupVersion.WithKind(kind), namespace, "x",
		corev1.SchemeGroupVersion.WithResource("x"), "", admission.Create, nil, dryRun, nil)
}

func TestExists(t *testing.T) {
	s, client := source(t)
	p := &exists{s}
	for name, c := range map[string]struct {
		a    admission.Attributes
		want bool
	}{
		"there":           {creation("Pod", "there", false), true},
		"late":            {creation("Pod", "late", false), true},
		"missing":         {creation("Pod", "missing", false), false},
		"in no namespace": {creation("Node", "", false), true},
		"a namespace":     {creation("Namespace", "missing", false), true},
	} {
		if err := p.Validate(t.Context(), c.a, nil); (err == nil) != c.want || err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(client.Actions()); n != 2 {
		t.Errorf("%d requests, want two for what is not in the cache: %v", n, client.Actions())
	}
}

func TestAutoProvision(t *testing.T) {
	s, client := source(t)
	p := &autoProvision{s}
	for _, c := range []struct {
		namespace string
		dryRun    bool
	}{{"there", false}, {"late", false}, {"", false}, {"dry", true}, {"missing", false}, {"missing", false}} {
		if err := p.Admit(t.Context(), creation("Pod", c.namespace, c.dryRun), nil); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	list, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, ns := range list.Items {
		names = append(names, ns.Name)
	}
	slices.Sort(names)
	if want := []string{"late", "missing", "there"}; !slices.Equal(names, want) {
		t.Errorf("namespaces %v, want %v", names, want)
	}
}
