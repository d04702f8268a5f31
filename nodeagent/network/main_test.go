package network

import (
	"testing"

	"coracle.dev/coracle/nodeagent/internal/netnstest"
)

func TestMain(m *testing.M) { netnstest.Main(m) }
