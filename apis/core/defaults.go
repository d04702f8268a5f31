package core

//lint:file-ignore SA1019 the API serves Endpoints, deprecated or not

import (
	"maps"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

func defaultEndpoints(e *corev1.Endpoints) {
	for i := range e.Subsets {
		for j := range e.Subsets[i].Ports {
			resource.SetDefault(&e.Subsets[i].Ports[j].Protocol, corev1.ProtocolTCP)
		}
	}
}

// defaultLimitRange lets each limit of a container follow from the others: the default from the
// maximum, the default request from the default, else from the minimum.
func defaultLimitRange(l *corev1.LimitRange) {
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		for _, list := range []corev1.ResourceList{item.Max, item.Min, item.Default, item.DefaultRequest, item.MaxLimitRequestRatio} {
			pod.RoundUp(list)
		}
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		item.Default = withMissing(item.Default, item.Max)
		item.DefaultRequest = withMissing(withMissing(item.DefaultRequest, item.Default), item.Min)
	}
}

func withMissing(list, from corev1.ResourceList) corev1.ResourceList {
	if list == nil {
		list = corev1.ResourceList{}
	}
	for name, q := range from {
		if _, ok := list[name]; !ok {
			list[name] = q.DeepCopy()
		}
	}
	return list
}

// defaultNamespace also labels the namespace with its own name, by which selectors find it. A
// namespace whose name is still to be generated is labelled at its creation.
func defaultNamespace(n *corev1.Namespace) {
	resource.SetDefault(&n.Status.Phase, corev1.NamespaceActive)
	if n.Name == "" {
		return
	}
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	n.Labels[corev1.LabelMetadataName] = n.Name
}

func defaultNode(n *corev1.Node) {
	pod.RoundUp(n.Status.Capacity)
	pod.RoundUp(n.Status.Allocatable)
	// Capacity that a node does not set aside is for pods.
	if n.Status.Allocatable == nil && n.Status.Capacity != nil {
		n.Status.Allocatable = maps.Clone(n.Status.Capacity)
	}
	// podCIDR is the first of podCIDRs; a writer that knows only the old field is obeyed.
	switch first, all := n.Spec.PodCIDR, n.Spec.PodCIDRs; {
	case first != "" && (len(all) == 0 || all[0] != first):
		n.Spec.PodCIDRs = []string{first}
	case first == "" && len(all) > 0:
		n.Spec.PodCIDR = all[0]
	}
}

func defaultPersistentVolumeClaim(c *corev1.PersistentVolumeClaim) {
	resource.SetDefault(&c.Status.Phase, corev1.ClaimPending)
	pod.DefaultClaimSpec(&c.Spec)
	pod.RoundUp(c.Status.Capacity)
	pod.RoundUp(c.Status.AllocatedResources)
}

func defaultPersistentVolume(v *corev1.PersistentVolume) {
	resource.SetDefault(&v.Status.Phase, corev1.VolumePending)
	resource.SetDefault(&v.Spec.PersistentVolumeReclaimPolicy, corev1.PersistentVolumeReclaimRetain)
	resource.SetPointer(&v.Spec.VolumeMode, corev1.PersistentVolumeFilesystem)
	pod.RoundUp(v.Spec.Capacity)
	s := &v.Spec.PersistentVolumeSource
	if s.HostPath != nil {
		resource.SetPointer(&s.HostPath.Type, corev1.HostPathUnset)
	}
	if s.ISCSI != nil {
		resource.SetDefault(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.RBD != nil {
		pod.DefaultRBD(&s.RBD.RBDPool, &s.RBD.RadosUser, &s.RBD.Keyring)
	}
	if s.AzureDisk != nil {
		pod.DefaultAzureDisk(s.AzureDisk)
	}
	if s.ScaleIO != nil {
		pod.DefaultScaleIO(&s.ScaleIO.StorageMode, &s.ScaleIO.FSType)
	}
}

func defaultPod(p *corev1.Pod) {
	pod.Default(p)
	// podIP is the first of podIPs; a writer that knows only the old field is obeyed.
	switch first, all := p.Status.PodIP, p.Status.PodIPs; {
	case first != "" && (len(all) == 0 || all[0].IP != first):
		p.Status.PodIPs = []corev1.PodIP{{IP: first}}
	case first == "" && len(all) > 0:
		p.Status.PodIP = all[0].IP
	}
}

func defaultPodTemplate(t *corev1.PodTemplate) { pod.DefaultTemplate(&t.Template) }

// defaultReplicationController also takes labels and selector from the template.
func defaultReplicationController(rc *corev1.ReplicationController) {
	resource.SetPointer(&rc.Spec.Replicas, 1)
	if rc.Spec.Template == nil {
		return
	}
	if labels := rc.Spec.Template.Labels; labels != nil {
		if len(rc.Spec.Selector) == 0 {
			rc.Spec.Selector = maps.Clone(labels)
		}
		if len(rc.Labels) == 0 {
			rc.Labels = maps.Clone(labels)
		}
	}
	pod.DefaultTemplate(rc.Spec.Template)
}

func defaultResourceQuota(q *corev1.ResourceQuota) {
	for _, list := range []corev1.ResourceList{q.Spec.Hard, q.Status.Hard, q.Status.Used} {
		pod.RoundUp(list)
	}
}

// defaultSecret also moves stringData, which is for writing only, into data.
func defaultSecret(s *corev1.Secret) {
	resource.SetDefault(&s.Type, corev1.SecretTypeOpaque)
	if len(s.StringData) > 0 && s.Data == nil {
		s.Data = map[string][]byte{}
	}
	for key, value := range s.StringData {
		s.Data[key] = []byte(value)
	}
	s.StringData = nil
}
