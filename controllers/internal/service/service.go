// Package service finds the services that select a pod, and the pods that a
// service selects.
package service

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// PodHandler enqueues the services that a change of a pod concerns: those that
// select it, or did before, if what an endpoint shows of it changed.
type PodHandler struct {
	Reader client.Reader
}

// Create implements handler.EventHandler.
func (h PodHandler) Create(ctx context.Context, e event.CreateEvent, q queue) {
	h.enqueue(ctx, e.Object.GetNamespace(), q, e.Object.GetLabels())
}

// Update implements handler.EventHandler.
func (h PodHandler) Update(ctx context.Context, e event.UpdateEvent, q queue) {
	was, is := e.ObjectOld.(*corev1.Pod), e.ObjectNew.(*corev1.Pod)
	switch {
	case !maps.Equal(was.Labels, is.Labels):
		h.enqueue(ctx, is.Namespace, q, was.Labels, is.Labels)
	case changed(was, is):
		h.enqueue(ctx, is.Namespace, q, is.Labels)
	}
}

// Delete implements handler.EventHandler.
func (h PodHandler) Delete(ctx context.Context, e event.DeleteEvent, q queue) {
	h.enqueue(ctx, e.Object.GetNamespace(), q, e.Object.GetLabels())
}

// Generic implements handler.EventHandler; there are no such events.
func (h PodHandler) Generic(context.Context, event.GenericEvent, queue) {}

// changed tells whether an endpoint of the pod would look different.
func changed(was, is *corev1.Pod) bool {
	return podstatus.Ready(was) != podstatus.Ready(is) ||
		podstatus.Finished(was) != podstatus.Finished(is) ||
		(was.DeletionTimestamp == nil) != (is.DeletionTimestamp == nil) ||
		was.Spec.Hostname != is.Spec.Hostname || was.Spec.Subdomain != is.Spec.Subdomain ||
		was.Spec.NodeName != is.Spec.NodeName ||
		was.Status.PodIP != is.Status.PodIP || !slices.Equal(was.Status.PodIPs, is.Status.PodIPs)
}

// enqueue adds the services that select any of the given sets of labels.
func (h PodHandler) enqueue(ctx context.Context, namespace string, q queue, sets ...map[string]string) {
	var list corev1.ServiceList
	if err := h.Reader.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing the services of a namespace", "namespace", namespace)
		return
	}
	for i := range list.Items {
		if svc := &list.Items[i]; selectsAny(svc, sets) {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(svc)})
		}
	}
}

func selectsAny(svc *corev1.Service, sets []map[string]string) bool {
	if svc.Spec.Selector == nil {
		return false
	}
	selector := labels.SelectorFromValidatedSet(svc.Spec.Selector)
	return slices.ContainsFunc(sets, func(s map[string]string) bool { return selector.Matches(labels.Set(s)) })
}

// Pods lists the pods that a service selects, without copying them.
func Pods(ctx context.Context, r client.Reader, svc *corev1.Service) ([]*corev1.Pod, error) {
	var list corev1.PodList
	err := r.List(ctx, &list, client.InNamespace(svc.Namespace),
		client.MatchingLabelsSelector{Selector: labels.SelectorFromValidatedSet(svc.Spec.Selector)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing the pods of service %s: %w", svc.Name, err)
	}
	pods := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		pods[i] = &list.Items[i]
	}
	return pods, nil
}
