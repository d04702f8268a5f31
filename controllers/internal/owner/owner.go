// Package owner makes a controller the owner of the objects that match its
// selector, and lets go of those that match no longer.
//
// An object is adopted only if nothing controls it, it is not being deleted,
// and the controller, read past the cache, still exists and is not being
// deleted; the write is refused if the object has changed meanwhile.
package owner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Claimer claims objects for one controller, within one pass.
type Claimer struct {
	Client client.Client
	// Live reads the controller past the cache.
	Live client.Reader
	// Controller is the owner to be, of kind Kind, and Selector what it selects.
	Controller client.Object
	Kind       schema.GroupVersionKind
	Selector   labels.Selector

	checked  bool
	checkErr error
}

// Claim tells whether the object belongs to the controller, after adopting or
// releasing it as need be. That it was gone or changed meanwhile is no error:
// it is then not the controller's for this pass, and an event will follow.
func (c *Claimer) Claim(ctx context.Context, obj client.Object) (bool, error) {
	matches := c.Selector.Matches(labels.Set(obj.GetLabels()))
	ref := metav1.GetControllerOfNoCopy(obj)
	switch {
	case ref != nil && ref.UID != c.Controller.GetUID():
		return false, nil
	case ref != nil && matches:
		return true, nil
	case ref != nil:
		if c.Controller.GetDeletionTimestamp() != nil {
			return false, nil
		}
		return false, c.release(ctx, obj)
	case !matches || obj.GetDeletionTimestamp() != nil || c.Controller.GetDeletionTimestamp() != nil:
		return false, nil
	default:
		return c.adopt(ctx, obj)
	}
}

func (c *Claimer) adopt(ctx context.Context, obj client.Object) (bool, error) {
	if err := c.canAdopt(ctx); err != nil {
		return false, fmt.Errorf("adopting %s: %w", obj.GetName(), err)
	}
	err := c.patch(ctx, obj, map[string]any{
		"uid":             obj.GetUID(),
		"resourceVersion": obj.GetResourceVersion(),
		"ownerReferences": []metav1.OwnerReference{*metav1.NewControllerRef(c.Controller, c.Kind)},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("adopting %s: %w", obj.GetName(), err)
	}
	klog.FromContext(ctx).V(2).Info("Adopted", "object", klog.KObj(obj))
	return true, nil
}

func (c *Claimer) release(ctx context.Context, obj client.Object) error {
	err := c.patch(ctx, obj, map[string]any{
		"uid":             obj.GetUID(),
		"ownerReferences": []map[string]any{{"$patch": "delete", "uid": c.Controller.GetUID()}},
	})
	// Invalid is how the server says that the uid is another object's.
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("releasing %s: %w", obj.GetName(), err)
	}
	klog.FromContext(ctx).V(2).Info("Released", "object", klog.KObj(obj))
	return nil
}

// patch works on a copy, since the object may belong to the cache.
func (c *Claimer) patch(ctx context.Context, obj client.Object, meta map[string]any) error {
	data, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return err
	}
	target := obj.DeepCopyObject().(client.Object)
	return c.Client.Patch(ctx, target, client.RawPatch(types.StrategicMergePatchType, data))
}

// canAdopt asks the server once for each pass: the cache may not know yet that
// the controller is gone, and what it adopted then would be collected.
func (c *Claimer) canAdopt(ctx context.Context) error {
	if !c.checked {
		c.checked, c.checkErr = true, c.askLive(ctx)
	}
	return c.checkErr
}

func (c *Claimer) askLive(ctx context.Context) error {
	live := c.Controller.DeepCopyObject().(client.Object)
	if err := c.Live.Get(ctx, client.ObjectKeyFromObject(c.Controller), live); err != nil {
		return fmt.Errorf("reading the controller: %w", err)
	}
	if live.GetUID() != c.Controller.GetUID() {
		return fmt.Errorf("controller %s is gone: its uid was %s, that of its name now is %s",
			klog.KObj(live), c.Controller.GetUID(), live.GetUID())
	}
	if live.GetDeletionTimestamp() != nil {
		return fmt.Errorf("controller %s is being deleted", klog.KObj(live))
	}
	return nil
}

// Pods returns those of the given pods that belong to the controller. It goes
// on after an error, and then returns it with what it could claim.
func (c *Claimer) Pods(ctx context.Context, pods []*corev1.Pod) ([]*corev1.Pod, error) {
	return All(ctx, c, pods)
}

// All claims each of the given objects, as Pods does for pods.
func All[T client.Object](ctx context.Context, c *Claimer, objects []T) ([]T, error) {
	var mine []T
	var errs []error
	for _, obj := range objects {
		ok, err := c.Claim(ctx, obj)
		if err != nil {
			errs = append(errs, err)
		}
		if ok {
			mine = append(mine, obj)
		}
	}
	return mine, errors.Join(errs...)
}
