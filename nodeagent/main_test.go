package nodeagent

import (
	"os"
	"testing"

	"coracle.dev/coracle/nodeagent/internal/netnstest"
	"coracle.dev/coracle/nodeagent/runtime"
)

// TestMain lets the test binary be the containerd child, and runs the tests in
// network and mount namespaces of their own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "containerd" {
		os.Exit(runtime.ContainerdMain(os.Args[2:]))
	}
	netnstest.Main(m)
}
