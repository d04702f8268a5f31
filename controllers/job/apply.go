package job

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/batch"
	"coracle.dev/coracle/controllers/internal/podcontrol"
)

// apply writes what was planned. The status comes before the finalizers: what
// loses its finalizer must be in it.
func (r *Reconciler) apply(ctx context.Context, j *batchv1.Job, a actions) error {
	created, createErr := r.create(ctx, j, a.create)
	removed, removeErr := r.remove(ctx, j, a.remove, a.uncounted)
	st := a.status
	st.Active += int32(created-len(a.create)) - int32(removed-len(a.remove))
	*st.Terminating += int32(removed - len(a.remove))
	if err := r.writeStatus(ctx, j, st); err != nil {
		return err
	}
	for _, e := range a.events {
		r.pods.Recorder.Event(j, e.kind, e.reason, e.message)
	}
	if _, err := batch.All(len(a.untrack), func(i int) error { return r.untrack(ctx, a.untrack[i]) }); err != nil {
		return err
	}
	if createErr != nil {
		return createErr
	}
	return removeErr
}

func (r *Reconciler) create(ctx context.Context, j *batchv1.Job, wanted []creation) (int, error) {
	r.expect.ExpectCreations(j.UID, len(wanted))
	created, err := batch.SlowStart(len(wanted), func(i int) error {
		return r.pods.Create(ctx, newPod(j, wanted[i]), j)
	})
	r.expect.CreationsObserved(j.UID, len(wanted)-created)
	if podcontrol.NamespaceTerminating(err) {
		return created, nil
	}
	return created, err
}

// remove deletes pods; those that are not to be counted lose their finalizer
// before.
func (r *Reconciler) remove(ctx context.Context, j *batchv1.Job, pods []*corev1.Pod, uncounted bool) (int, error) {
	for _, p := range pods {
		r.expect.ExpectDeletion(j.UID, p.UID)
	}
	return batch.All(len(pods), func(i int) error {
		if uncounted && tracked(pods[i]) {
			if err := r.untrack(ctx, pods[i]); err != nil {
				r.expect.DeletionObserved(j.UID, pods[i].UID)
				return err
			}
		}
		err := r.pods.Delete(ctx, pods[i], j)
		if err != nil {
			r.expect.DeletionObserved(j.UID, pods[i].UID)
		}
		return client.IgnoreNotFound(err)
	})
}

func (r *Reconciler) writeStatus(ctx context.Context, j *batchv1.Job, st batchv1.JobStatus) error {
	if apiequality.Semantic.DeepEqual(j.Status, st) {
		return nil
	}
	j.Status = st
	if err := r.client.Status().Update(ctx, j); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	r.written.Note(j)
	return nil
}

// untrack removes the finalizer from a pod, which has then been counted.
func (r *Reconciler) untrack(ctx context.Context, p *corev1.Pod) error {
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"$deleteFromPrimitiveList/finalizers":[%q]}}`, p.UID, batchv1.JobTrackingFinalizer)
	target := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}}
	err := r.client.Patch(ctx, target, client.RawPatch(types.StrategicMergePatchType, []byte(patch)))
	// Conflict and Invalid say that the name is another pod's by now.
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err) {
		return nil
	}
	return fmt.Errorf("removing the finalizer from pod %s: %w", p.Name, err)
}

// untrackStrays frees the pods that have the finalizer of a job of the given
// name and are not the job's; all of them if that is nil: nobody counts them.
func (r *Reconciler) untrackStrays(ctx context.Context, name types.NamespacedName, j *batchv1.Job) error {
	var list corev1.PodList
	err := r.client.List(ctx, &list, client.InNamespace(name.Namespace), client.MatchingFields{trackedIndex: name.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return fmt.Errorf("listing pods with the finalizer of jobs: %w", err)
	}
	var strays []*corev1.Pod
	for i := range list.Items {
		if j == nil || stray(j, &list.Items[i]) {
			strays = append(strays, &list.Items[i])
		}
	}
	_, err = batch.All(len(strays), func(i int) error { return r.untrack(ctx, strays[i]) })
	return err
}

// stray tells whether a pod is another's than the job's, or released by it. An
// orphan that matches may yet be adopted.
func stray(j *batchv1.Job, p *corev1.Pod) bool {
	if ref := metav1.GetControllerOfNoCopy(p); ref != nil {
		return ref.UID != j.UID
	}
	selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector)
	return err == nil && !selector.Matches(labels.Set(p.Labels))
}
