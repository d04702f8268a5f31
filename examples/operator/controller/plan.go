package controller

import (
	"crypto/sha256"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1apply "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"

	"coracle.dev/coracle/examples/operator/api/v1alpha1"
)

// port is where the pods serve.
const port = 8080

// objects are what a Website owns.
type objects struct {
	page       *corev1apply.ConfigMapApplyConfiguration
	deployment *appsv1apply.DeploymentApplyConfiguration
	service    *corev1apply.ServiceApplyConfiguration
}

// plan says what is to be there for a Website.
func plan(w *v1alpha1.Website) objects {
	labels := map[string]string{"app.kubernetes.io/name": "website", "app.kubernetes.io/instance": w.Name}
	owner := metav1apply.OwnerReference().WithAPIVersion(v1alpha1.GroupVersion.String()).WithKind("Website").
		WithName(w.Name).WithUID(w.UID).WithController(true).WithBlockOwnerDeletion(true)
	container := corev1apply.Container().WithName("web").WithImage(w.Spec.Image).
		WithCommand("busybox", "httpd", "-f", "-p", fmt.Sprint(port), "-h", "/www").
		WithPorts(corev1apply.ContainerPort().WithContainerPort(port)).
		WithVolumeMounts(corev1apply.VolumeMount().WithName("page").WithMountPath("/www"))
	return objects{
		page: corev1apply.ConfigMap(w.Name, w.Namespace).WithLabels(labels).WithOwnerReferences(owner).
			WithData(map[string]string{"index.html": w.Spec.Page}),
		deployment: appsv1apply.Deployment(w.Name, w.Namespace).WithLabels(labels).WithOwnerReferences(owner).
			WithSpec(appsv1apply.DeploymentSpec().WithReplicas(replicas(w)).
				WithSelector(metav1apply.LabelSelector().WithMatchLabels(labels)).
				WithTemplate(corev1apply.PodTemplateSpec().WithLabels(labels).
					// Pods do not start anew when a ConfigMap changes; a changed template makes them.
					WithAnnotations(map[string]string{"examples.coracle.dev/page": digest(w.Spec.Page)}).
					WithSpec(corev1apply.PodSpec().WithContainers(container).
						WithVolumes(corev1apply.Volume().WithName("page").
							WithConfigMap(corev1apply.ConfigMapVolumeSource().WithName(w.Name)))))),
		service: corev1apply.Service(w.Name, w.Namespace).WithLabels(labels).WithOwnerReferences(owner).
			WithSpec(corev1apply.ServiceSpec().WithSelector(labels).
				WithPorts(corev1apply.ServicePort().WithPort(80).WithTargetPort(intstr.FromInt32(port)).WithProtocol(corev1.ProtocolTCP))),
	}
}

func replicas(w *v1alpha1.Website) int32 {
	if w.Spec.Replicas == nil {
		return 1
	}
	return *w.Spec.Replicas
}

func digest(page string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(page)))[:16] }

// ready is the condition of a Website whose Deployment is as given.
func ready(w *v1alpha1.Website, d *appsv1.Deployment) metav1.Condition {
	c := metav1.Condition{Type: "Ready", Status: metav1.ConditionFalse, ObservedGeneration: w.Generation, Reason: "RollingOut"}
	want := replicas(w)
	current := d.Spec.Template.Annotations["examples.coracle.dev/page"] == digest(w.Spec.Page) && d.Status.ObservedGeneration == d.Generation
	c.Message = fmt.Sprintf("%d of %d pods serve the present page", min(d.Status.UpdatedReplicas, d.Status.AvailableReplicas), want)
	if current && d.Status.UpdatedReplicas == want && d.Status.AvailableReplicas == want && d.Status.Replicas == want {
		c.Status, c.Reason = metav1.ConditionTrue, "Serving"
	} else if !current {
		c.Message = "the Deployment is being changed"
	}
	return c
}
