package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"coracle.dev/coracle/apis/resource"
)

var (
	pods                   = schema.GroupResource{Resource: "pods"}
	replicationControllers = schema.GroupResource{Resource: "replicationcontrollers"}
	jobs                   = schema.GroupResource{Group: "batch", Resource: "jobs"}
)

// statusOnCreate lists the resources whose creator may set status: a node registers itself with the
// status it has.
var statusOnCreate = map[schema.GroupResource]bool{{Resource: "nodes"}: true}

// returnsDeleted lists the resources whose DELETE answers with the object rather than with a Status.
var returnsDeleted = map[schema.GroupResource]bool{
	{Resource: "pods"}:                   true,
	{Resource: "services"}:               true,
	{Resource: "serviceaccounts"}:        true,
	{Resource: "persistentvolumes"}:      true,
	{Resource: "persistentvolumeclaims"}: true,
	{Resource: "podtemplates"}:           true,
	{Resource: "resourcequotas"}:         true,
}

// orphansByDefault lists the resources whose dependents stay when the deleter does not say what shall
// become of them, which the API has promised since before there was garbage collection.
var orphansByDefault = map[schema.GroupResource]bool{replicationControllers: true, jobs: true}

// metadataParts are the parts of metadata that a write to /status leaves as they were.
type metadataParts struct{ labels, owners, all bool }

// statusKeeps follows Kubernetes v1.37, resource by resource; most let /status write all metadata.
var statusKeeps = map[schema.GroupResource]metadataParts{
	{Group: "apps", Resource: "deployments"}: {labels: true},
	pods:                                     {owners: true},
	{Group: "storage.k8s.io", Resource: "volumeattachments"}:                         {all: true},
	{Group: "resource.k8s.io", Resource: "resourceclaims"}:                           {all: true},
	{Group: "flowcontrol.apiserver.k8s.io", Resource: "flowschemas"}:                 {all: true},
	{Group: "flowcontrol.apiserver.k8s.io", Resource: "prioritylevelconfigurations"}: {all: true},
}

func (p metadataParts) paths() []fieldpath.Path {
	switch {
	case p.all:
		return []fieldpath.Path{fieldpath.MakePathOrDie("metadata")}
	case p.labels:
		return []fieldpath.Path{fieldpath.MakePathOrDie("metadata", "labels")}
	case p.owners:
		return []fieldpath.Path{fieldpath.MakePathOrDie("metadata", "ownerReferences"), fieldpath.MakePathOrDie("metadata", "deletionTimestamp")}
	}
	return nil
}

func (p metadataParts) restore(obj, old metav1.Object) {
	if p.all {
		metav1.ResetObjectMetaForStatus(obj, old)
	}
	if p.labels {
		obj.SetLabels(old.GetLabels())
	}
	if p.owners {
		obj.SetOwnerReferences(old.GetOwnerReferences())
	}
}

// deleteStrategy chooses how objects of d are deleted.
func deleteStrategy(d *resource.Descriptor, s *strategy) rest.RESTDeleteStrategy {
	switch gr := d.GroupResource(); {
	case gr == pods:
		return podDeletion{s}
	case orphansByDefault[gr]:
		return orphaning{s}
	default:
		return deletion{s}
	}
}

// deletion removes at once; dependents follow.
type deletion struct{ runtime.ObjectTyper }

func (deletion) DefaultGarbageCollectionPolicy(context.Context) rest.GarbageCollectionPolicy {
	return rest.DeleteDependents
}

// orphaning removes at once; dependents stay.
type orphaning struct{ runtime.ObjectTyper }

func (orphaning) DefaultGarbageCollectionPolicy(context.Context) rest.GarbageCollectionPolicy {
	return rest.OrphanDependents
}

// podDeletion gives a running pod its grace period; the node agent ends it.
type podDeletion struct{ runtime.ObjectTyper }

func (podDeletion) DefaultGarbageCollectionPolicy(context.Context) rest.GarbageCollectionPolicy {
	return rest.DeleteDependents
}

// CheckGracefulDelete implements rest.RESTGracefulDeleteStrategy.
func (podDeletion) CheckGracefulDelete(_ context.Context, obj runtime.Object, options *metav1.DeleteOptions) bool {
	pod, ok := obj.(*corev1.Pod)
	if !ok || options == nil {
		return false
	}
	period := gracePeriod(pod, options)
	options.GracePeriodSeconds = &period
	return true
}

// gracePeriod is what the deleter asked for, else what the pod asks for. A pod that no node runs, or
// that has finished, needs none. Negative periods mean the shortest one.
func gracePeriod(pod *corev1.Pod, options *metav1.DeleteOptions) int64 {
	finished := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	if pod.Spec.NodeName == "" || finished {
		return 0
	}
	var period int64
	switch {
	case options.GracePeriodSeconds != nil:
		period = *options.GracePeriodSeconds
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		period = *pod.Spec.TerminationGracePeriodSeconds
	}
	if period < 0 {
		period = 1
	}
	return period
}
