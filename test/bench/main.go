// Command bench measures a cluster and prints each figure beside the project's target and what
// upstream needs (v1.36 with containerd 2.4, on a machine of 2 cores). It is no test: it never fails
// because something is slow. It starts clusters named "bench" and "bench-server" and removes them.
//
//	go run ./test/bench [--only REGEXP]
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// result is one line of the table.
type result struct{ measure, upstream, target, value string }

// measurement yields one or more results. Those of a cluster with a node come first and share it.
type measurement struct {
	name string
	run  func(context.Context, *env) ([]result, error)
}

// env is where the measurements run.
type env struct {
	coracle string
	dir     string
}

var measurements = []measurement{
	{"apiserver-start", measureStart},
	{"up", measureUp},
	{"idle", measureIdle},
	{"configmaps", measureConfigMaps},
	{"pods", measurePods}, // containerd is busy for a while after it
	{"api", measureAPI},
	{"deployment", measureDeployment},
	{"scale", measureScale},
	{"scheduling", measureScheduling},
	{"memory", measureMemory},
	{"clustertest", measureClustertest},
}

func main() {
	only := flag.String("only", ".", "run the measurements whose names match: apiserver-start, up, idle, pods, configmaps, api, deployment, scale, scheduling, memory, clustertest")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string) error {
	choose, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	binary, err := filepath.Abs("bin/coracle")
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return fmt.Errorf("%w; run it from the project's folder after make build", err)
	}
	dir, err := os.MkdirTemp("", "coracle-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	e := &env{binary, dir}
	defer e.remove("bench")
	defer e.remove("bench-server")
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MEASURE\tUPSTREAM\tTARGET\tCORACLE")
	var errs []error
	for _, m := range measurements {
		if !choose.MatchString(m.name) {
			continue
		}
		fmt.Fprintln(os.Stderr, "measuring", m.name)
		results, err := m.run(ctx, e)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.name, err))
		}
		for _, r := range results {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.measure, r.upstream, r.target, r.value)
		}
	}
	return errors.Join(append(errs, table.Flush())...)
}

// command is coracle for a cluster of the given name.
func (e *env) command(ctx context.Context, cluster string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.coracle, args...)
	cmd.Env = append(os.Environ(), "CORACLE_NAME="+cluster)
	return cmd
}

// do runs coracle to its end.
func (e *env) do(ctx context.Context, cluster string, args ...string) error {
	if out, err := e.command(ctx, cluster, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("coracle %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// up starts the cluster with a node, and returns how long that took.
func (e *env) up(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	err := e.do(ctx, "bench", "up", "--detach", "--kubeconfig", e.kubeconfig("bench"))
	return time.Since(begin), err
}

func (e *env) kubeconfig(cluster string) string { return filepath.Join(e.dir, cluster+".kubeconfig") }

// remove takes a cluster away if it is there.
func (e *env) remove(cluster string) {
	if _, err := os.Stat("/var/lib/coracle/" + cluster); err != nil {
		return
	}
	if err := e.do(context.Background(), cluster, "reset", "--yes"); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// client reaches a cluster over TLS, with no limit on its rate.
func client(kubeconfig string) (*rest.Config, kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	cfg.QPS = -1
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	cs, err := kubernetes.NewForConfig(cfg)
	return cfg, cs, err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
