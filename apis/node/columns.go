package node

import (
	nodev1 "k8s.io/api/node/v1"

	"coracle.dev/coracle/apis/resource"
)

var runtimeClassColumns = []resource.Column[*nodev1.RuntimeClass]{
	resource.Name[*nodev1.RuntimeClass](),
	resource.Text("Handler", func(c *nodev1.RuntimeClass) any { return c.Handler }),
	resource.Age[*nodev1.RuntimeClass](),
}
