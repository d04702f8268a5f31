package noderestriction

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"

	"coracle.dev/coracle/apiserver/auth/nodeauthz"
)

func (p *Plugin) pods(ctx context.Context, node string, a admission.Attributes) error {
	switch a.GetSubresource() {
	case "":
		if a.GetOperation() == admission.Create {
			return p.mirrorPod(ctx, node, a)
		}
		if a.GetOperation() == admission.Delete {
			if pod, ok := a.GetOldObject().(*corev1.Pod); ok && pod.Spec.NodeName != node {
				return fmt.Errorf("node %q can only delete pods with spec.nodeName set to itself", node)
			}
			return nil
		}
		return fmt.Errorf("unexpected operation %q, node %q can only create and delete mirror pods", a.GetOperation(), node)
	case "status":
		return podStatus(node, a)
	case "eviction":
		return p.eviction(ctx, node, a)
	}
	return fmt.Errorf("unexpected pod subresource %q, only 'status' and 'eviction' are allowed", a.GetSubresource())
}

// mirrorPod: the one kind of pod that an agent may create is the copy of a static pod of its own, which
// must not refer to anything by which the agent could gain access.
func (p *Plugin) mirrorPod(ctx context.Context, node string, a admission.Attributes) error {
	pod, ok := a.GetObject().(*corev1.Pod)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; !mirror {
		return fmt.Errorf("pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, node)
	}
	if pod.Spec.NodeName != node {
		return fmt.Errorf("node %q can only create pods with spec.nodeName set to itself", node)
	}
	if err := p.owner(ctx, node, pod); err != nil {
		return err
	}
	if pod.Spec.ServiceAccountName != "" {
		return fmt.Errorf("node %q can not create pods that reference a service account", node)
	}
	refers := nodeauthz.Resources(pod)
	for _, v := range pod.Spec.Volumes {
		if v.Projected != nil {
			refers = append(refers, projects(v.Projected)...)
		}
	}
	if len(pod.Spec.ResourceClaims) > 0 {
		refers = append(refers, "resourceclaims")
	}
	if len(refers) > 0 {
		return fmt.Errorf("node %q can not create pods that reference %s", node, refers[0])
	}
	return nil
}

// projects are what a projected volume gives access to besides secrets and config maps.
func projects(v *corev1.ProjectedVolumeSource) (out []string) {
	for _, s := range v.Sources {
		if s.ServiceAccountToken != nil {
			out = append(out, "service account tokens")
		}
		if s.ClusterTrustBundle != nil {
			out = append(out, "clustertrustbundles")
		}
	}
	return out
}

// owner: a mirror pod is owned by its node, so that it goes with it.
func (p *Plugin) owner(ctx context.Context, node string, pod *corev1.Pod) error {
	if len(pod.OwnerReferences) == 0 {
		return fmt.Errorf("node %q can only create pods with an owner reference set to itself", node)
	}
	if len(pod.OwnerReferences) > 1 {
		return fmt.Errorf("node %q can only create pods with a single owner reference set to itself", node)
	}
	o := pod.OwnerReferences[0]
	if o.APIVersion != "v1" || o.Kind != "Node" || o.Name != node {
		return fmt.Errorf("node %q can only create pods with an owner reference set to itself", node)
	}
	if o.Controller == nil || !*o.Controller {
		return fmt.Errorf("node %q can only create pods with a controller owner reference set to itself", node)
	}
	if o.BlockOwnerDeletion != nil && *o.BlockOwnerDeletion {
		return fmt.Errorf("node %q must not set blockOwnerDeletion on an owner reference", node)
	}
	n, err := p.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) || err == nil && n.UID != o.UID {
		n, err = p.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	}
	if err != nil {
		return fmt.Errorf("looking up node %s to validate uid: %w", node, err)
	}
	if o.UID != n.UID {
		return fmt.Errorf("node %s UID mismatch: expected %s got %s", node, o.UID, n.UID)
	}
	return nil
}

func podStatus(node string, a admission.Attributes) error {
	if a.GetOperation() != admission.Update {
		return fmt.Errorf("unexpected operation %q", a.GetOperation())
	}
	old, ok := a.GetOldObject().(*corev1.Pod)
	pod, ok2 := a.GetObject().(*corev1.Pod)
	if !ok || !ok2 {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	if old.Spec.NodeName != node {
		return fmt.Errorf("node %q can only update pod status for pods with spec.nodeName set to itself", node)
	}
	if !maps.Equal(old.Labels, pod.Labels) {
		return fmt.Errorf("node %q cannot update labels through pod status", node)
	}
	if !equality.Semantic.DeepEqual(old.Status.ResourceClaimStatuses, pod.Status.ResourceClaimStatuses) {
		return fmt.Errorf("node %q cannot update resource claim statuses", node)
	}
	return nil
}

func (p *Plugin) eviction(ctx context.Context, node string, a admission.Attributes) error {
	if a.GetOperation() != admission.Create {
		return fmt.Errorf("unexpected operation %s", a.GetOperation())
	}
	name := a.GetName()
	if e, ok := a.GetObject().(*policyv1.Eviction); name == "" && ok {
		name = e.Name
	}
	pod, err := p.client.CoreV1().Pods(a.GetNamespace()).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if pod.Spec.NodeName != node {
		return fmt.Errorf("node %s can only evict pods with spec.nodeName set to itself", node)
	}
	return nil
}
