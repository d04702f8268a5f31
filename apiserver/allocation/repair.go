package allocation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
)

// grace is how long an address may be taken before its Service is there: the request that took it may
// still be about to create the Service.
const grace = time.Minute

// Plan is what Repair does.
type Plan struct {
	// Give are addresses whose Service is gone; Take those that Services have without having taken
	// them; Clashes those that a Service has while another took them.
	Give    []networkingv1.IPAddress
	Take    map[netip.Addr]Owner
	Clashes map[netip.Addr]Owner
}

// PlanRepair compares the addresses of one range that Services have with those that are taken.
func PlanRepair(cidr netip.Prefix, services []corev1.Service, taken []networkingv1.IPAddress, now time.Time) Plan {
	plan := Plan{Take: map[netip.Addr]Owner{}, Clashes: map[netip.Addr]Owner{}}
	owners := map[netip.Addr]Owner{}
	for i := range services {
		for _, ip := range AddressesOf(&services[i]) {
			owners[ip] = Owner{services[i].Namespace, services[i].Name}
			if cidr.Contains(ip) {
				plan.Take[ip] = owners[ip]
			}
		}
	}
	for _, t := range taken {
		ip, err := netip.ParseAddr(t.Name)
		ref := t.Spec.ParentRef
		if err != nil || !cidr.Contains(ip) || ref == nil || ref.Resource != "services" || ref.Group != "" {
			continue
		}
		owner, had := owners[ip]
		delete(plan.Take, ip)
		switch by := (Owner{ref.Namespace, ref.Name}); {
		case had && owner != by:
			plan.Clashes[ip] = owner
		case !had && now.Sub(t.CreationTimestamp.Time) > grace:
			plan.Give = append(plan.Give, t)
		}
	}
	return plan
}

// AddressesOf are the cluster addresses of a Service.
func AddressesOf(s *corev1.Service) []netip.Addr {
	var out []netip.Addr
	ips := s.Spec.ClusterIPs
	if len(ips) == 0 && s.Spec.ClusterIP != "" {
		ips = []string{s.Spec.ClusterIP}
	}
	for _, text := range ips {
		if ip, err := netip.ParseAddr(text); err == nil {
			out = append(out, ip)
		}
	}
	return out
}

// Repair makes what is taken match what Services have.
func (a *Addresses) Repair(ctx context.Context, services []corev1.Service, now time.Time) error {
	taken, err := a.store.List(ctx)
	if err != nil {
		return fmt.Errorf("listing addresses: %w", err)
	}
	log := klog.FromContext(ctx)
	plan := PlanRepair(a.cidr, services, taken, now)
	var errs []error
	for i := range plan.Give {
		obj := &plan.Give[i]
		if err := a.store.Delete(ctx, obj.Name, obj); err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("giving back address %s: %w", obj.Name, err))
			continue
		}
		log.Info("Gave back the address of a service that is gone", "address", obj.Name)
	}
	for ip, owner := range plan.Take {
		if err := a.store.Create(ctx, object(ip, owner)); err != nil && !apierrors.IsAlreadyExists(err) {
			errs = append(errs, fmt.Errorf("taking address %s: %w", ip, err))
			continue
		}
		log.Info("Took the address that a service has", "address", ip, "service", klog.KRef(owner.Namespace, owner.Name))
	}
	for ip, owner := range plan.Clashes {
		log.Info("A service has an address that another took: create it anew", "address", ip, "service", klog.KRef(owner.Namespace, owner.Name))
	}
	return errors.Join(append(errs, a.Refresh(ctx))...)
}
