package apiserver_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/server/v3/embed"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

// startEtcd runs an etcd with sockets, as a cluster of its own would, and returns its URL.
func startEtcd(t *testing.T) string {
	t.Helper()
	c := embed.NewConfig()
	c.Dir, c.UnsafeNoFsync, c.LogLevel, c.LogOutputs = t.TempDir(), true, "panic", []string{os.DevNull}
	c.TickMs, c.ElectionMs = 20, 100
	free := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c.ListenClientUrls, c.ListenPeerUrls, c.AdvertiseClientUrls, c.AdvertisePeerUrls = free, free, free, free
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	server, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	<-server.Server.ReadyNotify()
	return "http://" + server.Clients[0].Addr().String()
}

// TestServersShareAnEtcd runs two servers on an external etcd.
func TestServersShareAnEtcd(t *testing.T) {
	etcd := startEtcd(t)
	start := func(ip byte) kubernetes.Interface {
		config, _ := apiservertest.Start(t, func(o *apiserver.Options) {
			o.Etcd.Servers = []string{etcd}
			o.AdvertiseAddress = net.IPv4(192, 0, 2, ip)
		})
		return clientFor(t, config)
	}
	first, second := start(1), start(2)
	w, err := second.CoreV1().ConfigMaps("default").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "shared"}}
	if _, err := first.CoreV1().ConfigMaps("default").Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := (<-w.ResultChan()).Object.(*corev1.ConfigMap).Name; got != "shared" {
		t.Errorf("the other server's watch saw %q", got)
	}
	eventually(t, "both addresses behind the service", func(ctx context.Context) (bool, any) {
		s, err := first.DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		var got []string
		for _, e := range s.Endpoints {
			got = append(got, e.Addresses...)
		}
		slices.Sort(got)
		return cmp.Equal(got, []string{"192.0.2.1", "192.0.2.2"}), got
	})
}
