package network

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"coracle.dev/coracle/nodeagent/internal/netnstest"
)

func testConfig(t testing.TB) Config {
	return Config{
		ClusterName: "test", Interface: "cor-test", StateDir: filepath.Join(t.TempDir(), "network"),
		PodCIDR:     netip.MustParsePrefix("10.244.0.0/24"),
		ClusterCIDR: netip.MustParsePrefix("10.244.0.0/16"),
		ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"),
	}
}

func newNetwork(t *testing.T, c Config) *Network {
	t.Helper()
	n, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Teardown(context.Background(), c); err != nil {
			t.Errorf("tearing down: %v", err)
		}
	})
	return n
}

// outside is a machine beyond the node's real interface. It answers at
// 192.0.2.1, and the node has 192.0.2.2.
func outside(t *testing.T) *netnstest.NS {
	t.Helper()
	ns := netnstest.New(t)
	f, err := os.Open(ns.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "eth0"
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerNamespace = "eth0", netlink.NsFd(int(f.Fd()))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	configure := func(address string) {
		link, err := netlink.LinkByName("eth0")
		check(err)
		a, err := netlink.ParseAddr(address)
		check(err)
		check(netlink.AddrAdd(link, a))
		check(netlink.LinkSetUp(link))
	}
	check(netlink.LinkAdd(veth))
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	ns.Do(func() { configure("192.0.2.1/24") })
	configure("192.0.2.2/24")
	check(netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(192, 0, 2, 1)}))
	return ns
}

type testPod struct {
	*netnstest.NS
	id, ip string
}

func (n *Network) addPod(t *testing.T, id string, ports ...portMapping) testPod {
	t.Helper()
	ns := netnstest.New(t)
	answer, failure := n.call(t.Context(), testRequest("ADD", id, ns.Path, ports...))
	if failure != nil {
		t.Fatalf("adding pod %s: %v", id, failure)
	}
	ip, _, _ := strings.Cut(answer.(cniResult).IPs[0].Address, "/")
	return testPod{ns, id, ip}
}

func testRequest(command, id, path string, ports ...portMapping) request {
	config := map[string]any{"cniVersion": "1.0.0", "name": "x", "type": "y", "runtimeConfig": map[string]any{"portMappings": ports}}
	data, err := json.Marshal(config)
	if err != nil {
		panic(err)
	}
	return request{Command: command, ContainerID: id, NetNS: path, IfName: "eth0", Args: "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=" + id, Config: data}
}

// expect asks for the server's answer: its name and the source address it sees.
func expect(t *testing.T, what string, from *netnstest.NS, network, address, want string) {
	t.Helper()
	got, err := from.Ask(network, address)
	if err != nil || got != want {
		t.Errorf("%s (%s %s): got %q, %v; want %q", what, network, address, got, err, want)
	}
}

func expectError(t *testing.T, what string, from *netnstest.NS, network, address, want string) {
	t.Helper()
	start := time.Now()
	got, err := from.Ask(network, address)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s (%s %s): got %q, error %v; want error %q", what, network, address, got, err, want)
	} else if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("%s (%s %s): refused only after %v", what, network, address, took)
	}
}

func TestPodsReachEachOtherAndTheWorld(t *testing.T) {
	world := outside(t)
	n := newNetwork(t, testConfig(t))
	a, b := n.addPod(t, "a"), n.addPod(t, "b")
	a.Serve("a", ":80")
	b.Serve("b", ":80")
	world.Serve("world", ":80")
	var node *netnstest.NS
	for _, network := range []string{"tcp4", "udp4"} {
		expect(t, "pod to pod keeps its address", a.NS, network, b.ip+":80", "b "+a.ip)
		expect(t, "pod to itself", a.NS, network, a.ip+":80", "a "+a.ip)
		expect(t, "pod to world is masqueraded", a.NS, network, "192.0.2.1:80", "world 192.0.2.2")
		expect(t, "node to pod", node, network, b.ip+":80", "b 10.244.0.1")
	}
	expectError(t, "pod to an address without a pod", a.NS, "tcp4", "10.244.0.99:80", "no route to host")
	expectError(t, "pod to another node's range", a.NS, "tcp4", "10.244.7.7:80", "no route to host")
	expectError(t, "node to an address without a pod", node, "tcp4", "10.244.0.99:80", "no route to host")
}

func TestNothingForTheRangesLeavesTheHost(t *testing.T) {
	world := outside(t)
	// Were anything for these routed to the gateway of the real interface, it
	// would be answered there.
	world.Do(func() {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			t.Error(err)
			return
		}
		for _, s := range []string{"10.244.9.9/32", "10.96.0.9/32"} {
			a, _ := netlink.ParseAddr(s)
			if err := netlink.AddrAdd(lo, a); err != nil {
				t.Error(err)
			}
		}
	})
	world.Serve("leak", ":80")
	n := newNetwork(t, testConfig(t))
	a := n.addPod(t, "a")
	for _, address := range []string{"10.244.9.9:80", "10.96.0.9:80"} {
		for _, from := range []*netnstest.NS{nil, a.NS} {
			if answer, err := from.Ask("udp4", address); err == nil {
				t.Errorf("%s was reached from the outside: %q", address, answer)
			}
		}
	}
}

func TestHostPort(t *testing.T) {
	world := outside(t)
	n := newNetwork(t, testConfig(t))
	a := n.addPod(t, "a",
		portMapping{HostPort: 8080, ContainerPort: 80, Protocol: "TCP"},
		portMapping{HostPort: 8080, ContainerPort: 80, Protocol: "UDP"},
		portMapping{HostPort: 8081, ContainerPort: 80, Protocol: "TCP", HostIP: "192.0.2.2"})
	b := n.addPod(t, "b")
	a.Serve("a", ":80")
	var node *netnstest.NS
	for _, network := range []string{"tcp4", "udp4"} {
		expect(t, "from the world", world, network, "192.0.2.2:8080", "a 192.0.2.1")
		expect(t, "from the node", node, network, "192.0.2.2:8080", "a 192.0.2.2")
		expect(t, "from another pod", b.NS, network, "192.0.2.2:8080", "a "+b.ip)
	}
	for _, check := range []struct {
		what string
		from *netnstest.NS
		to   string
	}{
		{"from the node through loopback", node, "127.0.0.1:8080"},
		{"from the pod itself", a.NS, "192.0.2.2:8080"},
		{"on one host address", world, "192.0.2.2:8081"},
	} {
		if answer, err := check.from.Ask("tcp4", check.to); err != nil || !strings.HasPrefix(answer, "a ") {
			t.Errorf("%s: got %q, %v", check.what, answer, err)
		}
	}
	expectError(t, "another address of the host", node, "tcp4", "127.0.0.1:8081", "connection refused")
	if _, failure := n.call(t.Context(), testRequest("DEL", a.id, "")); failure != nil {
		t.Fatal(failure)
	}
	expectError(t, "after the pod is gone", world, "tcp4", "192.0.2.2:8080", "connection refused")
}

func TestPodsCannotReachTheHostsLoopback(t *testing.T) {
	n := newNetwork(t, testConfig(t))
	a := n.addPod(t, "a")
	host := netnstest.Self(t)
	host.Serve("secret", "127.0.0.1:99")
	a.Do(func() {
		// A pod with the rights for it gives up its own loopback address, and takes
		// the host's for a neighbour's.
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			own, _ := netlink.ParseAddr("127.0.0.1/8")
			err = netlink.AddrDel(lo, own)
		}
		if err != nil {
			t.Error(err)
		}
		for _, f := range []string{"all", "eth0"} {
			if err := setSysctl("net/ipv4/conf/"+f+"/route_localnet", "1"); err != nil {
				t.Error(err)
			}
		}
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			t.Error(err)
			return
		}
		dst := hostNet(netip.MustParseAddr("127.0.0.1"))
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Dst: dst, Gw: n.Gateway().AsSlice()}); err != nil {
			t.Error(err)
		}
	})
	if answer, err := a.Ask("udp4", "127.0.0.1:99"); err == nil {
		t.Errorf("a pod reached the host's loopback: %q", answer)
	}
}

func TestRestartAdoptsPods(t *testing.T) {
	c := testConfig(t)
	n := newNetwork(t, c)
	a, b := n.addPod(t, "a", portMapping{HostPort: 8080, ContainerPort: 80, Protocol: "TCP"}), n.addPod(t, "b")
	a.Serve("a", ":80")
	b.Remove()
	deleteLinkOf(t, n, b.ip)
	// A link that no file knows.
	stray := netlink.NewLinkAttrs()
	stray.Name = c.linkName(netip.MustParseAddr("10.244.0.200"))
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: stray, PeerName: "stray"}); err != nil {
		t.Fatal(err)
	}

	n = newNetwork(t, c)
	var node *netnstest.NS
	expect(t, "the pod's address after a restart", node, "tcp4", a.ip+":80", "a 10.244.0.1")
	if answer, err := node.Ask("tcp4", "127.0.0.1:8080"); err != nil || !strings.HasPrefix(answer, "a ") {
		t.Errorf("the host port after a restart: got %q, %v", answer, err)
	}
	if got := n.pool.list(); len(got) != 1 || got[0].ContainerID != "a" {
		t.Errorf("allocations after a restart: got %v, want a's alone", got)
	}
	if _, err := netlink.LinkByName(stray.Name); err == nil {
		t.Error("the stray link is still there")
	}
	if got := n.addPod(t, "c").ip; got == a.ip {
		t.Errorf("a new pod was given the address %s, which is taken", got)
	}
}

func deleteLinkOf(t *testing.T, n *Network, ip string) {
	t.Helper()
	if err := n.disconnect(netip.MustParseAddr(ip)); err != nil {
		t.Fatal(err)
	}
}

func TestSweepFreesWhatTheRuntimeDoesNotKnow(t *testing.T) {
	n := newNetwork(t, testConfig(t))
	now := time.Now()
	n.now = func() time.Time { return now }
	n.addPod(t, "live")
	n.addPod(t, "leaked")
	now = now.Add(leakAge)
	n.addPod(t, "young")
	freed, err := n.Sweep(t.Context(), func(context.Context) (map[string]bool, error) { return map[string]bool{"live": true}, nil })
	if err != nil || freed != 1 {
		t.Errorf("sweeping: freed %d, %v; want 1", freed, err)
	}
	var left []string
	for _, a := range n.pool.list() {
		left = append(left, a.ContainerID)
	}
	if got := fmt.Sprint(left); got != "[live young]" {
		t.Errorf("left: %s, want [live young]", got)
	}
	// The namespace of the leaked one is there still, and so are its links.
	if _, err := n.Sweep(t.Context(), func(context.Context) (map[string]bool, error) { return map[string]bool{"live": true}, nil }); err != nil {
		t.Fatal(err)
	}
	if links, err := n.podLinks(); err != nil || len(links) != 2 {
		t.Errorf("links after another sweep: %v, %v; want two", links, err)
	}
}

func TestDeletedPodIsCutOff(t *testing.T) {
	n := newNetwork(t, testConfig(t))
	a := n.addPod(t, "a")
	a.Serve("a", ":80")
	expect(t, "before", nil, "tcp4", a.ip+":80", "a 10.244.0.1")
	if _, failure := n.call(t.Context(), testRequest("DEL", a.id, "")); failure != nil {
		t.Fatal(failure)
	}
	expectError(t, "after", nil, "tcp4", a.ip+":80", "no route to host")
}

func TestTeardownLeavesNothing(t *testing.T) {
	outside(t)
	before := hostState(t)
	c := testConfig(t)
	n := newNetwork(t, c)
	n.addPod(t, "a", portMapping{HostPort: 8080, ContainerPort: 80, Protocol: "TCP"})
	for range 2 { // the second time there is nothing to do
		if err := Teardown(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if after := hostState(t); after != before {
		t.Errorf("after teardown:\n%s\nbefore:\n%s", after, before)
	}
	if _, err := os.Stat(c.StateDir); !os.IsNotExist(err) {
		t.Errorf("the state directory is still there: %v", err)
	}
}

func TestOverlaps(t *testing.T) {
	outside(t)
	c := testConfig(t)
	newNetwork(t, c).addPod(t, "a")
	if got, err := Overlaps(c); err != nil || len(got) != 0 {
		t.Errorf("with the cluster running: got %v, %v; want none", got, err)
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("10.0.0.0/8"))}); err != nil {
		t.Fatal(err)
	}
	got, err := Overlaps(c)
	want := "[10.244.0.0/16 overlaps 10.0.0.0/8, route through eth0 10.96.0.0/16 overlaps 10.0.0.0/8, route through eth0]"
	if err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v; want %s", got, err, want)
	}
}

func TestPodsPassAFirewallThatDropsWhatItDoesNotKnow(t *testing.T) {
	world := outside(t)
	world.Serve("world", ":80")
	nft := func(script string) string {
		t.Helper()
		c := exec.Command("nft", "-f", "-")
		c.Stdin = strings.NewReader(script)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
		return string(out)
	}
	drop := "add table ip filter\nadd chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }\n"
	nft(drop)
	t.Cleanup(func() { nft("delete table ip filter") })
	before := nft("list chain ip filter FORWARD")
	c := testConfig(t)
	n := newNetwork(t, c)
	a, b := n.addPod(t, "a"), n.addPod(t, "b")
	b.Serve("b", ":80")
	expect(t, "pod to pod", a.NS, "tcp4", b.ip+":80", "b "+a.ip)
	expect(t, "pod to world", a.NS, "tcp4", "192.0.2.1:80", "world 192.0.2.2")
	// The firewall starts again, and has lost our rules.
	nft("flush chain ip filter FORWARD")
	none := func(context.Context) (map[string]bool, error) { return map[string]bool{"a": true, "b": true}, nil }
	for range 2 {
		if _, err := n.Sweep(t.Context(), none); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "pod to pod after a sweep", a.NS, "tcp4", b.ip+":80", "b "+a.ip)
	if got := strings.Count(nft("list chain ip filter FORWARD"), "accept"); got != 2 {
		t.Errorf("rules in the firewall's chain: got %d, want 2", got)
	}
	if err := Teardown(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if after := nft("list chain ip filter FORWARD"); after != before {
		t.Errorf("the firewall's chain after teardown:\n%s\nbefore:\n%s", after, before)
	}
}
