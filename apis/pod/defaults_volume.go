package pod

import (
	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/apis/resource"
)

// DefaultMode is the mode of the files of secret, configMap, downwardAPI and projected volumes.
const DefaultMode int32 = 0o644

// tokenSeconds is how long a projected service-account token is valid.
const tokenSeconds int64 = 60 * 60

// certificateSeconds is how long a projected pod certificate is valid at most.
const certificateSeconds int32 = 24 * 60 * 60

func defaultVolume(v *corev1.Volume) {
	if v.VolumeSource == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	if v.HostPath != nil {
		resource.SetPointer(&v.HostPath.Type, corev1.HostPathUnset)
	}
	if v.Secret != nil {
		resource.SetPointer(&v.Secret.DefaultMode, DefaultMode)
	}
	if v.ConfigMap != nil {
		resource.SetPointer(&v.ConfigMap.DefaultMode, DefaultMode)
	}
	if v.DownwardAPI != nil {
		resource.SetPointer(&v.DownwardAPI.DefaultMode, DefaultMode)
		for i := range v.DownwardAPI.Items {
			defaultFieldRef(v.DownwardAPI.Items[i].FieldRef)
		}
	}
	if v.Projected != nil {
		defaultProjected(v.Projected)
	}
	if v.Ephemeral != nil && v.Ephemeral.VolumeClaimTemplate != nil {
		DefaultClaimSpec(&v.Ephemeral.VolumeClaimTemplate.Spec)
	}
	if v.Image != nil {
		resource.SetDefault(&v.Image.PullPolicy, pullPolicy(v.Image.Reference))
	}
	defaultNetworkDisk(&v.VolumeSource)
}

func defaultProjected(p *corev1.ProjectedVolumeSource) {
	resource.SetPointer(&p.DefaultMode, DefaultMode)
	for i := range p.Sources {
		if d := p.Sources[i].DownwardAPI; d != nil {
			for j := range d.Items {
				defaultFieldRef(d.Items[j].FieldRef)
			}
		}
		if t := p.Sources[i].ServiceAccountToken; t != nil {
			resource.SetPointer(&t.ExpirationSeconds, tokenSeconds)
		}
		if c := p.Sources[i].PodCertificate; c != nil {
			resource.SetPointer(&c.MaxExpirationSeconds, certificateSeconds)
		}
	}
}

// defaultNetworkDisk serves volume kinds that are gone from the node but not from the API.
func defaultNetworkDisk(v *corev1.VolumeSource) {
	if v.ISCSI != nil {
		resource.SetDefault(&v.ISCSI.ISCSIInterface, "default")
	}
	if v.RBD != nil {
		DefaultRBD(&v.RBD.RBDPool, &v.RBD.RadosUser, &v.RBD.Keyring)
	}
	if v.AzureDisk != nil {
		DefaultAzureDisk(v.AzureDisk)
	}
	if v.ScaleIO != nil {
		DefaultScaleIO(&v.ScaleIO.StorageMode, &v.ScaleIO.FSType)
	}
}

// DefaultRBD, DefaultAzureDisk and DefaultScaleIO serve volumes of pods and persistent volumes.
func DefaultRBD(pool, user, keyring *string) {
	resource.SetDefault(pool, "rbd")
	resource.SetDefault(user, "admin")
	resource.SetDefault(keyring, "/etc/ceph/keyring")
}

// DefaultAzureDisk fills what an Azure disk leaves out.
func DefaultAzureDisk(d *corev1.AzureDiskVolumeSource) {
	resource.SetPointer(&d.CachingMode, corev1.AzureDataDiskCachingReadWrite)
	resource.SetPointer(&d.Kind, corev1.AzureSharedBlobDisk)
	resource.SetPointer(&d.FSType, "ext4")
	resource.SetPointer(&d.ReadOnly, false)
}

// DefaultScaleIO fills what a ScaleIO volume leaves out.
func DefaultScaleIO(mode, fsType *string) {
	resource.SetDefault(mode, "ThinProvisioned")
	resource.SetDefault(fsType, "xfs")
}

// DefaultClaimSpec fills what a persistent volume claim, or the template of one, leaves out.
func DefaultClaimSpec(s *corev1.PersistentVolumeClaimSpec) {
	resource.SetPointer(&s.VolumeMode, corev1.PersistentVolumeFilesystem)
	RoundUp(s.Resources.Limits)
	RoundUp(s.Resources.Requests)
}
