package apiserver_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"

	"coracle.dev/coracle/apiserver"
)

// asServer, set in the environment, makes the test binary an API server with the flags that follow
// "--": tests start it as a process of its own that they can kill.
const asServer = "CORACLE_TEST_APISERVER"

// asKubectl makes it kubectl, for what its exit code says.
const asKubectl = "CORACLE_TEST_KUBECTL"

func TestMain(m *testing.M) {
	if os.Getenv(asKubectl) != "" {
		os.Exit(cli.Run(cmd.NewDefaultKubectlCommand()))
	}
	if os.Getenv(asServer) != "" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serve() error {
	o := apiserver.NewOptions()
	fs := pflag.NewFlagSet("apiserver", pflag.ContinueOnError)
	o.AddFlags(fs)
	if err := fs.Parse(os.Args[1:]); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := o.Config(ctx)
	if err != nil {
		return err
	}
	server, err := config.Complete().New(ctx)
	if err != nil {
		return err
	}
	go func() {
		<-server.Ready()
		fmt.Println("ready", server.Addr())
	}()
	return server.Run(ctx)
}
