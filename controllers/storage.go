package controllers

import (
	ctrl "sigs.k8s.io/controller-runtime"

	"coracle.dev/coracle/controllers/attachdetach"
	"coracle.dev/coracle/controllers/devicetaint"
	"coracle.dev/coracle/controllers/ephemeralvolume"
	"coracle.dev/coracle/controllers/expand"
	"coracle.dev/coracle/controllers/localpath"
	"coracle.dev/coracle/controllers/pvcprotection"
	"coracle.dev/coracle/controllers/pvprotection"
	"coracle.dev/coracle/controllers/resourceclaim"
	"coracle.dev/coracle/controllers/resourcequota"
	"coracle.dev/coracle/controllers/vacprotection"
	"coracle.dev/coracle/controllers/volumebinding"
)

// storageEntries are the controllers of volumes, devices and quotas.
func storageEntries() []entry {
	return []entry{
		{"persistentvolume-binder-controller", addVolumeBinding},
		{"persistentvolume-attach-detach-controller", func(m ctrl.Manager, _ Options) error { return attachdetach.New(m).SetupWithManager(m) }},
		{"local-path-provisioner-controller", func(m ctrl.Manager, _ Options) error { return setUp(localpath.New, m) }},
		{"persistentvolume-expander-controller", func(m ctrl.Manager, _ Options) error { return expand.New(m).SetupWithManager(m) }},
		{"persistentvolumeclaim-protection-controller", func(m ctrl.Manager, _ Options) error { return pvcprotection.New(m).SetupWithManager(m) }},
		{"persistentvolume-protection-controller", func(m ctrl.Manager, _ Options) error { return pvprotection.New(m).SetupWithManager(m) }},
		{"volumeattributesclass-protection-controller", func(m ctrl.Manager, _ Options) error { return vacprotection.New(m).SetupWithManager(m) }},
		{"ephemeral-volume-controller", func(m ctrl.Manager, _ Options) error { return ephemeralvolume.New(m).SetupWithManager(m) }},
		{"resourceclaim-controller", func(m ctrl.Manager, _ Options) error { return resourceclaim.New(m).SetupWithManager(m) }},
		{"device-taint-eviction-controller", func(m ctrl.Manager, _ Options) error { return devicetaint.New(m).SetupWithManager(m) }},
		{"resourcequota-controller", func(m ctrl.Manager, _ Options) error { return resourcequota.New(m).SetupWithManager(m) }},
	}
}

func addVolumeBinding(m ctrl.Manager, o Options) error {
	r := volumebinding.New(m)
	if o.RecyclerImage != "" {
		r.RecyclerImage = o.RecyclerImage
	}
	return r.SetupWithManager(m)
}
