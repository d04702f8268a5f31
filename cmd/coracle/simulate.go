package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"coracle.dev/coracle/cluster"
)

// newSimulate makes the command for clusters without machines.
func newSimulate() *cobra.Command {
	c := &cobra.Command{Use: "simulate", Short: "Simulate parts of a cluster that are not there"}
	c.AddCommand(newSimulateNodes())
	return c
}

func newSimulateNodes() *cobra.Command {
	var name, file string
	s := cluster.NewSimulation(defaultName())
	c := &cobra.Command{
		Use:   "nodes",
		Short: "Add nodes without machines, whose pods run, fail and finish as annotations say",
		Long: `Add nodes without machines to a cluster, until interrupted. Their pods run and become ready at once,
or on the timeline that annotations of the pod give:

  simulation.coracle.dev/start-after: 1s-3s    how long containers take to start
  simulation.coracle.dev/ready-after: 5s       and then to be ready
  simulation.coracle.dev/finish-after: 1m      when they end, and
  simulation.coracle.dev/exit-code: "1,1,0"    with what, run by run
  simulation.coracle.dev/cpu: 500m             what they use; memory likewise

A node that is annotated simulation.coracle.dev/down=true is one without power. Objects of the kind
SimulatedNodePool are followed too; 'kubectl scale simulatednodepools NAME' changes their number.`,
		Example: `  coracle simulate nodes --count 1000 --cpu 32 --memory 256Gi --zones a,b,c`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := applyConfigFile(c.Flags(), file); err != nil {
				return err
			}
			s.SetName(name)
			return s.Run(c.Context(), func(count int) {
				fmt.Fprintf(c.OutOrStdout(), "%d simulated nodes are registered; interrupt to take them away\n", count)
			})
		},
	}
	nameFlag(c, &name)
	s.AddFlags(c.Flags())
	c.Flags().StringVar(&file, "config", "", "File with values for these flags; flags given on the command line win")
	return c
}
