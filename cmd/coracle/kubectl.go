package main

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"

	"coracle.dev/coracle/cluster"
)

func newKubectl() *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl",
		Short: "Run kubectl against the cluster",
		Long: `Runs the kubectl that Coracle was built with. It reads the usual kubeconfig; where that has no
context, or CORACLE_NAME is set, the administrator's kubeconfig of the cluster of that name.`,
		DisableFlagParsing: true,
		Run: func(_ *cobra.Command, args []string) {
			os.Exit(runKubectl(args))
		},
	}
}

// runKubectl is kubectl with the given arguments, and returns its exit code.
func runKubectl(args []string) int {
	name, asked := os.LookupEnv("CORACLE_NAME")
	if os.Getenv("KUBECONFIG") == "" && (asked || !exists(cluster.UserKubeconfig())) {
		if !asked {
			name = cluster.DefaultName
		}
		if config, err := cluster.Load(name); err == nil {
			os.Setenv("KUBECONFIG", config.Kubeconfig("admin"))
		}
	}
	os.Args = append([]string{"kubectl"}, args...) // kubectl finds plugins by it
	return cli.Run(cmd.NewDefaultKubectlCommand())
}
