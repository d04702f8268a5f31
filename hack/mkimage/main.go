// Command mkimage builds a container image from directories and tar files, and
// writes it as an archive that `coracle image import` and others load. It needs no
// container engine and no registry.
//
//	mkimage --output FILE [--entrypoint WORD]... [--cmd WORD]... [--env NAME=VALUE]...
//	        [--expose PORT/PROTOCOL]... [--user USER] [--workdir DIR] [--label NAME=VALUE]...
//	        [--keep-owners] NAME LAYER...
//
// Each LAYER, from the lowest up, is a tar file (gzipped or not) or a directory,
// whose files belong to root in the image unless owners are kept.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"coracle.dev/coracle/nodeagent/image"
	"coracle.dev/coracle/nodeagent/image/archive"
)

func main() {
	if err := newCommand().Execute(); err != nil {
		os.Exit(1)
	}
}

type options struct {
	output             string
	entrypoint, cmd    []string
	env, expose, label []string
	user, workdir      string
	keepOwners         bool
}

func newCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:          "mkimage [flags] NAME LAYER...",
		Short:        "Build a container image from directories and tar files",
		Args:         cobra.MinimumNArgs(1),
		SilenceUsage: true,
		RunE:         func(_ *cobra.Command, args []string) error { return o.run(args[0], args[1:]) },
	}
	f := c.Flags()
	f.StringVarP(&o.output, "output", "o", "", "File to write; - is standard output")
	f.StringArrayVar(&o.entrypoint, "entrypoint", nil, "Program and leading arguments, one word each time")
	f.StringArrayVar(&o.cmd, "cmd", nil, "Arguments that a pod may replace, one word each time")
	f.StringArrayVar(&o.env, "env", nil, "Environment variable, as NAME=VALUE")
	f.StringArrayVar(&o.expose, "expose", nil, "Port that the image serves, as PORT/PROTOCOL")
	f.StringArrayVar(&o.label, "label", nil, "Label, as NAME=VALUE")
	f.StringVar(&o.user, "user", "", "User to run as, as USER[:GROUP]")
	f.StringVar(&o.workdir, "workdir", "", "Directory to run in")
	f.BoolVar(&o.keepOwners, "keep-owners", false, "Keep the owners of files in directories")
	_ = c.MarkFlagRequired("output")
	return c
}

func (o *options) run(name string, layers []string) (failure error) {
	full, err := image.Normalize(name)
	if err != nil {
		return err
	}
	i := archive.Image{Name: full, Config: imagespec.ImageConfig{
		User: o.user, WorkingDir: o.workdir, Env: o.env, Entrypoint: o.entrypoint, Cmd: o.cmd,
	}}
	if !hasPath(o.env) {
		i.Config.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, o.env...)
	}
	for _, port := range o.expose {
		if i.Config.ExposedPorts == nil {
			i.Config.ExposedPorts = map[string]struct{}{}
		}
		i.Config.ExposedPorts[port] = struct{}{}
	}
	for _, label := range o.label {
		key, value, ok := strings.Cut(label, "=")
		if !ok {
			return fmt.Errorf("label %q is not NAME=VALUE", label)
		}
		if i.Config.Labels == nil {
			i.Config.Labels = map[string]string{}
		}
		i.Config.Labels[key] = value
	}
	for _, path := range layers {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return fmt.Errorf("reading layer: %w", err)
		case info.IsDir():
			i.Layers = append(i.Layers, archive.Directory(path, o.keepOwners))
		default:
			i.Layers = append(i.Layers, archive.Tar(path))
		}
	}
	var w io.Writer = os.Stdout
	if o.output != "-" {
		file, err := os.Create(o.output)
		if err != nil {
			return fmt.Errorf("writing the archive: %w", err)
		}
		defer func() { failure = errors.Join(failure, file.Close()) }()
		w = file
	}
	return archive.Write(w, i)
}

func hasPath(env []string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, "PATH=") {
			return true
		}
	}
	return false
}
