package volumebinding

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	volumehelper "k8s.io/component-helpers/storage/volume"
)

// Reasons of events, as Kubernetes spells them.
const (
	reasonFailedBinding       = "FailedBinding"
	reasonMismatch            = "VolumeMismatch"
	reasonWaitForConsumer     = "WaitForFirstConsumer"
	reasonWaitForPod          = "WaitForPodScheduled"
	reasonProvisioningFailed  = "ProvisioningFailed"
	reasonExternal            = "ExternalProvisioning"
	reasonClaimLost           = "ClaimLost"
	reasonClaimMisbound       = "ClaimMisbound"
	reasonFailedDelete        = "VolumeFailedDelete"
	reasonFailedRecycle       = "VolumeFailedRecycle"
	reasonRecycled            = "VolumeRecycled"
	reasonUnknownReclaim      = "VolumeUnknownReclaimPolicy"
	defaultClassAnnotation    = "storageclass.kubernetes.io/is-default-class"
	oldDefaultClassAnnotation = "storageclass.beta.kubernetes.io/is-default-class"
	builtInPrefix             = "kubernetes.io/"
)

// note is an event to write.
type note struct {
	kind, reason, message string
}

func normal(reason, format string, args ...any) *note {
	return &note{corev1.EventTypeNormal, reason, fmt.Sprintf(format, args...)}
}

func warning(reason, format string, args ...any) *note {
	return &note{corev1.EventTypeWarning, reason, fmt.Sprintf(format, args...)}
}

// claimState is what is known of a claim.
type claimState struct {
	claim *corev1.PersistentVolumeClaim
	// named is the volume that the claim names, if it exists.
	named *corev1.PersistentVolume
	// candidates are the volumes of the claim's class, and those that are
	// promised to it.
	candidates []*corev1.PersistentVolume
	// class is the claim's storage class, if it exists; preset the default
	// one, if there is any.
	class, preset *storagev1.StorageClass
	// pod uses the claim and waits for a node; empty if there is none.
	pod string
}

// claimPlan is what to do about a claim.
type claimPlan struct {
	bind        *corev1.PersistentVolume
	assign      string // a storage class
	provisioner string
	phase       corev1.PersistentVolumeClaimPhase // unless it is bound
	note        *note
}

func planClaim(s claimState) claimPlan {
	_, complete := s.claim.Annotations[volumehelper.AnnBindCompleted]
	switch {
	case complete:
		return planComplete(s)
	case s.claim.DeletionTimestamp != nil:
		return claimPlan{}
	case s.claim.Spec.VolumeName != "":
		return planNamed(s)
	default:
		return planUnbound(s)
	}
}

// planComplete looks after a claim that was bound once.
func planComplete(s claimState) claimPlan {
	lost := func(n *note) claimPlan {
		if s.claim.Status.Phase == corev1.ClaimLost {
			n = nil
		}
		return claimPlan{phase: corev1.ClaimLost, note: n}
	}
	switch {
	case s.claim.Spec.VolumeName == "":
		return lost(warning(reasonClaimLost, "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"))
	case s.named == nil:
		return lost(warning(reasonClaimLost, "Bound claim has lost its PersistentVolume. Data on the volume is lost!"))
	case s.named.Spec.ClaimRef == nil, s.named.Spec.ClaimRef.UID == s.claim.UID:
		return claimPlan{bind: s.named}
	default:
		return lost(warning(reasonClaimMisbound, "Two claims are bound to the same volume, this one is bound incorrectly"))
	}
}

// planNamed is for a claim that asks for a certain volume.
func planNamed(s claimState) claimPlan {
	pending := func(n *note) claimPlan { return claimPlan{phase: corev1.ClaimPending, note: n} }
	switch {
	case s.named == nil:
		return pending(nil)
	case s.named.Spec.ClaimRef == nil:
		if why := mismatch(s.named, s.claim); why != "" {
			return pending(warning(reasonMismatch, "Cannot bind to requested volume %q: %s", s.named.Name, why))
		}
		return claimPlan{bind: s.named}
	case volumehelper.IsVolumeBoundToClaim(s.named, s.claim):
		return claimPlan{bind: s.named}
	default:
		return pending(warning(reasonFailedBinding, "volume %q already bound to a different claim.", s.named.Name))
	}
}

// planUnbound finds a volume for a claim that takes any, or has one made.
func planUnbound(s claimState) claimPlan {
	waits := s.class != nil && s.class.VolumeBindingMode != nil && *s.class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	volume, err := volumehelper.FindMatchingVolume(s.claim, s.candidates, nil, nil, waits, true)
	className := volumehelper.GetPersistentVolumeClaimClass(s.claim)
	plan := claimPlan{phase: corev1.ClaimPending}
	switch {
	case err != nil:
		plan.note = warning(reasonFailedBinding, "%v", err)
	case volume != nil:
		return claimPlan{bind: volume}
	case !volumehelper.PersistentVolumeClaimHasClass(s.claim) && s.preset != nil:
		return claimPlan{assign: s.preset.Name}
	case waits && !volumehelper.IsDelayBindingProvisioning(s.claim) && s.pod != "":
		plan.note = normal(reasonWaitForPod, "waiting for pod %s to be scheduled", s.pod)
	case waits && !volumehelper.IsDelayBindingProvisioning(s.claim):
		plan.note = normal(reasonWaitForConsumer, "waiting for first consumer to be created before binding")
	case className == "":
		plan.note = normal(reasonFailedBinding, "no persistent volumes available for this claim and no storage class is set")
	case s.class == nil:
		plan.note = warning(reasonProvisioningFailed, "storageclass.storage.k8s.io %q not found", className)
	case strings.HasPrefix(s.class.Provisioner, builtInPrefix):
		plan.note = warning(reasonProvisioningFailed, "no volume plugin matched name: %s", s.class.Provisioner)
	default:
		plan.provisioner = s.class.Provisioner
		plan.note = normal(reasonExternal, "Waiting for a volume to be created either by the external provisioner '%s' or manually by the system administrator. "+
			"If volume creation is delayed, please verify that the provisioner is running and correctly registered.", s.class.Provisioner)
	}
	return plan
}

// mismatch is why a volume cannot be what a claim asks for; empty if it can.
func mismatch(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) string {
	requested, has := c.Spec.Resources.Requests[corev1.ResourceStorage], v.Spec.Capacity[corev1.ResourceStorage]
	switch {
	case has.Cmp(requested) < 0:
		return "requested PV is too small"
	case volumehelper.GetPersistentVolumeClass(v) != volumehelper.GetPersistentVolumeClaimClass(c):
		return "storageClassName does not match"
	case volumehelper.CheckVolumeModeMismatches(&c.Spec, &v.Spec):
		return "incompatible volumeMode"
	case !volumehelper.CheckAccessModes(c, v):
		return "incompatible accessMode"
	case attributesClass(c.Spec.VolumeAttributesClassName) != attributesClass(v.Spec.VolumeAttributesClassName):
		return "volumeAttributesClassName does not match"
	}
	return ""
}

func attributesClass(name *string) string {
	if name == nil {
		return ""
	}
	return *name
}

// volumePlan is what to do about a volume.
type volumePlan struct {
	phase    corev1.PersistentVolumePhase
	reclaims bool // after the phase is written
	unbind   bool
	note     *note
}

// planVolume decides from a volume and the claim that its claimRef names, of the
// same UID; nil if there is none.
func planVolume(v *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) volumePlan {
	ref := v.Spec.ClaimRef
	released := v.Status.Phase == corev1.VolumeReleased || v.Status.Phase == corev1.VolumeFailed
	switch {
	case ref == nil, ref.UID == "":
		return volumePlan{phase: corev1.VolumeAvailable}
	case claim == nil && released:
		return volumePlan{reclaims: true}
	case claim == nil:
		return volumePlan{phase: corev1.VolumeReleased, reclaims: true}
	case claim.Spec.VolumeName == v.Name:
		return volumePlan{phase: corev1.VolumeBound}
	case claim.Spec.VolumeName == "":
		// The claim's own pass goes on with the binding.
		if volumehelper.CheckVolumeModeMismatches(&claim.Spec, &v.Spec) {
			return volumePlan{note: warning(reasonMismatch, "Cannot bind PersistentVolume to requested PersistentVolumeClaim %q due to incompatible volumeMode.", claim.Name)}
		}
		return volumePlan{}
	case v.Annotations[volumehelper.AnnDynamicallyProvisioned] != "" && v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete:
		// Made for the claim, which took another: nobody else is to have it.
		if released {
			return volumePlan{reclaims: true}
		}
		return volumePlan{phase: corev1.VolumeReleased, reclaims: true}
	default:
		return volumePlan{unbind: true}
	}
}

// reclaim is how a released volume is taken back.
type reclaim struct {
	recycle bool
	// failure is why it cannot be.
	failure *note
}

func planReclaim(v *corev1.PersistentVolume) reclaim {
	switch v.Spec.PersistentVolumeReclaimPolicy {
	case corev1.PersistentVolumeReclaimRetain:
		return reclaim{}
	case corev1.PersistentVolumeReclaimRecycle:
		if v.Spec.HostPath == nil && v.Spec.NFS == nil {
			return reclaim{failure: warning(reasonFailedRecycle, "No recycler plugin found for the volume!")}
		}
		return reclaim{recycle: true}
	case corev1.PersistentVolumeReclaimDelete:
		by := v.Annotations[volumehelper.AnnDynamicallyProvisioned]
		if by != "" && !strings.HasPrefix(by, builtInPrefix) {
			return reclaim{} // its provisioner's
		}
		return reclaim{failure: warning(reasonFailedDelete, "error getting deleter volume plugin for volume %q: no deletable volume plugin matched", v.Name)}
	default:
		return reclaim{failure: warning(reasonUnknownReclaim, "Volume has an unrecognized PersistentVolumeReclaimPolicy %q", v.Spec.PersistentVolumeReclaimPolicy)}
	}
}

// defaultClass is the newest of the classes that are marked as the default.
func defaultClass(all []storagev1.StorageClass) *storagev1.StorageClass {
	var marked []*storagev1.StorageClass
	for i := range all {
		if a := all[i].Annotations; a[defaultClassAnnotation] == "true" || a[oldDefaultClassAnnotation] == "true" {
			marked = append(marked, &all[i])
		}
	}
	if len(marked) == 0 {
		return nil
	}
	return slices.MinFunc(marked, func(a, b *storagev1.StorageClass) int {
		if c := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
}
