package index

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/storage/ephemeral"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Claim is the index of pods by the claims that they use.
const Claim = "spec.volumes.claim"

// ByClaim makes the index Claim.
func ByClaim(mgr manager.Manager) error {
	return Ensure(mgr, &corev1.Pod{}, Claim, func(o client.Object) []string {
		p, is := o.(*corev1.Pod)
		if !is {
			return nil
		}
		return ClaimNames(p)
	})
}

// ClaimNames are the names of the claims that a pod uses, those of its
// ephemeral volumes included.
func ClaimNames(p *corev1.Pod) (out []string) {
	for i := range p.Spec.Volumes {
		switch v := &p.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			out = append(out, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			out = append(out, ephemeral.VolumeClaimName(p, v))
		}
	}
	return out
}

// PodsWithClaim lists the pods that use a claim. What they point to belongs to
// the cache.
func PodsWithClaim(ctx context.Context, r client.Reader, claim types.NamespacedName) ([]*corev1.Pod, error) {
	var list corev1.PodList
	err := r.List(ctx, &list, client.InNamespace(claim.Namespace), client.MatchingFields{Claim: claim.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing the pods that use claim %s: %w", claim, err)
	}
	out := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}
