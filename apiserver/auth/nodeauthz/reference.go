package nodeauthz

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// references are the objects that a pod's node has to read for it, the pod among them.
func references(p *corev1.Pod) []object {
	ns := p.Namespace
	seen := map[object]bool{{pod, ns, p.Name}: true}
	refs := []object{{pod, ns, p.Name}}
	add := func(k kind, name string) {
		if o := (object{k, ns, name}); name != "" && !seen[o] {
			seen[o] = true
			refs = append(refs, o)
		}
	}
	// A static pod's copy was written by the node itself, and must not win it anything.
	if _, static := p.Annotations[corev1.MirrorPodAnnotationKey]; static {
		return refs
	}
	specReferences(p, add)
	return refs
}

// resources are the names of kinds in the API.
var resources = map[kind]string{
	secret: "secrets", configMap: "configmaps", claim: "persistentvolumeclaims", account: "serviceaccounts", resourceClaim: "resourceclaims",
}

// Resources are the resources of which a pod refers to any object, sorted.
func Resources(p *corev1.Pod) []string {
	seen := map[string]bool{}
	specReferences(p, func(k kind, name string) {
		if name != "" {
			seen[resources[k]] = true
		}
	})
	return slices.Sorted(maps.Keys(seen))
}

func specReferences(p *corev1.Pod, add func(kind, string)) {
	add(account, p.Spec.ServiceAccountName)
	for _, s := range p.Spec.ImagePullSecrets {
		add(secret, s.Name)
	}
	eachContainer(&p.Spec, func(c *corev1.Container) {
		for _, e := range c.EnvFrom {
			if e.SecretRef != nil {
				add(secret, e.SecretRef.Name)
			}
			if e.ConfigMapRef != nil {
				add(configMap, e.ConfigMapRef.Name)
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom == nil {
				continue
			}
			if r := e.ValueFrom.SecretKeyRef; r != nil {
				add(secret, r.Name)
			}
			if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
				add(configMap, r.Name)
			}
		}
	})
	for i := range p.Spec.Volumes {
		volumeReferences(p, &p.Spec.Volumes[i], add)
	}
	for _, s := range p.Status.ResourceClaimStatuses {
		if s.ResourceClaimName != nil {
			add(resourceClaim, *s.ResourceClaimName)
		}
	}
	for _, c := range p.Spec.ResourceClaims {
		if c.ResourceClaimName != nil {
			add(resourceClaim, *c.ResourceClaimName)
		}
	}
}

func eachContainer(spec *corev1.PodSpec, f func(*corev1.Container)) {
	for i := range spec.InitContainers {
		f(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		f(&spec.Containers[i])
	}
	for i := range spec.EphemeralContainers {
		c := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		f(&c)
	}
}

func volumeReferences(p *corev1.Pod, v *corev1.Volume, add func(kind, string)) {
	local := func(r *corev1.LocalObjectReference) {
		if r != nil {
			add(secret, r.Name)
		}
	}
	switch {
	case v.Secret != nil:
		add(secret, v.Secret.SecretName)
	case v.ConfigMap != nil:
		add(configMap, v.ConfigMap.Name)
	case v.PersistentVolumeClaim != nil:
		add(claim, v.PersistentVolumeClaim.ClaimName)
	case v.Ephemeral != nil:
		add(claim, p.Name+"-"+v.Name)
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			if s.Secret != nil {
				add(secret, s.Secret.Name)
			}
			if s.ConfigMap != nil {
				add(configMap, s.ConfigMap.Name)
			}
		}
	case v.CSI != nil:
		local(v.CSI.NodePublishSecretRef)
	case v.ISCSI != nil:
		local(v.ISCSI.SecretRef)
	case v.RBD != nil:
		local(v.RBD.SecretRef)
	case v.CephFS != nil:
		local(v.CephFS.SecretRef)
	case v.FlexVolume != nil:
		local(v.FlexVolume.SecretRef)
	case v.AzureFile != nil:
		add(secret, v.AzureFile.SecretName)
	}
}
