package service_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"coracle.dev/coracle/apiserver/apiservertest"
)

func client(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func service(name string, kind corev1.ServiceType, ports ...corev1.ServicePort) *corev1.Service {
	if ports == nil {
		ports = []corev1.ServicePort{{Port: 80}}
	}
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Type: kind, Selector: map[string]string{"app": name}, Ports: ports},
	}
}

func TestServices(t *testing.T) {
	cfg, _ := apiservertest.Start(t)
	c := client(t, cfg)
	services := c.CoreV1().Services("default")
	t.Run("cluster IP", func(t *testing.T) { testClusterIP(t, c, services) })
	t.Run("chosen address", func(t *testing.T) { testChosenAddress(t, services) })
	t.Run("headless", func(t *testing.T) { testHeadless(t, services) })
	t.Run("node port", func(t *testing.T) { testNodePort(t, services) })
	t.Run("types change", func(t *testing.T) { testTypeChanges(t, c, services) })
	t.Run("dry run", func(t *testing.T) { testDryRun(t, c, services) })
	t.Run("many at once", func(t *testing.T) { testManyAtOnce(t, services) })
}

func create(t *testing.T, services corev1client.ServiceInterface, s *corev1.Service) *corev1.Service {
	t.Helper()
	out, err := services.Create(t.Context(), s, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("creating %s: %v", s.Name, err)
	}
	return out
}

func remove(t *testing.T, services corev1client.ServiceInterface, name string) {
	t.Helper()
	if err := services.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatalf("deleting %s: %v", name, err)
	}
}

func owned(ctx context.Context, t *testing.T, c kubernetes.Interface, name string) []string {
	t.Helper()
	list, err := c.NetworkingV1().IPAddresses().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var ips []string
	for _, ip := range list.Items {
		if ip.Spec.ParentRef.Name == name {
			ips = append(ips, ip.Name)
		}
	}
	return ips
}

func testClusterIP(t *testing.T, c kubernetes.Interface, services corev1client.ServiceInterface) {
	s := create(t, services, service("plain", ""))
	ip, err := netip.ParseAddr(s.Spec.ClusterIP)
	if err != nil || !netip.MustParsePrefix("10.96.0.0/16").Contains(ip) {
		t.Fatalf("cluster IP %q is not of the range", s.Spec.ClusterIP)
	}
	single := corev1.IPFamilyPolicySingleStack
	want := corev1.ServiceSpec{ClusterIPs: []string{s.Spec.ClusterIP}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, IPFamilyPolicy: &single}
	got := corev1.ServiceSpec{ClusterIPs: s.Spec.ClusterIPs, IPFamilies: s.Spec.IPFamilies, IPFamilyPolicy: s.Spec.IPFamilyPolicy}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("address fields (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{s.Spec.ClusterIP}, owned(t.Context(), t, c, "plain")); diff != "" {
		t.Errorf("IPAddress objects (-want +got):\n%s", diff)
	}
	// A client that sends back less than it got changes nothing.
	s.Spec.ClusterIP, s.Spec.ClusterIPs = "", nil
	again, err := services.Update(t.Context(), s, metav1.UpdateOptions{})
	if err != nil || again.Spec.ClusterIP != ip.String() {
		t.Errorf("update without the address: %v, %v", again.Spec.ClusterIP, err)
	}
	remove(t, services, "plain")
	if ips := owned(t.Context(), t, c, "plain"); len(ips) != 0 {
		t.Errorf("addresses of a deleted service are still taken: %v", ips)
	}
}

func testChosenAddress(t *testing.T, services corev1client.ServiceInterface) {
	s := service("chosen", "")
	s.Spec.ClusterIP = "10.96.0.77"
	create(t, services, s)
	defer remove(t, services, "chosen")
	for ip, want := range map[string]string{
		"10.96.0.77": "failed to allocate IP 10.96.0.77: provided IP is already allocated",
		"10.1.2.3":   "failed to allocate IP 10.1.2.3: the provided IP (10.1.2.3) is not in the valid range. The range of valid IPs is 10.96.0.0/16",
	} {
		s := service("second", "")
		s.Spec.ClusterIP = ip
		_, err := services.Create(t.Context(), s, metav1.CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "spec.clusterIPs") {
			t.Errorf("address %s: %v, want %q", ip, err, want)
		}
	}
}

func testHeadless(t *testing.T, services corev1client.ServiceInterface) {
	s := service("headless", "")
	s.Spec.ClusterIP = "None"
	got := create(t, services, s)
	defer remove(t, services, "headless")
	if diff := cmp.Diff([]string{"None"}, got.Spec.ClusterIPs); diff != "" {
		t.Errorf("clusterIPs (-want +got):\n%s", diff)
	}
	bare := service("bare", "")
	bare.Spec.ClusterIP, bare.Spec.Selector = "None", nil
	got = create(t, services, bare)
	defer remove(t, services, "bare")
	if diff := cmp.Diff([]corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}, got.Spec.IPFamilies); diff != "" {
		t.Errorf("families of a headless service without selector (-want +got):\n%s", diff)
	}
}

func testNodePort(t *testing.T, services corev1client.ServiceInterface) {
	s := create(t, services, service("np", corev1.ServiceTypeNodePort,
		corev1.ServicePort{Name: "a", Port: 80, NodePort: 30001}, corev1.ServicePort{Name: "b", Port: 81},
		corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}, corev1.ServicePort{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP}))
	ports := s.Spec.Ports
	if ports[0].NodePort != 30001 || ports[1].NodePort < 30000 || ports[1].NodePort > 32767 || ports[2].NodePort != ports[3].NodePort {
		t.Errorf("node ports %v", ports)
	}
	for port, want := range map[int32]string{
		30001: "provided port is already allocated",
		80:    "provided port is not in the valid range. The range of valid ports is 30000-32767",
	} {
		_, err := services.Create(t.Context(), service("np2", corev1.ServiceTypeNodePort, corev1.ServicePort{Port: 80, NodePort: port}), metav1.CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("spec.ports[0].nodePort: Invalid value: %d: %s", port, want)) {
			t.Errorf("port %d: %v, want %q", port, err, want)
		}
	}
	// Ports follow their names when a client reorders them without node ports.
	s.Spec.Ports[0], s.Spec.Ports[1] = ports[1], ports[0]
	for i := range s.Spec.Ports {
		s.Spec.Ports[i].NodePort = 0
	}
	again, err := services.Update(t.Context(), s, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if again.Spec.Ports[1].NodePort != 30001 {
		t.Errorf("after reordering: %v", again.Spec.Ports)
	}
	remove(t, services, "np")
	create(t, services, service("np3", corev1.ServiceTypeNodePort, corev1.ServicePort{Port: 80, NodePort: 30001}))
	remove(t, services, "np3")
}

func testTypeChanges(t *testing.T, c kubernetes.Interface, services corev1client.ServiceInterface) {
	s := create(t, services, service("change", "", corev1.ServicePort{Port: 80}))
	ip := s.Spec.ClusterIP
	to := func(patch string) *corev1.Service {
		t.Helper()
		out, err := services.Patch(t.Context(), "change", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		if err != nil {
			t.Fatalf("patch %s: %v", patch, err)
		}
		return out
	}
	if s = to(`{"spec":{"type":"NodePort"}}`); s.Spec.Ports[0].NodePort == 0 || s.Spec.ClusterIP != ip {
		t.Errorf("as NodePort: %v %v", s.Spec.Ports, s.Spec.ClusterIP)
	}
	port := s.Spec.Ports[0].NodePort
	if s = to(`{"spec":{"type":"ClusterIP"}}`); s.Spec.Ports[0].NodePort != 0 || s.Spec.ExternalTrafficPolicy != "" {
		t.Errorf("as ClusterIP: %v", s.Spec)
	}
	// The node port is free again.
	create(t, services, service("taker", corev1.ServiceTypeNodePort, corev1.ServicePort{Port: 80, NodePort: port}))
	remove(t, services, "taker")
	if s = to(`{"spec":{"type":"ExternalName","externalName":"example.com"}}`); s.Spec.ClusterIP != "" || s.Spec.ClusterIPs != nil || s.Spec.IPFamilies != nil {
		t.Errorf("as ExternalName: %v", s.Spec)
	}
	if ips := owned(t.Context(), t, c, "change"); len(ips) != 0 {
		t.Errorf("an ExternalName service has addresses: %v", ips)
	}
	if s = to(`{"spec":{"type":"ClusterIP","externalName":null}}`); s.Spec.ClusterIP == "" {
		t.Errorf("back as ClusterIP: %v", s.Spec)
	}
	remove(t, services, "change")
}

func testDryRun(t *testing.T, c kubernetes.Interface, services corev1client.ServiceInterface) {
	s, err := services.Create(t.Context(), service("dry", corev1.ServiceTypeNodePort), metav1.CreateOptions{DryRun: []string{"All"}})
	if err != nil || s.Spec.ClusterIP == "" || s.Spec.Ports[0].NodePort == 0 {
		t.Fatalf("dry run: %v, %v", s, err)
	}
	if ips := owned(t.Context(), t, c, "dry"); len(ips) != 0 {
		t.Errorf("a dry run took %v", ips)
	}
	kept := create(t, services, service("kept", ""))
	if err := services.Delete(t.Context(), "kept", metav1.DeleteOptions{DryRun: []string{"All"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{kept.Spec.ClusterIP}, owned(t.Context(), t, c, "kept")); diff != "" {
		t.Errorf("after a deletion in dry run (-want +got):\n%s", diff)
	}
	remove(t, services, "kept")
}

func testManyAtOnce(t *testing.T, services corev1client.ServiceInterface) {
	var mu sync.Mutex
	ips, ports := map[string]bool{}, map[int32]bool{}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			s, err := services.Create(t.Context(), service(fmt.Sprintf("many-%d", i), corev1.ServiceTypeNodePort), metav1.CreateOptions{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || ips[s.Spec.ClusterIP] || ports[s.Spec.Ports[0].NodePort] {
				t.Errorf("service %d: %v, %v", i, s.Spec, err)
				return
			}
			ips[s.Spec.ClusterIP], ports[s.Spec.Ports[0].NodePort] = true, true
		})
	}
	wg.Wait()
}
