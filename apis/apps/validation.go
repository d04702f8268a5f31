package apps

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

var (
	specPath   = field.NewPath("spec")
	statusPath = field.NewPath("status")
)

func validateDeployment(d *appsv1.Deployment) field.ErrorList {
	s := &d.Spec
	errs := resource.NotNegativePointer(specPath.Child("replicas"), s.Replicas)
	selector, faults := pod.CheckOwnSelector(specPath.Child("selector"), s.Selector, "deployment")
	errs = append(errs, faults...)
	errs = append(errs, pod.ValidateOwned(&s.Template, selector, "ReplicaSet", specPath.Child("template"))...)
	errs = append(errs, checkDeploymentStrategy(specPath.Child("strategy"), &s.Strategy)...)
	errs = append(errs, resource.NotNegative(specPath.Child("minReadySeconds"), s.MinReadySeconds)...)
	errs = append(errs, resource.NotNegativePointer(specPath.Child("revisionHistoryLimit"), s.RevisionHistoryLimit)...)
	if p := s.ProgressDeadlineSeconds; p != nil {
		at := specPath.Child("progressDeadlineSeconds")
		errs = append(errs, resource.NotNegative(at, *p)...)
		if *p <= s.MinReadySeconds {
			errs = append(errs, field.Invalid(at, *p, "must be greater than minReadySeconds"))
		}
	}
	return errs
}

func checkDeploymentStrategy(path *field.Path, s *appsv1.DeploymentStrategy) field.ErrorList {
	rolling := path.Child("rollingUpdate")
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Forbidden(rolling, fmt.Sprintf("may not be specified when strategy `type` is '%s'", s.Type))}
		}
		return nil
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			return field.ErrorList{field.Required(rolling, "this should be defaulted and never be nil")}
		}
		unavailable, surge := s.RollingUpdate.MaxUnavailable, s.RollingUpdate.MaxSurge
		errs := pod.CheckCountOrShare(rolling.Child("maxUnavailable"), unavailable)
		errs = append(errs, pod.CheckCountOrShare(rolling.Child("maxSurge"), surge)...)
		if isZero(unavailable) && isZero(surge) {
			errs = append(errs, field.Invalid(rolling.Child("maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0"))
		}
		return append(errs, pod.CheckShare(rolling.Child("maxUnavailable"), unavailable)...)
	}
	return resource.Supported(path, s.Type, appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType)
}

func isZero(v *intstr.IntOrString) bool {
	if v == nil {
		return true
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, 100, true)
	return err == nil && n == 0
}

func validateDeploymentUpdate(d, old *appsv1.Deployment) field.ErrorList {
	return append(validateDeployment(d), resource.Unchanged(specPath.Child("selector"), d.Spec.Selector, old.Spec.Selector)...)
}

func validateDeploymentStatus(d, old *appsv1.Deployment) field.ErrorList {
	s := &d.Status
	errs := checkCollisions(s.CollisionCount, old.Status.CollisionCount)
	errs = append(errs, resource.NotNegative(statusPath.Child("updatedReplicas"), s.UpdatedReplicas)...)
	if s.UpdatedReplicas > s.Replicas {
		errs = append(errs, field.Invalid(statusPath.Child("updatedReplicas"), s.UpdatedReplicas, "cannot be greater than status.replicas"))
	}
	errs = append(errs, resource.NotNegative(statusPath.Child("unavailableReplicas"), s.UnavailableReplicas)...)
	return append(errs, pod.CheckReplicaCounts(statusPath, s.Replicas, 0, s.ReadyReplicas, s.AvailableReplicas, s.ObservedGeneration)...)
}

// checkCollisions: a count by which names are made must not go back.
func checkCollisions(now, was *int32) field.ErrorList {
	at := statusPath.Child("collisionCount")
	errs := resource.NotNegativePointer(at, now)
	if was != nil && resource.Deref(now) < *was {
		errs = append(errs, field.Invalid(at, resource.Deref(now), "cannot be decremented"))
	}
	return errs
}

func validateReplicaSet(r *appsv1.ReplicaSet) field.ErrorList {
	errs := resource.NotNegativePointer(specPath.Child("replicas"), r.Spec.Replicas)
	errs = append(errs, resource.NotNegative(specPath.Child("minReadySeconds"), r.Spec.MinReadySeconds)...)
	// Kubernetes speaks of a deployment here too.
	selector, faults := pod.CheckOwnSelector(specPath.Child("selector"), r.Spec.Selector, "deployment")
	errs = append(errs, faults...)
	return append(errs, pod.ValidateOwned(&r.Spec.Template, selector, "ReplicaSet", specPath.Child("template"))...)
}

func validateReplicaSetUpdate(r, old *appsv1.ReplicaSet) field.ErrorList {
	return append(validateReplicaSet(r), resource.Unchanged(specPath.Child("selector"), r.Spec.Selector, old.Spec.Selector)...)
}

func validateReplicaSetStatus(r, _ *appsv1.ReplicaSet) field.ErrorList {
	s := &r.Status
	return pod.CheckReplicaCounts(statusPath, s.Replicas, s.FullyLabeledReplicas, s.ReadyReplicas, s.AvailableReplicas, s.ObservedGeneration)
}

func validateDaemonSet(d *appsv1.DaemonSet) field.ErrorList {
	selector, errs := pod.CheckOwnSelector(specPath.Child("selector"), d.Spec.Selector, "daemonset")
	errs = append(errs, pod.ValidateOwned(&d.Spec.Template, selector, "DaemonSet", specPath.Child("template"))...)
	errs = append(errs, resource.NotNegative(specPath.Child("minReadySeconds"), d.Spec.MinReadySeconds)...)
	errs = append(errs, resource.NotNegativePointer(specPath.Child("revisionHistoryLimit"), d.Spec.RevisionHistoryLimit)...)
	return append(errs, checkDaemonSetStrategy(specPath.Child("updateStrategy"), &d.Spec.UpdateStrategy)...)
}

// checkDaemonSetStrategy: a node has one daemon to spare or room for one more, not both.
func checkDaemonSetStrategy(path *field.Path, s *appsv1.DaemonSetUpdateStrategy) field.ErrorList {
	if s.Type != appsv1.RollingUpdateDaemonSetStrategyType {
		return resource.Supported(path, s.Type, appsv1.RollingUpdateDaemonSetStrategyType, appsv1.OnDeleteDaemonSetStrategyType)
	}
	path = path.Child("rollingUpdate")
	if s.RollingUpdate == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	unavailable, surge := s.RollingUpdate.MaxUnavailable, s.RollingUpdate.MaxSurge
	errs := pod.CheckCountOrShare(path.Child("maxUnavailable"), unavailable)
	errs = append(errs, pod.CheckShare(path.Child("maxUnavailable"), unavailable)...)
	errs = append(errs, pod.CheckCountOrShare(path.Child("maxSurge"), surge)...)
	errs = append(errs, pod.CheckShare(path.Child("maxSurge"), surge)...)
	switch {
	case !isZero(unavailable) && !isZero(surge):
		errs = append(errs, field.Invalid(path.Child("maxSurge"), surge, "may not be set when maxUnavailable is non-zero"))
	case isZero(unavailable) && isZero(surge):
		errs = append(errs, field.Required(path.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
	}
	return errs
}

func validateDaemonSetUpdate(d, old *appsv1.DaemonSet) field.ErrorList {
	return append(validateDaemonSet(d), resource.Unchanged(specPath.Child("selector"), d.Spec.Selector, old.Spec.Selector)...)
}

func validateDaemonSetStatus(d, old *appsv1.DaemonSet) field.ErrorList {
	s := &d.Status
	errs := resource.NotNegative(statusPath.Child("observedGeneration"), s.ObservedGeneration)
	errs = append(errs, checkCollisions(s.CollisionCount, old.Status.CollisionCount)...)
	for _, n := range []struct {
		name  string
		count int32
	}{
		{"currentNumberScheduled", s.CurrentNumberScheduled}, {"numberMisscheduled", s.NumberMisscheduled},
		{"desiredNumberScheduled", s.DesiredNumberScheduled}, {"numberReady", s.NumberReady},
		{"updatedNumberScheduled", s.UpdatedNumberScheduled}, {"numberAvailable", s.NumberAvailable}, {"numberUnavailable", s.NumberUnavailable},
	} {
		errs = append(errs, resource.NotNegative(statusPath.Child(n.name), n.count)...)
	}
	return errs
}

func validateControllerRevision(r *appsv1.ControllerRevision) field.ErrorList {
	errs := resource.NotNegative(field.NewPath("revision"), r.Revision)
	if r.Data.Raw == nil && r.Data.Object == nil {
		errs = append(errs, field.Required(field.NewPath("data"), "data is mandatory"))
	}
	return errs
}

func validateControllerRevisionUpdate(r, old *appsv1.ControllerRevision) field.ErrorList {
	errs := validateControllerRevision(r)
	if !equality.Semantic.DeepEqual(r.Data, old.Data) {
		errs = append(errs, field.Invalid(field.NewPath("data"), "", resource.Immutable))
	}
	return errs
}
