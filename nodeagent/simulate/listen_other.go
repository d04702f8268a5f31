//go:build !linux

package simulate

import (
	"context"
	"fmt"
	"net"
	"runtime"
)

// listen says that the API of the nodes cannot be served here: not all of 127.0.0.0/8 is this machine's.
func listen(context.Context) (net.Listener, error) {
	return nil, fmt.Errorf("%w on %s", errNoAPI, runtime.GOOS)
}
