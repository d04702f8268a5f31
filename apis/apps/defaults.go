package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

const revisionHistory int32 = 10

func defaultDeployment(d *appsv1.Deployment) {
	resource.SetPointer(&d.Spec.Replicas, 1)
	strategy := &d.Spec.Strategy
	resource.SetDefault(&strategy.Type, appsv1.RollingUpdateDeploymentStrategyType)
	if strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		resource.SetPointer(&strategy.RollingUpdate, appsv1.RollingUpdateDeployment{})
		resource.SetPointer(&strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		resource.SetPointer(&strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
	}
	resource.SetPointer(&d.Spec.RevisionHistoryLimit, revisionHistory)
	resource.SetPointer(&d.Spec.ProgressDeadlineSeconds, 600)
	pod.DefaultTemplate(&d.Spec.Template)
}

func defaultReplicaSet(r *appsv1.ReplicaSet) {
	resource.SetPointer(&r.Spec.Replicas, 1)
	pod.DefaultTemplate(&r.Spec.Template)
}

func defaultDaemonSet(d *appsv1.DaemonSet) {
	strategy := &d.Spec.UpdateStrategy
	resource.SetDefault(&strategy.Type, appsv1.RollingUpdateDaemonSetStrategyType)
	if strategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		resource.SetPointer(&strategy.RollingUpdate, appsv1.RollingUpdateDaemonSet{})
		resource.SetPointer(&strategy.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
		resource.SetPointer(&strategy.RollingUpdate.MaxSurge, intstr.FromInt32(0))
	}
	resource.SetPointer(&d.Spec.RevisionHistoryLimit, revisionHistory)
	pod.DefaultTemplate(&d.Spec.Template)
}

func defaultStatefulSet(s *appsv1.StatefulSet) {
	resource.SetDefault(&s.Spec.PodManagementPolicy, appsv1.OrderedReadyPodManagement)
	strategy := &s.Spec.UpdateStrategy
	if strategy.Type == "" {
		strategy.Type = appsv1.RollingUpdateStatefulSetStrategyType
		resource.SetPointer(&strategy.RollingUpdate, appsv1.RollingUpdateStatefulSetStrategy{})
	}
	if strategy.Type == appsv1.RollingUpdateStatefulSetStrategyType && strategy.RollingUpdate != nil {
		resource.SetPointer(&strategy.RollingUpdate.Partition, 0)
		resource.SetPointer(&strategy.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
	}
	resource.SetPointer(&s.Spec.PersistentVolumeClaimRetentionPolicy, appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{})
	retention := s.Spec.PersistentVolumeClaimRetentionPolicy
	resource.SetDefault(&retention.WhenDeleted, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	resource.SetDefault(&retention.WhenScaled, appsv1.RetainPersistentVolumeClaimRetentionPolicyType)
	resource.SetPointer(&s.Spec.Replicas, 1)
	resource.SetPointer(&s.Spec.RevisionHistoryLimit, revisionHistory)
	for i := range s.Spec.VolumeClaimTemplates {
		claim := &s.Spec.VolumeClaimTemplates[i]
		resource.SetDefault(&claim.Kind, "PersistentVolumeClaim")
		resource.SetDefault(&claim.APIVersion, "v1")
		resource.SetDefault(&claim.Status.Phase, corev1.ClaimPending)
		pod.DefaultClaimSpec(&claim.Spec)
	}
	pod.DefaultTemplate(&s.Spec.Template)
}
