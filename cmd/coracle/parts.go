package main

import (
	"github.com/spf13/cobra"

	"coracle.dev/coracle/cluster"
)

// newParts makes a command of each part that can be run by itself.
func newParts() []*cobra.Command {
	var commands []*cobra.Command
	for _, part := range cluster.Parts() {
		var file string
		c := &cobra.Command{
			Use:   part.Name,
			Short: part.Short,
			Args:  cobra.NoArgs,
		}
		part.AddFlags(c.Flags())
		c.Flags().StringVar(&file, "config", "", "File with values for these flags; flags given on the command line win")
		c.RunE = func(c *cobra.Command, _ []string) error {
			if err := applyConfigFile(c.Flags(), file); err != nil {
				return err
			}
			return part.Run(c.Context())
		}
		commands = append(commands, c)
	}
	return commands
}
