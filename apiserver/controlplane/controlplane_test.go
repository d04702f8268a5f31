package controlplane

import (
	"net"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"coracle.dev/coracle/apis/catalog"
	"coracle.dev/coracle/apiserver/storage"
)

func keeper(t *testing.T, leases Leases, ip string) (*Keeper, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset()
	return &Keeper{
		Client: client, Address: net.ParseIP(ip), ServiceIP: net.ParseIP("10.96.0.1"), Port: 6443, Leases: leases,
		ServiceRange: net.IPNet{IP: net.IPv4(10, 96, 0, 0), Mask: net.CIDRMask(16, 32)},
		Trust:        map[string]string{"client-ca-file": "pem"},
	}, client
}

func addresses(t *testing.T, c *fake.Clientset) []string {
	t.Helper()
	e, err := c.CoreV1().Endpoints("default").Get(t.Context(), ServiceName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.DiscoveryV1().EndpointSlices("default").Get(t.Context(), ServiceName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var fromEndpoints, fromSlice []string
	for _, subset := range e.Subsets {
		for _, a := range subset.Addresses {
			fromEndpoints = append(fromEndpoints, a.IP)
		}
	}
	for _, a := range s.Endpoints {
		fromSlice = append(fromSlice, a.Addresses...)
	}
	if diff := cmp.Diff(fromEndpoints, fromSlice); diff != "" {
		t.Errorf("endpoints and slice differ:\n%s", diff)
	}
	return fromEndpoints
}

func TestStartMakesEverything(t *testing.T) {
	k, c := keeper(t, nil, "192.0.2.1")
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		if _, err := c.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
	service, err := c.CoreV1().Services("default").Get(t.Context(), ServiceName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if service.Spec.ClusterIP != "10.96.0.1" || service.Spec.Ports[0].TargetPort.IntVal != 6443 {
		t.Errorf("service is %+v", service.Spec)
	}
	if got := addresses(t, c); !slices.Equal(got, []string{"192.0.2.1"}) {
		t.Errorf("endpoints are %v", got)
	}
	cidr, err := c.NetworkingV1().ServiceCIDRs().Get(t.Context(), ServiceName, metav1.GetOptions{})
	if err != nil || !slices.Equal(cidr.Spec.CIDRs, []string{"10.96.0.0/16"}) || len(cidr.Status.Conditions) != 1 {
		t.Errorf("service range is %+v, %v", cidr, err)
	}
	trust, err := c.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "extension-apiserver-authentication", metav1.GetOptions{})
	if err != nil || trust.Data["client-ca-file"] != "pem" {
		t.Errorf("trust is %v, %v", trust, err)
	}
}

func TestKeepMendsAndThenRests(t *testing.T) {
	k, c := keeper(t, nil, "192.0.2.1")
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.Port, k.Trust["client-ca-file"] = 7443, "other"
	k.Address = net.ParseIP("192.0.2.7")
	if err := c.CoreV1().Namespaces().Delete(t.Context(), "kube-public", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := k.keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := addresses(t, c); !slices.Equal(got, []string{"192.0.2.7"}) {
		t.Errorf("endpoints are %v", got)
	}
	s, _ := c.DiscoveryV1().EndpointSlices("default").Get(t.Context(), ServiceName, metav1.GetOptions{})
	if *s.Ports[0].Port != 7443 || s.AddressType != discoveryv1.AddressTypeIPv4 {
		t.Errorf("slice is %+v", s)
	}
	if _, err := c.CoreV1().Namespaces().Get(t.Context(), "kube-public", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	c.ClearActions()
	if err := k.keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, a := range c.Actions() {
		if a.GetVerb() != "get" {
			t.Errorf("with nothing to do, it did %s %s", a.GetVerb(), a.GetResource().Resource)
		}
	}
}

func leases(t *testing.T) *StoredLeases {
	t.Helper()
	b, err := storage.Open(t.Context(), storage.Options{DataDir: t.TempDir(), UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	e, err := storage.NewEncoding(serializer.NewCodecFactory(catalog.NewScheme()), corev1.SchemeGroupVersion, storage.Protobuf)
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.Raw(corev1.Resource("endpoints"), e, LeasePrefix,
		func() runtime.Object { return &corev1.Endpoints{} }, func() runtime.Object { return &corev1.EndpointsList{} })
	if err != nil {
		t.Fatal(err)
	}
	return &StoredLeases{Storage: s}
}

func TestServersShareTheService(t *testing.T) {
	shared := leases(t)
	first, c := keeper(t, shared, "192.0.2.1")
	second, _ := keeper(t, shared, "192.0.2.2")
	second.Client = c
	for range 2 { // the second time renews
		for _, k := range []*Keeper{first, second} {
			if err := k.keep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := addresses(t, c); !slices.Equal(got, []string{"192.0.2.1", "192.0.2.2"}) {
		t.Errorf("endpoints are %v", got)
	}
	if err := first.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := addresses(t, c); !slices.Equal(got, []string{"192.0.2.2"}) {
		t.Errorf("after one left, endpoints are %v", got)
	}
	if err := first.Leave(t.Context()); err != nil {
		t.Errorf("leaving twice: %v", err)
	}
}

// TestLeaveWhileOthersWrite has another server's write come first.
func TestLeaveWhileOthersWrite(t *testing.T) {
	k, c := keeper(t, leases(t), "192.0.2.1")
	if err := k.keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	conflicts := 0
	c.PrependReactor("update", "endpointslices", func(clienttesting.Action) (bool, runtime.Object, error) {
		conflicts++
		return conflicts == 1, nil, apierrors.NewConflict(discoveryv1.Resource("endpointslices"), ServiceName, nil)
	})
	if err := k.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := addresses(t, c); len(got) > 0 || conflicts != 2 {
		t.Errorf("after %d writes, endpoints are %v", conflicts, got)
	}
}

// TestServiceOfAnotherServer finds the address taken, since another server was quicker.
func TestServiceOfAnotherServer(t *testing.T) {
	k, c := keeper(t, nil, "192.0.2.1")
	tracker := c.Tracker()
	c.PrependReactor("create", "services", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if err := tracker.Add(k.service(nil)); err != nil {
			t.Error(err)
		}
		return true, nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), ServiceName, nil)
	})
	if err := k.keepService(t.Context()); err != nil {
		t.Error(err)
	}
}
