package deployment

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/podcontrol"
)

// apply writes what was planned, replica sets first, the status last.
func (r *Reconciler) apply(ctx context.Context, d *appsv1.Deployment, a actions) error {
	if a.create != nil {
		if err := r.create(ctx, d, a); err != nil {
			return err
		}
	}
	for _, c := range a.update {
		if err := r.update(ctx, d, c); err != nil {
			return err
		}
	}
	for _, rs := range a.remove {
		klog.FromContext(ctx).V(2).Info("Deleting an old revision", "replicaSet", klog.KObj(rs))
		err := r.client.Delete(ctx, rs, client.Preconditions{UID: &rs.UID, ResourceVersion: &rs.ResourceVersion})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting replica set %s: %w", rs.Name, err)
		}
	}
	if err := r.writeRevision(ctx, d, a.revision); err != nil {
		return err
	}
	return r.writeStatus(ctx, d, a.status)
}

// create makes the new replica set. If there is one of its name already, and it
// is not ours for this very template, the hash collided: it is counted, which
// gives the next attempt another name.
func (r *Reconciler) create(ctx context.Context, d *appsv1.Deployment, a actions) error {
	rs := a.create
	err := r.client.Create(ctx, rs)
	switch {
	case err == nil:
		if n := *rs.Spec.Replicas; n > 0 {
			r.recorder.Eventf(d, corev1.EventTypeNormal, "ScalingReplicaSet", "Scaled up replica set %s from 0 to %d", rs.Name, n)
		}
		return nil
	case apierrors.IsAlreadyExists(err):
		return r.collided(ctx, d, rs, err)
	case podcontrol.NamespaceTerminating(err):
		return nil
	}
	message := fmt.Sprintf("Failed to create new replica set %q: %v", rs.Name, err)
	if hasDeadline(d) {
		st := *d.Status.DeepCopy()
		setCondition(&st, newCondition(appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonCreateError, message, r.now()))
		if statusErr := r.writeStatus(ctx, d, st); statusErr != nil {
			klog.FromContext(ctx).V(2).Info("Could not write the status", "err", statusErr)
		}
	}
	r.recorder.Event(d, corev1.EventTypeWarning, reasonCreateError, message)
	return fmt.Errorf("creating replica set %s: %w", rs.Name, err)
}

func (r *Reconciler) collided(ctx context.Context, d *appsv1.Deployment, rs *appsv1.ReplicaSet, cause error) error {
	existing := &appsv1.ReplicaSet{}
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(rs), existing); err != nil {
		return fmt.Errorf("reading replica set %s, which exists: %w", rs.Name, err)
	}
	if metav1.IsControlledBy(existing, d) && sameTemplate(&existing.Spec.Template, &d.Spec.Template) {
		// It is the one meant; the cache has yet to show it.
		return apierrors.NewConflict(appsv1.Resource("replicasets"), rs.Name, cause)
	}
	st := *d.Status.DeepCopy()
	count := int32(1)
	if st.CollisionCount != nil {
		count = *st.CollisionCount + 1
	}
	st.CollisionCount = &count
	klog.FromContext(ctx).V(2).Info("The template's hash collided", "replicaSet", klog.KObj(rs), "collisionCount", count)
	if err := r.writeStatus(ctx, d, st); err != nil {
		return err
	}
	return apierrors.NewConflict(appsv1.Resource("replicasets"), rs.Name, cause)
}

func (r *Reconciler) update(ctx context.Context, d *appsv1.Deployment, c change) error {
	size := *c.set.Spec.Replicas
	if err := r.client.Update(ctx, c.set); err != nil {
		return fmt.Errorf("updating replica set %s: %w", c.set.Name, err)
	}
	if size == c.from {
		return nil
	}
	direction := "up"
	if size < c.from {
		direction = "down"
	}
	r.recorder.Eventf(d, corev1.EventTypeNormal, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d",
		direction, c.set.Name, c.from, size)
	return nil
}

func (r *Reconciler) writeRevision(ctx context.Context, d *appsv1.Deployment, revision string) error {
	if revision == "" {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":             d.UID,
		"resourceVersion": d.ResourceVersion,
		"annotations":     map[string]string{revisionAnnotation: revision},
	}})
	if err != nil {
		return err
	}
	if err := r.client.Patch(ctx, d, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("writing revision %s: %w", revision, err)
	}
	return nil
}

func (r *Reconciler) writeStatus(ctx context.Context, d *appsv1.Deployment, st appsv1.DeploymentStatus) error {
	if apiequality.Semantic.DeepEqual(d.Status, st) {
		return nil
	}
	d.Status = st
	if err := r.client.Status().Update(ctx, d); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}
