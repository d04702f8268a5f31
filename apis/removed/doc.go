// Package removed declares the API versions that Kubernetes has removed and that manifests in use still
// name: extensions/v1beta1, apps/v1beta1 and v1beta2, batch/v1beta1, autoscaling/v2beta2, policy/v1beta1
// and networking.k8s.io/v1beta1.
//
// An object written in one of them gets the defaults of that version, is stored as its successor, and is
// read in either. The package owns the conversions to and from the successors and the old defaults. What
// the shapes have in common is converted through JSON, whose field names agree; what differs, such as the
// backends of an Ingress, has a function.
//
// Invariants: a conversion adds no defaults, since server-side apply converts partial objects; what an
// old version has a field for is not lost on the way to the successor and back.
//
// Differences from Kubernetes: v1.37 serves none of these. Each answer in an old version carries the
// warning that the last release which served it gave. PodSecurityPolicy has no successor and is not
// served, nor are the rollback endpoints.
package removed
