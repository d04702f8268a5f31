package resourceclaim

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// made is the claim that was made for a pod's entry, among those of the pod's
// namespace; nil if there is none.
func made(claims []resourcev1.ResourceClaim, pod *corev1.Pod, entry string) *resourcev1.ResourceClaim {
	for i := range claims {
		if c := &claims[i]; c.Annotations[resourcev1.PodResourceClaimAnnotation] == entry && metav1.IsControlledBy(c, pod) && c.DeletionTimestamp == nil {
			return c
		}
	}
	return nil
}

// fromTemplate is the claim to be made for a pod's entry.
func fromTemplate(pod *corev1.Pod, entry string, template *resourcev1.ResourceClaimTemplate) *resourcev1.ResourceClaim {
	annotations := map[string]string{}
	for k, v := range template.Spec.Annotations {
		annotations[k] = v
	}
	annotations[resourcev1.PodResourceClaimAnnotation] = entry
	return &resourcev1.ResourceClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, GenerateName: pod.Name + "-" + entry + "-", Labels: template.Spec.Labels, Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(pod, corev1.SchemeGroupVersion.WithKind("Pod"))},
		},
		Spec: *template.Spec.Spec.DeepCopy(),
	}
}

// statuses are the pod's with the names of claims, of which an entry may have
// none.
func statuses(pod *corev1.Pod, names map[string]string) []corev1.PodResourceClaimStatus {
	var out []corev1.PodResourceClaimStatus
	for _, entry := range pod.Spec.ResourceClaims {
		if name, has := names[entry.Name]; has {
			out = append(out, corev1.PodResourceClaimStatus{Name: entry.Name, ResourceClaimName: &name})
			continue
		}
		for _, s := range pod.Status.ResourceClaimStatuses {
			if s.Name == entry.Name {
				out = append(out, s)
			}
		}
	}
	return out
}

// needs are the entries of a pod that a claim is to be made for.
func needs(pod *corev1.Pod) (out []corev1.PodResourceClaim) {
	for _, entry := range pod.Spec.ResourceClaims {
		known := slices.ContainsFunc(pod.Status.ResourceClaimStatuses, func(s corev1.PodResourceClaimStatus) bool { return s.Name == entry.Name })
		if entry.ResourceClaimTemplateName != nil && !known {
			out = append(out, entry)
		}
	}
	return out
}

// consumer is the state of a pod that a claim is reserved for.
type consumer int

const (
	uses     consumer = iota
	finished          // it does not use the claim any more
	unknown           // it is no pod: whoever reserved the claim frees it
)

// release is what to do about a claim.
type release struct {
	reserved []resourcev1.ResourceClaimConsumerReference
	// changed tells that reserved differs from the claim's.
	changed bool
	// deallocate also frees the devices.
	deallocate bool
	unprotect  bool // remove the finalizer
	remove     bool // delete the claim
}

// planRelease decides on a claim, from the state of each of its consumers by UID
// and from whether the pod that it was made for has ended.
func planRelease(c *resourcev1.ResourceClaim, consumers map[types.UID]consumer, ownerEnded bool) release {
	var r release
	for _, ref := range c.Status.ReservedFor {
		if consumers[ref.UID] == finished {
			r.changed = true
		} else {
			r.reserved = append(r.reserved, ref)
		}
	}
	protected := slices.Contains(c.Finalizers, resourcev1.Finalizer)
	free := len(r.reserved) == 0
	// A claim that nobody ever reserved keeps what it was allocated: a pod may
	// be on its way to it.
	r.deallocate = free && c.Status.Allocation != nil && (r.changed || c.DeletionTimestamp != nil || ownerEnded)
	// Whoever allocates adds the finalizer first: without an allocation, it is
	// in nobody's way until the claim is deleted.
	r.unprotect = free && protected && (r.deallocate || c.Status.Allocation == nil && c.DeletionTimestamp != nil)
	r.remove = ownerEnded && c.DeletionTimestamp == nil
	return r
}
