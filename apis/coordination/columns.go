package coordination

import (
	coordinationv1 "k8s.io/api/coordination/v1"

	"coracle.dev/coracle/apis/resource"
)

var leaseColumns = []resource.Column[*coordinationv1.Lease]{
	resource.Name[*coordinationv1.Lease](),
	resource.Text("Holder", func(l *coordinationv1.Lease) any { return resource.Deref(l.Spec.HolderIdentity) }),
	resource.Age[*coordinationv1.Lease](),
}
