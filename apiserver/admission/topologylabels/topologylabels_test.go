package topologylabels

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func TestAdmit(t *testing.T) {
	f := informers.NewSharedInformerFactory(fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: "n", Labels: map[string]string{corev1.LabelTopologyZone: "z", corev1.LabelTopologyRegion: "r", corev1.LabelHostname: "n"},
	}}), 0)
	p := New()
	p.SetExternalKubeInformerFactory(f)
	if err := p.ValidateInitialization(); err != nil {
		t.Fatal(err)
	}
	f.Start(t.Context().Done())
	f.WaitForCacheSync(t.Context().Done())
	own := metav1.ObjectMeta{Labels: map[string]string{"a": "b", corev1.LabelTopologyZone: "other"}}
	to := func(node string) corev1.ObjectReference { return corev1.ObjectReference{Name: node} }
	for name, c := range map[string]struct {
		obj                   runtime.Object
		resource, subresource string
		want                  map[string]string
	}{
		"binding":         {&corev1.Binding{Target: to("n")}, "pods", "binding", map[string]string{corev1.LabelTopologyZone: "z", corev1.LabelTopologyRegion: "r"}},
		"older binding":   {&corev1.Binding{Target: to("n")}, "bindings", "", map[string]string{corev1.LabelTopologyZone: "z", corev1.LabelTopologyRegion: "r"}},
		"labelled":        {&corev1.Binding{ObjectMeta: *own.DeepCopy(), Target: to("n")}, "pods", "binding", map[string]string{"a": "b", corev1.LabelTopologyZone: "z", corev1.LabelTopologyRegion: "r"}},
		"pod on a node":   {&corev1.Pod{Spec: corev1.PodSpec{NodeName: "n"}}, "pods", "", map[string]string{corev1.LabelTopologyZone: "z", corev1.LabelTopologyRegion: "r"}},
		"pod without":     {&corev1.Pod{ObjectMeta: *own.DeepCopy()}, "pods", "", own.Labels},
		"node is missing": {&corev1.Binding{Target: to("m")}, "pods", "binding", nil},
		"another kind":    {&corev1.Secret{}, "secrets", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := admission.NewAttributesRecord(c.obj, nil, schema.GroupVersionKind{}, "x", "p", corev1.SchemeGroupVersion.WithResource(c.resource), c.subresource, admission.Create, nil, false, nil)
			if err := p.Admit(t.Context(), a, nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, c.obj.(metav1.Object).GetLabels()); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
		})
	}
}
