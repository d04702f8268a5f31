package apiserver_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

func nodePortService(name string, port int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80, NodePort: port}}},
	}
}

// TestServersShareAddressesAndPorts: two servers on one etcd hand out no address or port twice, see what
// the other gave back, and both take addresses of a range that is added.
func TestServersShareAddressesAndPorts(t *testing.T) {
	etcd := startEtcd(t)
	start := func(ip byte) kubernetes.Interface {
		config, _ := apiservertest.Start(t, func(o *apiserver.Options) {
			o.Etcd.Servers = []string{etcd}
			o.AdvertiseAddress = net.IPv4(192, 0, 2, ip)
			o.ServiceClusterIPRange = "10.96.0.0/27"
			o.ServiceNodePortRange = "30000-30031"
		})
		return clientFor(t, config)
	}
	servers := []kubernetes.Interface{start(1), start(2)}
	t.Run("at once", func(t *testing.T) { testAtOnce(t, servers) })
	t.Run("chosen port", func(t *testing.T) { testChosenPort(t, servers) })
	t.Run("retried updates", func(t *testing.T) { testRetriedUpdates(t, servers) })
	t.Run("added range", func(t *testing.T) { testAddedRange(t, servers) })
}

func testAtOnce(t *testing.T, servers []kubernetes.Interface) {
	var mu sync.Mutex
	ips, ports := map[string]bool{}, map[int32]bool{}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			s, err := servers[i%2].CoreV1().Services("default").Create(t.Context(), nodePortService(fmt.Sprintf("many-%d", i), 0), metav1.CreateOptions{})
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
	for i := range 20 { // each is deleted through the other server
		if err := servers[(i+1)%2].CoreV1().Services("default").Delete(t.Context(), fmt.Sprintf("many-%d", i), metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
}

func testChosenPort(t *testing.T, servers []kubernetes.Interface) {
	one, other := servers[0].CoreV1().Services("default"), servers[1].CoreV1().Services("default")
	if _, err := one.Create(t.Context(), nodePortService("chosen", 30007), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Create(t.Context(), nodePortService("second", 30007), metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "provided port is already allocated") {
		t.Errorf("the port that the other server gave away: %v", err)
	}
	if err := other.Delete(t.Context(), "chosen", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Create(t.Context(), nodePortService("second", 30007), metav1.CreateOptions{}); err != nil {
		t.Errorf("the port that the other server took back: %v", err)
	}
	if err := one.Delete(t.Context(), "second", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// testRetriedUpdates has writers change the node ports of one service against each other. In the end no
// port but the service's own is taken.
func testRetriedUpdates(t *testing.T, servers []kubernetes.Interface) {
	ctx := t.Context()
	if _, err := servers[0].CoreV1().Services("default").Create(ctx, nodePortService("moving", 0), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		services := servers[w%2].CoreV1().Services("default")
		wg.Go(func() {
			for i := range 6 {
				err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
					s, err := services.Get(ctx, "moving", metav1.GetOptions{})
					if err != nil {
						return err
					}
					s.Spec.Ports[0].NodePort = int32(30000 + w*6 + i)
					_, err = services.Update(ctx, s, metav1.UpdateOptions{})
					return err
				})
				if err != nil && !strings.Contains(err.Error(), "the object has been modified") && !strings.Contains(err.Error(), "already allocated") {
					t.Errorf("moving the port: %v", err)
				}
			}
		})
	}
	wg.Wait()
	s, err := servers[0].CoreV1().Services("default").Get(ctx, "moving", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for port := int32(30000); port < 30024; port++ {
		name := fmt.Sprintf("probe-%d", port)
		_, err := servers[1].CoreV1().Services("default").Create(ctx, nodePortService(name, port), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if own := port == s.Spec.Ports[0].NodePort; (err != nil) != own {
			t.Errorf("port %d, while the service has %d: %v", port, s.Spec.Ports[0].NodePort, err)
		}
	}
	if err := servers[0].CoreV1().Services("default").Delete(ctx, "moving", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

func testAddedRange(t *testing.T, servers []kubernetes.Interface) {
	ctx := t.Context()
	plain := func(name, ip string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Port: 80}}}}
	}
	create := func(i int, s *corev1.Service) (*corev1.Service, error) {
		return servers[i%2].CoreV1().Services("default").Create(ctx, s, metav1.CreateOptions{})
	}
	full := error(nil)
	for i := 0; i < 31 && full == nil; i++ {
		_, full = create(i, plain(fmt.Sprintf("fill-%d", i), ""))
	}
	if full == nil || !strings.Contains(full.Error(), "failed to allocate a serviceIP: range is full") {
		t.Fatalf("a range of 30 addresses gave 31: %v", full)
	}
	if _, err := create(0, plain("outside", "10.200.0.5")); err == nil || !strings.Contains(err.Error(), "is not in the valid range") {
		t.Errorf("an address of no range: %v", err)
	}
	added := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "added"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.200.0.0/28"}}}
	if _, err := servers[0].NetworkingV1().ServiceCIDRs().Create(ctx, added, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	free := map[string]bool{"10.200.0.12": true, "10.200.0.13": true, "10.200.0.14": true}
	for i := range servers {
		eventually(t, "an address of the added range", func(context.Context) (bool, any) {
			s, err := create(i, plain(fmt.Sprintf("added-%d", i), ""))
			if err != nil {
				return false, err
			}
			delete(free, s.Spec.ClusterIP) // they are given at random
			return strings.HasPrefix(s.Spec.ClusterIP, "10.200.0."), nil
		})
	}
	if _, err := create(1, plain("inside", slices.Collect(maps.Keys(free))[0])); err != nil {
		t.Errorf("an address of the added range, by choice: %v", err)
	}
}
