package dns

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
)

var serverAddress = netip.MustParseAddrPort("127.0.0.1:53")

// start runs a server for the objects until the test ends.
func start(t *testing.T, c Config, objects ...runtime.Object) *fake.Clientset {
	t.Helper()
	client := fake.NewClientset(objects...)
	c.Listen, c.NodeName = serverAddress, "here"
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	begin := time.Now()
	go func() { done <- Run(ctx, api{client}.config(), c) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("running: %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("the server does not stop")
		}
	})
	for {
		if got := query("dns-version.cluster.local", dns.TypeTXT, "udp"); strings.HasPrefix(got, "NOERROR") {
			break
		} else if time.Since(begin) > 5*time.Second {
			t.Fatalf("the server is not ready after five seconds: %s", got)
		}
		time.Sleep(5 * time.Millisecond)
	}
	waitFor(t, "kubernetes.default.svc.cluster.local", dns.TypeA, "NXDOMAIN")
	t.Logf("ready after %v", time.Since(begin))
	return client
}

// query asks the server and renders the answer: the code, and the records in order.
func query(name string, qtype uint16, network string) string {
	c := dns.Client{Net: network, Timeout: 3 * time.Second}
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	r, _, err := c.Exchange(m, serverAddress.String())
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, rr := range slices.Concat(r.Answer, r.Extra) {
		if _, ok := rr.(*dns.OPT); !ok {
			lines = append(lines, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	slices.Sort(lines)
	return strings.Join(append([]string{dns.RcodeToString[r.Rcode]}, lines...), "\n")
}

func waitFor(t *testing.T, name string, qtype uint16, want string) {
	t.Helper()
	var got string
	for range 200 {
		if got = query(name, qtype, "udp"); got == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: got\n%s\nwant\n%s", name, got, want)
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func service(name, ip string, spec corev1.ServiceSpec) *corev1.Service {
	spec.ClusterIP = ip
	if ip != "" {
		spec.ClusterIPs = []string{ip}
	}
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: spec}
}

func endpointSlice(service string, ports []discoveryv1.EndpointPort, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: service + "-x", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints, Ports: ports,
	}
}

func ready(ip, hostname string) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}
	if hostname != "" {
		e.Hostname = &hostname
	}
	return e
}

// clusterObjects are those of a small cluster.
func clusterObjects() []runtime.Object {
	http := corev1.ServicePort{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}
	ports := []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}}
	return []runtime.Object{
		namespace("default"), namespace("kube-system"),
		service("mysql", "10.96.0.7", corev1.ServiceSpec{Ports: []corev1.ServicePort{http}}),
		endpointSlice("mysql", ports, ready("10.244.0.7", "")),
		service("web", "None", corev1.ServiceSpec{Ports: []corev1.ServicePort{http}}),
		endpointSlice("web", ports, ready("10.244.0.2", "web-0"), ready("10.244.0.3", "web-1")),
		service("ext", "", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "www.example.com"}),
		service("alias", "", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "mysql.default.svc.cluster.local"}),
	}
}

func TestSpecification(t *testing.T) {
	serveUpstream(t)
	start(t, Config{Upstreams: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:53")}}, clusterObjects()...)
	for _, c := range []struct {
		name  string
		qtype uint16
		want  string
	}{
		{"dns-version.cluster.local", dns.TypeTXT, "NOERROR\ndns-version.cluster.local. 28800 IN TXT \"1.1.0\""},
		{"mysql.default.svc.cluster.local", dns.TypeA, "NOERROR\nmysql.default.svc.cluster.local. 30 IN A 10.96.0.7"},
		{"MySQL.default.svc.cluster.local", dns.TypeA, "NOERROR\nMySQL.default.svc.cluster.local. 30 IN A 10.96.0.7"},
		{"mysql.default.svc.cluster.local", dns.TypeAAAA, "NOERROR"},
		{"_http._tcp.mysql.default.svc.cluster.local", dns.TypeSRV, "NOERROR\n" +
			"_http._tcp.mysql.default.svc.cluster.local. 30 IN SRV 0 100 80 mysql.default.svc.cluster.local.\n" +
			"mysql.default.svc.cluster.local. 30 IN A 10.96.0.7"},
		{"7.0.96.10.in-addr.arpa", dns.TypePTR, "NOERROR\n7.0.96.10.in-addr.arpa. 30 IN PTR mysql.default.svc.cluster.local."},
		{"web.default.svc.cluster.local", dns.TypeA, "NOERROR\n" +
			"web.default.svc.cluster.local. 30 IN A 10.244.0.2\nweb.default.svc.cluster.local. 30 IN A 10.244.0.3"},
		{"web-1.web.default.svc.cluster.local", dns.TypeA, "NOERROR\nweb-1.web.default.svc.cluster.local. 30 IN A 10.244.0.3"},
		{"_http._tcp.web.default.svc.cluster.local", dns.TypeSRV, "NOERROR\n" +
			"_http._tcp.web.default.svc.cluster.local. 30 IN SRV 0 50 8080 web-0.web.default.svc.cluster.local.\n" +
			"_http._tcp.web.default.svc.cluster.local. 30 IN SRV 0 50 8080 web-1.web.default.svc.cluster.local.\n" +
			"web-0.web.default.svc.cluster.local. 30 IN A 10.244.0.2\nweb-1.web.default.svc.cluster.local. 30 IN A 10.244.0.3"},
		{"2.0.244.10.in-addr.arpa", dns.TypePTR, "NOERROR\n2.0.244.10.in-addr.arpa. 30 IN PTR web-0.web.default.svc.cluster.local."},
		{"10-244-0-9.default.pod.cluster.local", dns.TypeA, "NOERROR\n10-244-0-9.default.pod.cluster.local. 30 IN A 10.244.0.9"},
		{"ext.default.svc.cluster.local", dns.TypeCNAME, "NOERROR\next.default.svc.cluster.local. 30 IN CNAME www.example.com."},
		{"ext.default.svc.cluster.local", dns.TypeA, "NOERROR\n" +
			"ext.default.svc.cluster.local. 30 IN CNAME www.example.com.\nwww.example.com. 30 IN A 192.0.2.80"},
		{"alias.default.svc.cluster.local", dns.TypeA, "NOERROR\n" +
			"alias.default.svc.cluster.local. 30 IN CNAME mysql.default.svc.cluster.local.\nmysql.default.svc.cluster.local. 30 IN A 10.96.0.7"},
		{"nosuch.default.svc.cluster.local", dns.TypeA, "NXDOMAIN"},
		{"mysql.nosuch.svc.cluster.local", dns.TypeA, "NXDOMAIN"},
		{"mysql.default.svc.cluster.local.default.svc.cluster.local", dns.TypeA, "NXDOMAIN"},
		{"www.example.com", dns.TypeA, "NOERROR\nwww.example.com. 30 IN A 192.0.2.80"},
		{"nosuch.example.com", dns.TypeA, "NXDOMAIN"},
		{"80.2.0.192.in-addr.arpa", dns.TypePTR, "NOERROR\n80.2.0.192.in-addr.arpa. 30 IN PTR www.example.com."},
	} {
		for _, network := range []string{"udp", "tcp"} {
			got := query(c.name, c.qtype, network)
			// The TTL of a forwarded answer counts down.
			got = strings.NewReplacer(" 29 IN ", " 30 IN ", " 28 IN ", " 30 IN ").Replace(got)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s %s by %s (-want +got):\n%s", c.name, dns.TypeToString[c.qtype], network, diff)
			}
		}
	}
}

// serveUpstream answers as a name server of the outside would.
func serveUpstream(t *testing.T) {
	records := map[string]string{
		"www.example.com. A":           "www.example.com. 30 IN A 192.0.2.80",
		"80.2.0.192.in-addr.arpa. PTR": "80.2.0.192.in-addr.arpa. 30 IN PTR www.example.com.",
	}
	started := make(chan struct{})
	s := &dns.Server{Addr: "127.0.0.2:53", Net: "udp", NotifyStartedFunc: func() { close(started) }}
	tcp := &dns.Server{Addr: "127.0.0.2:53", Net: "tcp"}
	s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(r)
		if record, ok := records[r.Question[0].Name+" "+dns.TypeToString[r.Question[0].Qtype]]; ok {
			rr, _ := dns.NewRR(record)
			m.Answer = []dns.RR{rr}
		} else {
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	})
	tcp.Handler = s.Handler
	go func() { _ = s.ListenAndServe() }()
	go func() { _ = tcp.ListenAndServe() }()
	<-started
	t.Cleanup(func() { _ = s.Shutdown(); _ = tcp.Shutdown() })
}

func TestAnswersFollowTheCluster(t *testing.T) {
	client := start(t, Config{Upstreams: []netip.AddrPort{}}, namespace("default"))
	name := "late.default.svc.cluster.local"
	waitFor(t, name, dns.TypeA, "NXDOMAIN")
	svc := service("late", "10.96.0.9", corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}})
	if _, err := client.CoreV1().Services("default").Create(t.Context(), svc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, name, dns.TypeA, "NOERROR\n"+name+". 30 IN A 10.96.0.9")
	if err := client.CoreV1().Services("default").Delete(t.Context(), "late", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, name, dns.TypeA, "NXDOMAIN")
}

func TestWithoutUpstreamsOutsideNamesFailAtOnce(t *testing.T) {
	start(t, Config{Upstreams: []netip.AddrPort{}}, namespace("default"))
	begin := time.Now()
	if got := query("www.example.com", dns.TypeA, "udp"); got != "NXDOMAIN" || time.Since(begin) > 200*time.Millisecond {
		t.Errorf("got %s after %v, want NXDOMAIN at once", got, time.Since(begin))
	}
}

func TestBadQueries(t *testing.T) {
	start(t, Config{Upstreams: []netip.AddrPort{}}, namespace("default"))
	for _, c := range []struct {
		what   string
		change func(*dns.Msg)
		want   int
	}{
		{"another class", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused},
		{"transfer", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }, dns.RcodeRefused},
		{"update", func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, dns.RcodeNotImplemented},
		{"a later EDNS", func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(7) }, dns.RcodeBadVers},
	} {
		m := new(dns.Msg)
		m.SetQuestion("cluster.local.", dns.TypeA)
		c.change(m)
		r, err := dns.Exchange(m, serverAddress.String())
		if err != nil || r.Rcode != c.want {
			t.Errorf("%s: got %v, %v; want code %s", c.what, r, err, dns.RcodeToString[c.want])
		}
	}
}

func TestQueriesWaitForTheCaches(t *testing.T) {
	n, err := newClusterNames(t.Context(), api{fake.NewClientset(clusterObjects()...)}.config(), "cluster.local")
	if err != nil {
		t.Fatal(err)
	}
	s, err := listen(t.Context(), serverAddress, newHandler(n, &loops{}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx) }()
	defer func() { cancel(); <-done }()
	time.AfterFunc(200*time.Millisecond, func() { go n.run(ctx); n.waitReady(ctx) })
	want := "NOERROR\nmysql.default.svc.cluster.local. 30 IN A 10.96.0.7"
	if got := query("mysql.default.svc.cluster.local", dns.TypeA, "udp"); got != want {
		t.Errorf("a query before the caches are filled: got %s, want %s", got, want)
	}
}

func TestServesAgainAfterStop(t *testing.T) {
	for i := range 2 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			start(t, Config{Upstreams: []netip.AddrPort{}}, clusterObjects()...)
			waitFor(t, "mysql.default.svc.cluster.local", dns.TypeA, "NOERROR\nmysql.default.svc.cluster.local. 30 IN A 10.96.0.7")
		})
	}
}

// TestServersThatLoopAreLeftOut has a name server that asks ours again, and one that answers.
func TestServersThatLoopAreLeftOut(t *testing.T) {
	back := &dns.Server{Addr: "127.0.0.3:53", Net: "udp", Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		if m, err := dns.Exchange(r, serverAddress.String()); err == nil {
			_ = w.WriteMsg(m)
		}
	})}
	started := make(chan struct{})
	back.NotifyStartedFunc = func() { close(started) }
	go func() { _ = back.ListenAndServe() }()
	<-started
	defer func() { _ = back.Shutdown() }()
	serveUpstream(t)
	loop, good := netip.MustParseAddrPort("127.0.0.3:53"), netip.MustParseAddrPort("127.0.0.2:53")
	f := newForwarder(Config{Upstreams: []netip.AddrPort{loop, good}})
	defer f.close()
	n, err := newClusterNames(t.Context(), api{fake.NewClientset(clusterObjects()...)}.config(), "cluster.local")
	if err != nil {
		t.Fatal(err)
	}
	n.Next = f
	s, err := listen(t.Context(), serverAddress, newHandler(n, &f.loops))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx) }()
	defer func() { cancel(); <-done }()
	if err := f.follow(ctx); err != nil {
		t.Fatal(err)
	}
	if got := f.upstreams(); !slices.Equal(got, []netip.AddrPort{good}) {
		t.Errorf("asks %v, want only the one that does not ask back", got)
	}
	waitFor(t, "www.example.com", dns.TypeA, "NOERROR\nwww.example.com. 30 IN A 192.0.2.80")
}

func TestHealth(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:9153")
	start(t, Config{Upstreams: []netip.AddrPort{}, Health: at}, clusterObjects()...)
	for path, want := range map[string]string{"/health": "200 OK", "/ready": "200 OK", "/metrics": "200 # HELP coredns_", "/other": "404 "} {
		if got := fetch(t, "http://"+at.String()+path); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	if got := fetch(t, "http://"+at.String()+"/metrics"); strings.Contains(got, "\ngo_") {
		t.Error("the metrics of the whole process are shown to pods")
	}
}

func TestNotReadyBeforeTheCaches(t *testing.T) {
	ready := make(chan struct{})
	h := healthHandler(ready)
	ask := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ready", nil))
		return w.Code
	}
	if got := ask(); got != http.StatusServiceUnavailable {
		t.Errorf("before: %d", got)
	}
	close(ready)
	if got := ask(); got != http.StatusOK {
		t.Errorf("after: %d", got)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", r.StatusCode, body)
}

func TestHostServers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := netip.MustParseAddr("10.244.0.1")
	stub := write("stub", "# made by systemd-resolved\nnameserver 127.0.0.53\noptions edns0\n")
	behind := write("behind", "nameserver 192.0.2.53\nnameserver 2001:db8::53\n")
	for _, c := range []struct{ what, conf, behind, want string }{
		{"plain", write("plain", "search x\nnameserver 192.0.2.1\nnameserver 192.0.2.1\n nameserver fe80::1%eth0 # x\nnameserver nonsense\nnameserver\n"), behind, "[192.0.2.1:53 [fe80::1%eth0]:53]"},
		{"systemd-resolved", stub, behind, "[192.0.2.53:53 [2001:db8::53]:53]"},
		{"loopback alone", stub, filepath.Join(dir, "nosuch"), "[]"},
		{"own address", write("own", "nameserver 10.244.0.1\nnameserver ::1\nnameserver 0.0.0.0\n"), filepath.Join(dir, "nosuch"), "[]"},
		{"no file", filepath.Join(dir, "nosuch"), filepath.Join(dir, "nosuch"), "[]"},
	} {
		if got := fmt.Sprint(hostServers(c.conf, c.behind, own)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
	}
}

func TestEndpointSliceIsKept(t *testing.T) {
	client := fake.NewClientset()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := newPublisher(client, Config{Listen: netip.MustParseAddrPort("10.244.0.1:53"), NodeName: "here"})
	go func() { done <- p.run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	slicesOf := client.DiscoveryV1().EndpointSlices("kube-system")
	eventually := func(what string) {
		t.Helper()
		var diff string
		for range 300 {
			got, err := slicesOf.Get(t.Context(), "kube-dns-here", metav1.GetOptions{})
			if diff = fmt.Sprint(err); err == nil {
				got.TypeMeta, got.ManagedFields = metav1.TypeMeta{}, nil
				if diff = cmp.Diff(p.slice("u-1"), got); diff == "" {
					return
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%s: the slice differs (-want +got):\n%s", what, diff)
	}
	time.Sleep(50 * time.Millisecond)
	if _, err := slicesOf.Get(t.Context(), "kube-dns-here", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("before the node is registered: got %v, want not found", err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "here", UID: "u-1"}}
	if _, err := client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("once the node is registered")
	if err := slicesOf.Delete(t.Context(), "kube-dns-here", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("after somebody deleted it")
	broken := p.slice("u-1")
	broken.Endpoints[0].Addresses = []string{"10.9.9.9"}
	if _, err := slicesOf.Update(t.Context(), broken, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually("after somebody changed it")
	got := p.slice("u-1")
	want := "10.244.0.1 here dns/UDP/53 dns-tcp/TCP/53"
	if text := fmt.Sprintf("%s %s %s/%s/%d %s/%s/%d", got.Endpoints[0].Addresses[0], *got.Endpoints[0].NodeName,
		*got.Ports[0].Name, *got.Ports[0].Protocol, *got.Ports[0].Port, *got.Ports[1].Name, *got.Ports[1].Protocol, *got.Ports[1].Port); text != want {
		t.Errorf("slice: got %s, want %s", text, want)
	}
}
