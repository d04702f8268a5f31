package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"coracle.dev/coracle/cluster"
)

// progressFD is the file descriptor on which a detached process reports its start.
const progressFD = 3

type upOptions struct {
	config     cluster.Config
	configFile string
	detach     bool
	detached   bool
	kubeconfig string
}

func newUp() *cobra.Command {
	o := &upOptions{}
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster of one node on this machine",
		Long: `Starts the cluster, or takes it up again where it was: containers that still run are left alone.
Without --detach it stays in the foreground until it is interrupted, which stops the cluster's own
processes and leaves the containers running; 'coracle down' stops those too.

A configuration file holds flags by their names, one a line:
  cluster-cidr: 10.50.0.0/16
  secure-port: 7443`,
		Args: cobra.NoArgs,
	}
	nameFlag(c, &o.config.Name)
	o.config.AddFlags(c.Flags())
	c.Flags().StringVar(&o.configFile, "config", "", "File with values for these flags; flags given on the command line win")
	c.Flags().BoolVar(&o.detach, "detach", false, "Return once the cluster works, and leave it running")
	c.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", "Kubeconfig that gets a context for the cluster (default: the one that kubectl reads)")
	c.Flags().BoolVar(&o.detached, "detached", false, "Report on a pipe")
	_ = c.Flags().MarkHidden("detached")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := applyConfigFile(c.Flags(), o.configFile); err != nil {
			return err
		}
		return o.run(c.Context(), c.OutOrStdout())
	}
	return c
}

func (o *upOptions) run(ctx context.Context, out io.Writer) error {
	if o.kubeconfig == "" {
		o.kubeconfig = cluster.UserKubeconfig()
	}
	if os.Geteuid() != 0 {
		return errors.New("a cluster needs root: containers, interfaces and packet rules are made; run it by sudo")
	}
	config, err := cluster.Settle(&o.config)
	if err != nil {
		return err
	}
	if pid, err := cluster.AwaitRunning(ctx, config); err != nil {
		return err
	} else if pid != 0 {
		fmt.Fprintf(out, "Cluster %q runs already (process %d).\n", config.Name, pid)
		return cluster.MergeKubeconfig(config, o.kubeconfig)
	}
	if o.detach {
		return o.start(ctx, config, out)
	}
	report := printProgress(out, config, o.kubeconfig)
	if o.detached {
		syscall.CloseOnExec(progressFD) // what this process starts must not keep the pipe open
		report = cluster.EncodeProgress(os.NewFile(progressFD, "progress"))
	}
	closeLog, err := cluster.OpenLog(config)
	if err != nil {
		return err
	}
	defer closeLog()
	err = cluster.Run(ctx, config, func(e cluster.Event) {
		if e.Stage == cluster.StageReady {
			if err := cluster.MergeKubeconfig(config, o.kubeconfig); err != nil {
				e.Detail = fmt.Sprintf("writing %s: %v", o.kubeconfig, err)
			}
		}
		report(e)
	})
	if err != nil && ctx.Err() == nil {
		report(cluster.Event{Error: err.Error()})
		return err
	}
	if !o.detached {
		fmt.Fprintf(out, "Stopped. Containers go on running; 'coracle down --name %s' stops them.\n", config.Name)
	}
	return nil
}

// start runs this command again in a session of its own and passes on what it reports.
func (o *upOptions) start(ctx context.Context, config *cluster.Config, out io.Writer) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := cluster.OpenLogFile(config)
	if err != nil {
		return err
	}
	defer log.Close()
	child := exec.Command(self, "up", "--detached", "--name", config.Name, "--kubeconfig", absolute(o.kubeconfig))
	child.Stdout, child.Stderr, child.ExtraFiles = log, log, []*os.File{write}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	child.Dir = "/"
	if err := child.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", self, err)
	}
	write.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = child.Process.Signal(syscall.SIGTERM)
		read.Close()
	})
	defer stop()
	last := cluster.DecodeProgress(read, printProgress(out, config, o.kubeconfig))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case last.Error != "":
		return errors.New(last.Error)
	case last.Stage != cluster.StageReady:
		return fmt.Errorf("the cluster's process ended before the cluster was ready; see %s", cluster.LogFile(config))
	}
	return child.Process.Release()
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// printProgress shows each stage as it ends, and how to go on when all have.
func printProgress(out io.Writer, config *cluster.Config, kubeconfig string) cluster.Progress {
	return func(e cluster.Event) {
		switch {
		case e.Error != "":
		case e.Stage == cluster.StageReady:
			if e.Detail != "" {
				fmt.Fprintf(out, "  ! %s\n", e.Detail)
			}
			fmt.Fprintf(out, `
Cluster %q is ready after %s. Context %q is in %s:

  kubectl get nodes        (or: coracle kubectl get nodes)
  coracle status
  coracle logs --follow
  coracle down             stops it; 'coracle reset' removes it
`, config.Name, e.Took.Round(10*time.Millisecond), config.Context(), kubeconfig)
		default:
			fmt.Fprintf(out, "  ✓ %-18s %6.2f s  %s\n", e.Stage, e.Took.Seconds(), e.Detail)
		}
	}
}
