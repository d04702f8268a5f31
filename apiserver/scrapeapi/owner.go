package scrapeapi

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/registry/rest"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
)

// owner finds an object in its store, and how it chooses its pods.
func owner(ctx context.Context, store rest.Getter, resource, name string) (corev1.ObjectReference, labels.Selector, error) {
	var about corev1.ObjectReference
	if store == nil {
		return about, nil, apierrors.NewNotFound(custom.Resource("metrics"), resource+"/"+name)
	}
	o, err := store.Get(ctx, name, &metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return about, nil, err
	}
	about.Name = name
	choose := func(kind, version, namespace string, s *metav1.LabelSelector) (corev1.ObjectReference, labels.Selector, error) {
		about.Kind, about.APIVersion, about.Namespace = kind, version, namespace
		selector, err := metav1.LabelSelectorAsSelector(s)
		return about, selector, err
	}
	const apps = "apps/v1"
	switch o := o.(type) {
	case *corev1.Service:
		if len(o.Spec.Selector) == 0 {
			return about, nil, apierrors.NewBadRequest(fmt.Sprintf("service %s has no selector, so that it has no metrics", name))
		}
		return choose("Service", "v1", o.Namespace, &metav1.LabelSelector{MatchLabels: o.Spec.Selector})
	case *corev1.ReplicationController:
		return choose("ReplicationController", "v1", o.Namespace, &metav1.LabelSelector{MatchLabels: o.Spec.Selector})
	case *appsv1.Deployment:
		return choose("Deployment", apps, o.Namespace, o.Spec.Selector)
	case *appsv1.ReplicaSet:
		return choose("ReplicaSet", apps, o.Namespace, o.Spec.Selector)
	case *appsv1.StatefulSet:
		return choose("StatefulSet", apps, o.Namespace, o.Spec.Selector)
	case *appsv1.DaemonSet:
		return choose("DaemonSet", apps, o.Namespace, o.Spec.Selector)
	}
	return about, nil, fmt.Errorf("finding the pods of %T: it chooses none", o)
}
