package statefulset

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/controllers/internal/podcontrol"
)

// template is a revision: its name, and the pods that it describes.
type template struct {
	name string
	pod  *corev1.PodTemplateSpec
}

func podName(set *appsv1.StatefulSet, ordinal int) string {
	return fmt.Sprintf("%s-%d", set.Name, ordinal)
}

// ordinalOf reads the ordinal from a pod's name. It is negative where the pod
// cannot be one of the set's.
func ordinalOf(set *appsv1.StatefulSet, pod string) int {
	digits, found := strings.CutPrefix(pod, set.Name+"-")
	if !found {
		return -1
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || podName(set, int(n)) != pod {
		return -1
	}
	return int(n)
}

// start is the lowest ordinal.
func start(set *appsv1.StatefulSet) int {
	if set.Spec.Ordinals == nil {
		return 0
	}
	return int(set.Spec.Ordinals.Start)
}

// newPod makes the pod of an ordinal.
func newPod(set *appsv1.StatefulSet, ordinal int, t template) *corev1.Pod {
	p := podcontrol.FromTemplate(t.pod, set, kind)
	p.GenerateName, p.Name = "", podName(set, ordinal)
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	maps.Copy(p.Labels, identity(set, ordinal))
	p.Labels[appsv1.StatefulSetRevisionLabel] = t.name
	p.Spec.Hostname, p.Spec.Subdomain = p.Name, set.Spec.ServiceName
	p.Spec.Volumes = volumes(set, ordinal, p.Spec.Volumes)
	return p
}

// identity are the labels by which a pod is told from its siblings.
func identity(set *appsv1.StatefulSet, ordinal int) map[string]string {
	return map[string]string{
		appsv1.StatefulSetPodNameLabel: podName(set, ordinal),
		appsv1.PodIndexLabel:           strconv.Itoa(ordinal),
	}
}

// volumes are those of the claims, in place of others of their names, and the
// template's.
func volumes(set *appsv1.StatefulSet, ordinal int, of []corev1.Volume) []corev1.Volume {
	var all []corev1.Volume
	claimed := map[string]bool{}
	for i := range set.Spec.VolumeClaimTemplates {
		name := set.Spec.VolumeClaimTemplates[i].Name
		claimed[name] = true
		all = append(all, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(set, name, ordinal)},
		}})
	}
	for _, v := range of {
		if !claimed[v.Name] {
			all = append(all, v)
		}
	}
	return all
}

func claimName(set *appsv1.StatefulSet, template string, ordinal int) string {
	return fmt.Sprintf("%s-%s", template, podName(set, ordinal))
}

// claimNames are the names of an ordinal's claims.
func claimNames(set *appsv1.StatefulSet, ordinal int) []string {
	var names []string
	for i := range set.Spec.VolumeClaimTemplates {
		names = append(names, claimName(set, set.Spec.VolumeClaimTemplates[i].Name, ordinal))
	}
	return names
}

// newClaim makes the i-th claim of an ordinal.
func newClaim(set *appsv1.StatefulSet, i, ordinal int) *corev1.PersistentVolumeClaim {
	t := &set.Spec.VolumeClaimTemplates[i]
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   set.Namespace,
			Name:        claimName(set, t.Name, ordinal),
			Labels:      maps.Clone(t.Labels),
			Annotations: maps.Clone(t.Annotations),
			Finalizers:  slices.Clone(t.Finalizers),
		},
		Spec: *t.Spec.DeepCopy(),
	}
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	if set.Spec.Selector != nil {
		maps.Copy(c.Labels, set.Spec.Selector.MatchLabels)
	}
	return c
}

// retention is when the set's claims go.
func retention(set *appsv1.StatefulSet) (whenDeleted, whenScaled bool) {
	p := set.Spec.PersistentVolumeClaimRetentionPolicy
	if p == nil {
		return false, false
	}
	return p.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType, p.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType
}

var podKind = corev1.SchemeGroupVersion.WithKind("Pod")

// claimOwners are the owner references that a claim is to have: the set's, if it
// goes with the set; the pod's, if it goes with a pod that is about to be
// scaled away; and those that others gave it. A claim that another controls is
// left as it is.
func claimOwners(set *appsv1.StatefulSet, pod *corev1.Pod, condemned bool, refs []metav1.OwnerReference) []metav1.OwnerReference {
	var kept []metav1.OwnerReference
	for _, ref := range refs {
		ours := ref.UID == set.UID || pod != nil && ref.UID == pod.UID
		if !ours && ref.Controller != nil && *ref.Controller {
			return refs
		}
		if !ours {
			kept = append(kept, ref)
		}
	}
	whenDeleted, whenScaled := retention(set)
	switch {
	case condemned && whenScaled && pod != nil:
		return append(kept, *metav1.NewControllerRef(pod, podKind))
	case whenDeleted && (!condemned || !whenScaled):
		return append(kept, *metav1.NewControllerRef(set, kind))
	}
	return kept
}

// leaving tells whether a claim is on its way out: it is being deleted, or is to
// go with an earlier pod of this name, which has gone.
func leaving(c *corev1.PersistentVolumeClaim, pod *corev1.Pod, name string) bool {
	if c.DeletionTimestamp != nil {
		return true
	}
	return slices.ContainsFunc(c.OwnerReferences, func(ref metav1.OwnerReference) bool {
		return ref.Kind == podKind.Kind && ref.APIVersion == podKind.GroupVersion().String() && ref.Name == name && (pod == nil || ref.UID != pod.UID)
	})
}
