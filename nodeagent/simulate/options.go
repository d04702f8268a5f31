package simulate

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/clock"
)

// Options say which nodes there are.
type Options struct {
	Pools []Pool
	// Changes, if set, brings other pools in place of those before, while Run runs: nodes come and go until
	// there are as many as these say. Those that stay keep their size, labels and taints.
	Changes <-chan []Pool
	// PodCIDR is divided among the nodes that have no range of pod addresses. Default: 100.64.0.0/10, the
	// range that belongs to nobody's network, in parts of 256 addresses.
	PodCIDR netip.Prefix
	// Workers is how many writes of pods are under way at once. Default: 32.
	Workers int
	// Clock is the time that pods' timelines follow. Default: the machine's, which leases follow always.
	Clock clock.WithTicker
	// Authority, if set, has the nodes serve the API of a node agent, each at its own address of 127.0.0.0/8:
	// logs, statistics, metrics and pods. On systems other than Linux there is no such API.
	Authority *Authority
	// OnReady is called when all nodes are registered.
	OnReady func()
	// Remove takes the Node objects away when Run ends.
	Remove bool
}

// Pool is a number of nodes that are alike.
type Pool struct {
	// Name begins the names of the nodes: NAME-0 and so on. Default: "simulated".
	Name  string
	Count int
	// Capacity of each node. Default: 32 CPUs, 256 GiB of memory, 110 pods.
	Capacity corev1.ResourceList
	Labels   map[string]string
	Taints   []corev1.Taint
	// Zones, if any, are given to the nodes in turn, by the label topology.kubernetes.io/zone.
	Zones []string
	// Profile is what their pods do unless their annotations say otherwise.
	Profile Profile
}

func (p *Pool) nodeName(i int) string { return p.Name + "-" + strconv.Itoa(i) }

// Defaults of Options and Pool.
const (
	DefaultName    = "simulated"
	defaultWorkers = 32
	defaultPods    = 110
	// nodeBits is the prefix length of one node's pod addresses.
	nodeBits = 24
)

// Capacity is that of a node with so many CPUs and so much memory.
func Capacity(cpu, memory resource.Quantity, pods int64) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory,
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		corev1.ResourcePods:             *resource.NewQuantity(pods, resource.DecimalSI),
	}
}

func (o Options) complete() (Options, error) {
	if !o.PodCIDR.IsValid() {
		o.PodCIDR = netip.MustParsePrefix("100.64.0.0/10")
	}
	if !o.PodCIDR.Addr().Is4() || o.PodCIDR.Bits() > nodeBits {
		return o, fmt.Errorf("dividing %s among nodes: use an IPv4 range of /%d or larger", o.PodCIDR, nodeBits)
	}
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	o.Pools = slices.Clone(o.Pools)
	total, names := 0, map[string]bool{}
	for i := range o.Pools {
		p := &o.Pools[i]
		if p.Name == "" {
			p.Name = DefaultName
		}
		if names[p.Name] {
			return o, fmt.Errorf("naming simulated nodes: two pools have the name %q", p.Name)
		}
		names[p.Name] = true
		if p.Capacity == nil {
			p.Capacity = Capacity(resource.MustParse("32"), resource.MustParse("256Gi"), defaultPods)
		}
		total += p.Count
	}
	if room := 1 << (nodeBits - o.PodCIDR.Bits()); total > room {
		return o, fmt.Errorf("dividing %s among %d nodes: there is room for %d", o.PodCIDR, total, room)
	}
	return o, nil
}

// subnet is the n-th part of the pod range.
func (o Options) subnet(n int) netip.Prefix {
	a := o.PodCIDR.Masked().Addr().As4()
	base := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	base += uint32(n) << (32 - nodeBits)
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(base >> 24), byte(base >> 16), byte(base >> 8), byte(base)}), nodeBits)
}

// How leases are kept. The control plane allows a node to be silent for 50 seconds.
const (
	leaseSeconds = 40
	leaseRenewal = 15 * time.Second
)
