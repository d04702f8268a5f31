package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/knftables"

	"coracle.dev/coracle/nodeagent/internal/netnstest"
	"coracle.dev/coracle/nodeagent/network"
)

// world is a node with pods and a machine outside, a running proxy, and a
// cluster to change.
type world struct {
	t       *testing.T
	client  *fake.Clientset
	outside *netnstest.NS
	socket  string
	network network.Config
	stop    func()
}

type pod struct {
	*netnstest.NS
	ip string
}

func newWorld(t *testing.T, config Config) *world {
	w := &world{t: t, client: fake.NewClientset(), outside: netnstest.New(t), socket: filepath.Join(t.TempDir(), "cni.sock")}
	w.connectOutside()
	w.network = network.Config{
		ClusterName: "test", Interface: "cor-test", StateDir: t.TempDir(),
		PodCIDR: netip.MustParsePrefix("10.244.0.0/24"), ClusterCIDR: config.ClusterCIDR, ServiceCIDR: config.ServiceCIDR,
	}
	n, err := network.New(t.Context(), w.network)
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- n.Serve(ctx, w.socket) }()
	w.run(config)
	t.Cleanup(func() {
		w.stop()
		cancel()
		w.check(<-served)
		w.check(Teardown(context.Background(), "test"))
		w.check(network.Teardown(context.Background(), w.network))
	})
	return w
}

// run starts the proxy.
func (w *world) run(config Config) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, w.client, config) }()
	w.stop = func() {
		cancel()
		w.check(<-done)
		w.stop = func() {}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Error(err)
	}
}

func (w *world) connectOutside() {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "eth0"
	veth := netlink.NewVeth(attrs)
	veth.PeerName = "eth1"
	w.must(netlink.LinkAdd(veth))
	w.t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	w.must(w.outside.Adopt("eth1"))
	up := func(name, address string) {
		link, err := netlink.LinkByName(name)
		w.must(err)
		a, err := netlink.ParseAddr(address)
		w.must(err)
		w.must(netlink.AddrAdd(link, a))
		w.must(netlink.LinkSetUp(link))
	}
	up("eth0", "192.0.2.2/24")
	w.outside.Do(func() { up("eth1", "192.0.2.1/24") })
	w.must(netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(192, 0, 2, 1)}))
	w.outside.Do(func() {
		w.must(netlink.RouteAdd(&netlink.Route{Dst: &net.IPNet{IP: net.IPv4(198, 51, 100, 1), Mask: net.CIDRMask(32, 32)}, Gw: net.IPv4(192, 0, 2, 2)}))
	})
}

// pod makes one through the CNI socket; it answers at 8080 with its name.
func (w *world) pod(name string) pod {
	w.t.Helper()
	p := pod{NS: netnstest.New(w.t)}
	c, err := dialWhenReady(w.socket)
	w.must(err)
	defer c.Close()
	fmt.Fprintf(c, "ADD\n%s\n%s\neth0\n\n{\"cniVersion\":\"1.0.0\"}", name, p.Path)
	w.must(c.(*net.UnixConn).CloseWrite())
	answer, err := io.ReadAll(c)
	w.must(err)
	var result struct {
		IPs []struct{ Address netip.Prefix }
	}
	if err := json.Unmarshal(bytes.TrimPrefix(answer, []byte("0")), &result); err != nil || len(result.IPs) != 1 {
		w.t.Fatalf("adding pod %s: %s, %v", name, answer, err)
	}
	p.ip = result.IPs[0].Address.Addr().String()
	p.Serve(name, ":8080")
	return p
}

func dialWhenReady(socket string) (c net.Conn, err error) {
	for range 100 {
		if c, err = net.Dial("unix", socket); err == nil {
			return c, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, err
}

func (w *world) add(svc *corev1.Service, eps *discoveryv1.EndpointSlice) {
	w.t.Helper()
	if svc != nil {
		_, err := w.client.CoreV1().Services(svc.Namespace).Create(w.t.Context(), svc, metav1.CreateOptions{})
		w.must(err)
	}
	if eps != nil {
		_, err := w.client.DiscoveryV1().EndpointSlices(eps.Namespace).Create(w.t.Context(), eps, metav1.CreateOptions{})
		w.must(err)
	}
}

func (w *world) update(eps *discoveryv1.EndpointSlice) {
	w.t.Helper()
	_, err := w.client.DiscoveryV1().EndpointSlices(eps.Namespace).Update(w.t.Context(), eps, metav1.UpdateOptions{})
	w.must(err)
}

// eventually asks until the answer is as wanted, for two seconds.
func (w *world) eventually(what string, from *netnstest.NS, network, address string, want func(string, error) bool) {
	w.t.Helper()
	start := time.Now()
	for {
		answer, err := from.Ask(network, address)
		if want(answer, err) {
			return
		}
		if time.Since(start) > 2*time.Second {
			w.t.Errorf("%s (%s %s): got %q, %v", what, network, address, answer, err)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func is(want string) func(string, error) bool {
	return func(got string, err error) bool { return err == nil && got == want }
}

func from(want string) func(string, error) bool {
	return func(got string, err error) bool { return err == nil && strings.HasPrefix(got, want+" ") }
}

// refused is also how the kernel answers the node's own UDP.
func refused(_ string, err error) bool {
	return err != nil && (strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "operation not permitted"))
}

var (
	tcp = slicePortOf("web", corev1.ProtocolTCP, 8080)
	udp = slicePortOf("udp", corev1.ProtocolUDP, 8080)
)

func both(nodePort int32) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		port("web", "TCP", 80, nodePort)(svc)
		port("udp", "UDP", 80, nodePort)(svc)
	}
}

func TestServiceReachesPods(t *testing.T) {
	w := newWorld(t, testConfig)
	a, b := w.pod("a"), w.pod("b")
	w.add(service("s", "10.96.0.1", both(30080), func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"198.51.100.1"} }),
		slice("s", at("here", b.ip), tcp, udp))
	var node *netnstest.NS
	for _, network := range []string{"tcp4", "udp4"} {
		w.eventually("a pod keeps its address", a.NS, network, "10.96.0.1:80", is("b "+a.ip))
		w.eventually("a pod reaches itself", b.NS, network, "10.96.0.1:80", from("b"))
		w.eventually("the node by the cluster address", node, network, "10.96.0.1:80", from("b"))
		w.eventually("the node by its node port", node, network, "192.0.2.2:30080", from("b"))
		w.eventually("the node by loopback", node, network, "127.0.0.1:30080", from("b"))
		w.eventually("a pod by the node port", a.NS, network, "192.0.2.2:30080", from("b"))
		w.eventually("a pod reaches itself by the node port", b.NS, network, "192.0.2.2:30080", from("b"))
		w.eventually("from outside", w.outside, network, "192.0.2.2:30080", from("b"))
		w.eventually("from outside by the external address", w.outside, network, "198.51.100.1:80", from("b"))
	}
}

func TestServiceWithoutEndpointsRefusesAtOnce(t *testing.T) {
	w := newWorld(t, testConfig)
	a := w.pod("a")
	w.add(service("s", "10.96.0.1", both(30080)), slice("s", nil, tcp, udp))
	var node *netnstest.NS
	for _, network := range []string{"tcp4", "udp4"} {
		for _, c := range []struct {
			what, to string
			from     *netnstest.NS
		}{
			{"a pod", "10.96.0.1:80", a.NS}, {"the node", "10.96.0.1:80", node},
			{"a pod, node port", "192.0.2.2:30080", a.NS}, {"the node, node port", "192.0.2.2:30080", node},
			{"outside, node port", "192.0.2.2:30080", w.outside},
			{"a port the Service lacks", "10.96.0.1:81", a.NS}, {"an address without Service", "10.96.9.9:80", node},
		} {
			w.eventually(c.what, c.from, network, c.to, refused)
			start := time.Now()
			if _, err := c.from.Ask(network, c.to); err == nil || time.Since(start) > 200*time.Millisecond {
				t.Errorf("%s (%s %s): %v after %v, want a prompt refusal", c.what, network, c.to, err, time.Since(start))
			}
		}
	}
	w.update(slice("s", at("here", a.ip), tcp, udp))
	w.eventually("once there is an endpoint", node, "udp4", "10.96.0.1:80", from("a"))
	w.eventually("once there is an endpoint", a.NS, "tcp4", "10.96.0.1:80", from("a"))
}

func TestRequestsSpreadAndFollowTheEndpoints(t *testing.T) {
	w := newWorld(t, testConfig)
	a, b, c := w.pod("a"), w.pod("b"), w.pod("c")
	w.add(service("s", "10.96.0.1", both(0)), slice("s", at("here", a.ip, b.ip), tcp, udp))
	w.eventually("ready", c.NS, "tcp4", "10.96.0.1:80", func(_ string, err error) bool { return err == nil })
	count := func() map[string]int {
		got := map[string]int{}
		for range 60 {
			answer, err := c.Ask("tcp4", "10.96.0.1:80")
			w.must(err)
			got[answer[:1]]++
		}
		return got
	}
	// Below 10 of 60, at even odds, is one in ten million.
	if got := count(); got["a"] < 10 || got["b"] < 10 {
		t.Errorf("answers: %v, want about as many of a as of b", got)
	}
	start := time.Now()
	w.update(slice("s", at("here", b.ip), tcp, udp))
	for since := 0; since < 20; since++ {
		if answer, err := c.Ask("tcp4", "10.96.0.1:80"); err != nil || answer[:1] == "a" {
			since = 0
		}
		if time.Since(start) > 2*time.Second {
			t.Fatal("an endpoint that went is still used after two seconds")
		}
	}
	t.Logf("the change was effective, with twenty requests, after %v", time.Since(start))
}

func TestSessionAffinitySticks(t *testing.T) {
	w := newWorld(t, testConfig)
	pods := []pod{w.pod("a"), w.pod("b"), w.pod("c")}
	client := w.pod("client")
	svc := service("s", "10.96.0.1", both(0), func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP })
	w.add(svc, slice("s", at("here", pods[0].ip, pods[1].ip, pods[2].ip), tcp, udp))
	w.eventually("ready", client.NS, "tcp4", "10.96.0.1:80", func(_ string, err error) bool { return err == nil })
	first, err := client.Ask("tcp4", "10.96.0.1:80")
	w.must(err)
	same := func(when string) {
		t.Helper()
		for range 20 {
			if answer, err := client.Ask("tcp4", "10.96.0.1:80"); err != nil || answer != first {
				t.Fatalf("%s: got %q, %v; want %q as before", when, answer, err, first)
			}
		}
	}
	same("at first")
	w.stop()
	same("while the agent is away")
	w.run(testConfig)
	time.Sleep(200 * time.Millisecond)
	same("after the agent's restart")
}

func TestLocalPolicyKeepsTheClientsAddress(t *testing.T) {
	w := newWorld(t, testConfig)
	a, b := w.pod("a"), w.pod("b")
	_ = b
	w.add(service("s", "10.96.0.1", both(30080), func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = local }),
		slice("s", at("here", a.ip), tcp, udp))
	var node *netnstest.NS
	w.eventually("from outside", w.outside, "tcp4", "192.0.2.2:30080", is("a 192.0.2.1"))
	w.eventually("from outside", w.outside, "udp4", "192.0.2.2:30080", is("a 192.0.2.1"))
	w.eventually("the node itself", node, "tcp4", "127.0.0.1:30080", from("a"))
	w.eventually("a pod", b.NS, "tcp4", "192.0.2.2:30080", is("a "+b.ip))
	// An endpoint elsewhere is for those inside, not for those outside.
	w.update(slice("s", at("there", a.ip), tcp, udp))
	w.eventually("from outside, no local endpoint", w.outside, "udp4", "192.0.2.2:30080", func(_ string, err error) bool {
		return err != nil && strings.Contains(err.Error(), "timeout")
	})
	w.eventually("a pod, no local endpoint", b.NS, "tcp4", "192.0.2.2:30080", is("a "+b.ip))
}

func TestUDPFlowMovesToALivingEndpoint(t *testing.T) {
	w := newWorld(t, testConfig)
	a, b, c := w.pod("a"), w.pod("b"), w.pod("c")
	w.add(service("s", "10.96.0.1", both(30080)), slice("s", at("here", a.ip), tcp, udp))
	// One source port, so one flow, that never rests long enough to time out.
	source := &net.UDPAddr{Port: 4444}
	asks := func(want string) {
		t.Helper()
		start := time.Now()
		for {
			answer, err := c.AskFrom("udp4", "10.96.0.1:80", source)
			if err == nil && answer == want+" "+c.ip {
				return
			}
			if time.Since(start) > 5*time.Second {
				t.Fatalf("got %q, %v; want %s", answer, err, want)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	asks("a")
	w.update(slice("s", at("here", b.ip), tcp, udp))
	asks("b")
	w.update(slice("s", nil, tcp, udp))
	w.eventually("none", c.NS, "udp4", "10.96.0.1:80", refused)
	w.update(slice("s", at("here", a.ip), tcp, udp))
	asks("a")
}

func TestEndpointOnTheNodeItself(t *testing.T) {
	w := newWorld(t, testConfig)
	a := w.pod("a")
	netnstest.Self(t).Serve("node", "192.0.2.2:6443")
	w.add(service("kubernetes", "10.96.0.1", port("web", "TCP", 443, 30443)),
		slice("kubernetes", at("here", "192.0.2.2"), slicePortOf("web", "TCP", 6443)))
	var node *netnstest.NS
	w.eventually("a pod keeps its address", a.NS, "tcp4", "10.96.0.1:443", is("node "+a.ip))
	w.eventually("the node", node, "tcp4", "10.96.0.1:443", from("node"))
	w.eventually("the node by its node port", node, "tcp4", "192.0.2.2:30443", from("node"))
	w.eventually("the node by loopback", node, "tcp4", "127.0.0.1:30443", from("node"))
	w.eventually("outside by the node port", w.outside, "tcp4", "192.0.2.2:30443", from("node"))
}

func TestRestartReplacesStaleRules(t *testing.T) {
	w := newWorld(t, testConfig)
	a := w.pod("a")
	w.add(service("s", "10.96.0.1", both(0)), slice("s", at("here", a.ip), tcp, udp))
	w.add(service("gone", "10.96.0.2", both(0)), slice("gone", at("here", a.ip), tcp, udp))
	w.eventually("before", a.NS, "tcp4", "10.96.0.2:80", from("a"))
	w.stop()
	w.must(w.client.CoreV1().Services("ns").Delete(t.Context(), "gone", metav1.DeleteOptions{}))
	if answer, err := a.Ask("tcp4", "10.96.0.1:80"); err != nil {
		t.Errorf("while the agent is away: got %q, %v", answer, err)
	}
	w.run(testConfig)
	w.eventually("a Service deleted meanwhile", a.NS, "tcp4", "10.96.0.2:80", refused)
	w.eventually("the other", a.NS, "tcp4", "10.96.0.1:80", from("a"))
}

func TestRulesThatSomebodyRemovesComeBack(t *testing.T) {
	w := newWorld(t, testConfig)
	a := w.pod("a")
	w.add(service("s", "10.96.0.1", both(0)), slice("s", at("here", a.ip), tcp, udp))
	w.eventually("before", a.NS, "tcp4", "10.96.0.1:80", from("a"))
	w.stop()
	nft, err := knftables.New(knftables.IPv4Family, tableName("test"))
	w.must(err)
	tab := newTable(nft, testConfig)
	source := &fixedSource{service("s", "10.96.0.1", both(0)), []*discoveryv1.EndpointSlice{slice("s", at("here", a.ip), tcp, udp)}}
	s := &syncer{config: testConfig, table: tab, source: source, fragments: map[string]fragment{}, endFlows: endStaleFlows}
	w.must(s.sync(t.Context()))
	s.verify(t.Context())
	if !tab.known {
		t.Error("an untouched table is taken for a changed one")
	}
	w.must(Teardown(t.Context(), "test"))
	s.verify(t.Context())
	w.must(s.sync(t.Context()))
	w.eventually("after", a.NS, "tcp4", "10.96.0.1:80", from("a"))
}

// fixedSource is a cluster with one Service.
type fixedSource struct {
	svc    *corev1.Service
	slices []*discoveryv1.EndpointSlice
}

func (s *fixedSource) drain() []string { return []string{"ns/s"} }

func (s *fixedSource) service(string) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	return s.svc, s.slices
}
