package cluster

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	certutil "k8s.io/client-go/util/cert"
)

func testConfig(t *testing.T) *Config {
	t.Helper()
	c := &Config{Name: "pki", DataDir: t.TempDir(), NodeName: "node-1", Slot: 3}
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificatesAreKeptUntilTheyMustChange(t *testing.T) {
	c := testConfig(t)
	now := time.Now()
	read := func() string {
		t.Helper()
		data, err := os.ReadFile(c.Path("pki", "apiserver.crt"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	make := func(at time.Time) string {
		t.Helper()
		if _, err := ensurePKI(c, at); err != nil {
			t.Fatal(err)
		}
		return read()
	}
	first := make(now)
	if again := make(now.Add(time.Hour)); again != first {
		t.Error("a valid certificate was replaced")
	}
	if renewed := make(now.Add(leafLife - renewBefore + time.Hour)); renewed == first {
		t.Error("a certificate about to expire was kept")
	}
	before := read()
	c.NodeName = "node-2"
	if renamed := make(now); renamed == before {
		t.Error("a certificate for another name was kept")
	}
}

func TestServingCertificateVerifiesForEveryAddress(t *testing.T) {
	c := testConfig(t)
	p, err := ensurePKI(c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certs, err := certutil.CertsFromFile(p.File("apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CAPEM())
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "kubernetes.default.svc.cluster.local", c.APIServiceIP().String(), c.NodeIP.String()} {
		if _, err := certs[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestPrivateFilesAreReadableByTheirOwnerOnly(t *testing.T) {
	c := testConfig(t)
	p, err := ensurePKI(c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := ensureKubeconfigs(c, p, time.Now()); err != nil {
		t.Fatal(err)
	}
	keys, _ := filepath.Glob(c.Path("pki", "*.key"))
	configs, _ := filepath.Glob(c.Path("kubeconfig", "*.yaml"))
	if len(keys) < 8 || len(configs) != 4 {
		t.Fatalf("got %d keys and %d kubeconfigs", len(keys), len(configs))
	}
	for _, f := range append(keys, configs...) {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", f, info.Mode(), err)
		}
	}
}

func TestMergingKeepsTheUsersOtherContexts(t *testing.T) {
	c := testConfig(t)
	p, err := ensurePKI(c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := ensureKubeconfigs(c, p, time.Now()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config")
	const other = `apiVersion: v1
kind: Config
clusters: [{name: theirs, cluster: {server: "https://192.0.2.9"}}]
users: [{name: me, user: {token: abc}}]
contexts: [{name: work, context: {cluster: theirs, user: me}}]
current-context: work
`
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MergeKubeconfig(c, path); err != nil {
		t.Fatal(err)
	}
	merged, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if merged.CurrentContext != "coracle-pki" || merged.Contexts["work"] == nil || merged.AuthInfos["me"].Token != "abc" {
		t.Errorf("after merging: current %q, contexts %v", merged.CurrentContext, merged.Contexts)
	}
	if err := unmergeKubeconfig(c, path); err != nil {
		t.Fatal(err)
	}
	left, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(left.Contexts) != 1 || left.Contexts["work"] == nil || left.CurrentContext != "" {
		t.Errorf("after taking it out: current %q, contexts %v", left.CurrentContext, left.Contexts)
	}
}

func TestConfigDefaultsOfClustersDoNotOverlap(t *testing.T) {
	var all []*Config
	for slot := range maxSlots {
		c := &Config{Name: "x", Slot: slot, NodeName: "n"}
		if err := c.Complete(); err != nil {
			t.Fatal(err)
		}
		for _, o := range all {
			if o.ClusterCIDR.Overlaps(c.ClusterCIDR) || o.ServiceClusterIPRange.Overlaps(c.ServiceClusterIPRange) ||
				o.ClusterCIDR.Overlaps(c.ServiceClusterIPRange) || o.LoadBalancerIPRange.Overlaps(c.LoadBalancerIPRange) ||
				o.LoadBalancerIPRange.Overlaps(c.ServiceClusterIPRange) || o.LoadBalancerIPRange.Overlaps(c.ClusterCIDR) || o.SecurePort == c.SecurePort || o.AgentPort == c.AgentPort || o.Bridge == c.Bridge {
				t.Errorf("slots %d and %d share ports, ranges or the bridge", o.Slot, c.Slot)
			}
		}
		all = append(all, c)
	}
}

func TestWrongConfigurationNamesEveryFault(t *testing.T) {
	c := &Config{Name: "Not_A_Name", NodeName: "n", SecurePort: 70000}
	err := c.Complete()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"Not_A_Name", "--secure-port 70000"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %s", err, want)
		}
	}
}
