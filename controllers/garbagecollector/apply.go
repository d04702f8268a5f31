package garbagecollector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/klog/v2"
)

var (
	// errUnknownKind is about an owner of a kind that discovery has not told of.
	errUnknownKind = errors.New("the kind is not known")
	// errUnobserved is about an owner that exists but that no watch has told of.
	errUnobserved = errors.New("no watch has told of it yet")
)

// expected are the errors that show a graph that lags behind.
func expected(err error) bool {
	return apierrors.IsConflict(err) || errors.Is(err, errUnknownKind) || errors.Is(err, errUnobserved)
}

// at is where requests about an object go.
func (c *Collector) at(id identity) (metadata.ResourceInterface, error) {
	c.mu.Lock()
	k, known := c.kinds.find(id.apiVersion, id.kind)
	c.mu.Unlock()
	if !known {
		c.signal()
		return nil, fmt.Errorf("%s %s: %w", id.apiVersion, id.kind, errUnknownKind)
	}
	getter := c.metadata.Resource(k.resource)
	if !k.namespaced {
		return getter, nil
	}
	return getter.Namespace(id.namespace), nil
}

// apply does what was planned for an object.
func (c *Collector) apply(ctx context.Context, o object, a action) error {
	for _, uid := range a.first {
		c.queue.Add(work{uid: uid})
	}
	var err error
	switch {
	case a.finalize:
		err = c.removeFinalizer(ctx, o.identity, metav1.FinalizerDeleteDependents)
	case len(a.release) > 0:
		err = c.patchOwners(ctx, o.identity, o.resourceVersion, without(o.owners, a.release...))
	case a.unblock:
		if err = c.patchOwners(ctx, o.identity, o.resourceVersion, unblocking(o.owners)); err == nil {
			err = c.delete(ctx, o.identity, "", a.deletion)
		}
	case a.deletion != "":
		err = c.delete(ctx, o.identity, o.resourceVersion, a.deletion)
	}
	if apierrors.IsNotFound(err) {
		return nil // the watch will tell
	}
	return err
}

// delete deletes an object if it is still as it was decided on.
func (c *Collector) delete(ctx context.Context, id identity, resourceVersion string, how metav1.DeletionPropagation) error {
	getter, err := c.at(id)
	if err != nil {
		return err
	}
	only := metav1.Preconditions{UID: &id.uid}
	if resourceVersion != "" {
		only.ResourceVersion = &resourceVersion
	}
	err = getter.Delete(ctx, id.name, metav1.DeleteOptions{Preconditions: &only, PropagationPolicy: &how})
	if err != nil {
		return fmt.Errorf("deleting %s %s/%s: %w", id.kind, id.namespace, id.name, err)
	}
	klog.FromContext(ctx).V(2).Info("Deleted object without owners", "kind", id.kind, "object", klog.KRef(id.namespace, id.name), "propagation", how)
	return nil
}

// orphan takes the dependents from an owner that is being deleted, and lets it
// go then.
func (c *Collector) orphan(ctx context.Context, uid types.UID) error {
	owner, dependents, known := c.dependentsOf(uid)
	if !known {
		return nil
	}
	var errs []error
	for _, d := range dependents {
		errs = append(errs, c.release(ctx, d.identity, uid))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err := c.removeFinalizer(ctx, owner.identity, metav1.FinalizerOrphanDependents)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// release removes the reference to an owner from a dependent's present state.
func (c *Collector) release(ctx context.Context, id identity, owner types.UID) error {
	getter, err := c.at(id)
	if err != nil {
		return err
	}
	o, err := getter.Get(ctx, id.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || err == nil && o.UID != id.uid:
		return nil
	case err != nil:
		return fmt.Errorf("reading %s %s/%s: %w", id.kind, id.namespace, id.name, err)
	}
	rest := without(o.OwnerReferences, owner)
	if len(rest) == len(o.OwnerReferences) {
		return nil
	}
	err = c.patchOwners(ctx, id, o.ResourceVersion, rest)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (c *Collector) patchOwners(ctx context.Context, id identity, resourceVersion string, owners []metav1.OwnerReference) error {
	return c.patch(ctx, id, map[string]any{"uid": id.uid, "resourceVersion": resourceVersion, "ownerReferences": owners})
}

// removeFinalizer removes a finalizer from an object's present state.
func (c *Collector) removeFinalizer(ctx context.Context, id identity, finalizer string) error {
	getter, err := c.at(id)
	if err != nil {
		return err
	}
	o, err := getter.Get(ctx, id.name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading %s %s/%s: %w", id.kind, id.namespace, id.name, err)
	}
	if o.UID != id.uid || !slices.Contains(o.Finalizers, finalizer) {
		return nil
	}
	rest := slices.DeleteFunc(o.Finalizers, func(f string) bool { return f == finalizer })
	return c.patch(ctx, id, map[string]any{"uid": id.uid, "resourceVersion": o.ResourceVersion, "finalizers": rest})
}

// patch changes metadata by a merge patch, which every kind understands.
func (c *Collector) patch(ctx context.Context, id identity, meta map[string]any) error {
	getter, err := c.at(id)
	if err != nil {
		return err
	}
	data, err := json.Marshal(map[string]any{"metadata": meta})
	if err != nil {
		return fmt.Errorf("encoding a patch of %s %s/%s: %w", id.kind, id.namespace, id.name, err)
	}
	if _, err := getter.Patch(ctx, id.name, types.MergePatchType, data, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("patching %s %s/%s: %w", id.kind, id.namespace, id.name, err)
	}
	return nil
}

func without(refs []metav1.OwnerReference, uids ...types.UID) []metav1.OwnerReference {
	return slices.DeleteFunc(slices.Clone(refs), func(r metav1.OwnerReference) bool { return slices.Contains(uids, r.UID) })
}

func unblocking(refs []metav1.OwnerReference) []metav1.OwnerReference {
	out := slices.Clone(refs)
	for i := range out {
		out[i].BlockOwnerDeletion = new(bool)
	}
	return out
}
