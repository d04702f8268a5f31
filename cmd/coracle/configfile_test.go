package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"coracle.dev/coracle/cluster"
)

func applied(t *testing.T, args []string, file string) (*cluster.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &cluster.Config{}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c, applyConfigFile(flags, path)
}

func TestConfigFileSetsFlagsThatWereNotGiven(t *testing.T) {
	c, err := applied(t, []string{"--secure-port", "7000"}, `
secure-port: 8000
agent-port: 9000
cluster-cidr: 10.50.0.0/16
etcd-servers: ["https://a:2379", "https://b:2379"]
`)
	if err != nil {
		t.Fatal(err)
	}
	if c.SecurePort != 7000 || c.AgentPort != 9000 || c.ClusterCIDR.String() != "10.50.0.0/16" || len(c.EtcdServers) != 2 {
		t.Errorf("got %+v", c)
	}
}

func TestConfigFileNamesWhatIsWrong(t *testing.T) {
	for file, want := range map[string]string{
		"secure-prot: 1":       "there is no flag --secure-prot",
		"secure-port: many":    `invalid argument "many" for "--secure-port"`,
		"secure-port: [":       "reading",
		"node-ip: 300.1.1.1":   "node-ip",
		"a: 1\na: 2":           "already set",
		"config: other.yaml":   "there is no flag --config",
		"cluster-cidr: 10.0/8": "cluster-cidr",
	} {
		if _, err := applied(t, nil, file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", file, err, want)
		}
	}
}
