package allocation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

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
	mu  sync.Mutex
	// taken holds the ports that Services have, whatever their protocol; guarded by mu.
	taken map[int32]bool
}

// NewPorts returns an allocator of the ports of the range, all of them free.
func NewPorts(all utilnet.PortRange) *Ports { return &Ports{all: all, taken: map[int32]bool{}} }

// Take takes one port.
func (p *Ports) Take(port int32, dryRun bool) error {
	if !p.all.Contains(int(port)) {
		return &PortNotInRange{Range: p.all}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[port] {
		return ErrPortAllocated
	}
	if !dryRun {
		p.taken[port] = true
	}
	return nil
}

// TakeAny takes a free port that is none of avoid.
func (p *Ports) TakeAny(avoid map[int32]bool, dryRun bool) (int32, error) {
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
			if p.taken[port] || avoid[port] {
				continue
			}
			if !dryRun {
				p.taken[port] = true
			}
			return port, nil
		}
	}
	return 0, ErrFull
}

// Give gives a port back.
func (p *Ports) Give(port int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, port)
}

// Hold notes that the ports of a Service are taken, for Services that were there before the allocator.
func (p *Ports) Hold(s *corev1.Service) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, port := range PortsOf(s) {
		if p.all.Contains(int(port)) {
			p.taken[port] = true
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
