package proxy

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/knftables"
)

var update = flag.Bool("update", false, "rewrite the files of expected rules")

var (
	local   = corev1.ServiceExternalTrafficPolicyLocal
	inLocal = corev1.ServiceInternalTrafficPolicyLocal
	web     = slicePortOf("web", corev1.ProtocolTCP, 8080)
)

// planCases are Services with their slices; each has a file of expected rules.
var planCases = []struct {
	name string
	svc  *corev1.Service
	eps  []*discoveryv1.EndpointSlice
}{
	{"clusterip", service("a", "10.96.0.1", port("web", "TCP", 80, 0)),
		[]*discoveryv1.EndpointSlice{slice("a", at("here", "10.244.0.3", "10.244.0.2"), web), slice("a", at("there", "10.244.1.2", "10.244.0.2"), web)}},
	{"ports", service("a", "10.96.0.1", port("web", "TCP", 80, 0), port("dns", "UDP", 53, 0), port("none", "SCTP", 9, 0)),
		[]*discoveryv1.EndpointSlice{slice("a", at("here", "10.244.0.2"), web, slicePortOf("dns", "UDP", 5353))}},
	{"no-endpoints", service("a", "10.96.0.1", port("web", "TCP", 80, 30080), func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"198.51.100.1"} }), nil},
	{"affinity", service("a", "10.96.0.1", port("web", "TCP", 80, 0), func(s *corev1.Service) {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}), []*discoveryv1.EndpointSlice{slice("a", at("here", "10.244.0.2", "10.244.0.3"), web)}},
	{"nodeport", service("a", "10.96.0.1", port("web", "TCP", 80, 30080)),
		[]*discoveryv1.EndpointSlice{slice("a", at("here", "10.244.0.2"), web)}},
	{"nodeport-local", service("a", "10.96.0.1", port("web", "TCP", 80, 30080), func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = local }),
		[]*discoveryv1.EndpointSlice{slice("a", at("here", "10.244.0.2"), web), slice("a", at("there", "10.244.1.2"), web)}},
	{"nodeport-local-elsewhere", service("a", "10.96.0.1", port("web", "TCP", 80, 30080), func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = local }),
		[]*discoveryv1.EndpointSlice{slice("a", at("there", "10.244.1.2"), web)}},
	{"internal-local", service("a", "10.96.0.1", port("web", "TCP", 80, 30080), func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = &inLocal }),
		[]*discoveryv1.EndpointSlice{slice("a", at("here", "10.244.0.2"), web), slice("a", at("there", "10.244.1.2"), web)}},
	{"internal-local-elsewhere", service("a", "10.96.0.1", port("web", "TCP", 80, 0), func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = &inLocal }),
		[]*discoveryv1.EndpointSlice{slice("a", at("there", "10.244.1.2"), web)}},
	{"loadbalancer", service("a", "10.96.0.1", port("web", "TCP", 80, 30080), func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		s.Spec.LoadBalancerSourceRanges = []string{"203.0.113.0/24", " 198.51.100.7/32"}
		proxyMode := corev1.LoadBalancerIPModeProxy
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.100"}, {IP: "192.0.2.101", IPMode: &proxyMode}, {Hostname: "x"}}
	}), []*discoveryv1.EndpointSlice{slice("a", at("here", "10.244.0.2"), web)}},
	{"terminating", service("a", "10.96.0.1", port("web", "TCP", 80, 0)),
		[]*discoveryv1.EndpointSlice{slice("a", slices.Concat(conditions(false, true, true, "10.244.0.2"), conditions(false, false, true, "10.244.0.3"), conditions(false, true, false, "10.244.0.4")), web)}},
	{"ready-beats-terminating", service("a", "10.96.0.1", port("web", "TCP", 80, 0)),
		[]*discoveryv1.EndpointSlice{slice("a", slices.Concat(conditions(false, true, true, "10.244.0.2"), conditions(true, true, false, "10.244.0.3")), web)}},
	{"headless", service("a", "None", port("web", "TCP", 80, 0)), []*discoveryv1.EndpointSlice{slice("a", at("here", "10.244.0.2"), web)}},
	{"externalname", service("a", "", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName }), nil},
	{"other-proxy", service("a", "10.96.0.1", port("web", "TCP", 80, 0), func(s *corev1.Service) {
		s.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "x"}
	}), []*discoveryv1.EndpointSlice{slice("a", at("here", "10.244.0.2"), web)}},
}

func TestPlanService(t *testing.T) {
	for _, c := range planCases {
		t.Run(c.name, func(t *testing.T) {
			got := text(planService(c.svc, c.eps, testConfig))
			file := filepath.Join("testdata", c.name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
}

// text renders a fragment to be read and compared.
func text(f fragment) string {
	var b strings.Builder
	for _, id := range sortedElements(f.elements) {
		fmt.Fprintf(&b, "%s %s : %s\n", id.mapName, id.key, f.elements[id])
	}
	for _, name := range slices.Sorted(maps.Keys(f.affinity)) {
		fmt.Fprintf(&b, "set %s timeout %v\n", name, f.affinity[name])
	}
	for _, name := range slices.Sorted(maps.Keys(f.chains)) {
		fmt.Fprintf(&b, "%s\n", name)
		for _, rule := range f.chains[name] {
			fmt.Fprintf(&b, "\t%s\n", rule)
		}
	}
	return b.String()
}

func TestTheFirstByNameHasAKeyThatSeveralClaim(t *testing.T) {
	claim := func(name, ip string) fragment {
		svc := service(name, ip, port("web", "TCP", 80, 0), func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"198.51.100.1"} })
		return planService(svc, []*discoveryv1.EndpointSlice{slice(name, at("here", "10.244.0.2"), web)}, testConfig)
	}
	all := merge(map[string]fragment{"ns/b": claim("b", "10.96.0.2"), "ns/a": claim("a", "10.96.0.1")})
	if got := all.elements[elementID{serviceIPs, "198.51.100.1 . tcp . 80"}]; !strings.HasSuffix(got, "-ns/a/tcp/web") {
		t.Errorf("the shared address leads to %q, want ns/a", got)
	}
	if len(all.elements) != 3 {
		t.Errorf("elements: got %v, want three", all.elements)
	}
}

var handles = regexp.MustCompile(`(?m)# handle \d+|^.*[^\S\n]$`)

func dump(f *knftables.Fake) string {
	lines := strings.Split(handles.ReplaceAllString(f.Dump(), ""), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestAnyOrderOfChangesEndsInTheSameTable walks through random states and
// compares the table after each small transaction with one written in full.
// The fake refuses what the kernel would, such as to delete a chain in use.
func TestAnyOrderOfChangesEndsInTheSameTable(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	small := knftables.NewFake(knftables.IPv4Family, "x")
	step := newTable(small, testConfig)
	fragments := map[string]fragment{}
	for i := range 300 {
		name := string(rune('a' + random.Intn(5)))
		if c := planCases[random.Intn(len(planCases)+3)%len(planCases)]; random.Intn(4) == 0 {
			delete(fragments, "ns/"+name)
		} else {
			svc := c.svc.DeepCopy()
			svc.Name, svc.Spec.ExternalIPs = name, nil
			if len(svc.Spec.ClusterIPs) > 0 && svc.Spec.ClusterIP != "None" {
				svc.Spec.ClusterIPs = []string{"10.96.1." + fmt.Sprint(name[0])}
			}
			for i := range svc.Spec.Ports {
				if svc.Spec.Ports[i].NodePort > 0 {
					svc.Spec.Ports[i].NodePort = 30000 + int32(name[0])
				}
			}
			fragments["ns/"+name] = planService(svc, c.eps, testConfig)
		}
		if random.Intn(20) == 0 {
			step = newTable(small, testConfig) // the agent restarts
		}
		if err := step.apply(context.Background(), merge(fragments)); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		whole := knftables.NewFake(knftables.IPv4Family, "x")
		if err := newTable(whole, testConfig).apply(context.Background(), merge(fragments)); err != nil {
			t.Fatalf("step %d, in full: %v", i, err)
		}
		if diff := cmp.Diff(dump(whole), dump(small)); diff != "" {
			t.Fatalf("step %d: the table differs from one written in full (-full +incremental):\n%s", i, diff)
		}
	}
}

func TestOnlyWhatChangedIsWritten(t *testing.T) {
	plan := func(ips ...string) map[string]fragment {
		other := service("b", "10.96.0.2", port("web", "TCP", 80, 0))
		return map[string]fragment{
			"ns/a": planService(service("a", "10.96.0.1", port("web", "TCP", 80, 0)), []*discoveryv1.EndpointSlice{slice("a", at("here", ips...), web)}, testConfig),
			"ns/b": planService(other, []*discoveryv1.EndpointSlice{slice("b", at("here", "10.244.0.9"), web)}, testConfig),
		}
	}
	tx := knftables.NewFake(knftables.IPv4Family, "x").NewTransaction()
	writeDifference(tx, merge(plan("10.244.0.2", "10.244.0.3")), merge(plan("10.244.0.2", "10.244.0.4")))
	var got []string
	for line := range strings.Lines(tx.String()) {
		got = append(got, strings.Join(strings.Fields(line)[:2], " "))
	}
	want := []string{"add chain", "flush chain", "add rule", "add rule", "add rule", "add rule", "flush chain", "delete chain"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations (-want +got):\n%s\n%s", diff, tx)
	}
}

func TestStaleFlows(t *testing.T) {
	plan := func(ips ...string) fragment {
		svc := service("a", "10.96.0.1", port("dns", "UDP", 53, 30053))
		return planService(svc, []*discoveryv1.EndpointSlice{slice("a", at("here", ips...), slicePortOf("dns", "UDP", 5353))}, testConfig)
	}
	f := newFlows(plan("10.244.0.2"), plan("10.244.0.3"), testConfig.ServiceCIDR, testConfig.NodeIPs)
	gone := newFlows(plan("10.244.0.2"), newFragment(), netip.Prefix{}, testConfig.NodeIPs)
	for _, c := range []struct {
		what     string
		flows    flows
		protocol uint8
		to, from string
		want     bool
	}{
		{"to an endpoint that went", f, 17, "10.96.0.1:53", "10.244.0.2:5353", true},
		{"to one that is there", f, 17, "10.96.0.1:53", "10.244.0.3:5353", false},
		{"never translated", f, 17, "10.96.0.1:53", "10.96.0.1:53", true},
		{"by the node port, gone", f, 17, "192.0.2.2:30053", "10.244.0.2:5353", true},
		{"by the node port, there", f, 17, "192.0.2.2:30053", "10.244.0.3:5353", false},
		{"the same port of another machine", f, 17, "8.8.8.8:30053", "8.8.8.8:30053", false},
		{"TCP", f, 6, "10.96.0.1:53", "10.244.0.2:5353", false},
		{"a Service that nobody knows", f, 17, "10.96.7.7:53", "10.244.0.2:5353", true},
		{"pod to pod", f, 17, "10.244.0.3:53", "10.244.0.3:53", false},
		{"a Service that is deleted", gone, 17, "10.96.0.1:53", "10.244.0.2:5353", true},
	} {
		to, from := netip.MustParseAddrPort(c.to), netip.MustParseAddrPort(c.from)
		flow := &netlink.ConntrackFlow{
			Forward: netlink.IPTuple{Protocol: c.protocol, DstIP: net.IP(to.Addr().AsSlice()), DstPort: to.Port()},
			Reverse: netlink.IPTuple{Protocol: c.protocol, SrcIP: net.IP(from.Addr().AsSlice()), SrcPort: from.Port()},
		}
		if got := c.flows.MatchConntrackFlow(flow); got != c.want {
			t.Errorf("%s: ends %v, want %v", c.what, got, c.want)
		}
	}
}

func TestNodePortAddresses(t *testing.T) {
	for _, c := range []struct {
		ranges []netip.Prefix
		want   string
	}{
		{nil, "fib daddr type local ip daddr { 192.0.2.2, 127.0.0.0/8 } "},
		{[]netip.Prefix{netip.MustParsePrefix("192.0.2.9/24"), netip.MustParsePrefix("::/0")}, "fib daddr type local ip daddr { 192.0.2.0/24 } "},
		{[]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, "fib daddr type local "},
	} {
		config := testConfig
		config.NodePortAddresses = c.ranges
		if got := nodeMatch(config.nodePortAddresses()); got != c.want {
			t.Errorf("%v: got %q, want %q", c.ranges, got, c.want)
		}
	}
}
