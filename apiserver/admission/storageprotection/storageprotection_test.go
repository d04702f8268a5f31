package storageprotection

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
)

func TestAdmit(t *testing.T) {
	with := func(finalizers ...string) metav1.ObjectMeta { return metav1.ObjectMeta{Finalizers: finalizers} }
	for name, c := range map[string]struct {
		obj         runtime.Object
		gr          schema.GroupResource
		subresource string
		want        []string
	}{
		"volume":       {&corev1.PersistentVolume{}, corev1.Resource("persistentvolumes"), "", []string{"kubernetes.io/pv-protection"}},
		"claim":        {&corev1.PersistentVolumeClaim{ObjectMeta: with("a")}, corev1.Resource("persistentvolumeclaims"), "", []string{"a", "kubernetes.io/pvc-protection"}},
		"once":         {&corev1.PersistentVolumeClaim{ObjectMeta: with("kubernetes.io/pvc-protection")}, corev1.Resource("persistentvolumeclaims"), "", []string{"kubernetes.io/pvc-protection"}},
		"class":        {&storagev1.VolumeAttributesClass{}, storagev1.Resource("volumeattributesclasses"), "", []string{"kubernetes.io/vac-protection"}},
		"status":       {&corev1.PersistentVolumeClaim{}, corev1.Resource("persistentvolumeclaims"), "status", nil},
		"not its sort": {&corev1.Secret{}, corev1.Resource("secrets"), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := admission.NewAttributesRecord(c.obj, nil, schema.GroupVersionKind{}, "n", "x", c.gr.WithVersion("v1"), c.subresource, admission.Create, nil, false, nil)
			if err := New().Admit(t.Context(), a, nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, c.obj.(metav1.Object).GetFinalizers()); diff != "" {
				t.Errorf("finalizers (-want +got):\n%s", diff)
			}
		})
	}
}
