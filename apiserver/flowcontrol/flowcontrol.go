// Package flowcontrol keeps the flow schemas and priority levels by which the API server shares out its
// capacity until somebody says otherwise: the mandatory ones as they must be, the suggested ones as they
// are suggested unless a user has changed them.
//
// An object whose annotation apf.kubernetes.io/autoupdate-spec is "true" follows the suggestion, with
// "false" it is its owner's. Without the annotation, it is the server's as long as its specification was
// never changed. Objects that were once made here and are suggested no more are deleted, if they follow.
//
// Sharing itself is k8s.io/apiserver's.
package flowcontrol

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/client-go/kubernetes"
	flowcontrolclient "k8s.io/client-go/kubernetes/typed/flowcontrol/v1"
	"k8s.io/klog/v2"
)

// manager is the field manager of what is written here.
const manager = "api-priority-and-fairness-config-producer-v1"

// interval is how often the objects are looked at.
const interval = time.Minute

// Keep holds the objects as they should be until ctx ends.
func Keep(ctx context.Context, client kubernetes.Interface) {
	wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
		if err := Ensure(ctx, client); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Keeping the default flow schemas and priority levels")
		}
	}, interval, 0.25, false)
}

// Ensure makes or corrects all objects, and removes those that are suggested no more.
func Ensure(ctx context.Context, client kubernetes.Interface) error {
	c := client.FlowcontrolV1()
	levels := kind[*flowcontrolv1.PriorityLevelConfiguration]{
		mandatory: bootstrap.MandatoryPriorityLevelConfigurations,
		suggested: bootstrap.SuggestedPriorityLevelConfigurations,
		client:    c.PriorityLevelConfigurations(), list: listLevels(c),
		same: func(a, b *flowcontrolv1.PriorityLevelConfiguration) bool {
			return equality.Semantic.DeepEqual(a.Spec, b.Spec)
		},
		assign: func(to, from *flowcontrolv1.PriorityLevelConfiguration) { to.Spec = *from.Spec.DeepCopy() },
	}
	schemas := kind[*flowcontrolv1.FlowSchema]{
		mandatory: bootstrap.MandatoryFlowSchemas,
		suggested: bootstrap.SuggestedFlowSchemas,
		client:    c.FlowSchemas(), list: listSchemas(c),
		same:   func(a, b *flowcontrolv1.FlowSchema) bool { return equality.Semantic.DeepEqual(a.Spec, b.Spec) },
		assign: func(to, from *flowcontrolv1.FlowSchema) { to.Spec = *from.Spec.DeepCopy() },
	}
	// Schemas that name a level come after it.
	if err := levels.ensure(ctx); err != nil {
		return fmt.Errorf("keeping priority levels: %w", err)
	}
	if err := schemas.ensure(ctx); err != nil {
		return fmt.Errorf("keeping flow schemas: %w", err)
	}
	return nil
}

func listLevels(c flowcontrolclient.FlowcontrolV1Interface) func(context.Context, metav1.ListOptions) ([]*flowcontrolv1.PriorityLevelConfiguration, error) {
	return func(ctx context.Context, o metav1.ListOptions) ([]*flowcontrolv1.PriorityLevelConfiguration, error) {
		l, err := c.PriorityLevelConfigurations().List(ctx, o)
		if err != nil {
			return nil, err
		}
		return pointers(l.Items), nil
	}
}

func listSchemas(c flowcontrolclient.FlowcontrolV1Interface) func(context.Context, metav1.ListOptions) ([]*flowcontrolv1.FlowSchema, error) {
	return func(ctx context.Context, o metav1.ListOptions) ([]*flowcontrolv1.FlowSchema, error) {
		l, err := c.FlowSchemas().List(ctx, o)
		if err != nil {
			return nil, err
		}
		return pointers(l.Items), nil
	}
}

func pointers[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}

// object is a flow schema or a priority level.
type object interface {
	runtime.Object
	metav1.Object
}

// writer is what both typed clients have.
type writer[T any] interface {
	Create(context.Context, T, metav1.CreateOptions) (T, error)
	Update(context.Context, T, metav1.UpdateOptions) (T, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
}

// kind is one of the two kinds of objects.
type kind[T object] struct {
	mandatory, suggested []T
	client               writer[T]
	list                 func(context.Context, metav1.ListOptions) ([]T, error)
	same                 func(a, b T) bool
	assign               func(to, from T)
}

// width is how many writes are on their way together: at the first start, there is much to write.
const width = 8

func (k *kind[T]) ensure(ctx context.Context) error {
	current, err := k.list(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return fmt.Errorf("listing: %w", err)
	}
	found := map[string]T{}
	for _, obj := range current {
		found[obj.GetName()] = obj
	}
	var g errgroup.Group
	g.SetLimit(width)
	ensure := func(wanted []T, mandatory bool) {
		for _, w := range wanted {
			have, ok := found[w.GetName()]
			delete(found, w.GetName())
			g.Go(func() error {
				if !ok {
					return k.create(ctx, w)
				}
				return k.correct(ctx, have, w, mandatory)
			})
		}
	}
	ensure(k.mandatory, true)
	ensure(k.suggested, false)
	for _, obj := range found {
		if obj.GetAnnotations()[flowcontrolv1.AutoUpdateAnnotationKey] == "true" {
			g.Go(func() error { return k.remove(ctx, obj) })
		}
	}
	return g.Wait()
}

func (k *kind[T]) create(ctx context.Context, wanted T) error {
	obj := wanted.DeepCopyObject().(T)
	annotate(obj, true)
	_, err := k.client.Create(ctx, obj, metav1.CreateOptions{FieldManager: manager})
	if err != nil && !apierrors.IsAlreadyExists(err) { // another server was quicker
		return fmt.Errorf("creating %s: %w", wanted.GetName(), err)
	}
	return nil
}

func (k *kind[T]) correct(ctx context.Context, have, wanted T, mandatory bool) error {
	follows := mandatory || follows(have)
	noted := have.GetAnnotations()[flowcontrolv1.AutoUpdateAnnotationKey] == strconv.FormatBool(follows)
	if noted && (!follows || k.same(have, wanted)) {
		return nil
	}
	obj := have.DeepCopyObject().(T)
	annotate(obj, follows)
	if follows {
		k.assign(obj, wanted)
	}
	_, err := k.client.Update(ctx, obj, metav1.UpdateOptions{FieldManager: manager})
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) { // looked at again soon
		return fmt.Errorf("updating %s: %w", wanted.GetName(), err)
	}
	return nil
}

func (k *kind[T]) remove(ctx context.Context, obj T) error {
	uid, version := obj.GetUID(), obj.GetResourceVersion()
	err := k.client.Delete(ctx, obj.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting %s, which is suggested no more: %w", obj.GetName(), err)
	}
	return nil
}

// follows says whether an object is the server's to change.
func follows(obj metav1.Object) bool {
	if b, err := strconv.ParseBool(obj.GetAnnotations()[flowcontrolv1.AutoUpdateAnnotationKey]); err == nil {
		return b
	}
	return obj.GetGeneration() == 1
}

func annotate(obj metav1.Object, follows bool) {
	a := obj.GetAnnotations()
	if a == nil {
		a = map[string]string{}
	}
	a[flowcontrolv1.AutoUpdateAnnotationKey] = strconv.FormatBool(follows)
	obj.SetAnnotations(a)
}

// Await makes the objects for the first time, and tries until it succeeds or ctx ends.
func Await(ctx context.Context, client kubernetes.Interface) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = Ensure(ctx, client)
		return last == nil, nil
	})
	return errors.Join(err, last)
}
