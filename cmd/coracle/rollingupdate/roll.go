package rollingupdate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// The annotations by which an update is known.
const (
	// sourceAnnotation, on the new controller, names the one that it replaces.
	sourceAnnotation = "kubectl.kubernetes.io/update-source-id"
	// desiredAnnotation, on the new controller, is how many replicas it is to have.
	desiredAnnotation = "kubectl.kubernetes.io/desired-replicas"
	// originalAnnotation, on the old controller, is how many it had.
	originalAnnotation = "kubectl.kubernetes.io/original-replicas"
)

// roller updates the ReplicationControllers of a namespace.
type roller struct {
	client corev1client.ReplicationControllerInterface
	out    io.Writer
	// period is waited between pods, and timeout for each of them.
	period, timeout time.Duration
}

// next is what is to be done when the old controller has from replicas and the new one to, which is to have
// desired: the sizes after one step, or the same if all is done.
func next(from, to, desired int32) (nextFrom, nextTo int32) {
	switch {
	case to < desired && from+to <= desired:
		return from, to + 1
	case from > 0:
		return from - 1, to
	case to < desired:
		return from, to + 1
	case to > desired:
		return from, to - 1
	}
	return from, to
}

// check tells why a controller cannot replace another.
func check(old, replacement *corev1.ReplicationController) error {
	if old.Name == replacement.Name {
		return fmt.Errorf("%s cannot have the same name as the existing ReplicationController %s", replacement.Name, old.Name)
	}
	for key, value := range old.Spec.Selector {
		if other, ok := replacement.Spec.Selector[key]; ok && other != value {
			return nil
		}
	}
	return fmt.Errorf("%s must specify a matching key with non-equal value in Selector for %s", replacement.Name, old.Name)
}

// update replaces the named controller by another, or goes on with that.
func (r *roller) update(ctx context.Context, name string, replacement *corev1.ReplicationController) error {
	old, err := r.client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := check(old, replacement); err != nil {
		return err
	}
	to, err := r.begin(ctx, old, replacement)
	if err != nil {
		return err
	}
	desired, err := size(to, desiredAnnotation)
	if err != nil {
		return err
	}
	if err := r.roll(ctx, old, to, desired); err != nil {
		return err
	}
	return r.finish(ctx, old, to)
}

// rollback takes back an update that has not come to its end.
func (r *roller) rollback(ctx context.Context, name string, replacement *corev1.ReplicationController) error {
	old, err := r.client.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	from, err := r.client.Get(ctx, replacement.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if from.Annotations[sourceAnnotation] != source(old) {
		return fmt.Errorf("%s is not being updated to %s", old.Name, from.Name)
	}
	desired, err := size(old, originalAnnotation)
	if err != nil {
		return err
	}
	if err := r.roll(ctx, from, old, desired); err != nil {
		return err
	}
	return r.finish(ctx, from, old)
}

func source(old *corev1.ReplicationController) string { return old.Name + ":" + string(old.UID) }

func size(rc *corev1.ReplicationController, annotation string) (int32, error) {
	n, err := strconv.ParseInt(rc.Annotations[annotation], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("reading annotation %s of %s: %w", annotation, rc.Name, err)
	}
	return int32(n), nil
}

// begin notes the sizes in both controllers, and creates the new one without replicas.
func (r *roller) begin(ctx context.Context, old, replacement *corev1.ReplicationController) (*corev1.ReplicationController, error) {
	if _, noted := old.Annotations[originalAnnotation]; !noted {
		if err := r.annotate(ctx, old, map[string]*string{originalAnnotation: new(fmt.Sprint(replicas(old)))}); err != nil {
			return nil, err
		}
	}
	existing, err := r.client.Get(ctx, replacement.Name, metav1.GetOptions{})
	switch {
	case err == nil && existing.Annotations[sourceAnnotation] == source(old):
		fmt.Fprintf(r.out, "Found existing update in progress (%s), resuming.\n", existing.Name)
		return existing, nil
	case err == nil:
		return nil, fmt.Errorf("replicationcontroller %q exists already, and is not an update of %s", replacement.Name, old.Name)
	case !apierrors.IsNotFound(err):
		return nil, err
	}
	desired := replicas(old)
	if replacement.Spec.Replicas != nil {
		desired = *replacement.Spec.Replicas
	}
	to := replacement.DeepCopy()
	to.Annotations = maps.Clone(to.Annotations)
	if to.Annotations == nil {
		to.Annotations = map[string]string{}
	}
	to.Annotations[sourceAnnotation], to.Annotations[desiredAnnotation] = source(old), fmt.Sprint(desired)
	to.Spec.Replicas = new(int32(0))
	if to, err = r.client.Create(ctx, to, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("creating %s: %w", replacement.Name, err)
	}
	fmt.Fprintf(r.out, "Created %s\n", to.Name)
	return to, nil
}

// roll moves the replicas from one controller to the other.
func (r *roller) roll(ctx context.Context, from, to *corev1.ReplicationController, desired int32) error {
	m, n := replicas(from), replicas(to)
	fmt.Fprintf(r.out, "Scaling up %s from %d to %d, scaling down %s from %d to 0 (keep %d pods available, don't exceed %d pods)\n",
		to.Name, n, desired, from.Name, m, min(desired, m+n), desired+1)
	// What was asked for before an interruption may not be there yet.
	if err := r.await(ctx, to.Name, n); err != nil {
		return err
	}
	for first := true; ; first = false {
		nextM, nextN := next(m, n, desired)
		var err error
		switch {
		case nextN > n:
			if !first {
				err = r.pause(ctx)
			}
			err = errors.Join(err, r.scale(ctx, to, "up", nextN))
		case nextN < n:
			err = r.scale(ctx, to, "down", nextN)
		case nextM < m:
			err = r.scale(ctx, from, "down", nextM)
		default:
			return nil
		}
		if err != nil {
			return err
		}
		m, n = nextM, nextN
	}
}

// scale gives a controller a size, and waits until its pods are there, ready, and no others.
func (r *roller) scale(ctx context.Context, rc *corev1.ReplicationController, direction string, n int32) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fmt.Fprintf(r.out, "Scaling %s %s to %d\n", rc.Name, direction, n)
	patch := fmt.Sprintf(`{"metadata":{"uid":%q},"spec":{"replicas":%d}}`, rc.UID, n)
	if _, err := r.client.Patch(ctx, rc.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("scaling %s: %w", rc.Name, err)
	}
	return r.await(ctx, rc.Name, n)
}

// await waits until the controller has the given number of pods, and all are ready.
func (r *roller) await(ctx context.Context, name string, n int32) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	only := fields.OneTermEqualSelector("metadata.name", name).String()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = only
			return r.client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = only
			return r.client.Watch(ctx, o)
		},
	}
	ready := int32(0)
	_, err := watchtools.UntilWithSync(ctx, lw, &corev1.ReplicationController{}, nil, func(e watch.Event) (bool, error) {
		rc, ok := e.Object.(*corev1.ReplicationController)
		if !ok || e.Type == watch.Deleted {
			return false, fmt.Errorf("replicationcontroller %q was deleted", name)
		}
		ready = rc.Status.AvailableReplicas
		return rc.Status.ObservedGeneration >= rc.Generation && rc.Status.Replicas == n && ready >= min(n, replicas(rc)), nil
	})
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Errorf("timed out after %v: %d of the %d pods of %s are ready; run the command again to go on, or with --rollback to go back", r.timeout, ready, n, name)
	}
	return err
}

func (r *roller) pause(ctx context.Context) error {
	if r.period == 0 {
		return nil
	}
	timer := time.NewTimer(r.period)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish deletes the controller that has no pods left, and the notes.
func (r *roller) finish(ctx context.Context, from, to *corev1.ReplicationController) error {
	if err := r.annotate(ctx, to, map[string]*string{sourceAnnotation: nil, desiredAnnotation: nil, originalAnnotation: nil}); err != nil {
		return err
	}
	fmt.Fprintf(r.out, "Update succeeded. Deleting %s\n", from.Name)
	err := r.client.Delete(ctx, from.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &from.UID}, PropagationPolicy: new(metav1.DeletePropagationBackground)})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s: %w", from.Name, err)
	}
	fmt.Fprintf(r.out, "replicationcontroller %q rolling updated\n", to.Name)
	return nil
}

// annotate sets annotations, or removes those that are nil.
func (r *roller) annotate(ctx context.Context, rc *corev1.ReplicationController, annotations map[string]*string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": rc.UID, "annotations": annotations}})
	if err != nil {
		return err
	}
	if _, err := r.client.Patch(ctx, rc.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("annotating %s: %w", rc.Name, err)
	}
	return nil
}

func replicas(rc *corev1.ReplicationController) int32 {
	if rc.Spec.Replicas == nil {
		return 1
	}
	return *rc.Spec.Replicas
}
