package service

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

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
}

// NewAllocator returns an allocator over one or two ranges of addresses, the default one first.
func NewAllocator(ports *allocation.Ports, ranges ...*allocation.Addresses) (*Allocator, error) {
	if len(ranges) == 0 || len(ranges) > 2 || len(ranges) == 2 && ranges[0].IPv6() == ranges[1].IPv6() {
		return nil, fmt.Errorf("making service allocator: need one range of addresses, or one of IPv4 and one of IPv6")
	}
	return &Allocator{ranges: ranges, ports: ports}, nil
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

// hand is what one request took and will give back. It is not safe for concurrent use.
type hand struct {
	a      *Allocator
	owner  allocation.Owner
	dryRun bool
	// undo runs if the write fails, done if it succeeds.
	undo, done []func(context.Context) error
}

func (h *hand) finish(ctx context.Context, success bool) {
	run := h.undo
	if success {
		run = h.done
	}
	ctx = context.WithoutCancel(ctx) // the client may be gone, its Service is not
	for _, f := range run {
		if err := f(ctx); err != nil {
			klog.FromContext(ctx).Error(err, "Left to the repair of allocations", "service", klog.KRef(h.owner.Namespace, h.owner.Name))
		}
	}
}

// create fills in what a new service needs.
func (h *hand) create(ctx context.Context, s *corev1.Service) error {
	if err := h.addresses(ctx, s, nil); err != nil {
		return err
	}
	return h.nodePorts(s, nil)
}

// update fills in what the service needs now, and gives back what it no longer has.
func (h *hand) update(ctx context.Context, s, old *corev1.Service) error {
	if err := h.addresses(ctx, s, old); err != nil {
		return err
	}
	if err := h.nodePorts(s, old); err != nil {
		return err
	}
	h.giveBack(s, old)
	return nil
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
		h.onFailure(func(ctx context.Context) error { return from.Give(ctx, ip, h.owner) })
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
	h.onFailure(func(ctx context.Context) error { return from.Give(ctx, ip, h.owner) })
	return wanted, nil
}

func (h *hand) onFailure(f func(context.Context) error) {
	if !h.dryRun {
		h.undo = append(h.undo, f)
	}
}

func (h *hand) onSuccess(f func(context.Context) error) {
	if !h.dryRun {
		h.done = append(h.done, f)
	}
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
			err = h.a.ports.Take(p.NodePort, h.dryRun)
		}
		if err != nil {
			return invalid(s, field.ErrorList{field.Invalid(field.NewPath("spec", "ports").Index(i).Child("nodePort"), p.NodePort, err.Error())})
		}
		h.takenPort(p.NodePort)
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
		port, err := h.a.ports.TakeAny(mine, h.dryRun)
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: %w", err))
		}
		h.takenPort(port)
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
		got, err := h.a.ports.TakeAny(nil, h.dryRun)
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a HealthCheck NodePort: %w", err))
		}
		*port = got
		h.takenPort(got)
		return nil
	}
	if held[*port] {
		return nil
	}
	if err := h.a.ports.Take(*port, h.dryRun); err != nil {
		return invalid(s, field.ErrorList{field.Invalid(field.NewPath("spec", "healthCheckNodePort"), *port, err.Error())})
	}
	h.takenPort(*port)
	return nil
}

func (h *hand) takenPort(port int32) {
	h.onFailure(func(context.Context) error { h.a.ports.Give(port); return nil })
}

// giveBack returns, once the service is stored, what it has no more.
func (h *hand) giveBack(s, old *corev1.Service) {
	var keeps []netip.Addr
	if needsClusterIP(s) {
		keeps = allocation.AddressesOf(s)
	}
	for _, ip := range allocation.AddressesOf(old) {
		if from := h.a.of(familyOf(ip)); from != nil && !slices.Contains(keeps, ip) {
			h.onSuccess(func(ctx context.Context) error { return from.Give(ctx, ip, h.owner) })
		}
	}
	kept := allocation.PortsOf(s)
	for _, port := range allocation.PortsOf(old) {
		if !slices.Contains(kept, port) {
			h.onSuccess(func(context.Context) error { h.a.ports.Give(port); return nil })
		}
	}
}

func invalid(s *corev1.Service, errs field.ErrorList) error {
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), s.Name, errs)
}
