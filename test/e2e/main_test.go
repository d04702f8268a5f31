package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// suite is what all tests share: one cluster and the means to reach it.
var suite struct {
	project    string // the project's folder
	coracle    string // the binary
	name       string // the cluster's name
	kubeconfig string
	images     string // a folder of image archives
	config     *rest.Config
	client     kubernetes.Interface
}

func TestMain(m *testing.M) {
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("the end-to-end tests need root")
	}
	if suite.project, err = filepath.Abs("../.."); err != nil {
		return 1, err
	}
	suite.coracle = filepath.Join(suite.project, "bin", "coracle")
	suite.name = "e2e"
	if name := os.Getenv("CORACLE_E2E_NAME"); name != "" {
		suite.name = name
	}
	dir, err := os.MkdirTemp("", "coracle-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	suite.kubeconfig = filepath.Join(dir, "kubeconfig")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	suite.images = dir
	archives, err := buildImages(ctx, dir)
	if err != nil {
		return 1, err
	}
	if os.Getenv("CORACLE_E2E_KEEP") == "" {
		defer func() {
			err = errors.Join(err, reset(context.WithoutCancel(ctx)))
		}()
	}
	if err := startCluster(ctx, archives); err != nil {
		return 1, err
	}
	code = m.Run()
	if code != 0 {
		printLog()
	}
	return code, nil
}

func startCluster(ctx context.Context, archives []string) error {
	if out, err := upCommand(ctx).CombinedOutput(); err != nil {
		printLog()
		return fmt.Errorf("starting the cluster: %w\n%s", err, out)
	}
	if out, err := coracle(ctx, append([]string{"image", "import"}, archives...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("importing images: %w\n%s", err, out)
	}
	var err error
	if suite.config, err = clientcmd.BuildConfigFromFlags("", suite.kubeconfig); err != nil {
		return err
	}
	suite.config.QPS = -1
	suite.client, err = kubernetes.NewForConfig(suite.config)
	return err
}

// reset removes the cluster, and finds what it left behind.
func reset(ctx context.Context) error {
	if out, err := coracle(ctx, "reset", "--yes").CombinedOutput(); err != nil {
		return fmt.Errorf("removing the cluster: %w\n%s", err, out)
	}
	var left []error
	for _, dir := range []string{"/var/lib/coracle/" + suite.name, "/run/coracle/" + suite.name} {
		if _, err := os.Stat(dir); err == nil {
			left = append(left, fmt.Errorf("reset left folder %s", dir))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	tables, err := exec.CommandContext(ctx, "nft", "list", "tables").Output()
	if err != nil {
		return err
	}
	for what, text := range map[string]string{"mount": string(mounts), "packet rules": string(tables)} {
		for line := range strings.Lines(text) {
			if strings.Contains(line, "coracle/"+suite.name+"/") || strings.HasSuffix(strings.TrimSpace(line), "-"+suite.name) {
				left = append(left, fmt.Errorf("reset left %s: %s", what, line))
			}
		}
	}
	return errors.Join(left...)
}

// upCommand starts the suite's cluster, or takes it up where it is.
func upCommand(ctx context.Context) *exec.Cmd {
	return coracle(ctx, "up", "--detach", "--kubeconfig", suite.kubeconfig)
}

// coracle is a command of the binary for the suite's cluster.
func coracle(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, suite.coracle, args...)
	cmd.Env = append(os.Environ(), "CORACLE_NAME="+suite.name)
	return cmd
}

// printLog shows the end of the cluster's log after a failure.
func printLog() {
	out, _ := coracle(context.Background(), "logs", "--tail", "60").CombinedOutput()
	fmt.Fprintf(os.Stderr, "--- the end of the cluster's log ---\n%s", out)
}
