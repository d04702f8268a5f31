package defaultclass

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func creation(obj runtime.Object, resource schema.GroupVersionResource) admission.Attributes {
	return admission.NewAttributesRecord(obj, nil, schema.GroupVersionKind{}, "ns", "x", resource, "", admission.Create, nil, false, nil)
}

func meta(name string, age time.Duration, annotations ...string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age)), Annotations: map[string]string{}}
	for _, a := range annotations {
		m.Annotations[a] = "true"
	}
	return m
}

func TestClaims(t *testing.T) {
	none, own := "", "own"
	named := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{corev1.BetaStorageClassAnnotation: "x"}}}
	plain, marked := &storagev1.StorageClass{ObjectMeta: meta("plain", 0)}, &storagev1.StorageClass{ObjectMeta: meta("marked", time.Hour, storageAnnotation)}
	newer := &storagev1.StorageClass{ObjectMeta: meta("newer", time.Minute, betaStorageAnnotation)}
	for name, c := range map[string]struct {
		claim   *corev1.PersistentVolumeClaim
		classes []*storagev1.StorageClass
		want    string
	}{
		"no default":       {&corev1.PersistentVolumeClaim{}, []*storagev1.StorageClass{plain}, "<nil>"},
		"a default":        {&corev1.PersistentVolumeClaim{}, []*storagev1.StorageClass{plain, marked}, "marked"},
		"of two the newer": {&corev1.PersistentVolumeClaim{}, []*storagev1.StorageClass{marked, newer}, "newer"},
		"none wanted":      {&corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &none}}, []*storagev1.StorageClass{marked}, ""},
		"another":          {&corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &own}}, []*storagev1.StorageClass{marked}, "own"},
		"by an annotation": {named, []*storagev1.StorageClass{marked}, "<nil>"},
	} {
		f := informers.NewSharedInformerFactory(fake.NewClientset(), 0)
		p := NewStorage()
		p.SetExternalKubeInformerFactory(f)
		p.SetReadyFunc(func() bool { return true })
		for _, class := range c.classes {
			if err := f.Storage().V1().StorageClasses().Informer().GetStore().Add(class); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Admit(t.Context(), creation(c.claim, corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := "<nil>"
		if n := c.claim.Spec.StorageClassName; n != nil {
			got = *n
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestIngresses(t *testing.T) {
	one := &networkingv1.IngressClass{ObjectMeta: meta("one", 0, networkingv1.AnnotationIsDefaultIngressClass)}
	two := &networkingv1.IngressClass{ObjectMeta: meta("two", 0, networkingv1.AnnotationIsDefaultIngressClass)}
	for name, c := range map[string]struct {
		classes   []*networkingv1.IngressClass
		annotated bool
		want, err string
	}{
		"none":        {},
		"one":         {classes: []*networkingv1.IngressClass{one}, want: "one"},
		"two":         {classes: []*networkingv1.IngressClass{one, two}, err: "2 default IngressClasses were found, only 1 allowed"},
		"one, by old": {classes: []*networkingv1.IngressClass{one}, annotated: true},
	} {
		f := informers.NewSharedInformerFactory(fake.NewClientset(), 0)
		p := NewIngress()
		p.SetExternalKubeInformerFactory(f)
		p.SetReadyFunc(func() bool { return true })
		for _, class := range c.classes {
			if err := f.Networking().V1().IngressClasses().Informer().GetStore().Add(class); err != nil {
				t.Fatal(err)
			}
		}
		ingress := &networkingv1.Ingress{}
		if c.annotated {
			ingress.Annotations = map[string]string{"kubernetes.io/ingress.class": "x"}
		}
		err := p.Admit(t.Context(), creation(ingress, networkingv1.SchemeGroupVersion.WithResource("ingresses")), nil)
		if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
		if n := ingress.Spec.IngressClassName; (n != nil) != (c.want != "") || n != nil && *n != c.want {
			t.Errorf("%s: class %v, want %q", name, n, c.want)
		}
	}
}
