package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/apis/resource"
)

// rolePrefix is that of the labels by which a node states its roles; roleLabel is the older form.
const (
	rolePrefix = "node-role.kubernetes.io/"
	roleLabel  = "kubernetes.io/role"
)

var nodeColumns = []resource.Column[*corev1.Node]{
	resource.Name[*corev1.Node](),
	resource.Text("Status", func(n *corev1.Node) any { return nodeStatus(n) }),
	resource.Text("Roles", func(n *corev1.Node) any { return resource.OrNone(nodeRoles(n)) }),
	resource.Age[*corev1.Node](),
	resource.Text("Version", func(n *corev1.Node) any { return n.Status.NodeInfo.KubeletVersion }),
	resource.Text("Internal-IP", func(n *corev1.Node) any { return nodeAddress(n, corev1.NodeInternalIP) }).Wide(),
	resource.Text("External-IP", func(n *corev1.Node) any { return nodeAddress(n, corev1.NodeExternalIP) }).Wide(),
	resource.Text("OS-Image", func(n *corev1.Node) any { return resource.Or(n.Status.NodeInfo.OSImage, resource.Unknown) }).Wide(),
	resource.Text("Kernel-Version", func(n *corev1.Node) any {
		return resource.Or(n.Status.NodeInfo.KernelVersion, resource.Unknown)
	}).Wide(),
	resource.Text("Container-Runtime", func(n *corev1.Node) any {
		return resource.Or(n.Status.NodeInfo.ContainerRuntimeVersion, resource.Unknown)
	}).Wide(),
}

func nodeStatus(n *corev1.Node) string {
	status := "Unknown"
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		if status = "NotReady"; c.Status == corev1.ConditionTrue {
			status = "Ready"
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

func nodeRoles(n *corev1.Node) string {
	var roles []string
	for key, value := range n.Labels {
		if role, ok := strings.CutPrefix(key, rolePrefix); ok && role != "" {
			roles = append(roles, role)
		} else if key == roleLabel && value != "" {
			roles = append(roles, value)
		}
	}
	slices.Sort(roles)
	return strings.Join(slices.Compact(roles), ",")
}

func nodeAddress(n *corev1.Node, kind corev1.NodeAddressType) string {
	for _, a := range n.Status.Addresses {
		if a.Type == kind {
			return a.Address
		}
	}
	return resource.None
}
