package controllers_test

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// awaitFinalizer waits until an object has a finalizer.
func (e *env) awaitFinalizer(o client.Object, finalizer string, lists ...client.ObjectList) {
	e.t.Helper()
	e.eventually(o.GetName()+" is protected", func() error {
		if err := e.Get(e.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		if !slices.Contains(o.GetFinalizers(), finalizer) {
			return fmt.Errorf("its finalizers are %v", o.GetFinalizers())
		}
		return nil
	}, lists...)
}

func (e *env) finish(p *corev1.Pod) {
	e.t.Helper()
	if err := e.Status().Patch(e.t.Context(), p, client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Succeeded"}}`))); err != nil {
		e.t.Fatal(err)
	}
}

func TestStorageInUseStays(t *testing.T) {
	e := start(t, "persistentvolume-binder-controller", "persistentvolumeclaim-protection-controller",
		"persistentvolume-protection-controller", "volumeattributesclass-protection-controller", "ephemeral-volume-controller")
	claims, volumes, classes := &corev1.PersistentVolumeClaimList{}, &corev1.PersistentVolumeList{}, &storagev1.VolumeAttributesClassList{}
	class := &storagev1.VolumeAttributesClass{ObjectMeta: metav1.ObjectMeta{Name: "gold"}, DriverName: "example.com", Parameters: map[string]string{"iops": "100"}}
	e.create(class)
	e.awaitFinalizer(class, "kubernetes.io/vac-protection", classes)

	v := e.persistentVolume("v", "x", "1Gi", corev1.PersistentVolumeReclaimRetain)
	c := e.awaitBound("x")
	e.awaitFinalizer(v, "kubernetes.io/pv-protection", volumes)
	e.awaitFinalizer(c, "kubernetes.io/pvc-protection", claims)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "p"}, Spec: template().Spec}
	p.Spec.Volumes = []corev1.Volume{
		{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: c.Name}}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"made": "here"}},
			Spec: corev1.PersistentVolumeClaimSpec{
				StorageClassName: new("none"), VolumeAttributesClassName: new("gold"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			}}}}},
	}
	e.create(p)
	own := &corev1.PersistentVolumeClaim{}
	e.eventually("the pod's own claim is made", func() error {
		return e.Get(t.Context(), types.NamespacedName{Namespace: e.ns, Name: "p-scratch"}, own)
	}, claims)
	if own.Labels["made"] != "here" || !metav1.IsControlledBy(own, p) {
		t.Errorf("it is %+v", own.ObjectMeta)
	}
	e.awaitFinalizer(own, "kubernetes.io/pvc-protection", claims)
	// Deletion only marks them; what a controller did wrongly would show by the time of the next steps.
	e.delete(class)
	e.delete(v)
	e.delete(c)
	e.delete(own)
	e.awaitFinalizer(c, "kubernetes.io/pvc-protection", claims)
	e.awaitFinalizer(v, "kubernetes.io/pv-protection", volumes)
	e.awaitFinalizer(class, "kubernetes.io/vac-protection", classes)
	e.finish(p)
	e.awaitGone(c, claims)
	e.awaitGone(v, volumes)
	again := &corev1.PersistentVolumeClaim{}
	e.eventually("the pod's claim is made again", func() error {
		if err := e.Get(t.Context(), client.ObjectKeyFromObject(own), again); err != nil {
			return err
		}
		if again.UID == own.UID {
			return fmt.Errorf("it is the old one")
		}
		return nil
	}, claims)
	e.delete(p, client.GracePeriodSeconds(0))
	e.delete(again)
	e.awaitGone(class, classes)
}
