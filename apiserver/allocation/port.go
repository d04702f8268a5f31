package allocation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// ErrPortAllocated is the fault of a request for a port that another Service has.
var ErrPortAllocated = errors.New("provided port is already allocated")

// PortNotInRange is the fault of a port outside of the range.
type PortNotInRange struct{ Range utilnet.PortRange }

// Error implements error.
func (e *PortNotInRange) Error() string {
	return fmt.Sprintf("provided port is not in the valid range. The range of valid ports is %s", e.Range)
}

// Ports hands out node ports. It is safe for concurrent use.
type Ports struct {
	all utilnet.PortRange
	now func() time.Time
	mu  sync.Mutex
	// taken holds the ports that Services have, whatever their protocol; guarded by mu.
	taken map[int32]holding
}

type holding struct {
	owner Owner
	since time.Time
}

// NewPorts returns an allocator of the ports of the range, all of them free.
func NewPorts(all utilnet.PortRange) *Ports {
	return &Ports{all: all, now: time.Now, taken: map[int32]holding{}}
}

// Take takes one port. Where again is set, the owner may have taken it already: an update that others
// forestalled is tried anew.
func (p *Ports) Take(port int32, owner Owner, again, dryRun bool) error {
	if !p.all.Contains(int(port)) {
		return &PortNotInRange{Range: p.all}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if h, ok := p.taken[port]; ok && !(again && h.owner == owner) {
		return ErrPortAllocated
	}
	if !dryRun {
		p.taken[port] = holding{owner, p.now()}
	}
	return nil
}

// TakeAny takes a free port that is none of avoid.
func (p *Ports) TakeAny(owner Owner, avoid map[int32]bool, dryRun bool) (int32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	low := int(band(uint64(p.all.Size), 32, 16, 128))
	for _, r := range [][2]int{{low, p.all.Size}, {0, low}} {
		n := r[1] - r[0]
		if n <= 0 {
			continue
		}
		start := rand.IntN(n)
		for i := range n {
			port := int32(p.all.Base + r[0] + (start+i)%n)
			if _, ok := p.taken[port]; ok || avoid[port] {
				continue
			}
			if !dryRun {
				p.taken[port] = holding{owner, p.now()}
			}
			return port, nil
		}
	}
	return 0, ErrFull
}

// Give gives a port back, if it is the owner's.
func (p *Ports) Give(port int32, owner Owner) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[port].owner == owner {
		delete(p.taken, port)
	}
}

// Repair makes what is taken match what Services have. Ports taken of late are left to the requests that
// took them.
func (p *Ports) Repair(services []corev1.Service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := map[int32]bool{}
	for i := range services {
		s := &services[i]
		for _, port := range PortsOf(s) {
			if _, ok := p.taken[port]; !ok && p.all.Contains(int(port)) {
				p.taken[port] = holding{Owner{s.Namespace, s.Name}, p.now()}
			}
			held[port] = true
		}
	}
	for port, h := range p.taken {
		if !held[port] && p.now().Sub(h.since) > grace {
			delete(p.taken, port)
		}
	}
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
