package volumebinding

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	volumehelper "k8s.io/component-helpers/storage/volume"
)

func claim(change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data", UID: "c1"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: new(""),
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}},
		},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func volume(name, size string, change ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable},
	}
	for _, f := range change {
		f(v)
	}
	return v
}

// promised gives a volume to the claim ns/data of a UID, which may be empty.
func promised(uid types.UID) func(*corev1.PersistentVolume) {
	return func(v *corev1.PersistentVolume) {
		v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "data", UID: uid}
	}
}

func className(name string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &name }
}

func names(volume string) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = volume }
}

func complete(c *corev1.PersistentVolumeClaim) {
	metav1.SetMetaDataAnnotation(&c.ObjectMeta, volumehelper.AnnBindCompleted, "yes")
}

// summary is what of a plan the tables compare.
type summary struct {
	Bind, Assign, Provisioner string
	Phase                     corev1.PersistentVolumeClaimPhase
	Reason                    string
}

func TestPlanClaim(t *testing.T) {
	fast := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: "example.com/fast"}
	late := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "late"}, Provisioner: "example.com/late",
		VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer)}
	byHand := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "by-hand"}, Provisioner: "kubernetes.io/no-provisioner"}
	selected := func(c *corev1.PersistentVolumeClaim) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, volumehelper.AnnSelectedNode, "n1")
	}
	noClass := func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = nil }
	inClass := func(name string) func(*corev1.PersistentVolume) {
		return func(v *corev1.PersistentVolume) { v.Spec.StorageClassName = name }
	}
	deleted := func(c *corev1.PersistentVolumeClaim) { c.DeletionTimestamp = new(metav1.Now()) }
	for name, tc := range map[string]struct {
		state claimState
		want  summary
	}{
		"takes the smallest that is enough": {
			claimState{claim: claim(), candidates: []*corev1.PersistentVolume{volume("large", "50Gi"), volume("small", "1Gi"), volume("fits", "8Gi")}},
			summary{Bind: "fits"}},
		"takes one that is promised to it, however large": {
			claimState{claim: claim(), candidates: []*corev1.PersistentVolume{volume("fits", "5Gi"), volume("mine", "50Gi", promised("c1"))}},
			summary{Bind: "mine"}},
		"leaves what is promised to its predecessor": {
			claimState{claim: claim(), candidates: []*corev1.PersistentVolume{volume("old", "5Gi", promised("c0"))}},
			summary{Phase: corev1.ClaimPending, Reason: "FailedBinding"}},
		"leaves volumes of other classes": {
			claimState{claim: claim(), candidates: []*corev1.PersistentVolume{volume("other", "5Gi", inClass("fast"))}},
			summary{Phase: corev1.ClaimPending, Reason: "FailedBinding"}},
		"its class is not there": {
			claimState{claim: claim(className("fast"))}, summary{Phase: corev1.ClaimPending, Reason: "ProvisioningFailed"}},
		"is provided for": {
			claimState{claim: claim(className("fast")), class: fast}, summary{Phase: corev1.ClaimPending, Provisioner: "example.com/fast", Reason: "ExternalProvisioning"}},
		"cannot be provided for": {
			claimState{claim: claim(className("by-hand")), class: byHand}, summary{Phase: corev1.ClaimPending, Reason: "ProvisioningFailed"}},
		"waits for a consumer though there is a volume": {
			claimState{claim: claim(className("late")), class: late, candidates: []*corev1.PersistentVolume{volume("fits", "5Gi", inClass("late"))}},
			summary{Phase: corev1.ClaimPending, Reason: "WaitForFirstConsumer"}},
		"waits for a pod to be scheduled": {
			claimState{claim: claim(className("late")), class: late, pod: "web-0"}, summary{Phase: corev1.ClaimPending, Reason: "WaitForPodScheduled"}},
		"its consumer has a node": {
			claimState{claim: claim(className("late"), selected), class: late}, summary{Phase: corev1.ClaimPending, Provisioner: "example.com/late", Reason: "ExternalProvisioning"}},
		"its consumer has a volume": {
			claimState{claim: claim(className("late")), class: late, candidates: []*corev1.PersistentVolume{volume("chosen", "5Gi", inClass("late"), promised("c1"))}},
			summary{Bind: "chosen"}},
		"gets the default class":                {claimState{claim: claim(noClass), preset: fast}, summary{Assign: "fast"}},
		"refuses the default class":             {claimState{claim: claim(), preset: fast}, summary{Phase: corev1.ClaimPending, Reason: "FailedBinding"}},
		"is being deleted":                      {claimState{claim: claim(deleted), candidates: []*corev1.PersistentVolume{volume("fits", "5Gi")}}, summary{}},
		"names one that is not there":           {claimState{claim: claim(names("v"))}, summary{Phase: corev1.ClaimPending}},
		"names one that is free":                {claimState{claim: claim(names("v")), named: volume("v", "5Gi")}, summary{Bind: "v"}},
		"names one that is too small":           {claimState{claim: claim(names("v")), named: volume("v", "1Gi")}, summary{Phase: corev1.ClaimPending, Reason: "VolumeMismatch"}},
		"names one of another class":            {claimState{claim: claim(names("v")), named: volume("v", "5Gi", inClass("fast"))}, summary{Phase: corev1.ClaimPending, Reason: "VolumeMismatch"}},
		"names one that awaits it":              {claimState{claim: claim(names("v")), named: volume("v", "5Gi", promised(""))}, summary{Bind: "v"}},
		"names one that another has":            {claimState{claim: claim(names("v")), named: volume("v", "5Gi", promised("c0"))}, summary{Phase: corev1.ClaimPending, Reason: "FailedBinding"}},
		"is bound":                              {claimState{claim: claim(names("v"), complete), named: volume("v", "5Gi", promised("c1"))}, summary{Bind: "v"}},
		"was bound, and its volume is restored": {claimState{claim: claim(names("v"), complete), named: volume("v", "5Gi")}, summary{Bind: "v"}},
		"has lost its volume":                   {claimState{claim: claim(names("v"), complete)}, summary{Phase: corev1.ClaimLost, Reason: "ClaimLost"}},
		"has lost its volume's name":            {claimState{claim: claim(complete)}, summary{Phase: corev1.ClaimLost, Reason: "ClaimLost"}},
		"is bound to another's":                 {claimState{claim: claim(names("v"), complete), named: volume("v", "5Gi", promised("c0"))}, summary{Phase: corev1.ClaimLost, Reason: "ClaimMisbound"}},
	} {
		t.Run(name, func(t *testing.T) {
			plan := planClaim(tc.state)
			got := summary{Assign: plan.assign, Provisioner: plan.provisioner, Phase: plan.phase}
			if plan.bind != nil {
				got.Bind = plan.bind.Name
			}
			if plan.note != nil {
				got.Reason = plan.note.reason
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("plan (-want +got):\n%s\n%+v", d, plan.note)
			}
		})
	}
}

func TestPlanVolume(t *testing.T) {
	in := func(p corev1.PersistentVolumePhase) func(*corev1.PersistentVolume) {
		return func(v *corev1.PersistentVolume) { v.Status.Phase = p }
	}
	provisioned := func(v *corev1.PersistentVolume) {
		metav1.SetMetaDataAnnotation(&v.ObjectMeta, volumehelper.AnnDynamicallyProvisioned, "example.com/fast")
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	}
	block := func(v *corev1.PersistentVolume) { v.Spec.VolumeMode = new(corev1.PersistentVolumeBlock) }
	for name, tc := range map[string]struct {
		volume *corev1.PersistentVolume
		claim  *corev1.PersistentVolumeClaim
		want   volumePlan
	}{
		"new":                                    {volume("v", "5Gi", in("")), nil, volumePlan{phase: corev1.VolumeAvailable}},
		"awaits a claim by name":                 {volume("v", "5Gi", promised("")), nil, volumePlan{phase: corev1.VolumeAvailable}},
		"bound":                                  {volume("v", "5Gi", promised("c1")), claim(names("v")), volumePlan{phase: corev1.VolumeBound}},
		"is being bound":                         {volume("v", "5Gi", promised("c1")), claim(), volumePlan{}},
		"its claim is gone":                      {volume("v", "5Gi", promised("c1"), in(corev1.VolumeBound)), nil, volumePlan{phase: corev1.VolumeReleased, reclaims: true}},
		"released before":                        {volume("v", "5Gi", promised("c1"), in(corev1.VolumeReleased)), nil, volumePlan{reclaims: true}},
		"failed before":                          {volume("v", "5Gi", promised("c1"), in(corev1.VolumeFailed)), nil, volumePlan{reclaims: true}},
		"its claim took another":                 {volume("v", "5Gi", promised("c1")), claim(names("w")), volumePlan{unbind: true}},
		"was made for a claim that took another": {volume("v", "5Gi", promised("c1"), provisioned), claim(names("w")), volumePlan{phase: corev1.VolumeReleased, reclaims: true}},
		"is of another mode than its claim": {volume("v", "5Gi", promised("c1"), block), claim(),
			volumePlan{note: warning("VolumeMismatch", "Cannot bind PersistentVolume to requested PersistentVolumeClaim %q due to incompatible volumeMode.", "data")}},
	} {
		if d := cmp.Diff(tc.want, planVolume(tc.volume, tc.claim), cmp.AllowUnexported(volumePlan{}, note{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestPlanReclaim(t *testing.T) {
	policy := func(p corev1.PersistentVolumeReclaimPolicy) func(*corev1.PersistentVolume) {
		return func(v *corev1.PersistentVolume) { v.Spec.PersistentVolumeReclaimPolicy = p }
	}
	hostPath := func(v *corev1.PersistentVolume) { v.Spec.HostPath = &corev1.HostPathVolumeSource{Path: "/data"} }
	by := func(name string) func(*corev1.PersistentVolume) {
		return func(v *corev1.PersistentVolume) {
			metav1.SetMetaDataAnnotation(&v.ObjectMeta, volumehelper.AnnDynamicallyProvisioned, name)
		}
	}
	for name, tc := range map[string]struct {
		volume  *corev1.PersistentVolume
		recycle bool
		failure string
	}{
		"kept":                     {volume("v", "1Gi"), false, ""},
		"emptied":                  {volume("v", "1Gi", policy(corev1.PersistentVolumeReclaimRecycle), hostPath), true, ""},
		"cannot be emptied":        {volume("v", "1Gi", policy(corev1.PersistentVolumeReclaimRecycle)), false, "VolumeFailedRecycle"},
		"its provisioner's":        {volume("v", "1Gi", policy(corev1.PersistentVolumeReclaimDelete), by("example.com/fast")), false, ""},
		"nobody's":                 {volume("v", "1Gi", policy(corev1.PersistentVolumeReclaimDelete), hostPath), false, "VolumeFailedDelete"},
		"of a plugin that is gone": {volume("v", "1Gi", policy(corev1.PersistentVolumeReclaimDelete), by("kubernetes.io/aws-ebs")), false, "VolumeFailedDelete"},
		"of an unknown policy":     {volume("v", "1Gi", policy("Burn")), false, "VolumeUnknownReclaimPolicy"},
	} {
		got := planReclaim(tc.volume)
		failure := ""
		if got.failure != nil {
			failure = got.failure.reason
		}
		if got.recycle != tc.recycle || failure != tc.failure {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestDefaultClass(t *testing.T) {
	class := func(name string, age int64, marked string) storagev1.StorageClass {
		return storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1000-age, 0)),
			Annotations: map[string]string{defaultClassAnnotation: marked}}}
	}
	if got := defaultClass([]storagev1.StorageClass{class("a", 1, "false")}); got != nil {
		t.Errorf("%s is the default", got.Name)
	}
	got := defaultClass([]storagev1.StorageClass{class("old", 9, "true"), class("plain", 0, "false"), class("new", 1, "true"), class("newer-name", 1, "true")})
	if got == nil || got.Name != "new" {
		t.Errorf("the default is %v", got)
	}
}
