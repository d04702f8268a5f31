// Package podcontrol creates pods from a template and deletes them on behalf of
// a controller, and tells of it in events worded as Kubernetes words them.
package podcontrol

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Event reasons.
const (
	SuccessfulCreate = "SuccessfulCreate"
	FailedCreate     = "FailedCreate"
	SuccessfulDelete = "SuccessfulDelete"
	FailedDelete     = "FailedDelete"
)

// Control writes pods.
type Control struct {
	Client   client.Client
	Recorder record.EventRecorder
}

// FromTemplate makes the pod that a controller's template describes, named
// after the controller and controlled by it.
func FromTemplate(t *corev1.PodTemplateSpec, controller client.Object, kind schema.GroupVersionKind) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       controller.GetNamespace(),
			GenerateName:    Prefix(controller.GetName()),
			Labels:          maps.Clone(t.Labels),
			Annotations:     maps.Clone(t.Annotations),
			Finalizers:      slices.Clone(t.Finalizers),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(controller, kind)},
		},
		Spec: *t.Spec.DeepCopy(),
	}
}

// Prefix is what the names of a controller's pods start with.
func Prefix(controller string) string {
	prefix := controller + "-"
	if len(validation.NameIsDNSSubdomain(prefix, true)) != 0 {
		return controller
	}
	return prefix
}

// Create creates the pod for its controller. Errors are told in an event,
// except that the namespace is being deleted, which needs no telling.
func (c Control) Create(ctx context.Context, pod *corev1.Pod, controller client.Object) error {
	if len(pod.Labels) == 0 {
		return fmt.Errorf("unable to create pods, no labels")
	}
	if err := c.Client.Create(ctx, pod); err != nil {
		if !NamespaceTerminating(err) {
			c.Recorder.Eventf(controller, corev1.EventTypeWarning, FailedCreate, "Error creating: %v", err)
		}
		return err
	}
	klog.FromContext(ctx).V(2).Info("Created pod", "pod", klog.KObj(pod))
	c.Recorder.Eventf(controller, corev1.EventTypeNormal, SuccessfulCreate, "Created pod: %v", pod.Name)
	return nil
}

// Delete deletes the very pod given, not a later one of its name. A pod that is
// gone already is reported as NotFound, and not told in an event.
func (c Control) Delete(ctx context.Context, pod *corev1.Pod, controller client.Object) error {
	target := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	err := c.Client.Delete(ctx, target, client.Preconditions{UID: &pod.UID})
	if apierrors.IsConflict(err) {
		return apierrors.NewNotFound(corev1.Resource("pods"), pod.Name)
	}
	if apierrors.IsNotFound(err) {
		return err
	}
	if err != nil {
		c.Recorder.Eventf(controller, corev1.EventTypeWarning, FailedDelete, "Error deleting: %v", err)
		return fmt.Errorf("deleting pod %s: %w", pod.Name, err)
	}
	klog.FromContext(ctx).V(2).Info("Deleted pod", "pod", klog.KObj(pod))
	c.Recorder.Eventf(controller, corev1.EventTypeNormal, SuccessfulDelete, "Deleted pod: %v", pod.Name)
	return nil
}

// NamespaceTerminating tells whether a creation was refused because its
// namespace is being deleted.
func NamespaceTerminating(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
