// Package protection keeps an object that is in use from going away: it has a
// finalizer until it is deleted and nobody uses it any more.
package protection

import (
	"context"
	"fmt"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// Keep adds the finalizer to an object that lives, and removes it from one that
// is being deleted once used finds no use. It writes to the version that o is
// of; o belongs to the caller.
func Keep(ctx context.Context, c client.Client, o client.Object, finalizer string, used func() (bool, error)) error {
	switch has := controllerutil.ContainsFinalizer(o, finalizer); {
	case o.GetDeletionTimestamp() == nil && !has:
		controllerutil.AddFinalizer(o, finalizer)
	case o.GetDeletionTimestamp() != nil && has:
		is, err := used()
		if err != nil {
			return fmt.Errorf("finding who uses %s: %w", o.GetName(), err)
		}
		if is {
			klog.FromContext(ctx).V(2).Info("Kept what is in use", "object", klog.KObj(o))
			return nil
		}
		controllerutil.RemoveFinalizer(o, finalizer)
	default:
		return nil
	}
	if err := c.Update(ctx, o); err != nil {
		return fmt.Errorf("writing the finalizers of %s: %w", o.GetName(), err)
	}
	return nil
}
