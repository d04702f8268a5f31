package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"coracle.dev/coracle/cluster"
)

func newImage() *cobra.Command {
	var name string
	c := &cobra.Command{Use: "image", Short: "Import, list and remove the images of the cluster's containers"}
	c.PersistentFlags().StringVar(&name, "name", defaultName(), "Name of the cluster; also read from CORACLE_NAME")
	images := func() (cluster.Images, error) {
		config, err := load(name)
		if err != nil {
			return cluster.Images{}, err
		}
		return cluster.OpenImages(config)
	}
	c.AddCommand(&cobra.Command{
		Use:   "import FILE...",
		Short: "Load images from archives of docker save or of the OCI layout, gzipped or not; - is standard input",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, files []string) error {
			s, err := images()
			if err != nil {
				return err
			}
			for _, file := range files {
				names, err := s.Import(c.Context(), file, c.InOrStdin())
				if err != nil {
					return fmt.Errorf("importing %s: %w", file, err)
				}
				for _, n := range names {
					fmt.Fprintln(c.OutOrStdout(), n)
				}
			}
			return nil
		},
	}, &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the images",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := images()
			if err != nil {
				return err
			}
			list, err := s.List(c.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "IMAGE\tDIGEST\tSIZE")
			for _, i := range list {
				fmt.Fprintf(w, "%s\t%s\t%.1f MiB\n", i.Name, i.Digest, float64(i.Size)/(1<<20))
			}
			return w.Flush()
		},
	}, &cobra.Command{
		Use:   "rm IMAGE...",
		Short: "Remove images",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			s, err := images()
			if err != nil {
				return err
			}
			for _, n := range names {
				if err := s.Remove(c.Context(), n); err != nil {
					return fmt.Errorf("removing %s: %w", n, err)
				}
			}
			return nil
		},
	})
	return c
}
