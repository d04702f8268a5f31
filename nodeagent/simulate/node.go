package simulate

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// node is one simulated node.
type node struct {
	name    string
	pool    atomic.Pointer[Pool]
	address netip.Addr // of the node itself
	zone    string
	down    atomic.Bool
	lease   atomic.Pointer[leaseState]

	mu    sync.Mutex // of what follows
	pods  netip.Prefix
	taken map[netip.Addr]bool
	hint  netip.Addr // where to look for a free address
}

// newNode is the n-th of all simulated nodes and the i-th of its pool.
func (o Options) newNode(n, i int, p *Pool) *node {
	out := &node{
		name: p.nodeName(i), taken: map[netip.Addr]bool{},
		// 127.1.0.1 and on: on every machine these are its own, and lead nowhere else.
		address: netip.AddrFrom4([4]byte{127, byte(1 + n/(250*250)), byte(n / 250 % 250), byte(1 + n%250)}),
	}
	out.pool.Store(p)
	if len(p.Zones) > 0 {
		out.zone = p.Zones[i%len(p.Zones)]
	}
	out.setRange(o.subnet(n))
	return out
}

// setRange says which addresses the node's pods get.
func (n *node) setRange(p netip.Prefix) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pods != p {
		n.pods, n.hint = p, p.Addr().Next() // the first is the network's own
	}
}

func (n *node) podRange() netip.Prefix {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pods
}

// podIP is the address of a new pod: the one after that given last, which is free.
func (n *node) podIP() (netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for range 1 << min(n.pods.Addr().BitLen()-n.pods.Bits(), 16) {
		n.hint = n.hint.Next()
		if !n.pods.Contains(n.hint) {
			n.hint = n.pods.Addr().Next().Next()
		}
		if !n.taken[n.hint] {
			n.taken[n.hint] = true
			return n.hint, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("giving a pod of node %s an address: all of %s are taken", n.name, n.pods)
}

// hold takes an address that a pod has from before.
func (n *node) hold(ip netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taken[ip] = true
}

func (n *node) release(ip netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.taken, ip)
}

// object is the Node as it is registered.
func (s *simulation) object(n *node) *corev1.Node {
	labels := map[string]string{
		corev1.LabelHostname: n.name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64", "type": "simulated",
	}
	if n.zone != "" {
		labels[corev1.LabelTopologyZone] = n.zone
	}
	pool, pods := n.pool.Load(), n.podRange().String()
	maps.Copy(labels, pool.Labels)
	out := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: labels},
		Spec: corev1.NodeSpec{
			PodCIDR: pods, PodCIDRs: []string{pods}, ProviderID: "simulated://" + n.name, Taints: pool.Taints,
		},
	}
	s.fill(n, &out.Status)
	return out
}

// fill sets all of a status that is the node's.
func (s *simulation) fill(n *node, status *corev1.NodeStatus) {
	capacity := n.pool.Load().Capacity
	status.Capacity, status.Allocatable = capacity, capacity
	status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.address.String()}, {Type: corev1.NodeHostName, Address: n.name}}
	status.DaemonEndpoints.KubeletEndpoint.Port = s.port
	status.NodeInfo = corev1.NodeSystemInfo{
		MachineID: n.name, SystemUUID: n.name, BootID: n.name, KernelVersion: "simulated", OSImage: "simulated", OperatingSystem: "linux", Architecture: "amd64",
		ContainerRuntimeVersion: "simulated://1", KubeletVersion: s.version, KubeProxyVersion: "",
	}
	now := metav1.Now()
	for _, c := range []corev1.NodeCondition{
		{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available"},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasNoDiskPressure", Message: "kubelet has no disk pressure"},
		{Type: corev1.NodePIDPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientPID", Message: "kubelet has sufficient PID available"},
		{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"},
	} {
		c.LastHeartbeatTime, c.LastTransitionTime = now, now
		setNodeCondition(status, c)
	}
}

func setNodeCondition(s *corev1.NodeStatus, c corev1.NodeCondition) {
	for i := range s.Conditions {
		if old := &s.Conditions[i]; old.Type == c.Type {
			if old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
			*old = c
			return
		}
	}
	s.Conditions = append(s.Conditions, c)
}

// register makes the node and its lease, or takes up those that are there.
func (s *simulation) register(ctx context.Context, n *node) error {
	made, err := s.client.CoreV1().Nodes().Create(ctx, s.object(n), metav1.CreateOptions{})
	if err != nil {
		return s.takeUp(ctx, n, err)
	}
	return s.renew(ctx, n, made)
}
