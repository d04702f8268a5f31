package simulate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
)

// leaseState is a node's lease as it was last written.
type leaseState = coordinationv1.Lease

// takeUp goes on with a Node that is there already, from an earlier run or after it was silent.
func (s *simulation) takeUp(ctx context.Context, n *node, cause error) error {
	if !apierrors.IsAlreadyExists(cause) {
		return fmt.Errorf("registering node %s: %w", n.name, cause)
	}
	there, err := s.client.CoreV1().Nodes().Get(ctx, n.name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading node %s: %w", n.name, err)
	}
	if there.Spec.ProviderID != "simulated://"+n.name {
		return fmt.Errorf("registering node %s: there is a node of this name that is not simulated; choose another --node-name", n.name)
	}
	if p, err := netip.ParsePrefix(there.Spec.PodCIDR); err == nil && p.Addr().Is4() {
		n.setRange(p)
	}
	if there.Annotations[Down] == "true" {
		n.down.Store(true)
		return nil
	}
	if err := s.report(ctx, n, there); err != nil {
		return err
	}
	return s.renew(ctx, n, there)
}

// report writes the node's status.
func (s *simulation) report(ctx context.Context, n *node, there *corev1.Node) error {
	there = there.DeepCopy()
	s.fill(n, &there.Status)
	if _, err := s.client.CoreV1().Nodes().UpdateStatus(ctx, there, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("reporting the status of node %s: %w", n.name, err)
	}
	return nil
}

// renew says by the lease that the node lives. With owner set, the lease may not be there yet.
func (s *simulation) renew(ctx context.Context, n *node, owner *corev1.Node) error {
	leases := s.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NewMicroTime(time.Now())
	if old := n.lease.Load(); old != nil {
		next := old.DeepCopy()
		next.Spec.RenewTime = &now
		written, err := leases.Update(ctx, next, metav1.UpdateOptions{})
		if err == nil {
			n.lease.Store(written)
			return nil
		}
		n.lease.Store(nil)
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return fmt.Errorf("renewing the lease of node %s: %w", n.name, err)
		}
	}
	lease := &leaseState{
		ObjectMeta: metav1.ObjectMeta{Name: n.name, Namespace: corev1.NamespaceNodeLease},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &n.name, LeaseDurationSeconds: new(int32(leaseSeconds)), RenewTime: &now},
	}
	if owner != nil {
		lease.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: owner.Name, UID: owner.UID}}
	}
	written, err := leases.Create(ctx, lease, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		if written, err = leases.Get(ctx, n.name, metav1.GetOptions{}); err == nil {
			n.lease.Store(written)
			return s.renew(ctx, n, owner)
		}
	}
	if err != nil {
		return fmt.Errorf("making the lease of node %s: %w", n.name, err)
	}
	n.lease.Store(written)
	return nil
}

// keepLeases renews the leases of all nodes, spread evenly over leaseRenewal, until ctx ends.
func (s *simulation) keepLeases(ctx context.Context) {
	const beat = 50 * time.Millisecond
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	turn := time.Now()
	next := 0
	for {
		var now time.Time
		select {
		case <-ctx.Done():
			return
		case now = <-ticker.C:
		}
		nodes := s.fleet.all()
		share := min(len(nodes), int(float64(len(nodes))*float64(now.Sub(turn))/float64(leaseRenewal)))
		if share == 0 {
			continue
		}
		turn = now
		first := next
		next = (next + share) % len(nodes)
		inParallel(min(s.Workers, share), share, func(i int) {
			n := nodes[(first+i)%len(nodes)]
			if n.down.Load() {
				return
			}
			if err := s.renew(ctx, n, nil); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "Could not keep a lease; trying again at the next turn")
			}
		})
	}
}

// nodeChanged follows what others do to a node.
func (s *simulation) nodeChanged(ctx context.Context, there *corev1.Node) {
	n := s.fleet.named(there.Name)
	if n == nil {
		return
	}
	down := there.Annotations[Down] == "true"
	if was := n.down.Swap(down); was && !down {
		klog.FromContext(ctx).Info("Simulated node is up again", "node", n.name)
		s.again(ctx, n, there)
	} else if down && !was {
		klog.FromContext(ctx).Info("Simulated node is down", "node", n.name)
	} else if !down && !readyNode(there) {
		s.again(ctx, n, there) // it was silent for too long, as when this process was stopped
	}
}

func readyNode(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// again reports a node that comes back, and takes up its pods.
func (s *simulation) again(ctx context.Context, n *node, there *corev1.Node) {
	s.background(ctx, func(ctx context.Context) error {
		err := errors.Join(s.renew(ctx, n, there), s.report(ctx, n, there))
		s.requeue(n.name)
		if apierrors.IsConflict(err) {
			return nil // the newer version is on its way
		}
		return err
	})
}

// nodeDeleted registers a node anew, as its agent would.
func (s *simulation) nodeDeleted(ctx context.Context, there *corev1.Node) {
	n := s.fleet.named(there.Name)
	if n == nil || n.down.Load() {
		return
	}
	n.lease.Store(nil)
	s.background(ctx, func(ctx context.Context) error { return s.register(ctx, n) })
}
