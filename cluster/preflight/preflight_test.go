package preflight

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestPortInUseIsNamedWithItsFlag(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	f := checkPort(t.Context(), "secure-port", port)
	if f.Level != Failure || !strings.Contains(f.Remedy, "--secure-port") || !strings.Contains(f.Check, fmt.Sprint(port)) {
		t.Errorf("port %d is taken, got %+v", port, f)
	}
	l.Close()
	if f := checkPort(t.Context(), "secure-port", port); f.Level != OK {
		t.Errorf("port %d is free again, got %+v", port, f)
	}
}

func TestRangeThatARouteUsesIsRefused(t *testing.T) {
	link := netlink.NewLinkAttrs()
	link.Name = "corchk0"
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: link}); err != nil {
		t.Fatal(err)
	}
	bridge, err := netlink.LinkByName(link.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(bridge) })
	addr, _ := netlink.ParseAddr("198.51.100.1/24")
	if err := netlink.AddrAdd(bridge, addr); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		t.Fatal(err)
	}
	used := netip.MustParsePrefix("198.51.0.0/16")
	f := checkRange("cluster-cidr", used, nil)
	if f.Level != Failure || !strings.Contains(f.Detail, link.Name) || !strings.Contains(f.Remedy, "--cluster-cidr") {
		t.Errorf("range %s is routed by %s, got %+v", used, link.Name, f)
	}
	if f := checkRange("cluster-cidr", used, []string{link.Name}); f.Level != OK {
		t.Errorf("routes of the cluster's own interface don't count, got %+v", f)
	}
}

func TestDiskAndExecLookAtNearestExistingFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	for _, f := range []Finding{checkDisk(dir), checkExec(dir)} {
		if f.Level == Failure {
			t.Errorf("unexpected failure: %+v", f)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a check made the folder")
	}
}

func TestAMachineThatRunsTheseTestsPasses(t *testing.T) {
	for _, f := range Run(t.Context(), Target{DataDir: t.TempDir()}) {
		if f.Level == Failure {
			t.Errorf("%s: %s; %s", f.Check, f.Detail, f.Remedy)
		}
		if f.Level != OK && f.Detail == "" {
			t.Errorf("%s says nothing", f.Check)
		}
	}
}
