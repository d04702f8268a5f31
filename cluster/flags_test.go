package cluster

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"coracle.dev/coracle/controllers"
	"coracle.dev/coracle/scheduler"
)

func TestArgsOfParts(t *testing.T) {
	o := controllerOptions{Options: controllers.Options{RootCA: []byte("pem")}}
	if err := parseArgs("kube-controller-manager-arg", []string{"controllers=*,-job-controller", "node-monitor-grace-period=5s"}, o.addFlags); err != nil {
		t.Fatal(err)
	}
	got, err := o.complete()
	if err != nil || !slices.Equal(got.Controllers, []string{"*", "-job-controller"}) || got.NodeMonitorGracePeriod.Seconds() != 5 || got.LeaderElect || string(got.RootCA) != "pem" {
		t.Errorf("the controllers' options are %+v, %v", got, err)
	}
	var s scheduler.Options
	for arg, want := range map[string]string{
		"no-such-flag=1": "--kube-scheduler-arg no-such-flag=1: unknown flag: --no-such-flag",
		"leader-elect=x": "--kube-scheduler-arg leader-elect=x: invalid argument",
	} {
		err := parseArgs("kube-scheduler-arg", []string{arg}, func(fs *pflag.FlagSet) { addSchedulerFlags(fs, &s) })
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v; want %s", arg, err, want)
		}
	}
}
