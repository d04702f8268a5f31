package removed

import (
	"math"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	appsv1beta1 "k8s.io/api/apps/v1beta1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"coracle.dev/coracle/apis/resource"
)

// The annotations in which the current versions carry what only the old ones have fields for.
const (
	rollbackAnnotation   = appsv1.DeprecatedRollbackTo
	generationAnnotation = appsv1.DeprecatedTemplateGeneration
)

// never is how the old Deployment said "no limit".
const never = int32(math.MaxInt32)

var extensionsDeployment = rules[extensionsv1beta1.Deployment, appsv1.Deployment]{
	defaults: func(d *extensionsv1beta1.Deployment) {
		fromTemplate(&d.ObjectMeta, &d.Spec.Selector, d.Spec.Template.Labels)
		if s := &d.Spec.Strategy; s.Type == "" || s.Type == extensionsv1beta1.RollingUpdateDeploymentStrategyType {
			s.Type = extensionsv1beta1.RollingUpdateDeploymentStrategyType
			resource.SetPointer(&s.RollingUpdate, extensionsv1beta1.RollingUpdateDeployment{})
			resource.SetPointer(&s.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
			resource.SetPointer(&s.RollingUpdate.MaxSurge, intstr.FromInt32(1))
		}
		resource.SetPointer(&d.Spec.RevisionHistoryLimit, never)
		resource.SetPointer(&d.Spec.ProgressDeadlineSeconds, never)
	},
	to: func(old *extensionsv1beta1.Deployment, now *appsv1.Deployment) {
		if r := old.Spec.RollbackTo; r != nil {
			annotate(&now.ObjectMeta, rollbackAnnotation, r.Revision)
		}
	},
	from: func(_ *appsv1.Deployment, old *extensionsv1beta1.Deployment) {
		if revision, ok := takeAnnotation(&old.ObjectMeta, rollbackAnnotation); ok {
			old.Spec.RollbackTo = &extensionsv1beta1.RollbackConfig{Revision: revision}
		}
	},
}

var appsDeployment = rules[appsv1beta1.Deployment, appsv1.Deployment]{
	defaults: func(d *appsv1beta1.Deployment) {
		fromTemplate(&d.ObjectMeta, &d.Spec.Selector, d.Spec.Template.Labels)
		resource.SetPointer(&d.Spec.RevisionHistoryLimit, 2)
	},
	to: func(old *appsv1beta1.Deployment, now *appsv1.Deployment) {
		if r := old.Spec.RollbackTo; r != nil {
			annotate(&now.ObjectMeta, rollbackAnnotation, r.Revision)
		}
	},
	from: func(_ *appsv1.Deployment, old *appsv1beta1.Deployment) {
		if revision, ok := takeAnnotation(&old.ObjectMeta, rollbackAnnotation); ok {
			old.Spec.RollbackTo = &appsv1beta1.RollbackConfig{Revision: revision}
		}
	},
}

var appsStatefulSet = rules[appsv1beta1.StatefulSet, appsv1.StatefulSet]{
	defaults: func(s *appsv1beta1.StatefulSet) {
		fromTemplate(&s.ObjectMeta, &s.Spec.Selector, s.Spec.Template.Labels)
		resource.SetDefault(&s.Spec.UpdateStrategy.Type, appsv1beta1.OnDeleteStatefulSetStrategyType)
	},
}

var extensionsReplicaSet = rules[extensionsv1beta1.ReplicaSet, appsv1.ReplicaSet]{
	defaults: func(r *extensionsv1beta1.ReplicaSet) {
		fromTemplate(&r.ObjectMeta, &r.Spec.Selector, r.Spec.Template.Labels)
	},
}

var extensionsDaemonSet = rules[extensionsv1beta1.DaemonSet, appsv1.DaemonSet]{
	defaults: func(d *extensionsv1beta1.DaemonSet) {
		fromTemplate(&d.ObjectMeta, &d.Spec.Selector, d.Spec.Template.Labels)
		resource.SetDefault(&d.Spec.UpdateStrategy.Type, extensionsv1beta1.OnDeleteDaemonSetStrategyType)
	},
	to: func(old *extensionsv1beta1.DaemonSet, now *appsv1.DaemonSet) {
		if old.Spec.TemplateGeneration != 0 {
			annotate(&now.ObjectMeta, generationAnnotation, old.Spec.TemplateGeneration)
		}
	},
	from: func(_ *appsv1.DaemonSet, old *extensionsv1beta1.DaemonSet) {
		if n, ok := takeAnnotation(&old.ObjectMeta, generationAnnotation); ok {
			old.Spec.TemplateGeneration = n
		}
	},
}

// fromTemplate gives a workload the labels of its pods, and selects the pods by them.
func fromTemplate(m *metav1.ObjectMeta, selector **metav1.LabelSelector, labels map[string]string) {
	if labels == nil {
		return
	}
	copied := func() map[string]string {
		out := make(map[string]string, len(labels))
		for k, v := range labels {
			out[k] = v
		}
		return out
	}
	if *selector == nil {
		*selector = &metav1.LabelSelector{MatchLabels: copied()}
	}
	if len(m.Labels) == 0 {
		m.Labels = copied()
	}
}

func annotate(m *metav1.ObjectMeta, key string, n int64) {
	if m.Annotations == nil {
		m.Annotations = map[string]string{}
	}
	m.Annotations[key] = strconv.FormatInt(n, 10)
}

// takeAnnotation reads a number out of an annotation and drops it; one that is no number stays.
func takeAnnotation(m *metav1.ObjectMeta, key string) (int64, bool) {
	n, err := strconv.ParseInt(m.Annotations[key], 10, 64)
	if err != nil {
		return 0, false
	}
	delete(m.Annotations, key)
	if len(m.Annotations) == 0 {
		m.Annotations = nil
	}
	return n, true
}
