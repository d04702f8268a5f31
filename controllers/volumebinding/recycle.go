package volumebinding

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// DefaultRecyclerImage is the image of the pods that empty volumes.
const DefaultRecyclerImage = "busybox"

const (
	recyclerPrefix    = "recycler-for-"
	recyclerNamespace = metav1.NamespaceDefault
	// recyclerSeconds bounds how long a recycler may run.
	recyclerSeconds = 300
	// scrub asks for little, since images differ in what their find can do.
	scrub = `test -d /scrub && rm -rf /scrub/..?* /scrub/.[!.]* /scrub/* && test -z "$(ls -A /scrub)"`
)

func isRecycler(o client.Object) bool {
	return o.GetNamespace() == recyclerNamespace && strings.HasPrefix(o.GetName(), recyclerPrefix)
}

// ofPod names the volume that a recycler empties.
func ofPod(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{volumeRequest(strings.TrimPrefix(o.GetName(), recyclerPrefix))}
}

// recycle has a pod empty the volume, and gives the volume back when it has.
func (r *Reconciler) recycle(ctx context.Context, v *corev1.PersistentVolume) error {
	p := &corev1.Pod{}
	err := r.client.Get(ctx, types.NamespacedName{Namespace: recyclerNamespace, Name: recyclerPrefix + v.Name}, p)
	if apierrors.IsNotFound(err) {
		if v.Status.Phase == corev1.VolumeFailed {
			return nil // it was tried; an administrator looks at it
		}
		p = r.recycler(v)
		if err := r.client.Create(ctx, p); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating the recycler of volume %s: %w", v.Name, err)
		}
		r.tell(v, normal("RecyclerPod", "Recycler pod: created %s/%s", p.Namespace, p.Name))
		return nil
	}
	if err != nil {
		return fmt.Errorf("getting the recycler of volume %s: %w", v.Name, err)
	}
	if p.DeletionTimestamp != nil || p.Annotations["coracle.dev/volume-uid"] != string(v.UID) {
		return r.dropRecycler(ctx, p)
	}
	switch p.Status.Phase {
	case corev1.PodSucceeded:
		r.tell(v, normal(reasonRecycled, "Volume recycled"))
		v.Spec.ClaimRef = nil
		delete(v.Annotations, "pv.kubernetes.io/bound-by-controller")
		if err := r.client.Update(ctx, v); err != nil {
			return fmt.Errorf("giving back volume %s: %w", v.Name, err)
		}
		klog.FromContext(ctx).Info("Recycled volume", "volume", v.Name)
		if err := r.setVolumePhase(ctx, v, corev1.VolumeAvailable, ""); err != nil {
			return err
		}
	case corev1.PodFailed:
		message := p.Status.Message
		if message == "" {
			message = "the pod that empties the volume failed"
		}
		if err := r.fail(ctx, v, warning(reasonFailedRecycle, "Recycle failed: %s", message)); err != nil {
			return err
		}
	default:
		return nil
	}
	return r.dropRecycler(ctx, p)
}

func (r *Reconciler) dropRecycler(ctx context.Context, p *corev1.Pod) error {
	if p.DeletionTimestamp != nil {
		return nil
	}
	if err := r.client.Delete(ctx, p, client.Preconditions{UID: &p.UID}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting recycler %s: %w", p.Name, err)
	}
	return nil
}

func (r *Reconciler) recycler(v *corev1.PersistentVolume) *corev1.Pod {
	source := corev1.VolumeSource{HostPath: v.Spec.HostPath, NFS: v.Spec.NFS}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: recyclerNamespace, Name: recyclerPrefix + v.Name,
			Annotations: map[string]string{"coracle.dev/volume-uid": string(v.UID)},
		},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: new(int64(recyclerSeconds)),
			AutomountServiceAccountToken: new(false),
			Volumes:                      []corev1.Volume{{Name: "vol", VolumeSource: source}},
			Containers: []corev1.Container{{
				Name: "pv-recycler", Image: r.RecyclerImage, ImagePullPolicy: corev1.PullIfNotPresent,
				Command: []string{"/bin/sh", "-c", scrub}, VolumeMounts: []corev1.VolumeMount{{Name: "vol", MountPath: "/scrub"}},
			}},
		},
	}
	if v.Spec.NodeAffinity != nil && v.Spec.NodeAffinity.Required != nil {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: v.Spec.NodeAffinity.Required}}
	}
	return p
}
