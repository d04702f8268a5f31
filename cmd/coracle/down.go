package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"coracle.dev/coracle/cluster"
)

func newDown() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "down",
		Short: "Stop the cluster and its containers; its data stays",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := load(name)
			if err != nil {
				return err
			}
			if err := cluster.Down(c.Context(), config); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "Cluster %q is stopped. 'coracle up --name %s' takes it up again.\n", name, name)
			return nil
		},
	}
	nameFlag(c, &name)
	return c
}

func newReset() *cobra.Command {
	var name string
	var yes bool
	c := &cobra.Command{
		Use:   "reset",
		Short: "Remove the cluster and everything that it made on this machine",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := load(name)
			if err != nil {
				return err
			}
			if !yes {
				fmt.Fprintf(c.OutOrStdout(), "This removes cluster %q with all its objects, volumes and images (%s). Type its name to go on: ", name, config.DataDir)
				answer, _ := bufio.NewReader(c.InOrStdin()).ReadString('\n')
				if strings.TrimSpace(answer) != name {
					return fmt.Errorf("nothing was removed: the answer was not %q", name)
				}
			}
			if err := cluster.Reset(c.Context(), config, cluster.UserKubeconfig()); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "Cluster %q is removed.\n", name)
			return nil
		},
	}
	nameFlag(c, &name)
	c.Flags().BoolVar(&yes, "yes", false, "Don't ask")
	return c
}
