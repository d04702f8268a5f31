package statefulset

import (
	"context"
	"errors"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/batch"
	"coracle.dev/coracle/controllers/internal/podcontrol"
)

// apply writes what was planned. Claims come before pods: a pod is not to start
// without them, nor go before they follow it.
func (r *Reconciler) apply(ctx context.Context, set *appsv1.StatefulSet, a actions) error {
	if err := r.writeClaims(ctx, set, a); err != nil {
		return errors.Join(err, r.writeStatus(ctx, set, a.status))
	}
	for _, p := range a.failed {
		r.recorder.Eventf(set, corev1.EventTypeWarning, "RecreatingFailedPod", "StatefulSet %s/%s is recreating failed Pod %s", set.Namespace, set.Name, p.Name)
	}
	for _, p := range a.succeeded {
		r.recorder.Eventf(set, corev1.EventTypeNormal, "RecreatingTerminatedPod", "StatefulSet %s/%s is recreating terminated Pod %s", set.Namespace, set.Name, p.Name)
	}
	return errors.Join(r.create(ctx, set, a.create), r.relabel(ctx, a.relabel), r.remove(ctx, set, a.remove), r.writeStatus(ctx, set, a.status))
}

func (r *Reconciler) writeClaims(ctx context.Context, set *appsv1.StatefulSet, a actions) error {
	for _, c := range a.createClaims {
		pod := set.Name + c.Name[strings.LastIndex(c.Name, "-"):]
		err := r.client.Create(ctx, c)
		switch {
		case apierrors.IsAlreadyExists(err):
			// The cache has yet to show it, and whether it is on its way out.
			return apierrors.NewConflict(corev1.Resource("persistentvolumeclaims"), c.Name, err)
		case podcontrol.NamespaceTerminating(err):
			return nil
		case err != nil:
			r.recorder.Eventf(set, corev1.EventTypeWarning, podcontrol.FailedCreate, "create Claim %s for Pod %s in StatefulSet %s failed error: %v", c.Name, pod, set.Name, err)
			return fmt.Errorf("creating claim %s: %w", c.Name, err)
		}
		r.recorder.Eventf(set, corev1.EventTypeNormal, podcontrol.SuccessfulCreate, "create Claim %s Pod %s in StatefulSet %s success", c.Name, pod, set.Name)
	}
	for _, c := range a.updateClaims {
		if err := r.client.Update(ctx, c); err != nil {
			return fmt.Errorf("writing the owners of claim %s: %w", c.Name, err)
		}
	}
	return nil
}

func (r *Reconciler) create(ctx context.Context, set *appsv1.StatefulSet, pods []*corev1.Pod) error {
	r.expect.ExpectCreations(set.UID, len(pods))
	created, err := batch.SlowStart(len(pods), func(i int) error { return r.createPod(ctx, set, pods[i]) })
	r.expect.CreationsObserved(set.UID, len(pods)-created)
	if podcontrol.NamespaceTerminating(err) {
		return nil
	}
	return err
}

func (r *Reconciler) createPod(ctx context.Context, set *appsv1.StatefulSet, p *corev1.Pod) error {
	err := r.client.Create(ctx, p)
	switch {
	case apierrors.IsAlreadyExists(err):
		return r.taken(ctx, set, p, err)
	case podcontrol.NamespaceTerminating(err):
		return err
	case err != nil:
		r.recorder.Eventf(set, corev1.EventTypeWarning, podcontrol.FailedCreate, "create Pod %s in StatefulSet %s failed error: %v", p.Name, set.Name, err)
		return fmt.Errorf("creating pod %s: %w", p.Name, err)
	}
	klog.FromContext(ctx).V(2).Info("Created pod", "pod", klog.KObj(p))
	r.recorder.Eventf(set, corev1.EventTypeNormal, podcontrol.SuccessfulCreate, "create Pod %s in StatefulSet %s successful", p.Name, set.Name)
	return nil
}

// taken tells apart why a pod's name is taken: the cache has yet to show the
// set's own, or it is another's, which is told.
func (r *Reconciler) taken(ctx context.Context, set *appsv1.StatefulSet, p *corev1.Pod, cause error) error {
	existing := &corev1.Pod{}
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(p), existing); err != nil {
		return fmt.Errorf("reading pod %s, which exists: %w", p.Name, err)
	}
	if metav1.IsControlledBy(existing, set) {
		return apierrors.NewConflict(corev1.Resource("pods"), p.Name, cause)
	}
	r.recorder.Eventf(set, corev1.EventTypeWarning, podcontrol.FailedCreate, "create Pod %s in StatefulSet %s failed error: %v", p.Name, set.Name, cause)
	return fmt.Errorf("creating pod %s: %w", p.Name, cause)
}

func (r *Reconciler) relabel(ctx context.Context, pods []*corev1.Pod) error {
	for _, p := range pods {
		if err := r.client.Update(ctx, p); err != nil {
			return fmt.Errorf("giving pod %s back its identity: %w", p.Name, err)
		}
	}
	return nil
}

func (r *Reconciler) remove(ctx context.Context, set *appsv1.StatefulSet, pods []*corev1.Pod) error {
	for _, p := range pods {
		r.expect.ExpectDeletion(set.UID, p.UID)
	}
	_, err := batch.All(len(pods), func(i int) error {
		p := pods[i]
		err := r.client.Delete(ctx, p.DeepCopy(), client.Preconditions{UID: &p.UID})
		if err != nil {
			r.expect.DeletionObserved(set.UID, p.UID)
		}
		switch {
		case apierrors.IsNotFound(err), apierrors.IsConflict(err): // gone, or replaced
			return nil
		case err != nil:
			r.recorder.Eventf(set, corev1.EventTypeWarning, podcontrol.FailedDelete, "delete Pod %s in StatefulSet %s failed error: %v", p.Name, set.Name, err)
			return fmt.Errorf("deleting pod %s: %w", p.Name, err)
		}
		klog.FromContext(ctx).V(2).Info("Deleted pod", "pod", klog.KObj(p))
		r.recorder.Eventf(set, corev1.EventTypeNormal, podcontrol.SuccessfulDelete, "delete Pod %s in StatefulSet %s successful", p.Name, set.Name)
		return nil
	})
	return err
}

func (r *Reconciler) writeStatus(ctx context.Context, set *appsv1.StatefulSet, st appsv1.StatefulSetStatus) error {
	if err := r.written.Current(set); err != nil {
		return err
	}
	if apiequality.Semantic.DeepEqual(set.Status, st) {
		return nil
	}
	set.Status = st
	if err := r.client.Status().Update(ctx, set); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	r.written.Note(set)
	return nil
}
