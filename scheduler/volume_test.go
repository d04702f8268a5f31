package scheduler_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/storage/volume"

	"coracle.dev/coracle/scheduler"
)

func storageClass(t testing.TB, c *kubernetes.Clientset, name, provisioner string) {
	t.Helper()
	mode := storagev1.VolumeBindingWaitForFirstConsumer
	_, err := c.StorageV1().StorageClasses().Create(t.Context(), &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &mode}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func claim(t testing.TB, c *kubernetes.Clientset, name, class string) {
	t.Helper()
	o := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: name}}
	o.Spec.StorageClassName = &class
	o.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	o.Spec.Resources.Requests = corev1.ResourceList{"storage": resource.MustParse("1Gi")}
	if _, err := c.CoreV1().PersistentVolumeClaims("test").Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func volumeOn(name, class, node string) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	v.Spec.StorageClassName = class
	v.Spec.Capacity = corev1.ResourceList{"storage": resource.MustParse("1Gi")}
	v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	v.Spec.Local = &corev1.LocalVolumeSource{Path: "/nowhere"}
	v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}}}}}}
	return v
}

func uses(claim string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: claim, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}})
	}
}

// bindClaims does what the controller of persistent volumes does: it binds claims to the volumes that were chosen for
// them, and makes volumes for claims for which a node was selected.
func bindClaims(t testing.TB, c *kubernetes.Clientset) {
	t.Helper()
	ctx := t.Context()
	claims, err := c.CoreV1().PersistentVolumeClaims("test").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	volumes, err := c.CoreV1().PersistentVolumes().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer claims.Stop()
		defer volumes.Stop()
		made := map[types.UID]bool{}
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-claims.ResultChan():
				o, is := e.Object.(*corev1.PersistentVolumeClaim)
				if node := ""; is && o.Spec.VolumeName == "" && !made[o.UID] {
					if node = o.Annotations[volume.AnnSelectedNode]; node != "" {
						made[o.UID] = true
						v := volumeOn("made-for-"+o.Name, *o.Spec.StorageClassName, node)
						v.Spec.ClaimRef = &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: o.Namespace, Name: o.Name, UID: o.UID}
						if _, err := c.CoreV1().PersistentVolumes().Create(ctx, v, metav1.CreateOptions{}); err != nil && ctx.Err() == nil {
							t.Errorf("making a volume: %v", err)
						}
					}
				}
			case e := <-volumes.ResultChan():
				if v, is := e.Object.(*corev1.PersistentVolume); is && v.Spec.ClaimRef != nil && v.Spec.ClaimRef.UID != "" {
					bindClaim(ctx, t, c, v)
				}
			}
		}
	}()
}

func bindClaim(ctx context.Context, t testing.TB, c *kubernetes.Clientset, v *corev1.PersistentVolume) {
	patch := []byte(`{"metadata":{"annotations":{"` + volume.AnnBindCompleted + `":"yes"}},"spec":{"volumeName":"` + v.Name + `"}}`)
	_, err := c.CoreV1().PersistentVolumeClaims("test").Patch(ctx, v.Spec.ClaimRef.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && ctx.Err() == nil {
		t.Errorf("binding a claim: %v", err)
	}
}

// TestVolumes: claims that wait for their first consumer get a volume where the pod goes, before the pod goes there.
func TestVolumes(t *testing.T) {
	c := start(t)
	for _, n := range []string{"a", "b"} {
		node(t, c, n, "4", "10")
	}
	storageClass(t, c, "local", volume.NotSupportedProvisioner)
	storageClass(t, c, "dynamic", "example.com/p")

	pod(t, c, "static", "100m", uses("static"))
	p := await(t, c, "static", "was unschedulable", func(p *corev1.Pod) bool { return unschedulable(p) != nil })
	if got, want := unschedulable(p).Message, `0/2 nodes are available: persistentvolumeclaim "static" not found. `; len(got) < len(want) || got[:len(want)] != want {
		t.Errorf("message %q", got)
	}
	claim(t, c, "static", "local")
	v, err := c.CoreV1().PersistentVolumes().Create(t.Context(), volumeOn("v", "local", "b"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v.Status.Phase = corev1.VolumeAvailable
	if _, err := c.CoreV1().PersistentVolumes().UpdateStatus(t.Context(), v, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	claim(t, c, "dynamic", "dynamic")
	pod(t, c, "dynamic", "100m", uses("dynamic"), func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "a"} })
	awaitObject(t, "a volume with a claim", func(ctx context.Context) bool {
		v, err := c.CoreV1().PersistentVolumes().Get(ctx, "v", metav1.GetOptions{})
		return err == nil && v.Spec.ClaimRef != nil && v.Spec.ClaimRef.Name == "static"
	})
	for _, name := range []string{"static", "dynamic"} {
		if p, err := c.CoreV1().Pods("test").Get(t.Context(), name, metav1.GetOptions{}); err != nil || bound(p) {
			t.Errorf("pod %s was bound before its claim (%v)", name, err)
		}
	}
	bindClaims(t, c)
	for name, node := range map[string]string{"static": "b", "dynamic": "a"} {
		if p := await(t, c, name, "was bound", bound); p.Spec.NodeName != node {
			t.Errorf("pod %s went to %s, want %s", name, p.Spec.NodeName, node)
		}
	}
}

// TestVolumesInVain: a pod whose volume does not come is tried again elsewhere, and holds nothing meanwhile.
func TestVolumesInVain(t *testing.T) {
	c := start(t, scheduler.Options{BindTimeout: time.Second})
	node(t, c, "a", "1", "10")
	storageClass(t, c, "dynamic", "example.com/p")
	claim(t, c, "data", "dynamic")
	pod(t, c, "p", "700m", uses("data"))
	p := await(t, c, "p", "was given up", func(p *corev1.Pod) bool {
		got := unschedulable(p)
		return got != nil && got.Reason == corev1.PodReasonSchedulerError
	})
	if got, want := unschedulable(p).Message, `running PreBind plugin "VolumeBinding": context deadline exceeded`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := event(t, c, p, "FailedScheduling"); got != unschedulable(p).Message {
		t.Errorf("FailedScheduling says %q", got)
	}
	selected, err := c.CoreV1().PersistentVolumeClaims("test").Get(t.Context(), "data", metav1.GetOptions{})
	if err != nil || selected.Annotations[volume.AnnSelectedNode] != "a" {
		t.Fatalf("the claim has the annotations %v (%v)", selected.Annotations, err)
	}
	awaitObject(t, "a claim that the provisioner gave back, since it cannot help there", func(ctx context.Context) bool {
		_, err := c.CoreV1().PersistentVolumeClaims("test").Patch(ctx, "data", types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+volume.AnnSelectedNode+`":null}}}`), metav1.PatchOptions{})
		return err == nil
	})
	bindClaims(t, c)
	await(t, c, "p", "was bound", bound)
}
