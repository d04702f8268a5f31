package service

import (
	"context"
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
	// ready is closed when what services have is known. Nothing is handed out before.
	ready chan struct{}

	mu sync.Mutex
	// pending holds, for services with an update under way, what it took and what it would drop. It is
	// settled when the update is stored; guarded by mu.
	pending map[allocation.Owner]stake
}

// stake is a set of addresses and ports.
type stake struct {
	ips   []netip.Addr
	ports []int32
}

// NewAllocator returns an allocator over one or two ranges of addresses, the default one first.
func NewAllocator(ports *allocation.Ports, ranges ...*allocation.Addresses) (*Allocator, error) {
	if len(ranges) == 0 || len(ranges) > 2 || len(ranges) == 2 && ranges[0].IPv6() == ranges[1].IPv6() {
		return nil, fmt.Errorf("making service allocator: need one range of addresses, or one of IPv4 and one of IPv6")
	}
	return &Allocator{
		ranges: ranges, ports: ports, ready: make(chan struct{}), pending: map[allocation.Owner]stake{},
	}, nil
}

func (a *Allocator) families() []corev1.IPFamily {
	var out []corev1.IPFamily
	for _, r := range a.ranges {
		out = append(out, familyOf(r.Range().Addr()))
	}
	return out
}

func (a *Allocator) of(f corev1.IPFamily) *allocation.Addresses {
	for _, r := range a.ranges {
		if familyOf(r.Range().Addr()) == f {
			return r
		}
	}
	return nil
}

// hand is what one request took. It is not safe for concurrent use.
type hand struct {
	a      *Allocator
	owner  allocation.Owner
	dryRun bool
	// again is set for updates, which may be tried more than once.
	again bool
	took  stake
}

// revert gives back what was taken for a service that was not stored.
func (h *hand) revert(ctx context.Context) {
	if !h.dryRun {
		h.a.give(ctx, h.owner, h.took)
	}
}

// give gives back what of the stake is the owner's.
func (a *Allocator) give(ctx context.Context, owner allocation.Owner, s stake) {
	ctx = context.WithoutCancel(ctx) // the client may be gone, its Service is not
	for _, port := range s.ports {
		a.ports.Give(port, owner)
	}
	for _, ip := range s.ips {
		from := a.of(familyOf(ip))
		if from == nil {
			continue
		}
		if err := from.Give(ctx, ip, owner); err != nil {
			klog.FromContext(ctx).Error(err, "Left to the repair of addresses", "service", klog.KRef(owner.Namespace, owner.Name))
		}
	}
}

// expect notes what an update took and what its old service had, until it is stored.
func (a *Allocator) expect(owner allocation.Owner, took stake, old *corev1.Service) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.pending[owner]
	s.ips = append(append(s.ips, took.ips...), allocation.AddressesOf(old)...)
	s.ports = append(append(s.ports, took.ports...), allocation.PortsOf(old)...)
	a.pending[owner] = s
}

// settle gives back what was pending and what the service, as stored, does not have.
func (a *Allocator) settle(ctx context.Context, stored *corev1.Service) {
	owner := allocation.Owner{Namespace: stored.Namespace, Name: stored.Name}
	a.mu.Lock()
	s, ok := a.pending[owner]
	delete(a.pending, owner)
	a.mu.Unlock()
	if !ok {
		return
	}
	var ips []netip.Addr
	if needsClusterIP(stored) {
		ips = allocation.AddressesOf(stored)
	}
	ports := allocation.PortsOf(stored)
	s.ips = slices.DeleteFunc(s.ips, func(ip netip.Addr) bool { return slices.Contains(ips, ip) })
	s.ports = slices.DeleteFunc(s.ports, func(p int32) bool { return slices.Contains(ports, p) })
	a.give(ctx, owner, s)
}

// create fills in what a new service needs.
func (h *hand) create(ctx context.Context, s *corev1.Service) error {
	if err := h.addresses(ctx, s, nil); err != nil {
		return err
	}
	return h.nodePorts(s, nil)
}

// update fills in what the service needs now and did not have.
func (h *hand) update(ctx context.Context, s, old *corev1.Service) error {
	if err := h.addresses(ctx, s, old); err != nil {
		return err
	}
	return h.nodePorts(s, old)
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
		if from == nil {
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

func (h *hand) address(ctx context.Context, s *corev1.Service, from *allocation.Addresses, wanted string) (string, error) {
	if wanted == "" {
		ip, err := from.TakeAny(ctx, h.owner, h.dryRun)
		if err != nil {
			return "", apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP: %w", err))
		}
		h.took.ips = append(h.took.ips, ip)
		return ip.String(), nil
	}
	ip, err := netip.ParseAddr(wanted)
	if err == nil {
		err = from.Take(ctx, ip, h.owner, h.dryRun)
	}
	if err != nil {
		return "", invalid(s, field.ErrorList{field.Invalid(field.NewPath("spec", "clusterIPs"), s.Spec.ClusterIPs,
			fmt.Sprintf("failed to allocate IP %v: %v", wanted, err))})
	}
	h.took.ips = append(h.took.ips, ip)
	return wanted, nil
}

// nodePorts takes those node ports that the service has not. TCP and UDP on one port number share a node
// port where the writer chose so, or where they are the same port otherwise.
func (h *hand) nodePorts(s, old *corev1.Service) error {
	held := map[int32]bool{}
	if old != nil && needsNodePort(old) {
		for _, p := range allocation.PortsOf(old) {
			held[p] = true
		}
	}
	if needsNodePort(s) {
		if err := h.chosenPorts(s, held); err != nil {
			return err
		}
	}
	if wantsNodePort(s) {
		if err := h.freePorts(s, held); err != nil {
			return err
		}
	}
	if needsHealthPort(s) {
		return h.healthPort(s, held)
	}
	return nil
}

// chosenPorts takes the ports that the writer named.
func (h *hand) chosenPorts(s *corev1.Service, held map[int32]bool) error {
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
			err = h.a.ports.Take(p.NodePort, h.owner, h.again, h.dryRun)
		}
		if err != nil {
			return invalid(s, field.ErrorList{field.Invalid(field.NewPath("spec", "ports").Index(i).Child("nodePort"), p.NodePort, err.Error())})
		}
		h.took.ports = append(h.took.ports, p.NodePort)
	}
	return nil
}

// freePorts gives ports to the rest.
func (h *hand) freePorts(s *corev1.Service, held map[int32]bool) error {
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
		port, err := h.a.ports.TakeAny(h.owner, mine, h.dryRun)
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

func (h *hand) healthPort(s *corev1.Service, held map[int32]bool) error {
	port := &s.Spec.HealthCheckNodePort
	if *port == 0 {
		got, err := h.a.ports.TakeAny(h.owner, nil, h.dryRun)
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
	if err := h.a.ports.Take(*port, h.owner, h.again, h.dryRun); err != nil {
		return invalid(s, field.ErrorList{field.Invalid(field.NewPath("spec", "healthCheckNodePort"), *port, err.Error())})
	}
	h.took.ports = append(h.took.ports, *port)
	return nil
}

func invalid(s *corev1.Service, errs field.ErrorList) error {
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), s.Name, errs)
}
