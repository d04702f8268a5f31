package claimresize

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

func claim(class, size string, phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: phase}}
	if class != "" {
		c.Spec.StorageClassName = &class
	}
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
	return c
}

func TestValidate(t *testing.T) {
	yes, no := true, false
	f := informers.NewSharedInformerFactory(fake.NewClientset(
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "elastic"}, AllowVolumeExpansion: &yes},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fixed"}, AllowVolumeExpansion: &no},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "silent"}},
	), 0)
	p := New()
	p.SetExternalKubeInformerFactory(f)
	f.Start(t.Context().Done())
	f.WaitForCacheSync(t.Context().Done())
	for name, c := range map[string]struct {
		old, now *corev1.PersistentVolumeClaim
		want     string
	}{
		"grows":           {claim("elastic", "1Gi", corev1.ClaimBound), claim("elastic", "2Gi", corev1.ClaimBound), ""},
		"same":            {claim("fixed", "1Gi", corev1.ClaimBound), claim("fixed", "1024Mi", corev1.ClaimBound), ""},
		"shrinks":         {claim("fixed", "2Gi", corev1.ClaimBound), claim("fixed", "1Gi", corev1.ClaimBound), ""},
		"unbound":         {claim("elastic", "1Gi", corev1.ClaimPending), claim("elastic", "2Gi", corev1.ClaimBound), "Only bound"},
		"fixed":           {claim("fixed", "1Gi", corev1.ClaimBound), claim("fixed", "2Gi", corev1.ClaimBound), "only dynamically provisioned"},
		"silent":          {claim("silent", "1Gi", corev1.ClaimBound), claim("silent", "2Gi", corev1.ClaimBound), "only dynamically provisioned"},
		"class is gone":   {claim("gone", "1Gi", corev1.ClaimBound), claim("gone", "2Gi", corev1.ClaimBound), "only dynamically provisioned"},
		"without a class": {claim("", "1Gi", corev1.ClaimBound), claim("", "2Gi", corev1.ClaimBound), "only dynamically provisioned"},
	} {
		t.Run(name, func(t *testing.T) {
			a := admission.NewAttributesRecord(c.now, c.old, schema.GroupVersionKind{}, "n", "x", corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims"), "", admission.Update, nil, false, nil)
			err := p.Validate(t.Context(), a, nil)
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
