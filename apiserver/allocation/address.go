package allocation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The faults of a request for an address or port, as Kubernetes words them.
var (
	ErrAllocated        = errors.New("provided IP is already allocated")
	ErrFull             = errors.New("range is full")
	ErrMismatchedFamily = errors.New("provided IP is of another family than the range")
)

// NotInRange is the fault of an address outside of the range.
type NotInRange struct {
	Address netip.Addr
	Range   netip.Prefix
}

// Error implements error.
func (e *NotInRange) Error() string {
	return fmt.Sprintf("the provided IP (%s) is not in the valid range. The range of valid IPs is %s", e.Address, e.Range)
}

// Store holds the IPAddress objects.
type Store interface {
	Create(context.Context, *networkingv1.IPAddress) error
	Get(ctx context.Context, name string) (*networkingv1.IPAddress, error)
	List(context.Context) ([]networkingv1.IPAddress, error)
	// Delete deletes the object that was read, and no later one of its name.
	Delete(ctx context.Context, name string, read *networkingv1.IPAddress) error
}

// Owner is the Service that an address is taken for.
type Owner struct{ Namespace, Name string }

// Addresses hands out the addresses of one range. It is safe for concurrent use.
type Addresses struct {
	cidr  netip.Prefix
	first netip.Addr // usable
	size  uint64     // usable addresses
	store Store

	mu sync.Mutex
	// taken are addresses known to be taken, by which searches are spared; guarded by mu. The truth is
	// in store.
	taken map[netip.Addr]bool
}

// NewAddresses returns an allocator of the addresses of cidr, save the first and, for IPv4, the last.
func NewAddresses(cidr netip.Prefix, store Store) (*Addresses, error) {
	cidr = cidr.Masked()
	host := cidr.Addr().BitLen() - cidr.Bits()
	if host < 2 {
		return nil, fmt.Errorf("range %s holds no addresses: use /%d or larger", cidr, cidr.Addr().BitLen()-2)
	}
	size := uint64(1)<<min(host, 40) - 1
	if cidr.Addr().Is4() {
		size--
	}
	return &Addresses{cidr: cidr, first: cidr.Addr().Next(), size: size, store: store, taken: map[netip.Addr]bool{}}, nil
}

// Range is what the addresses are of.
func (a *Addresses) Range() netip.Prefix { return a.cidr }

// IPv6 reports whether the range is one of IPv6 addresses.
func (a *Addresses) IPv6() bool { return a.cidr.Addr().Is6() }

// Contains reports whether the address is of the range and can be handed out.
func (a *Addresses) Contains(ip netip.Addr) bool {
	if !a.cidr.Contains(ip) || ip == a.cidr.Addr() {
		return false
	}
	return !ip.Is4() || a.cidr.Contains(ip.Next())
}

// Take takes one address.
func (a *Addresses) Take(ctx context.Context, ip netip.Addr, owner Owner, dryRun bool) error {
	if ip.Is4() != a.cidr.Addr().Is4() {
		return ErrMismatchedFamily
	}
	if !a.Contains(ip) {
		return &NotInRange{Address: ip, Range: a.cidr}
	}
	if dryRun {
		_, err := a.store.Get(ctx, ip.String())
		if err == nil {
			return ErrAllocated
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	err := a.store.Create(ctx, object(ip, owner))
	if apierrors.IsAlreadyExists(err) {
		a.note(ip, true)
		return ErrAllocated
	}
	if err != nil {
		return fmt.Errorf("taking address %s: %w", ip, err)
	}
	a.note(ip, true)
	return nil
}

// TakeAny takes a free address.
func (a *Addresses) TakeAny(ctx context.Context, owner Owner, dryRun bool) (netip.Addr, error) {
	for attempt := range 2 {
		if attempt == 1 {
			// Others may have given back what is noted as taken.
			if err := a.Refresh(ctx); err != nil {
				return netip.Addr{}, err
			}
		}
		low := band(a.size, 16, 16, 256)
		for _, r := range [][2]uint64{{low, a.size}, {0, low}} {
			ip, err := a.search(ctx, r[0], r[1], owner, dryRun)
			if err != nil || ip.IsValid() {
				return ip, err
			}
		}
	}
	return netip.Addr{}, ErrFull
}

// search tries the addresses of offsets from..to, beginning somewhere among them.
func (a *Addresses) search(ctx context.Context, from, to uint64, owner Owner, dryRun bool) (netip.Addr, error) {
	if to <= from {
		return netip.Addr{}, nil
	}
	start := rand.Uint64N(to - from)
	for i := range to - from {
		ip := offset(a.first, from+(start+i)%(to-from))
		if a.isTaken(ip) {
			continue
		}
		err := a.Take(ctx, ip, owner, dryRun)
		if err == nil {
			return ip, nil
		}
		if !errors.Is(err, ErrAllocated) {
			return netip.Addr{}, err
		}
		a.note(ip, true)
	}
	return netip.Addr{}, nil
}

// Give gives an address back, if it is the owner's.
func (a *Addresses) Give(ctx context.Context, ip netip.Addr, owner Owner) error {
	obj, err := a.store.Get(ctx, ip.String())
	if apierrors.IsNotFound(err) {
		a.note(ip, false)
		return nil
	}
	if err != nil {
		return fmt.Errorf("giving back address %s: %w", ip, err)
	}
	if ref := obj.Spec.ParentRef; ref != nil && (ref.Namespace != owner.Namespace || ref.Name != owner.Name) {
		return nil
	}
	if err := a.store.Delete(ctx, ip.String(), obj); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("giving back address %s: %w", ip, err)
	}
	a.note(ip, false)
	return nil
}

// Refresh reads anew what is taken.
func (a *Addresses) Refresh(ctx context.Context) error {
	list, err := a.store.List(ctx)
	if err != nil {
		return fmt.Errorf("listing addresses: %w", err)
	}
	taken := make(map[netip.Addr]bool, len(list))
	for i := range list {
		if ip, err := netip.ParseAddr(list[i].Name); err == nil && a.cidr.Contains(ip) {
			taken[ip] = true
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken = taken
	return nil
}

func (a *Addresses) isTaken(ip netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken[ip]
}

func (a *Addresses) note(ip netip.Addr, taken bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if taken {
		a.taken[ip] = true
	} else {
		delete(a.taken, ip)
	}
}

func object(ip netip.Addr, owner Owner) *networkingv1.IPAddress {
	return &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Name: ip.String(),
			Labels: map[string]string{
				networkingv1.LabelIPAddressFamily: string(familyOf(ip)),
				networkingv1.LabelManagedBy:       "ipallocator.k8s.io",
			},
		},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{
			Resource: "services", Namespace: owner.Namespace, Name: owner.Name,
		}},
	}
}

type family string

func familyOf(ip netip.Addr) family {
	if ip.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// band is the size of the part of a range that is handed out last: a share of it within limits, or none
// where the range is too small for two parts.
func band(size, share, atLeast, atMost uint64) uint64 {
	if size <= atLeast {
		return 0
	}
	return min(max(size/share, atLeast), atMost)
}

// offset is the n-th address after ip.
func offset(ip netip.Addr, n uint64) netip.Addr {
	b := ip.AsSlice()
	for i := len(b) - 1; i >= 0 && n > 0; i-- {
		n += uint64(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	out, _ := netip.AddrFromSlice(b)
	return out
}
