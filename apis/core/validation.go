package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

func validateReplicationController(rc *corev1.ReplicationController) field.ErrorList {
	path, spec := field.NewPath("spec"), &rc.Spec
	errs := resource.NotNegative(path.Child("minReadySeconds"), spec.MinReadySeconds)
	errs = append(errs, metavalidation.ValidateLabels(spec.Selector, path.Child("selector"))...)
	if len(spec.Selector) == 0 {
		errs = append(errs, field.Required(path.Child("selector"), ""))
	}
	if spec.Replicas == nil {
		errs = append(errs, field.Required(path.Child("replicas"), ""))
	}
	errs = append(errs, resource.NotNegativePointer(path.Child("replicas"), spec.Replicas)...)
	if spec.Template == nil {
		return append(errs, field.Required(path.Child("template"), ""))
	}
	selector := labels.Set(spec.Selector).AsSelectorPreValidated()
	return append(errs, pod.ValidateOwned(spec.Template, selector, "ReplicationController", path.Child("template"))...)
}

func validateReplicationControllerUpdate(rc, _ *corev1.ReplicationController) field.ErrorList {
	return validateReplicationController(rc)
}

func validateReplicationControllerStatus(rc, _ *corev1.ReplicationController) field.ErrorList {
	s, path := rc.Status, field.NewPath("status")
	return pod.CheckReplicaCounts(path, s.Replicas, s.FullyLabeledReplicas, s.ReadyReplicas, s.AvailableReplicas, s.ObservedGeneration)
}

func validatePodTemplate(t *corev1.PodTemplate) field.ErrorList {
	return pod.ValidateTemplate(&t.Template, field.NewPath("template"))
}

func validatePodTemplateUpdate(t, _ *corev1.PodTemplate) field.ErrorList {
	return validatePodTemplate(t)
}

func validateNamespace(n *corev1.Namespace) field.ErrorList {
	var errs field.ErrorList
	for _, f := range n.Spec.Finalizers {
		errs = append(errs, resource.Messages(field.NewPath("spec", "finalizers"), string(f), utilvalidation.IsQualifiedName(string(f)))...)
	}
	return errs
}

func validateNamespaceUpdate(n, _ *corev1.Namespace) field.ErrorList { return validateNamespace(n) }

func validateNamespaceStatus(n, _ *corev1.Namespace) field.ErrorList {
	path := field.NewPath("status", "Phase")
	switch {
	case n.DeletionTimestamp.IsZero() && n.Status.Phase != corev1.NamespaceActive:
		return field.ErrorList{field.Invalid(path, n.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")}
	case !n.DeletionTimestamp.IsZero() && n.Status.Phase != corev1.NamespaceTerminating:
		return field.ErrorList{field.Invalid(path, n.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")}
	}
	return nil
}

// validateEvent: an event lives in the namespace of what it is about, or in the default one where
// that has none. More is asked of events by events.k8s.io.
func validateEvent(e *corev1.Event) field.ErrorList {
	about := e.InvolvedObject.Namespace
	shared := e.Namespace == "" || e.Namespace == metav1.NamespaceDefault || e.Namespace == metav1.NamespaceSystem
	if about == "" && shared || about != "" && about == e.Namespace {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("involvedObject", "namespace"), about, "does not match event.namespace")}
}

func validateEventUpdate(e, _ *corev1.Event) field.ErrorList { return validateEvent(e) }
