package allocation

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// ErrPortAllocated is the fault of a request for a port that another Service has.
var ErrPortAllocated = errors.New("provided port is already allocated")

// errNoChange ends an update that has nothing to write.
var errNoChange = errors.New("nothing to change")

// PortNotInRange is the fault of a port outside of the range.
type PortNotInRange struct{ Range utilnet.PortRange }

// Error implements error.
func (e *PortNotInRange) Error() string {
	return fmt.Sprintf("provided port is not in the valid range. The range of valid ports is %s", e.Range)
}

// PortStore keeps the one record of which ports are taken.
type PortStore interface {
	// Update reads the record, which is empty at first, has change change it, and writes it, unless
	// change fails. It does so again when another server wrote meanwhile.
	Update(ctx context.Context, change func(*corev1.RangeAllocation) error) error
}

// Ports hands out node ports. It is safe for concurrent use, by several servers too.
type Ports struct {
	all   utilnet.PortRange
	store PortStore
	now   func() time.Time

	mu sync.Mutex
	// unowned has since when a port is known to be taken without a Service that has it; guarded by mu.
	unowned map[int32]time.Time
}

// NewPorts returns an allocator of the ports of the range.
func NewPorts(all utilnet.PortRange, store PortStore) *Ports {
	return &Ports{all: all, store: store, now: time.Now, unowned: map[int32]time.Time{}}
}

// taken are the ports that are taken, as a number with a bit for each.
type taken struct {
	base int
	bits *big.Int
}

func (t taken) has(port int32) bool { return t.bits.Bit(int(port)-t.base) == 1 }
func (t taken) add(port int32)      { t.bits.SetBit(t.bits, int(port)-t.base, 1) }
func (t taken) drop(port int32)     { t.bits.SetBit(t.bits, int(port)-t.base, 0) }

// update changes which ports are taken. What was recorded for another range counts for nothing: the
// next repair finds what Services have.
func (p *Ports) update(ctx context.Context, change func(taken) error) error {
	err := p.store.Update(ctx, func(r *corev1.RangeAllocation) error {
		t := taken{base: p.all.Base, bits: new(big.Int)}
		if r.Range == p.all.String() {
			t.bits.SetBytes(r.Data)
		}
		if err := change(t); err != nil {
			return err
		}
		r.Range, r.Data = p.all.String(), t.bits.Bytes()
		return nil
	})
	if errors.Is(err, errNoChange) {
		return nil
	}
	return err
}

// Take takes one port.
func (p *Ports) Take(ctx context.Context, port int32, dryRun bool) error {
	if !p.all.Contains(int(port)) {
		return &PortNotInRange{Range: p.all}
	}
	return p.update(ctx, func(t taken) error {
		if t.has(port) {
			return ErrPortAllocated
		}
		if dryRun {
			return errNoChange
		}
		t.add(port)
		return nil
	})
}

// TakeAny takes a free port that is none of avoid.
func (p *Ports) TakeAny(ctx context.Context, avoid map[int32]bool, dryRun bool) (int32, error) {
	var got int32
	err := p.update(ctx, func(t taken) error {
		port, ok := p.free(t, avoid)
		if !ok {
			return ErrFull
		}
		got = port
		if dryRun {
			return errNoChange
		}
		t.add(port)
		return nil
	})
	return got, err
}

func (p *Ports) free(t taken, avoid map[int32]bool) (int32, bool) {
	low := int(band(uint64(p.all.Size), 32, 16, 128))
	for _, r := range [][2]int{{low, p.all.Size}, {0, low}} {
		n := r[1] - r[0]
		if n <= 0 {
			continue
		}
		start := rand.IntN(n)
		for i := range n {
			port := int32(p.all.Base + r[0] + (start+i)%n)
			if !t.has(port) && !avoid[port] {
				return port, true
			}
		}
	}
	return 0, false
}

// Give gives ports back. Only who took them may do so.
func (p *Ports) Give(ctx context.Context, ports ...int32) error {
	if len(ports) == 0 {
		return nil
	}
	err := p.update(ctx, func(t taken) error {
		changed := errNoChange
		for _, port := range ports {
			if p.all.Contains(int(port)) && t.has(port) {
				t.drop(port)
				changed = nil
			}
		}
		return changed
	})
	if err != nil {
		return fmt.Errorf("giving back node ports %v: %w", ports, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, port := range ports {
		delete(p.unowned, port)
	}
	return nil
}

// Repair makes what is taken match what Services have. Ports that no Service has are left, for a while,
// to the requests that may have taken them.
func (p *Ports) Repair(ctx context.Context, services []corev1.Service) error {
	held := map[int32]bool{}
	for i := range services {
		for _, port := range PortsOf(&services[i]) {
			held[port] = true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var unowned map[int32]time.Time
	err := p.update(ctx, func(t taken) error {
		changed := errNoChange
		unowned = map[int32]time.Time{}
		for i := range p.all.Size {
			port := int32(p.all.Base + i)
			switch is := t.has(port); {
			case held[port] && !is:
				t.add(port)
				changed = nil
			case !held[port] && is:
				since, known := p.unowned[port]
				if known && p.now().Sub(since) > grace {
					t.drop(port)
					changed = nil
					continue
				}
				if !known {
					since = p.now()
				}
				unowned[port] = since
			}
		}
		return changed
	})
	if err != nil {
		return fmt.Errorf("repairing node ports: %w", err)
	}
	p.unowned = unowned
	return nil
}

// PortsOf are the node ports of a Service, each once.
func PortsOf(s *corev1.Service) []int32 {
	var ports []int32
	seen := map[int32]bool{0: true}
	add := func(port int32) {
		if !seen[port] {
			seen[port] = true
			ports = append(ports, port)
		}
	}
	for i := range s.Spec.Ports {
		add(s.Spec.Ports[i].NodePort)
	}
	add(s.Spec.HealthCheckNodePort)
	return ports
}
