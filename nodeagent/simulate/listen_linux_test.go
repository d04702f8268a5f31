package simulate

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNodesAreOfTheLoopbackAlone: the one socket takes calls to any address of 127.0.0.0/8, and none from outside.
func TestNodesAreOfTheLoopbackAlone(t *testing.T) {
	l, err := listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if device, err := unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err != nil || device != "lo" {
			t.Errorf("it is bound to %q, %v", device, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, host := range []string{"127.0.0.1", "127.1.0.1", "127.8.200.3"} {
		c, err := net.Dial("tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		if got := addressOf(accepted.LocalAddr()).String(); got != host {
			t.Errorf("a call to %s is seen as one to %s", host, got)
		}
	}
}
