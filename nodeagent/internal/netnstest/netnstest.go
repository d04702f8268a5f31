// Package netnstest runs a package's tests in network namespaces of their own.
//
// Main re-executes the test binary in a new network and mount namespace, so
// that nothing a test does with links, routes, rules or sockets touches the
// machine. New adds namespaces that stand for pods or for other machines. The
// tests need root.
package netnstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const childVariable = "CORACLE_TEST_NETNS"

// The first thread stays with the main goroutine. A goroutine that ends while
// locked to it would leave it in a namespace, and the namespace alive.
func init() { runtime.LockOSThread() }

// Main is called by TestMain. It returns only in the process that runs the
// tests, and does not return there either: it exits with their result.
func Main(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(runInNamespaces())
	}
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, "setting up the test's network namespace:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func runInNamespaces() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "finding the test binary:", err)
		return 1
	}
	c := exec.Command(self, os.Args[1:]...)
	c.Env = append(os.Environ(), childVariable+"=1")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = c.Run()
	if err == nil {
		return 0
	}
	if c.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "starting the tests in namespaces of their own (root is needed):", err)
		return 1
	}
	return max(c.ProcessState.ExitCode(), 1)
}

// self is the namespace that the tests run in. It is opened early: /proc/self
// shows that of the first thread, which a test may have moved to another one.
var self *os.File

func setUp() error {
	var err error
	if self, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return fmt.Errorf("opening the test's namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding loopback: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

// NS is a network namespace with loopback up. It ends with its test.
type NS struct {
	// Path can be given to whoever wants a namespace by path.
	Path string
	t    testing.TB
}

// New makes a namespace.
func New(t testing.TB) *NS {
	t.Helper()
	ns := &NS{Path: filepath.Join(t.TempDir(), "netns"), t: t}
	if err := os.WriteFile(ns.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		// The thread is never unlocked, so it ends with the goroutine and takes its
		// namespace's last other reference along.
		runtime.LockOSThread()
		done <- ns.make()
	}()
	if err := <-done; err != nil {
		t.Fatalf("making a network namespace: %v", err)
	}
	t.Cleanup(ns.Remove)
	return ns
}

func (ns *NS) make() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := unix.Mount("/proc/thread-self/ns/net", ns.Path, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	h, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	return h.LinkSetUp(lo)
}

// Remove lets go of the namespace before the test ends.
func (ns *NS) Remove() {
	// Gone already, when a test removed it.
	_ = unix.Unmount(ns.Path, unix.MNT_DETACH)
}

// Do runs f with the calling goroutine's thread in the namespace. A socket that
// f makes belongs there for good; goroutines that f starts run outside.
func (ns *NS) Do(f func()) {
	ns.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		fd, err := unix.Open(ns.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(fd)
			err = unix.Setns(fd, unix.CLONE_NEWNET)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		ns.t.Fatalf("entering network namespace: %v", err)
	}
}

// Self is the namespace that the tests run in. It does not end with its test.
func Self(t testing.TB) *NS { return &NS{Path: fmt.Sprintf("/proc/self/fd/%d", self.Fd()), t: t} }

// Adopt moves a link of the test's namespace into ns.
func (ns *NS) Adopt(link string) error {
	f, err := os.Open(ns.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	return netlink.LinkSetNsFd(l, int(f.Fd()))
}
