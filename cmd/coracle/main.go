// Command coracle is a whole Kubernetes: every part of it, and the commands to run it.
//
// Under the name kubectl it is kubectl, under kubectl-rolling_update that plugin of kubectl, and under
// kube-apiserver and etcd what envtest needs.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/cluster"
	"coracle.dev/coracle/cmd/coracle/rollingupdate"
)

func main() {
	if filepath.Base(os.Args[0]) == "kubectl" {
		os.Exit(runKubectl(os.Args[1:]))
	}
	if len(os.Args) > 1 && os.Args[1] == cluster.ContainerdCommand {
		os.Exit(cluster.Containerd(os.Args[2:]))
	}
	// gRPC tells of every attempt to connect; what matters of them comes back as an error.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, filepath.Base(os.Args[0]), os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// run is what the binary is under the given name.
func run(ctx context.Context, name string, args []string) error {
	if program := cluster.EnvtestProgram(name); program != nil {
		return program(ctx, args)
	}
	if name == rollingupdate.Name {
		quiet()
		return rollingupdate.Command().ExecuteContext(ctx)
	}
	return newCommand().ExecuteContext(ctx)
}

func newCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "coracle",
		Short: "Kubernetes that you can carry",
		Long: `Coracle runs Kubernetes on this machine: API server, controllers, scheduler and node agent in
one process, with containers on a containerd of its own.

  coracle up --detach      start a cluster and return
  kubectl get nodes        use it; 'coracle kubectl' works where kubectl is not installed
  coracle down             stop it, its data stays
  coracle reset            remove it`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.AddGroup(&cobra.Group{ID: "cluster", Title: "The cluster of this machine:"}, &cobra.Group{ID: "parts", Title: "Parts of a cluster, run apart:"})
	in := func(group string, commands ...*cobra.Command) {
		for _, sub := range commands {
			sub.GroupID = group
			if group == "cluster" {
				sub.PersistentPreRun = func(*cobra.Command, []string) { quiet() }
			}
			c.AddCommand(sub)
		}
	}
	in("cluster", newUp(), newDown(), newReset(), newStatus(), newLogs(), newCheck(), newImage(), newKubectl(), newEnvtestAssets(), newSimulate())
	in("parts", newParts()...)
	c.AddCommand(newVersion())
	return c
}

// quiet keeps the log of the parts away from a user who reads a command's output; errors are
// returned and shown. 'up' sends the log to a file.
func quiet() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
}

// nameFlag adds the flag by which most commands choose a cluster.
func nameFlag(c *cobra.Command, name *string) {
	c.Flags().StringVar(name, "name", defaultName(), "Name of the cluster; also read from CORACLE_NAME")
	_ = c.RegisterFlagCompletionFunc("name", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		names, err := cluster.Names()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

func defaultName() string {
	if name := os.Getenv("CORACLE_NAME"); name != "" {
		return name
	}
	return cluster.DefaultName
}

// load reads the named cluster's configuration, with an error that says what to do without one.
func load(name string) (*cluster.Config, error) {
	c, err := cluster.Load(name)
	if os.IsNotExist(err) {
		return nil, fmt.Errorf("there is no cluster %q on this machine; start one by 'coracle up --name %s'", name, name)
	}
	return c, err
}
