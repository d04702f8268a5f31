package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"

	"coracle.dev/coracle/cluster"
)

func newStatus() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show whether the cluster runs, and what it uses",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := load(name)
			if err != nil {
				return err
			}
			rows, healthy := cluster.Status(c.Context(), config)
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, r := range rows {
				fmt.Fprintf(w, "%s\t%s\n", r.Name, r.Value)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if !healthy {
				return fmt.Errorf("cluster %q does not work", name)
			}
			return nil
		},
	}
	nameFlag(c, &name)
	return c
}

func newLogs() *cobra.Command {
	var name string
	var follow bool
	var tail int
	c := &cobra.Command{
		Use:       "logs [coracle|containerd]",
		Short:     "Print the log of the cluster's process, or of its containerd",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"coracle", "containerd"},
		RunE: func(c *cobra.Command, args []string) error {
			config, err := load(name)
			if err != nil {
				return err
			}
			part := "coracle"
			if len(args) == 1 {
				part = args[0]
			}
			return cluster.Logs(c.Context(), config, part, tail, follow, c.OutOrStdout())
		},
	}
	nameFlag(c, &name)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "Go on as lines are written")
	c.Flags().IntVar(&tail, "tail", -1, "Number of last lines to start with; all if negative")
	return c
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := version.Get()
			_, err := fmt.Fprintf(c.OutOrStdout(), "coracle %s (%s, %s, %s)\n", v.GitVersion, v.GoVersion, v.Platform, v.BuildDate)
			return err
		},
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
