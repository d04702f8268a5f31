package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/apis/pod"
)

// prepareNamespace also labels a namespace whose name was generated.
func prepareNamespace(n *corev1.Namespace) {
	defaultNamespace(n)
	if !slices.Contains(n.Spec.Finalizers, corev1.FinalizerKubernetes) {
		n.Spec.Finalizers = append(n.Spec.Finalizers, corev1.FinalizerKubernetes)
	}
}

// prepareNamespaceUpdate leaves the finalizers to the /finalize endpoint.
func prepareNamespaceUpdate(n, old *corev1.Namespace) { n.Spec.Finalizers = old.Spec.Finalizers }

// preparePod completes what follows from the rest of the pod; admission may have changed it since it
// was defaulted.
func preparePod(p *corev1.Pod) {
	pod.SyncServiceAccount(&p.Spec)
	p.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: pod.ComputeQOSClass(&p.Spec)}
	if len(p.Spec.SchedulingGates) > 0 {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated,
			Message: "Scheduling is blocked due to non-empty scheduling gates",
		})
	}
	pod.ResolveLabelKeys(p)
}

func preparePodUpdate(p, old *corev1.Pod) { pod.SyncServiceAccount(&p.Spec) }

// prepareClaim makes the old and the new field for a claim's origin say the same, where the old one
// can.
func prepareClaim(c *corev1.PersistentVolumeClaim) {
	s := &c.Spec
	switch ref := s.DataSourceRef; {
	case ref == nil && s.DataSource != nil:
		s.DataSourceRef = &corev1.TypedObjectReference{APIGroup: s.DataSource.APIGroup, Kind: s.DataSource.Kind, Name: s.DataSource.Name}
	case ref != nil && s.DataSource == nil && (ref.Namespace == nil || *ref.Namespace == ""):
		s.DataSource = &corev1.TypedLocalObjectReference{APIGroup: ref.APIGroup, Kind: ref.Kind, Name: ref.Name}
	}
}
