package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/rest"

	"coracle.dev/coracle/cluster/nodepool"
	"coracle.dev/coracle/nodeagent/simulate"
)

// Simulation is simulated nodes for a cluster: as many as the flags say, and those of the cluster's
// SimulatedNodePools.
type Simulation struct {
	name, cpu, memory string
	client            clientFlags
	pool              simulate.Pool
	pods              int64
	keep              bool
}

// NewSimulation returns a simulation with its defaults, for a cluster of this machine.
func NewSimulation(name string) *Simulation {
	return &Simulation{name: name, cpu: "32", memory: "256Gi", pods: 110, pool: simulate.Pool{Name: simulate.DefaultName}}
}

// AddFlags binds the simulation to flags.
func (s *Simulation) AddFlags(fs *pflag.FlagSet) {
	s.client.add(fs)
	fs.IntVar(&s.pool.Count, "count", 0, "How many nodes to make, besides those of SimulatedNodePools")
	fs.StringVar(&s.pool.Name, "node-name", s.pool.Name, "Beginning of the nodes' names")
	fs.StringVar(&s.cpu, "cpu", s.cpu, "Processors of each node")
	fs.StringVar(&s.memory, "memory", s.memory, "Memory of each node")
	fs.Int64Var(&s.pods, "pods", s.pods, "How many pods a node takes")
	fs.StringToStringVar(&s.pool.Labels, "labels", nil, "Labels of each node")
	fs.StringSliceVar(&s.pool.Zones, "zones", nil, "Zones that the nodes are in, by turns")
	p := &s.pool.Profile
	for _, f := range []struct {
		name, usage string
		value       *time.Duration
	}{
		{"start-after", "How long containers take to start", &p.StartAfter},
		{"ready-after", "How long containers take from their start to be ready", &p.ReadyAfter},
		{"stop-after", "How long containers take to end after their pod was deleted", &p.StopAfter},
		{"finish-after", "When containers of Jobs end (default " + simulate.DefaultFinish.String() + ")", &p.FinishAfter},
	} {
		fs.DurationVar(f.value, f.name, 0, f.usage)
	}
	fs.BoolVar(&s.keep, "keep", false, "Leave the Node objects when the command ends")
}

// SetName chooses the cluster of this machine whose nodes these are to be.
func (s *Simulation) SetName(name string) { s.name = name }

// Run simulates the nodes until ctx ends. ready is called when those of the flags are registered.
func (s *Simulation) Run(ctx context.Context, ready func(count int)) error {
	cpu, errCPU := resource.ParseQuantity(s.cpu)
	memory, errMemory := resource.ParseQuantity(s.memory)
	if err := errors.Join(errCPU, errMemory); err != nil {
		return fmt.Errorf("reading the size of nodes (--cpu %q, --memory %q): %w", s.cpu, s.memory, err)
	}
	s.pool.Capacity = simulate.Capacity(cpu, memory, s.pods)
	cfg, authority, err := s.reach()
	if err != nil {
		return err
	}
	o := simulate.Options{Remove: !s.keep, Authority: authority, OnReady: func() { ready(s.pool.Count) }}
	if s.pool.Count > 0 {
		o.Pools = []simulate.Pool{s.pool}
	}
	return nodepool.Run(ctx, cfg, o)
}

// reach finds the API server. For a cluster of this machine it also finds the authority by which the API
// server knows the nodes' own API; elsewhere the nodes have none.
func (s *Simulation) reach() (*rest.Config, *simulate.Authority, error) {
	if s.client.kubeconfig != "" || s.client.master != "" {
		cfg, err := s.client.config()
		return cfg, nil, err
	}
	c, err := Load(s.name)
	if err != nil {
		return nil, nil, fmt.Errorf("finding cluster %q: %w; name one by --name, or give --kubeconfig", s.name, err)
	}
	s.client.kubeconfig = c.Kubeconfig("admin")
	cfg, err := s.client.config()
	if err != nil {
		return nil, nil, err
	}
	a := &simulate.Authority{}
	for name, data := range map[string]*[]byte{"ca.crt": &a.CertPEM, "ca.key": &a.KeyPEM} {
		if *data, err = os.ReadFile(c.Path("pki", name)); err != nil {
			return nil, nil, fmt.Errorf("reading the cluster's authority: %w", err)
		}
	}
	return cfg, a, nil
}
