package pod

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// needs requires texts by the names of their fields: name, value, name, value and so on.
func needs(path *field.Path, pairs ...string) field.ErrorList {
	var errs field.ErrorList
	for i := 0; i+1 < len(pairs); i += 2 {
		errs = append(errs, resource.NotEmpty(path.Child(pairs[i]), pairs[i+1])...)
	}
	return errs
}

// checkByte checks a small number, such as that of a partition.
func checkByte(path *field.Path, n int32) field.ErrorList {
	if n < 0 || n > 255 {
		return field.ErrorList{field.Invalid(path, n, utilvalidation.InclusiveRangeError(0, 255))}
	}
	return nil
}

// checkNetworkVolume checks that a volume of a system outside of the cluster could be found.
func checkNetworkVolume(path *field.Path, v *corev1.VolumeSource) field.ErrorList {
	switch {
	case v.NFS != nil:
		return CheckNFS(path, v.NFS)
	case v.ISCSI != nil:
		return checkISCSI(path, v.ISCSI)
	case v.FC != nil:
		return checkFC(path, v.FC)
	case v.GitRepo != nil:
		return append(needs(path, "repository", v.GitRepo.Repository), resource.RelativePath(path.Child("directory"), v.GitRepo.Directory)...)
	case v.GCEPersistentDisk != nil:
		return append(needs(path, "pdName", v.GCEPersistentDisk.PDName), checkByte(path.Child("partition"), v.GCEPersistentDisk.Partition)...)
	case v.AWSElasticBlockStore != nil:
		return append(needs(path, "volumeID", v.AWSElasticBlockStore.VolumeID), checkByte(path.Child("partition"), v.AWSElasticBlockStore.Partition)...)
	case v.Glusterfs != nil:
		return needs(path, "endpoints", v.Glusterfs.EndpointsName, "path", v.Glusterfs.Path)
	case v.Flocker != nil:
		return checkFlocker(path, v.Flocker)
	case v.FlexVolume != nil:
		return needs(path, "driver", v.FlexVolume.Driver)
	case v.RBD != nil:
		return append(checkMonitors(path, v.RBD.CephMonitors), needs(path, "image", v.RBD.RBDImage)...)
	case v.CephFS != nil:
		return checkMonitors(path, v.CephFS.Monitors)
	case v.Cinder != nil:
		errs := needs(path, "volumeID", v.Cinder.VolumeID)
		if r := v.Cinder.SecretRef; r != nil {
			errs = append(errs, needs(path.Child("secretRef"), "name", r.Name)...)
		}
		return errs
	case v.Quobyte != nil:
		return needs(path, "registry", v.Quobyte.Registry, "volume", v.Quobyte.Volume)
	case v.AzureFile != nil:
		return needs(path, "secretName", v.AzureFile.SecretName, "shareName", v.AzureFile.ShareName)
	case v.AzureDisk != nil:
		return checkAzureDisk(path, v.AzureDisk)
	case v.VsphereVolume != nil:
		return needs(path, "volumePath", v.VsphereVolume.VolumePath)
	case v.PhotonPersistentDisk != nil:
		return needs(path, "pdID", v.PhotonPersistentDisk.PdID)
	case v.PortworxVolume != nil:
		return needs(path, "volumeID", v.PortworxVolume.VolumeID)
	case v.ScaleIO != nil:
		return needs(path, "gateway", v.ScaleIO.Gateway, "system", v.ScaleIO.System, "volumeName", v.ScaleIO.VolumeName)
	case v.StorageOS != nil:
		return needs(path, "volumeName", v.StorageOS.VolumeName)
	}
	return nil
}

func checkISCSI(path *field.Path, i *corev1.ISCSIVolumeSource) field.ErrorList {
	errs := needs(path, "targetPortal", i.TargetPortal, "iqn", i.IQN)
	if i.IQN != "" && !strings.HasPrefix(i.IQN, "iqn") && !strings.HasPrefix(i.IQN, "eui") && !strings.HasPrefix(i.IQN, "naa") {
		errs = append(errs, field.Invalid(path.Child("iqn"), i.IQN, "must be valid format starting with iqn, eui, or naa"))
	}
	errs = append(errs, checkByte(path.Child("lun"), i.Lun)...)
	if (i.DiscoveryCHAPAuth || i.SessionCHAPAuth) && i.SecretRef == nil {
		errs = append(errs, field.Required(path.Child("secretRef"), ""))
	}
	return errs
}

// checkFC: a disk is found by its ports and number, or by its own name.
func checkFC(path *field.Path, f *corev1.FCVolumeSource) field.ErrorList {
	ports := path.Child("targetWWNs")
	switch {
	case len(f.TargetWWNs) == 0 && len(f.WWIDs) == 0:
		return field.ErrorList{field.Required(ports, "must specify either targetWWNs or wwids, but not both")}
	case len(f.TargetWWNs) > 0 && len(f.WWIDs) > 0:
		return field.ErrorList{field.Invalid(ports, f.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously")}
	case len(f.TargetWWNs) > 0 && f.Lun == nil:
		return field.ErrorList{field.Required(path.Child("lun"), "lun is required if targetWWNs is specified")}
	case len(f.TargetWWNs) > 0:
		return checkByte(path.Child("lun"), *f.Lun)
	}
	return nil
}

func checkFlocker(path *field.Path, f *corev1.FlockerVolumeSource) field.ErrorList {
	switch {
	case f.DatasetName == "" && f.DatasetUUID == "":
		return field.ErrorList{field.Required(path, "one of datasetName and datasetUUID is required")}
	case f.DatasetName != "" && f.DatasetUUID != "":
		return field.ErrorList{field.Invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")}
	case strings.Contains(f.DatasetName, "/"):
		return field.ErrorList{field.Invalid(path.Child("datasetName"), f.DatasetName, "must not contain '/'")}
	}
	return nil
}

func checkMonitors(path *field.Path, monitors []string) field.ErrorList {
	if len(monitors) == 0 {
		return field.ErrorList{field.Required(path.Child("monitors"), "")}
	}
	return nil
}

func checkAzureDisk(path *field.Path, d *corev1.AzureDiskVolumeSource) field.ErrorList {
	errs := needs(path, "diskName", d.DiskName, "diskURI", d.DataDiskURI)
	if d.CachingMode != nil {
		errs = append(errs, resource.Supported(path.Child("cachingMode"), *d.CachingMode,
			corev1.AzureDataDiskCachingNone, corev1.AzureDataDiskCachingReadOnly, corev1.AzureDataDiskCachingReadWrite)...)
	}
	if d.Kind != nil {
		errs = append(errs, resource.Supported(path.Child("kind"), *d.Kind,
			corev1.AzureDedicatedBlobDisk, corev1.AzureManagedDisk, corev1.AzureSharedBlobDisk)...)
	}
	return errs
}

// checkSamePaths: two sources of one volume must not write one file.
func checkSamePaths(path *field.Path, sources []corev1.VolumeProjection) field.ErrorList {
	var errs field.ErrorList
	taken := map[string]bool{}
	take := func(at *field.Path, name string, file string) {
		if file == "" {
			return
		}
		if taken[file] {
			errs = append(errs, field.Invalid(at, name, "conflicting duplicate paths"))
		}
		taken[file] = true
	}
	for i := range sources {
		s, at := &sources[i], path.Index(i)
		switch {
		case s.Secret != nil:
			for _, item := range s.Secret.Items {
				take(at.Child("secret"), s.Secret.Name, item.Path)
			}
		case s.ConfigMap != nil:
			for _, item := range s.ConfigMap.Items {
				take(at.Child("configMap"), s.ConfigMap.Name, item.Path)
			}
		case s.DownwardAPI != nil:
			for _, item := range s.DownwardAPI.Items {
				take(at.Child("downwardAPI"), item.Path, item.Path)
			}
		case s.ServiceAccountToken != nil:
			take(at.Child("serviceAccountToken"), s.ServiceAccountToken.Path, s.ServiceAccountToken.Path)
		case s.ClusterTrustBundle != nil:
			take(at.Child("clusterTrustBundle"), s.ClusterTrustBundle.Path, s.ClusterTrustBundle.Path)
		}
	}
	return errs
}
