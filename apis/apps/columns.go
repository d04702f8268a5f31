package apps

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

var deploymentColumns = slices.Concat([]resource.Column[*appsv1.Deployment]{
	resource.Name[*appsv1.Deployment](),
	resource.Text("Ready", func(d *appsv1.Deployment) any {
		return fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, orZero(d.Spec.Replicas))
	}),
	resource.Number("Up-to-date", func(d *appsv1.Deployment) int32 { return d.Status.UpdatedReplicas }),
	resource.Number("Available", func(d *appsv1.Deployment) int32 { return d.Status.AvailableReplicas }),
	resource.Age[*appsv1.Deployment](),
}, templateColumns(
	func(d *appsv1.Deployment) *corev1.PodSpec { return &d.Spec.Template.Spec },
	func(d *appsv1.Deployment) *metav1.LabelSelector { return d.Spec.Selector },
))

var replicaSetColumns = slices.Concat([]resource.Column[*appsv1.ReplicaSet]{
	resource.Name[*appsv1.ReplicaSet](),
	resource.Number("Desired", func(r *appsv1.ReplicaSet) int32 { return orZero(r.Spec.Replicas) }),
	resource.Number("Current", func(r *appsv1.ReplicaSet) int32 { return r.Status.Replicas }),
	resource.Number("Ready", func(r *appsv1.ReplicaSet) int32 { return r.Status.ReadyReplicas }),
	resource.Age[*appsv1.ReplicaSet](),
}, templateColumns(
	func(r *appsv1.ReplicaSet) *corev1.PodSpec { return &r.Spec.Template.Spec },
	func(r *appsv1.ReplicaSet) *metav1.LabelSelector { return r.Spec.Selector },
))

var daemonSetColumns = slices.Concat([]resource.Column[*appsv1.DaemonSet]{
	resource.Name[*appsv1.DaemonSet](),
	resource.Number("Desired", func(d *appsv1.DaemonSet) int32 { return d.Status.DesiredNumberScheduled }),
	resource.Number("Current", func(d *appsv1.DaemonSet) int32 { return d.Status.CurrentNumberScheduled }),
	resource.Number("Ready", func(d *appsv1.DaemonSet) int32 { return d.Status.NumberReady }),
	resource.Number("Up-to-date", func(d *appsv1.DaemonSet) int32 { return d.Status.UpdatedNumberScheduled }),
	resource.Number("Available", func(d *appsv1.DaemonSet) int32 { return d.Status.NumberAvailable }),
	resource.Text("Node Selector", func(d *appsv1.DaemonSet) any { return labels.FormatLabels(d.Spec.Template.Spec.NodeSelector) }),
	resource.Age[*appsv1.DaemonSet](),
}, templateColumns(
	func(d *appsv1.DaemonSet) *corev1.PodSpec { return &d.Spec.Template.Spec },
	func(d *appsv1.DaemonSet) *metav1.LabelSelector { return d.Spec.Selector },
))

var statefulSetColumns = slices.Concat([]resource.Column[*appsv1.StatefulSet]{
	resource.Name[*appsv1.StatefulSet](),
	resource.Text("Ready", func(s *appsv1.StatefulSet) any {
		return fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, orZero(s.Spec.Replicas))
	}),
	resource.Age[*appsv1.StatefulSet](),
}, pod.ContainerColumns(func(s *appsv1.StatefulSet) *corev1.PodSpec { return &s.Spec.Template.Spec }))

func templateColumns[T resource.Object](spec func(T) *corev1.PodSpec, selector func(T) *metav1.LabelSelector) []resource.Column[T] {
	return append(pod.ContainerColumns(spec),
		resource.Text("Selector", func(o T) any { return resource.SelectorText(selector(o)) }).Wide())
}

var controllerRevisionColumns = []resource.Column[*appsv1.ControllerRevision]{
	resource.Name[*appsv1.ControllerRevision](),
	resource.Text("Controller", func(r *appsv1.ControllerRevision) any {
		owner := metav1.GetControllerOf(r)
		if owner == nil {
			return resource.None
		}
		kind := schema.FromAPIVersionAndKind(owner.APIVersion, owner.Kind).GroupKind()
		return strings.ToLower(kind.String()) + "/" + owner.Name
	}),
	resource.Number("Revision", func(r *appsv1.ControllerRevision) int64 { return r.Revision }),
	resource.Age[*appsv1.ControllerRevision](),
}
