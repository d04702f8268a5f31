package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"coracle.dev/coracle/cluster"
	"coracle.dev/coracle/cluster/preflight"
)

func newCheck() *cobra.Command {
	config := &cluster.Config{}
	var file string
	c := &cobra.Command{
		Use:   "check",
		Short: "Find out what this machine lacks for running a cluster",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := applyConfigFile(c.Flags(), file); err != nil {
				return err
			}
			planned, err := cluster.Plan(config)
			if err != nil {
				return err
			}
			return printFindings(c.OutOrStdout(), cluster.Check(c.Context(), planned))
		},
	}
	nameFlag(c, &config.Name)
	config.AddFlags(c.Flags())
	c.Flags().StringVar(&file, "config", "", "File with values for these flags")
	return c
}

func printFindings(out io.Writer, findings []preflight.Finding) error {
	failures := 0
	for _, f := range findings {
		mark := map[preflight.Level]string{preflight.OK: "✓", preflight.Warning: "!", preflight.Failure: "✗"}[f.Level]
		fmt.Fprintf(out, "  %s %-24s %s\n", mark, f.Check, f.Detail)
		if f.Remedy != "" && f.Level != preflight.OK {
			fmt.Fprintf(out, "    → %s\n", f.Remedy)
		}
		if f.Level == preflight.Failure {
			failures++
		}
	}
	if failures > 0 {
		return fmt.Errorf("%d of %d checks failed", failures, len(findings))
	}
	return nil
}
