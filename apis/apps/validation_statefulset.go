package apps

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

func validateStatefulSet(s *appsv1.StatefulSet) field.ErrorList {
	spec := &s.Spec
	errs := checkManagement(specPath.Child("podManagementPolicy"), spec.PodManagementPolicy)
	errs = append(errs, checkStatefulStrategy(specPath.Child("updateStrategy"), &spec.UpdateStrategy)...)
	errs = append(errs, resource.NotNegativePointer(specPath.Child("replicas"), spec.Replicas)...)
	errs = append(errs, resource.NotNegative(specPath.Child("minReadySeconds"), spec.MinReadySeconds)...)
	errs = append(errs, resource.NotNegativePointer(specPath.Child("revisionHistoryLimit"), spec.RevisionHistoryLimit)...)
	if spec.Ordinals != nil {
		errs = append(errs, resource.NotNegative(specPath.Child("ordinals.start"), spec.Ordinals.Start)...)
	}
	if p := spec.PersistentVolumeClaimRetentionPolicy; p != nil {
		at := specPath.Child("persistentVolumeClaimRetentionPolicy")
		keep, drop := appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType
		errs = append(errs, resource.Supported(at.Child("whenDeleted"), p.WhenDeleted, keep, drop)...)
		errs = append(errs, resource.Supported(at.Child("whenScaled"), p.WhenScaled, keep, drop)...)
	}
	selector, faults := pod.CheckOwnSelector(specPath.Child("selector"), spec.Selector, "statefulset")
	errs = append(errs, faults...)
	return append(errs, pod.ValidateOwned(templateWithClaims(spec), selector, "StatefulSet", specPath.Child("template"))...)
}

// templateWithClaims is the template as its pods will be: with a volume for each claim.
func templateWithClaims(spec *appsv1.StatefulSetSpec) *corev1.PodTemplateSpec {
	t := spec.Template.DeepCopy()
	for i := range spec.VolumeClaimTemplates {
		name := spec.VolumeClaimTemplates[i].Name
		volume := corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
		}}
		found := false
		for j := range t.Spec.Volumes {
			if t.Spec.Volumes[j].Name == name {
				t.Spec.Volumes[j], found = volume, true // the claim takes the volume's place
			}
		}
		if !found {
			t.Spec.Volumes = append(t.Spec.Volumes, volume)
		}
	}
	return t
}

func checkManagement(path *field.Path, p appsv1.PodManagementPolicyType) field.ErrorList {
	switch p {
	case "":
		return field.ErrorList{field.Required(path, "")}
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
		return nil
	}
	return field.ErrorList{field.Invalid(path, p, fmt.Sprintf("must be '%s' or '%s'", appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement))}
}

func checkStatefulStrategy(path *field.Path, s *appsv1.StatefulSetUpdateStrategy) field.ErrorList {
	rolling := path.Child("rollingUpdate")
	switch s.Type {
	case "":
		return field.ErrorList{field.Required(path, "")}
	case appsv1.OnDeleteStatefulSetStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Invalid(rolling, s.RollingUpdate, fmt.Sprintf("only allowed for updateStrategy '%s'", appsv1.RollingUpdateStatefulSetStrategyType))}
		}
		return nil
	case appsv1.RollingUpdateStatefulSetStrategyType:
		if s.RollingUpdate == nil {
			return nil
		}
		errs := resource.NotNegativePointer(rolling.Child("partition"), s.RollingUpdate.Partition)
		if m := s.RollingUpdate.MaxUnavailable; m != nil {
			at := rolling.Child("maxUnavailable")
			errs = append(errs, pod.CheckCountOrShare(at, m)...)
			if isZero(m) {
				errs = append(errs, field.Invalid(at, *m, "cannot be 0"))
			}
			errs = append(errs, pod.CheckShare(at, m)...)
		}
		return errs
	}
	return field.ErrorList{field.Invalid(path, s.Type, fmt.Sprintf("must be '%s' or '%s'", appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType))}
}

// validateStatefulSetCreate: the name becomes part of each pod's host name.
func validateStatefulSetCreate(s *appsv1.StatefulSet) field.ErrorList {
	errs := resource.Messages(field.NewPath("metadata", "name"), s.Name, utilvalidation.IsDNS1123Label(s.Name))
	return append(errs, validateStatefulSet(s)...)
}

func validateStatefulSetUpdate(s, old *appsv1.StatefulSet) field.ErrorList {
	errs := validateStatefulSet(s)
	rest := s.Spec.DeepCopy()
	rest.Replicas, rest.Template, rest.UpdateStrategy = old.Spec.Replicas, old.Spec.Template, old.Spec.UpdateStrategy
	rest.MinReadySeconds, rest.Ordinals = old.Spec.MinReadySeconds, old.Spec.Ordinals
	rest.RevisionHistoryLimit = old.Spec.RevisionHistoryLimit
	rest.PersistentVolumeClaimRetentionPolicy = old.Spec.PersistentVolumeClaimRetentionPolicy
	if !equality.Semantic.DeepEqual(rest, &old.Spec) {
		errs = append(errs, field.Forbidden(specPath, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"))
	}
	return errs
}

func validateStatefulSetStatus(s, _ *appsv1.StatefulSet) field.ErrorList {
	st := &s.Status
	errs := pod.CheckReplicaCounts(statusPath, st.Replicas, 0, st.ReadyReplicas, st.AvailableReplicas, st.ObservedGeneration)
	for _, n := range []struct {
		name  string
		count int32
	}{{"currentReplicas", st.CurrentReplicas}, {"updatedReplicas", st.UpdatedReplicas}} {
		errs = append(errs, resource.NotNegative(statusPath.Child(n.name), n.count)...)
		if n.count > st.Replicas {
			errs = append(errs, field.Invalid(statusPath.Child(n.name), n.count, "cannot be greater than status.replicas"))
		}
	}
	return errs
}
