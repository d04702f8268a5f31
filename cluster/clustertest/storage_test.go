package clustertest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/cluster/clustertest"
)

// TestClaims: scheduler, volume binder, provisioner and nodes make a volume for the pod that is the
// first to use a claim, on that pod's node, and take it away after it.
func TestClaims(t *testing.T) {
	t.Parallel()
	client, err := kubernetes.NewForConfig(clustertest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	claims, pods, volumes := client.CoreV1().PersistentVolumeClaims("default"), client.CoreV1().Pods("default"), client.CoreV1().PersistentVolumes()
	_, err = claims.Create(ctx, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "c", Image: "image"}},
		Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	until := func(what string, check func() error) {
		t.Helper()
		for {
			err := check()
			if err == nil {
				return
			}
			select {
			case <-ctx.Done():
				t.Fatalf("waiting until %s: %v", what, err)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	var pod *corev1.Pod
	until("the pod runs", func() error {
		if pod, err = pods.Get(ctx, "p", metav1.GetOptions{}); err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it is %s: %v", pod.Status.Phase, pod.Status.Conditions)
		}
		return nil
	})
	claim, err := claims.Get(ctx, "data", metav1.GetOptions{})
	if err != nil || claim.Status.Phase != corev1.ClaimBound {
		t.Fatalf("the claim is %s, %v", claim.Status.Phase, err)
	}
	v, err := volumes.Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if node := v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values[0]; node != pod.Spec.NodeName || !strings.HasPrefix(v.Spec.Local.Path, "/simulated/") {
		t.Errorf("the volume is on %s at %s, the pod on %s", node, v.Spec.Local.Path, pod.Spec.NodeName)
	}
	if err := claims.Delete(ctx, "data", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := pods.Delete(ctx, "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until("claim and volume are gone", func() error {
		_, claimErr := claims.Get(ctx, "data", metav1.GetOptions{})
		_, volumeErr := volumes.Get(ctx, v.Name, metav1.GetOptions{})
		if !apierrors.IsNotFound(claimErr) || !apierrors.IsNotFound(volumeErr) {
			return fmt.Errorf("claim: %v, volume: %v", claimErr, volumeErr)
		}
		return nil
	})
}
