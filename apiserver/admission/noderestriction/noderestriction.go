// Package noderestriction is the admission plugin that confines node agents to their own node: its Node,
// its lease, its pods and what belongs to those.
//
// It complements the node authorizer, which cannot see the objects that are written. It only refuses,
// never changes, and only users system:node:NAME of group system:nodes concern it.
package noderestriction

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/apiserver/auth/nodeauthz"
)

// Name is the plugin's name in flags.
const Name = "NodeRestriction"

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(io.Reader) (admission.Interface, error) { return New(), nil })
}

// Plugin implements the restriction.
type Plugin struct {
	*admission.Handler
	client kubernetes.Interface
}

var (
	_ admission.ValidationInterface          = &Plugin{}
	_ initializer.WantsExternalKubeClientSet = &Plugin{}
)

// New returns a plugin that needs its client set.
func New() *Plugin {
	return &Plugin{Handler: admission.NewHandler(admission.Create, admission.Update, admission.Delete)}
}

// SetExternalKubeClientSet implements initializer.WantsExternalKubeClientSet.
func (p *Plugin) SetExternalKubeClientSet(c kubernetes.Interface) { p.client = c }

// ValidateInitialization implements admission.InitializationValidator.
func (p *Plugin) ValidateInitialization() error {
	if p.client == nil {
		return errors.New("missing client")
	}
	return nil
}

// Validate implements admission.ValidationInterface.
func (p *Plugin) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	node, ok := nodeauthz.NodeName(a.GetUserInfo())
	if !ok {
		return nil
	}
	if node == "" {
		return admission.NewForbidden(a, fmt.Errorf("could not determine node from user %q", a.GetUserInfo().GetName()))
	}
	var err error
	switch a.GetResource().GroupResource() {
	case corev1.Resource("pods"):
		err = p.pods(ctx, node, a)
	case corev1.Resource("nodes"):
		err = nodes(node, a)
	case corev1.Resource("persistentvolumeclaims"):
		err = claims(node, a)
	case corev1.Resource("serviceaccounts"):
		err = p.token(ctx, node, a)
	case coordinationv1.Resource("leases"):
		err = lease(node, a)
	case storagev1.Resource("csinodes"):
		err = csiNode(node, a)
	case resourcev1.Resource("resourceslices"):
		err = slice(node, a)
	}
	if err != nil {
		return admission.NewForbidden(a, err)
	}
	return nil
}

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
	for _, v := range pod.Spec.Volumes {
		kind := ""
		switch {
		case v.Secret != nil:
			kind = "secrets"
		case v.ConfigMap != nil:
			kind = "configmaps"
		case v.PersistentVolumeClaim != nil, v.Ephemeral != nil:
			kind = "persistentvolumeclaims"
		case v.Projected != nil:
			kind = projects(v.Projected)
		}
		if kind != "" {
			return fmt.Errorf("node %q can not create pods that reference %s", node, kind)
		}
	}
	if len(pod.Spec.ResourceClaims) > 0 {
		return fmt.Errorf("node %q can not create pods that reference resourceclaims", node)
	}
	for i := range pod.Spec.Containers {
		for _, e := range pod.Spec.Containers[i].EnvFrom {
			if e.SecretRef != nil || e.ConfigMapRef != nil {
				return fmt.Errorf("node %q can not create pods that reference secrets or configmaps", node)
			}
		}
		for _, e := range pod.Spec.Containers[i].Env {
			if e.ValueFrom != nil && (e.ValueFrom.SecretKeyRef != nil || e.ValueFrom.ConfigMapKeyRef != nil) {
				return fmt.Errorf("node %q can not create pods that reference secrets or configmaps", node)
			}
		}
	}
	return nil
}

func projects(v *corev1.ProjectedVolumeSource) string {
	for _, s := range v.Sources {
		switch {
		case s.Secret != nil:
			return "secrets"
		case s.ConfigMap != nil:
			return "configmaps"
		case s.ServiceAccountToken != nil:
			return "service account tokens"
		case s.ClusterTrustBundle != nil:
			return "clustertrustbundles"
		}
	}
	return ""
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

func nodes(node string, a admission.Attributes) error {
	name := a.GetName()
	if a.GetOperation() == admission.Delete {
		return fmt.Errorf("node %q is not allowed to delete node %q", node, name)
	}
	n, ok := a.GetObject().(*corev1.Node)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	if a.GetOperation() == admission.Create {
		if name == "" {
			name = n.Name
		}
		if bad := forbiddenLabels(nil, n.Labels); len(bad) > 0 {
			return fmt.Errorf("node %q is not allowed to set the following labels: %s", node, strings.Join(bad, ", "))
		}
		if n.Spec.ConfigSource != nil {
			return fmt.Errorf("node %q is not allowed to create pods with a non-nil configSource", node)
		}
	}
	if name != node {
		return fmt.Errorf("node %q is not allowed to modify node %q", node, name)
	}
	if len(n.OwnerReferences) > 0 && a.GetOperation() == admission.Create {
		return fmt.Errorf("node %q is not allowed to set ownerReferences", node)
	}
	if a.GetOperation() != admission.Update {
		return nil
	}
	old, ok := a.GetOldObject().(*corev1.Node)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetOldObject())
	}
	switch {
	case !equality.Semantic.DeepEqual(n.OwnerReferences, old.OwnerReferences):
		return fmt.Errorf("node %q is not allowed to modify ownerReferences", node)
	case n.Spec.ConfigSource != nil && !equality.Semantic.DeepEqual(n.Spec.ConfigSource, old.Spec.ConfigSource):
		return fmt.Errorf("node %q is not allowed to update configSource to a new non-nil configSource", node)
	case !equality.Semantic.DeepEqual(n.Spec.Taints, old.Spec.Taints):
		return fmt.Errorf("node %q is not allowed to modify taints", node)
	}
	if bad := forbiddenLabels(old.Labels, n.Labels); len(bad) > 0 {
		return fmt.Errorf("is not allowed to modify labels: %s", strings.Join(bad, ", "))
	}
	return nil
}

// ownLabels are the labels of Kubernetes that an agent may set on its node.
var ownLabels = map[string]bool{
	corev1.LabelHostname: true, corev1.LabelTopologyZone: true, corev1.LabelTopologyRegion: true,
	corev1.LabelFailureDomainBetaZone: true, corev1.LabelFailureDomainBetaRegion: true,
	corev1.LabelInstanceType: true, corev1.LabelInstanceTypeStable: true,
	corev1.LabelOSStable: true, corev1.LabelArchStable: true, corev1.LabelWindowsBuild: true,
	"beta.kubernetes.io/os": true, "beta.kubernetes.io/arch": true,
}

// forbiddenLabels are the changed labels that are not the agent's to change, sorted.
func forbiddenLabels(old, now map[string]string) []string {
	var bad []string
	check := func(key string) {
		domain, _, _ := strings.Cut(key, "/")
		in := func(d string) bool { return domain == d || strings.HasSuffix(domain, "."+d) }
		switch {
		case in("node-restriction.kubernetes.io"):
			bad = append(bad, key)
		case !in("kubernetes.io") && !in("k8s.io"), ownLabels[key], in("kubelet.kubernetes.io"), in("node.kubernetes.io"):
		default:
			bad = append(bad, key)
		}
	}
	for key, value := range now {
		if was, ok := old[key]; !ok || was != value {
			check(key)
		}
	}
	for key := range old {
		if _, ok := now[key]; !ok {
			check(key)
		}
	}
	slices.Sort(bad)
	return bad
}

// claims: of a claim, an agent may report how the growth of its volume goes.
func claims(node string, a admission.Attributes) error {
	if a.GetSubresource() != "status" {
		return fmt.Errorf("unexpected claim subresource %q, only 'status' is allowed", a.GetSubresource())
	}
	if a.GetOperation() != admission.Update {
		return fmt.Errorf("unexpected operation %q", a.GetOperation())
	}
	old, ok := a.GetOldObject().(*corev1.PersistentVolumeClaim)
	claim, ok2 := a.GetObject().(*corev1.PersistentVolumeClaim)
	if !ok || !ok2 {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	old, claim = old.DeepCopy(), claim.DeepCopy()
	for _, c := range []*corev1.PersistentVolumeClaim{old, claim} {
		c.ResourceVersion, c.ManagedFields = "", nil
		c.Status.Capacity, c.Status.Conditions = nil, nil
		c.Status.AllocatedResources, c.Status.AllocatedResourceStatuses = nil, nil
	}
	if !equality.Semantic.DeepEqual(old, claim) {
		return fmt.Errorf("node %q is not allowed to update fields other than status.quantity and status.conditions", node)
	}
	return nil
}

// token: an agent gets tokens for the pods of its node.
func (p *Plugin) token(ctx context.Context, node string, a admission.Attributes) error {
	if a.GetOperation() != admission.Create || a.GetSubresource() != "token" {
		return nil // the authorizer decides
	}
	req, ok := a.GetObject().(*authenticationv1.TokenRequest)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	ref := req.Spec.BoundObjectRef
	if ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "" {
		return errors.New("node requested token not bound to a pod")
	}
	if ref.UID == "" {
		return errors.New("node requested token with a pod binding without a uid")
	}
	pod, err := p.podOf(ctx, a.GetNamespace(), ref.Name, ref.UID)
	if err != nil {
		return err
	}
	if ref.UID != pod.UID {
		return fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	}
	if pod.Spec.NodeName != node {
		return errors.New("node requested token bound to a pod scheduled on a different node")
	}
	return nil
}

// podOf asks the watch cache, and the storage if the cache knows another pod, or this one before it was
// scheduled.
func (p *Plugin) podOf(ctx context.Context, namespace, name string, uid types.UID) (*corev1.Pod, error) {
	pods := p.client.CoreV1().Pods(namespace)
	pod, err := pods.Get(ctx, name, metav1.GetOptions{ResourceVersion: "0"})
	if err == nil && pod.UID == uid && pod.Spec.NodeName != "" {
		return pod, nil
	}
	return pods.Get(ctx, name, metav1.GetOptions{})
}

func lease(node string, a admission.Attributes) error {
	name := a.GetName()
	if a.GetOperation() == admission.Create && a.GetObject() != nil {
		if m, err := meta.Accessor(a.GetObject()); err == nil {
			name = m.GetName()
		}
	}
	if a.GetNamespace() == corev1.NamespaceNodeLease && name == node {
		return nil
	}
	// Where the agent may use leases by a role, those in other namespaces are not its node's.
	return fmt.Errorf("can only access node lease with the same name as the requesting node")
}

func csiNode(node string, a admission.Attributes) error {
	name := a.GetName()
	if m, err := meta.Accessor(a.GetObject()); a.GetOperation() == admission.Create && err == nil {
		name = m.GetName()
	}
	if name != node {
		return errors.New("can only access CSINode with the same name as the requesting node")
	}
	return nil
}

func slice(node string, a admission.Attributes) error {
	s, ok := a.GetObject().(*resourcev1.ResourceSlice)
	if a.GetOperation() == admission.Delete {
		s, ok = a.GetOldObject().(*resourcev1.ResourceSlice)
	}
	if !ok {
		return nil // deletion of a collection, whose items come by one at a time
	}
	if s.Spec.NodeName == nil || *s.Spec.NodeName != node {
		return errors.New("can only create, update or delete ResourceSlice with the same NodeName as the requesting node")
	}
	return nil
}
