package volumebinding

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelper "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"
)

// bind makes the binding of a volume and a claim, or what is missing of it.
func (r *Reconciler) bind(ctx context.Context, v *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) error {
	v, changed, err := volumehelper.GetBindVolumeToClaim(v, claim) // a copy
	if err != nil {
		return fmt.Errorf("binding volume to claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	if changed {
		if err := r.client.Update(ctx, v); err != nil {
			return fmt.Errorf("binding volume %s: %w", v.Name, err)
		}
	}
	if err := r.setVolumePhase(ctx, v, corev1.VolumeBound, ""); err != nil {
		return err
	}
	before := claim.DeepCopy()
	if claim.Spec.VolumeName != v.Name {
		claim.Spec.VolumeName = v.Name
		metav1.SetMetaDataAnnotation(&claim.ObjectMeta, volumehelper.AnnBoundByController, "yes")
	}
	if !metav1.HasAnnotation(claim.ObjectMeta, volumehelper.AnnBindCompleted) {
		metav1.SetMetaDataAnnotation(&claim.ObjectMeta, volumehelper.AnnBindCompleted, "yes")
	}
	if !apiequality.Semantic.DeepEqual(before, claim) {
		if err := r.client.Update(ctx, claim); err != nil {
			return fmt.Errorf("binding claim %s/%s: %w", claim.Namespace, claim.Name, err)
		}
		klog.FromContext(ctx).Info("Bound claim", "claim", klog.KObj(claim), "volume", v.Name)
	}
	return r.setBound(ctx, claim, v)
}

// setBound writes a bound claim's status. Its capacity is the volume's when it
// becomes bound; later, expansion has its say.
func (r *Reconciler) setBound(ctx context.Context, claim *corev1.PersistentVolumeClaim, v *corev1.PersistentVolume) error {
	before := claim.DeepCopy()
	claim.Status.AccessModes = v.Spec.AccessModes
	if size, has := v.Spec.Capacity[corev1.ResourceStorage]; has && claim.Status.Phase != corev1.ClaimBound {
		claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: size}
	}
	if claim.Status.Phase != corev1.ClaimBound && attributesClass(v.Spec.VolumeAttributesClassName) != "" {
		claim.Status.CurrentVolumeAttributesClassName = v.Spec.VolumeAttributesClassName
	}
	claim.Status.Phase = corev1.ClaimBound
	return r.writeStatus(ctx, before, claim)
}

func (r *Reconciler) setPhase(ctx context.Context, claim *corev1.PersistentVolumeClaim, phase corev1.PersistentVolumeClaimPhase) error {
	if phase == "" {
		return nil
	}
	before := claim.DeepCopy()
	claim.Status.Phase = phase
	if phase == corev1.ClaimPending {
		claim.Status.AccessModes, claim.Status.Capacity = nil, nil
	}
	return r.writeStatus(ctx, before, claim)
}

func (r *Reconciler) writeStatus(ctx context.Context, before, claim *corev1.PersistentVolumeClaim) error {
	if apiequality.Semantic.DeepEqual(before.Status, claim.Status) {
		return nil
	}
	if err := r.client.Status().Update(ctx, claim); err != nil {
		return fmt.Errorf("writing the status of claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

// nameProvisioner asks a provisioner for a volume.
func (r *Reconciler) nameProvisioner(ctx context.Context, claim *corev1.PersistentVolumeClaim, provisioner string) error {
	if claim.Annotations[volumehelper.AnnStorageProvisioner] == provisioner && claim.Annotations[volumehelper.AnnBetaStorageProvisioner] == provisioner {
		return nil
	}
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, volumehelper.AnnStorageProvisioner, provisioner)
	metav1.SetMetaDataAnnotation(&claim.ObjectMeta, volumehelper.AnnBetaStorageProvisioner, provisioner)
	if err := r.client.Update(ctx, claim); err != nil {
		return fmt.Errorf("naming the provisioner of claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return nil
}

// unbind takes back the promise of a volume to a claim that has another. Who
// wrote the claim's name by hand finds it still there.
func (r *Reconciler) unbind(ctx context.Context, v *corev1.PersistentVolume) error {
	if metav1.HasAnnotation(v.ObjectMeta, volumehelper.AnnBoundByController) {
		v.Spec.ClaimRef = nil
		delete(v.Annotations, volumehelper.AnnBoundByController)
	} else {
		v.Spec.ClaimRef.UID, v.Spec.ClaimRef.ResourceVersion = "", ""
	}
	if err := r.client.Update(ctx, v); err != nil {
		return fmt.Errorf("unbinding volume %s: %w", v.Name, err)
	}
	klog.FromContext(ctx).Info("Unbound volume", "volume", v.Name)
	return r.setVolumePhase(ctx, v, corev1.VolumeAvailable, "")
}

func (r *Reconciler) setVolumePhase(ctx context.Context, v *corev1.PersistentVolume, phase corev1.PersistentVolumePhase, message string) error {
	if v.Status.Phase == phase && v.Status.Message == message {
		return nil
	}
	if v.Status.Phase != phase {
		v.Status.LastPhaseTransitionTime = new(metav1.NewTime(r.now()))
	}
	v.Status.Phase, v.Status.Message = phase, message
	if err := r.client.Status().Update(ctx, v); err != nil {
		return fmt.Errorf("writing the status of volume %s: %w", v.Name, err)
	}
	return nil
}

// fail marks a volume that could not be taken back.
func (r *Reconciler) fail(ctx context.Context, v *corev1.PersistentVolume, why *note) error {
	r.tell(v, why)
	return r.setVolumePhase(ctx, v, corev1.VolumeFailed, why.message)
}

// reclaim takes a released volume back, as its policy says.
func (r *Reconciler) reclaim(ctx context.Context, v *corev1.PersistentVolume) error {
	switch how := planReclaim(v); {
	case how.failure != nil:
		return r.fail(ctx, v, how.failure)
	case how.recycle && v.DeletionTimestamp == nil:
		return r.recycle(ctx, v)
	}
	return nil
}
