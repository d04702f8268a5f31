package removed

import (
	appsv1 "k8s.io/api/apps/v1"
	appsv1beta1 "k8s.io/api/apps/v1beta1"
	appsv1beta2 "k8s.io/api/apps/v1beta2"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	batchv1beta1 "k8s.io/api/batch/v1beta1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"coracle.dev/coracle/apis/removed/v2beta2"
)

var (
	daemonSets          = appsv1.Resource("daemonsets")
	deployments         = appsv1.Resource("deployments")
	replicaSets         = appsv1.Resource("replicasets")
	statefulSets        = appsv1.Resource("statefulsets")
	controllerRevisions = appsv1.Resource("controllerrevisions")
	ingresses           = networkingv1.Resource("ingresses")
)

// Kinds lists every kind of every removed version, newer versions first.
func Kinds() []Kind {
	var (
		extensions = extensionsv1beta1.SchemeGroupVersion
		apps1      = appsv1beta1.SchemeGroupVersion
		apps2      = appsv1beta2.SchemeGroupVersion
	)
	return []Kind{
		kind[appsv1beta2.ControllerRevision, appsv1beta2.ControllerRevisionList, appsv1.ControllerRevision, appsv1.ControllerRevisionList](apps2, controllerRevisions, rules[appsv1beta2.ControllerRevision, appsv1.ControllerRevision]{}),
		kind[appsv1beta2.DaemonSet, appsv1beta2.DaemonSetList, appsv1.DaemonSet, appsv1.DaemonSetList](apps2, daemonSets, rules[appsv1beta2.DaemonSet, appsv1.DaemonSet]{}),
		kind[appsv1beta2.Deployment, appsv1beta2.DeploymentList, appsv1.Deployment, appsv1.DeploymentList](apps2, deployments, rules[appsv1beta2.Deployment, appsv1.Deployment]{}),
		kind[appsv1beta2.ReplicaSet, appsv1beta2.ReplicaSetList, appsv1.ReplicaSet, appsv1.ReplicaSetList](apps2, replicaSets, rules[appsv1beta2.ReplicaSet, appsv1.ReplicaSet]{}),
		kind[appsv1beta2.StatefulSet, appsv1beta2.StatefulSetList, appsv1.StatefulSet, appsv1.StatefulSetList](apps2, statefulSets, rules[appsv1beta2.StatefulSet, appsv1.StatefulSet]{}),
		kind[appsv1beta1.ControllerRevision, appsv1beta1.ControllerRevisionList, appsv1.ControllerRevision, appsv1.ControllerRevisionList](apps1, controllerRevisions, rules[appsv1beta1.ControllerRevision, appsv1.ControllerRevision]{}),
		kind[appsv1beta1.Deployment, appsv1beta1.DeploymentList, appsv1.Deployment, appsv1.DeploymentList](apps1, deployments, appsDeployment),
		kind[appsv1beta1.StatefulSet, appsv1beta1.StatefulSetList, appsv1.StatefulSet, appsv1.StatefulSetList](apps1, statefulSets, appsStatefulSet),
		kind[extensionsv1beta1.DaemonSet, extensionsv1beta1.DaemonSetList, appsv1.DaemonSet, appsv1.DaemonSetList](extensions, daemonSets, extensionsDaemonSet),
		kind[extensionsv1beta1.Deployment, extensionsv1beta1.DeploymentList, appsv1.Deployment, appsv1.DeploymentList](extensions, deployments, extensionsDeployment),
		kind[extensionsv1beta1.Ingress, extensionsv1beta1.IngressList, networkingv1.Ingress, networkingv1.IngressList](extensions, ingresses, extensionsIngress),
		kind[extensionsv1beta1.NetworkPolicy, extensionsv1beta1.NetworkPolicyList, networkingv1.NetworkPolicy, networkingv1.NetworkPolicyList](extensions, networkingv1.Resource("networkpolicies"), rules[extensionsv1beta1.NetworkPolicy, networkingv1.NetworkPolicy]{}),
		kind[extensionsv1beta1.ReplicaSet, extensionsv1beta1.ReplicaSetList, appsv1.ReplicaSet, appsv1.ReplicaSetList](extensions, replicaSets, extensionsReplicaSet),
		kind[networkingv1beta1.Ingress, networkingv1beta1.IngressList, networkingv1.Ingress, networkingv1.IngressList](networkingv1beta1.SchemeGroupVersion, ingresses, networkingIngress),
		kind[networkingv1beta1.IngressClass, networkingv1beta1.IngressClassList, networkingv1.IngressClass, networkingv1.IngressClassList](networkingv1beta1.SchemeGroupVersion, networkingv1.Resource("ingressclasses"), rules[networkingv1beta1.IngressClass, networkingv1.IngressClass]{}),
		kind[batchv1beta1.CronJob, batchv1beta1.CronJobList, batchv1.CronJob, batchv1.CronJobList](batchv1beta1.SchemeGroupVersion, batchv1.Resource("cronjobs"), rules[batchv1beta1.CronJob, batchv1.CronJob]{}),
		kind[v2beta2.HorizontalPodAutoscaler, v2beta2.HorizontalPodAutoscalerList, autoscalingv2.HorizontalPodAutoscaler, autoscalingv2.HorizontalPodAutoscalerList](v2beta2.SchemeGroupVersion, autoscalingv2.Resource("horizontalpodautoscalers"), rules[v2beta2.HorizontalPodAutoscaler, autoscalingv2.HorizontalPodAutoscaler]{}),
		kind[policyv1beta1.PodDisruptionBudget, policyv1beta1.PodDisruptionBudgetList, policyv1.PodDisruptionBudget, policyv1.PodDisruptionBudgetList](policyv1beta1.SchemeGroupVersion, policyv1.Resource("poddisruptionbudgets"), disruptionBudget),
	}
}

// Serves reports whether the version is one of the removed ones.
func Serves(gv schema.GroupVersion) bool {
	for _, k := range Kinds() {
		if k.Version == gv {
			return true
		}
	}
	return false
}
