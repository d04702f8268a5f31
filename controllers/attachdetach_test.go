package controllers_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestVolumesAreAttached(t *testing.T) {
	e := start(t, "persistentvolume-binder-controller", "persistentvolume-attach-detach-controller")
	volumes := func(driver string) *corev1.Pod {
		t.Helper()
		v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: driver}, Spec: corev1.PersistentVolumeSpec{
			StorageClassName: driver, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: "h"}}}}
		e.create(v)
		c := e.awaitBound(driver)
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: driver}, Spec: template().Spec}
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: c.Name}}}}
		e.create(p)
		return p
	}
	e.create(&storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "no-attach.example.com"}, Spec: storagev1.CSIDriverSpec{AttachRequired: new(false)}})
	volumes("no-attach.example.com")
	p := volumes("disk.example.com")
	var list storagev1.VolumeAttachmentList
	e.eventually("the volume is asked for", func() error {
		if err := e.List(t.Context(), &list); err != nil {
			return err
		}
		if len(list.Items) != 1 || *list.Items[0].Spec.Source.PersistentVolumeName != "disk.example.com" || list.Items[0].Spec.NodeName != "node" {
			return fmt.Errorf("there are %+v", list.Items)
		}
		return nil
	}, &storagev1.VolumeAttachmentList{})
	a := &list.Items[0]
	a.Status.Attached = true
	if err := e.Status().Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	attached := func(want string) func() error {
		return func() error {
			n := &corev1.Node{}
			e.get("node", n)
			got := ""
			for _, v := range n.Status.VolumesAttached {
				got += string(v.Name)
			}
			return expect("what is attached", got, want)
		}
	}
	e.eventually("the node has the volume", attached("kubernetes.io/csi/disk.example.com^h"), &corev1.NodeList{})
	e.finish(p)
	e.awaitGone(a, &storagev1.VolumeAttachmentList{})
	e.eventually("the node has no volume", attached(""), &corev1.NodeList{})
}
