package controlplane

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	identityLabel = "apiserver.kubernetes.io/identity"
	identityValue = "kube-apiserver"
	// identityTime is how long a server's lease holds after it was last renewed.
	identityTime = time.Hour
	// identityRenewal is how old the renewal gets before the next: an idle server shall write little.
	identityRenewal = 10 * time.Minute
)

// Identity names this server among all that serve the cluster, by a lease in kube-system. Unlike the
// leases of Leases, which decide where requests go, these are for people and programs to look at.
type Identity struct {
	// ID is the lease's name; it stays the same when the server starts again on its host.
	ID, Hostname string
	// Instance is different with each start.
	Instance string
}

// keepIdentity renews this server's lease, and removes those of servers that are long gone.
func (k *Keeper) keepIdentity(ctx context.Context, now time.Time) error {
	if k.Identity.ID == "" {
		return nil
	}
	leases := k.Client.CoordinationV1().Leases(metav1.NamespaceSystem)
	list, err := leases.List(ctx, metav1.ListOptions{LabelSelector: identityLabel + "=" + identityValue, ResourceVersion: "0"})
	if err != nil {
		return fmt.Errorf("listing the leases of servers: %w", err)
	}
	var own *coordinationv1.Lease
	for i := range list.Items {
		l := &list.Items[i]
		if l.Name == k.Identity.ID {
			own = l
		} else if expired(l, now) {
			uid := l.UID
			err := leases.Delete(ctx, l.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
			if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return fmt.Errorf("deleting the lease of a server that is gone: %w", err)
			}
		}
	}
	wanted := k.identity(now)
	switch {
	case own == nil:
		_, err = leases.Create(ctx, wanted, metav1.CreateOptions{})
		err = unlessExists(err)
	case own.Spec.HolderIdentity == nil || *own.Spec.HolderIdentity != *wanted.Spec.HolderIdentity ||
		own.Spec.RenewTime == nil || now.Sub(own.Spec.RenewTime.Time) >= identityRenewal:
		renewed := own.DeepCopy()
		renewed.Labels, renewed.Spec = wanted.Labels, wanted.Spec
		_, err = leases.Update(ctx, renewed, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renewing the lease %s: %w", k.Identity.ID, err)
	}
	return nil
}

func expired(l *coordinationv1.Lease, now time.Time) bool {
	if l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return true // nobody would renew it
	}
	return now.After(l.Spec.RenewTime.Add(time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second))
}

func (k *Keeper) identity(now time.Time) *coordinationv1.Lease {
	holder, seconds, renewed := k.Identity.ID+"_"+k.Identity.Instance, int32(identityTime.Seconds()), metav1.NewMicroTime(now)
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: k.Identity.ID, Namespace: metav1.NamespaceSystem,
			Labels: map[string]string{identityLabel: identityValue, corev1.LabelHostname: k.Identity.Hostname},
		},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &renewed},
	}
}
