package service

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/apiserver/allocation"
)

// Allocator gives Services what they need of the cluster's addresses and ports.
type Allocator struct {
	// ranges has one or two entries of different families, that of the default family first.
	ranges []*allocation.Addresses
	ports  *allocation.Ports
	store  allocation.Store
	// more are the ranges that ServiceCIDR objects add.
	more func() []netip.Prefix
	// ready is closed when what services have is known. Nothing is handed out before.
	ready chan struct{}

	mu sync.Mutex
	// added are the allocators of the ranges that were added; guarded by mu.
	added map[netip.Prefix]*allocation.Addresses
}

// stake is a set of addresses and ports.
type stake struct {
	ips   []netip.Addr
	ports []int32
}

func (s *stake) add(t stake) {
	s.ips, s.ports = append(s.ips, t.ips...), append(s.ports, t.ports...)
}

func (s stake) without(t stake) stake {
	return stake{
		ips:   slices.DeleteFunc(slices.Clone(s.ips), func(ip netip.Addr) bool { return slices.Contains(t.ips, ip) }),
		ports: slices.DeleteFunc(slices.Clone(s.ports), func(p int32) bool { return slices.Contains(t.ports, p) }),
	}
}

// stakeOf is what a service has.
func stakeOf(s *corev1.Service) stake {
	out := stake{ports: allocation.PortsOf(s)}
	if needsClusterIP(s) {
		out.ips = allocation.AddressesOf(s)
	}
	return out
}

// NewAllocator returns an allocator over one or two ranges of addresses, the default one first, and over
// those of the same families that more returns.
func NewAllocator(ports *allocation.Ports, store allocation.Store, more func() []netip.Prefix, ranges ...netip.Prefix) (*Allocator, error) {
	if len(ranges) == 0 || len(ranges) > 2 || len(ranges) == 2 && ranges[0].Addr().Is6() == ranges[1].Addr().Is6() {
		return nil, fmt.Errorf("making service allocator: need one range of addresses, or one of IPv4 and one of IPv6")
	}
	a := &Allocator{
		ports: ports, store: store, more: more, ready: make(chan struct{}), added: map[netip.Prefix]*allocation.Addresses{},
	}
	for _, r := range ranges {
		addresses, err := allocation.NewAddresses(r, store)
		if err != nil {
			return nil, err
		}
		a.ranges = append(a.ranges, addresses)
	}
	return a, nil
}

func (a *Allocator) families() []corev1.IPFamily {
	var out []corev1.IPFamily
	for _, r := range a.ranges {
		out = append(out, familyOf(r.Range().Addr()))
	}
	return out
}

// all are the ranges that are in use now, the default ones first.
func (a *Allocator) all() []*allocation.Addresses {
	out := slices.Clone(a.ranges)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, cidr := range a.more() {
		known := slices.ContainsFunc(out, func(r *allocation.Addresses) bool { return r.Range() == cidr.Masked() })
		if known || !slices.Contains(a.families(), familyOf(cidr.Addr())) {
			continue
		}
		r := a.added[cidr]
		if r == nil {
			var err error
			if r, err = allocation.NewAddresses(cidr, a.store); err != nil {
				continue // too small to have addresses
			}
			a.added[cidr] = r
		}
		out = append(out, r)
	}
	return out
}

// of are the ranges of one family.
func (a *Allocator) of(f corev1.IPFamily) []*allocation.Addresses {
	return slices.DeleteFunc(a.all(), func(r *allocation.Addresses) bool { return familyOf(r.Range().Addr()) != f })
}

// hand is what one request took. It is not safe for concurrent use.
type hand struct {
	a      *Allocator
	owner  allocation.Owner
	dryRun bool
	// took are what all tries of an update took, old what the service had before the last of them.
	took, old stake
}

// give gives back what of the stake is the owner's.
func (a *Allocator) give(ctx context.Context, owner allocation.Owner, s stake) {
	ctx = context.WithoutCancel(ctx) // the client may be gone, its Service is not
	err := a.ports.Give(ctx, s.ports...)
	for _, ip := range s.ips {
		for _, from := range a.of(familyOf(ip)) {
			if from.Contains(ip) {
				err = errors.Join(err, from.Give(ctx, ip, owner))
				break
			}
		}
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "Left to the repair of addresses and ports", "service", klog.KRef(owner.Namespace, owner.Name))
	}
}

// create fills in what a new service needs.
func (h *hand) create(ctx context.Context, s *corev1.Service) error {
	if err := h.addresses(ctx, s, nil); err != nil {
		return err
	}
	return h.nodePorts(ctx, s, nil)
}

// update fills in what the service needs now and did not have.
func (h *hand) update(ctx context.Context, s, old *corev1.Service) error {
	if err := h.addresses(ctx, s, old); err != nil {
		return err
	}
	return h.nodePorts(ctx, s, old)
}

// addresses takes those addresses that the service has not, family by family.
func (h *hand) addresses(ctx context.Context, s, old *corev1.Service) error {
	if errs := setFamilies(s, h.a.families()); len(errs) > 0 {
		return invalid(s, errs)
	}
	if !needsClusterIP(s) || isHeadless(s) {
		return nil
	}
	var held []string
	if old != nil && needsClusterIP(old) && !isHeadless(old) {
		held = old.Spec.ClusterIPs
	}
	if *s.Spec.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack && len(s.Spec.ClusterIPs) > 1 && slices.Equal(s.Spec.ClusterIPs, held) {
		s.Spec.ClusterIPs, s.Spec.IPFamilies = s.Spec.ClusterIPs[:1], s.Spec.IPFamilies[:1]
	}
	ips := slices.Clone(s.Spec.ClusterIPs)
	for i, family := range s.Spec.IPFamilies {
		from := h.a.of(family)
		if len(from) == 0 {
			break // the second family, merely preferred
		}
		wanted := ""
		if i < len(ips) {
			wanted = ips[i]
		}
		if wanted != "" && slices.Contains(held, wanted) {
			continue
		}
		got, err := h.address(ctx, s, from, wanted)
		if err != nil {
			return err
		}
		if i < len(ips) {
			ips[i] = got
		} else {
			ips = append(ips, got)
		}
	}
	s.Spec.ClusterIPs = ips
	if len(ips) > 0 && s.Spec.ClusterIP == "" {
		s.Spec.ClusterIP = ips[0]
	}
	return nil
}

func (h *hand) address(ctx context.Context, s *corev1.Service, from []*allocation.Addresses, wanted string) (string, error) {
	if wanted == "" {
		ip, err := anyOf(ctx, from, h.owner, h.dryRun)
		if err != nil {
			return "", apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP: %w", err))
		}
		h.took.ips = append(h.took.ips, ip)
		return ip.String(), nil
	}
	ip, err := netip.ParseAddr(wanted)
	if err == nil && slices.Contains(h.took.ips, ip) {
		return wanted, nil // an earlier try took it
	}
	if err == nil {
		i := max(0, slices.IndexFunc(from, func(r *allocation.Addresses) bool { return r.Contains(ip) }))
		err = from[i].Take(ctx, ip, h.owner, h.dryRun)
	}
	if err != nil {
		return "", invalid(s, field.ErrorList{field.Invalid(field.NewPath("spec", "clusterIPs"), s.Spec.ClusterIPs,
			fmt.Sprintf("failed to allocate IP %v: %v", wanted, err))})
	}
	h.took.ips = append(h.took.ips, ip)
	return wanted, nil
}

// anyOf takes a free address of the first range that has one.
func anyOf(ctx context.Context, from []*allocation.Addresses, owner allocation.Owner, dryRun bool) (netip.Addr, error) {
	for _, r := range from {
		ip, err := r.TakeAny(ctx, owner, dryRun)
		if !errors.Is(err, allocation.ErrFull) {
			return ip, err
		}
	}
	return netip.Addr{}, allocation.ErrFull
}

// nodePorts takes those node ports that the service has not. TCP and UDP on one port number share a node
// port where the writer chose so, or where they are the same port otherwise.
func (h *hand) nodePorts(ctx context.Context, s, old *corev1.Service) error {
	held := map[int32]bool{}
	if old != nil && needsNodePort(old) {
		for _, p := range allocation.PortsOf(old) {
			held[p] = true
		}
	}
	if needsNodePort(s) {
		if err := h.chosenPorts(ctx, s, held); err != nil {
			return err
		}
	}
	if wantsNodePort(s) {
		if err := h.freePorts(ctx, s, held); err != nil {
			return err
		}
	}
	if needsHealthPort(s) {
		return h.healthPort(ctx, s, held)
	}
	return nil
}

// chosenPorts takes the ports that the writer named.
func (h *hand) chosenPorts(ctx context.Context, s *corev1.Service, held map[int32]bool) error {
	byProtocol := map[int32][]corev1.Protocol{}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.NodePort == 0 {
			continue
		}
		protocols, again := byProtocol[p.NodePort]
		byProtocol[p.NodePort] = append(protocols, p.Protocol)
		if held[p.NodePort] || again && !slices.Contains(protocols, p.Protocol) {
			continue
		}
		err := allocation.ErrPortAllocated
		if !again {
			err = h.port(ctx, p.NodePort)
		}
		if err != nil {
			return invalid(s, field.ErrorList{field.Invalid(field.NewPath("spec", "ports").Index(i).Child("nodePort"), p.NodePort, err.Error())})
		}
	}
	return nil
}

// port takes one port, unless an earlier try of the same request took it.
func (h *hand) port(ctx context.Context, port int32) error {
	if slices.Contains(h.took.ports, port) {
		return nil
	}
	if err := h.a.ports.Take(ctx, port, h.dryRun); err != nil {
		return err
	}
	h.took.ports = append(h.took.ports, port)
	return nil
}

// freePorts gives ports to the rest.
func (h *hand) freePorts(ctx context.Context, s *corev1.Service, held map[int32]bool) error {
	mine := map[int32]bool{}
	for i := range s.Spec.Ports {
		mine[s.Spec.Ports[i].NodePort] = true
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.NodePort != 0 {
			continue
		}
		if shared := sharedPort(s, i); shared != 0 {
			p.NodePort = shared
			continue
		}
		port, err := h.a.ports.TakeAny(ctx, mine, h.dryRun)
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: %w", err))
		}
		h.took.ports = append(h.took.ports, port)
		p.NodePort, mine[port] = port, true
	}
	return nil
}

// sharedPort is the node port of another port of the same number and another protocol.
func sharedPort(s *corev1.Service, i int) int32 {
	p := &s.Spec.Ports[i]
	for j := range s.Spec.Ports {
		q := &s.Spec.Ports[j]
		if j != i && q.NodePort != 0 && q.Port == p.Port && q.Protocol != p.Protocol {
			for k := range s.Spec.Ports {
				if r := &s.Spec.Ports[k]; r.NodePort == q.NodePort && r.Protocol == p.Protocol {
					return 0
				}
			}
			return q.NodePort
		}
	}
	return 0
}

func (h *hand) healthPort(ctx context.Context, s *corev1.Service, held map[int32]bool) error {
	port := &s.Spec.HealthCheckNodePort
	if *port == 0 {
		got, err := h.a.ports.TakeAny(ctx, nil, h.dryRun)
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a HealthCheck NodePort: %w", err))
		}
		*port = got
		h.took.ports = append(h.took.ports, got)
		return nil
	}
	if held[*port] {
		return nil
	}
	if err := h.port(ctx, *port); err != nil {
		return invalid(s, field.ErrorList{field.Invalid(field.NewPath("spec", "healthCheckNodePort"), *port, err.Error())})
	}
	return nil
}

func invalid(s *corev1.Service, errs field.ErrorList) error {
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), s.Name, errs)
}
