package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"coracle.dev/coracle/cluster"
)

func newEnvtestAssets() *cobra.Command {
	return &cobra.Command{
		Use:   "envtest-assets DIR",
		Short: "Make a folder that envtest takes for KUBEBUILDER_ASSETS",
		Long: `Fills DIR with links to this binary named kube-apiserver, etcd and kubectl, which take the flags that
controller-runtime's envtest gives them. A suite that uses envtest then runs on Coracle:

  KUBEBUILDER_ASSETS=DIR go test ./...`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			binary, err := os.Executable()
			if err != nil {
				return err
			}
			if err := cluster.EnvtestAssets(dir, binary); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "KUBEBUILDER_ASSETS=%s\n", dir)
			return err
		},
	}
}
