package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/apiserver"
)

// Names under which the binary is one of the programs that controller-runtime's envtest starts.
const (
	envtestServer = "kube-apiserver"
	envtestEtcd   = "etcd"
)

// EnvtestAssets fills dir, which it makes, with links to the binary under the names of the programs
// that controller-runtime's envtest needs. KUBEBUILDER_ASSETS set to dir runs a suite on Coracle.
func EnvtestAssets(dir, binary string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{envtestServer, envtestEtcd, "kubectl"} {
		path := filepath.Join(dir, name)
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
			return fmt.Errorf("%s exists and is no link: remove it, or choose another folder", path)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(binary, path); err != nil {
			return err
		}
	}
	return nil
}

// EnvtestProgram returns the program that the binary is under the given name, or nil. The program
// runs until ctx ends.
func EnvtestProgram(name string) func(ctx context.Context, args []string) error {
	switch name {
	case envtestServer:
		return runEnvtestServer
	case envtestEtcd:
		return runEnvtestEtcd
	}
	return nil
}

// runEnvtestEtcd is etcd, with its own flags, signals and exit codes. A member of one elects itself
// sooner than by etcd's defaults.
func runEnvtestEtcd(_ context.Context, args []string) error {
	quick := []string{envtestEtcd}
	if !slices.ContainsFunc(args, func(a string) bool {
		return strings.Contains(a, "-election-timeout") || strings.Contains(a, "-heartbeat-interval") || strings.Contains(a, "-config-file")
	}) {
		quick = append(quick, "--heartbeat-interval=20", "--election-timeout=100", "--log-level=warn")
	}
	etcdmain.Main(append(quick, args...))
	return nil
}

// runEnvtestServer is the API server with kube-apiserver's flags, save those that it does not know.
func runEnvtestServer(ctx context.Context, args []string) error {
	o := apiserver.NewOptions()
	flags := pflag.NewFlagSet(envtestServer, pflag.ContinueOnError)
	o.AddFlags(flags)
	certDir := flags.String("cert-dir", "", "Directory of the serving certificate, apiserver.crt and apiserver.key, where --tls-cert-file is not given.")
	privileged := flags.Bool("allow-privileged", true, "Whether pods may be privileged; where they may not, use PodSecurity.")
	var logging flag.FlagSet
	klog.InitFlags(&logging)
	flags.AddGoFlagSet(&logging)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil
		}
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s takes no arguments, only flags: got %q", envtestServer, flags.Args())
	}
	if !*privileged {
		return errors.New("--allow-privileged=false is not supported: label namespaces for PodSecurity")
	}
	cert := filepath.Join(*certDir, "apiserver.crt")
	if _, err := os.Stat(cert); err == nil && *certDir != "" && o.TLSCertFile == "" {
		o.TLSCertFile, o.TLSPrivateKeyFile = cert, filepath.Join(*certDir, "apiserver.key")
	}
	server, err := completeAPIServer(ctx, o, nil)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
