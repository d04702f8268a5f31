package simulate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// listen opens one port for the API of all nodes, which can be reached over the loopback interface alone:
// there all of 127.0.0.0/8 is this machine's, and by the address that was called the node is known.
func listen(ctx context.Context) (net.Listener, error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var bound error
		err := raw.Control(func(fd uintptr) { bound = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "lo") })
		return errors.Join(err, bound)
	}}
	l, err := c.Listen(ctx, "tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the API of simulated nodes: %w", err)
	}
	return l, nil
}
