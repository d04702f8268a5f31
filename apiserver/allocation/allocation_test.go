package allocation

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// memory is a Store that several allocators can share, as servers share etcd.
type memory struct {
	mu      sync.Mutex
	objects map[string]*networkingv1.IPAddress
}

func newMemory() *memory { return &memory{objects: map[string]*networkingv1.IPAddress{}} }

func (m *memory) Create(_ context.Context, ip *networkingv1.IPAddress) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[ip.Name]; ok {
		return apierrors.NewAlreadyExists(networkingv1.Resource("ipaddresses"), ip.Name)
	}
	m.objects[ip.Name] = ip
	return nil
}

func (m *memory) Get(_ context.Context, name string) (*networkingv1.IPAddress, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ip, ok := m.objects[name]; ok {
		return ip, nil
	}
	return nil, apierrors.NewNotFound(networkingv1.Resource("ipaddresses"), name)
}

func (m *memory) List(context.Context) ([]networkingv1.IPAddress, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []networkingv1.IPAddress
	for _, ip := range m.objects {
		out = append(out, *ip)
	}
	return out, nil
}

func (m *memory) Delete(_ context.Context, name string, _ *networkingv1.IPAddress) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

func addresses(t *testing.T, cidr string, store Store) *Addresses {
	t.Helper()
	a, err := NewAddresses(netip.MustParsePrefix(cidr), store)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var web = Owner{"default", "web"}

func TestTakeChecksTheAddress(t *testing.T) {
	a := addresses(t, "10.96.0.0/24", newMemory())
	take := func(ip string) error { return a.Take(t.Context(), netip.MustParseAddr(ip), web, false) }
	if err := take("10.96.0.10"); err != nil {
		t.Fatal(err)
	}
	if err := take("10.96.0.10"); !errors.Is(err, ErrAllocated) {
		t.Errorf("taking twice: %v, want %v", err, ErrAllocated)
	}
	for _, ip := range []string{"10.97.0.1", "10.96.0.0", "10.96.0.255"} {
		err := take(ip)
		want := "the provided IP (" + ip + ") is not in the valid range. The range of valid IPs is 10.96.0.0/24"
		if err == nil || err.Error() != want {
			t.Errorf("taking %s: %v, want %s", ip, err, want)
		}
	}
	if err := take("fd00::1"); !errors.Is(err, ErrMismatchedFamily) {
		t.Errorf("taking another family: %v", err)
	}
}

func TestAddressesRunOutAndComeBack(t *testing.T) {
	store := newMemory()
	a, b := addresses(t, "10.0.0.0/28", store), addresses(t, "10.0.0.0/28", store)
	seen := map[netip.Addr]bool{}
	for i := range 14 {
		from := a
		if i%2 == 1 {
			from = b // two servers share the range
		}
		ip, err := from.TakeAny(t.Context(), web, false)
		if err != nil {
			t.Fatalf("address %d: %v", i, err)
		}
		if seen[ip] || !a.Contains(ip) {
			t.Fatalf("address %s was handed out twice or is outside of the range", ip)
		}
		seen[ip] = true
	}
	if ip, err := a.TakeAny(t.Context(), web, false); !errors.Is(err, ErrFull) {
		t.Fatalf("from a full range: %v, %v", ip, err)
	}
	back := netip.MustParseAddr("10.0.0.7")
	if err := b.Give(t.Context(), back, Owner{"default", "other"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.TakeAny(t.Context(), web, false); !errors.Is(err, ErrFull) {
		t.Fatalf("an address was given back by another than its owner: %v", err)
	}
	if err := b.Give(t.Context(), back, web); err != nil {
		t.Fatal(err)
	}
	if ip, err := a.TakeAny(t.Context(), web, false); err != nil || ip != back {
		t.Fatalf("got %v, %v; want the address that the other server gave back, %s", ip, err, back)
	}
}

func TestConcurrentTakersNeverShare(t *testing.T) {
	store := newMemory()
	var mu sync.Mutex
	seen := map[netip.Addr]bool{}
	var wg sync.WaitGroup
	for range 8 {
		a := addresses(t, "10.0.0.0/24", store)
		wg.Go(func() {
			for range 30 {
				ip, err := a.TakeAny(t.Context(), web, false)
				mu.Lock()
				if err != nil || seen[ip] {
					t.Errorf("got %v, %v; seen before: %v", ip, err, seen[ip])
				}
				seen[ip] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestDynamicAddressesSpareTheLowerBand(t *testing.T) {
	a := addresses(t, "10.96.0.0/16", newMemory())
	first := netip.MustParseAddr("10.96.1.0")
	for range 50 {
		ip, err := a.TakeAny(t.Context(), web, false)
		if err != nil {
			t.Fatal(err)
		}
		if ip.Less(first) {
			t.Fatalf("got %s of the band that is kept for users", ip)
		}
	}
}

func TestDryRunTakesNothing(t *testing.T) {
	store := newMemory()
	a := addresses(t, "10.0.0.0/28", store)
	if _, err := a.TakeAny(t.Context(), web, true); err != nil {
		t.Fatal(err)
	}
	p := NewPorts(utilnet.PortRange{Base: 30000, Size: 1}, &record{})
	for range 2 {
		if port, err := p.TakeAny(t.Context(), nil, true); err != nil || port != 30000 {
			t.Fatalf("got %d, %v", port, err)
		}
	}
	if len(store.objects) != 0 {
		t.Errorf("a dry run created %v", store.objects)
	}
}

// record is a PortStore that several allocators can share.
type record struct {
	mu sync.Mutex
	r  corev1.RangeAllocation
}

func (r *record) Update(_ context.Context, change func(*corev1.RangeAllocation) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := *r.r.DeepCopy()
	if err := change(&next); err != nil {
		return err
	}
	r.r = next
	return nil
}

func TestPorts(t *testing.T) {
	shared, three := &record{}, utilnet.PortRange{Base: 30000, Size: 3}
	p, q := NewPorts(three, shared), NewPorts(three, shared) // two servers
	if err := p.Take(t.Context(), 30001, false); err != nil {
		t.Fatal(err)
	}
	if err := q.Take(t.Context(), 30001, false); !errors.Is(err, ErrPortAllocated) {
		t.Errorf("port of another: %v", err)
	}
	if err := p.Take(t.Context(), 80, false); err == nil || err.Error() != "provided port is not in the valid range. The range of valid ports is 30000-30002" {
		t.Errorf("port outside: %v", err)
	}
	for _, from := range []*Ports{p, q} {
		if _, err := from.TakeAny(t.Context(), nil, false); err != nil {
			t.Fatal(err)
		}
	}
	if port, err := p.TakeAny(t.Context(), nil, false); !errors.Is(err, ErrFull) {
		t.Errorf("from a full range: %d, %v", port, err)
	}
	if err := q.Give(t.Context(), 30001, 29999); err != nil {
		t.Fatal(err)
	}
	if port, err := p.TakeAny(t.Context(), nil, false); err != nil || port != 30001 {
		t.Errorf("got %d, %v, want the one given back", port, err)
	}
}

func TestPortsRepair(t *testing.T) {
	now := time.Now()
	p := NewPorts(utilnet.PortRange{Base: 30000, Size: 10}, &record{})
	p.now = func() time.Time { return now }
	repair := func(services ...corev1.Service) {
		t.Helper()
		if err := p.Repair(t.Context(), services); err != nil {
			t.Fatal(err)
		}
	}
	repair(service("a", "10.0.0.1", 30001))
	if err := p.Take(t.Context(), 30001, false); !errors.Is(err, ErrPortAllocated) {
		t.Errorf("port of a service that was there before: %v", err)
	}
	if err := p.Take(t.Context(), 30002, false); err != nil {
		t.Fatal(err)
	}
	repair()
	if err := p.Take(t.Context(), 30002, false); !errors.Is(err, ErrPortAllocated) {
		t.Errorf("a port taken just now was given away: %v", err)
	}
	now = now.Add(2 * grace)
	repair()
	if err := p.Take(t.Context(), 30002, false); err != nil {
		t.Errorf("a port without a service stays taken: %v", err)
	}
	// It is known anew from when it is without a service.
	repair(service("b", "10.0.0.2", 30002))
	now = now.Add(2 * grace)
	repair()
	if err := p.Take(t.Context(), 30002, false); !errors.Is(err, ErrPortAllocated) {
		t.Errorf("a port whose service was seen just before was given away: %v", err)
	}
}

// TestPortsOfAnotherRange: a server that is started with another range begins with what services have.
func TestPortsOfAnotherRange(t *testing.T) {
	shared := &record{}
	if err := NewPorts(utilnet.PortRange{Base: 30000, Size: 10}, shared).Take(t.Context(), 30001, false); err != nil {
		t.Fatal(err)
	}
	p := NewPorts(utilnet.PortRange{Base: 30001, Size: 10}, shared)
	if err := p.Repair(t.Context(), []corev1.Service{service("a", "10.0.0.1", 30003)}); err != nil {
		t.Fatal(err)
	}
	if err := p.Take(t.Context(), 30001, false); err != nil {
		t.Errorf("a port that no service has: %v", err)
	}
	if err := p.Take(t.Context(), 30003, false); !errors.Is(err, ErrPortAllocated) {
		t.Errorf("the port of a service: %v", err)
	}
}

func service(name, ip string, port int32) corev1.Service {
	return corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: ip, ClusterIPs: []string{ip}, Ports: []corev1.ServicePort{{NodePort: port}}},
	}
}

func TestPlanRepair(t *testing.T) {
	now := time.Now()
	taken := func(ip, owner string, age time.Duration) networkingv1.IPAddress {
		o := object(netip.MustParseAddr(ip), Owner{"default", owner})
		o.CreationTimestamp = metav1.NewTime(now.Add(-age))
		return *o
	}
	services := []corev1.Service{service("held", "10.0.0.1", 0), service("lost", "10.0.0.2", 0), service("clash", "10.0.0.3", 0), service("none", "None", 0)}
	plan := PlanRepair(netip.MustParsePrefix("10.0.0.0/24"), services, []networkingv1.IPAddress{
		taken("10.0.0.1", "held", time.Hour), taken("10.0.0.3", "other", time.Hour),
		taken("10.0.0.4", "gone", time.Hour), taken("10.0.0.5", "coming", time.Second), taken("10.9.0.1", "elsewhere", time.Hour),
	}, now)
	var give []string
	for _, g := range plan.Give {
		give = append(give, g.Name)
	}
	if diff := cmp.Diff([]string{"10.0.0.4"}, give); diff != "" {
		t.Errorf("given back (-want +got):\n%s", diff)
	}
	byAddr := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(map[netip.Addr]Owner{netip.MustParseAddr("10.0.0.2"): {"default", "lost"}}, plan.Take, byAddr); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[netip.Addr]Owner{netip.MustParseAddr("10.0.0.3"): {"default", "clash"}}, plan.Clashes, byAddr); diff != "" {
		t.Errorf("clashes (-want +got):\n%s", diff)
	}
}
