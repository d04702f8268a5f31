package devicetaint

import (
	"testing"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDeadline(t *testing.T) {
	added, seen := time.Unix(1000, 0), time.Unix(5000, 0)
	stamp := metav1.NewTime(added)
	broken := resourcev1.DeviceTaint{Key: "broken", Effect: resourcev1.DeviceTaintEffectNoExecute, TimeAdded: &stamp}
	busy := resourcev1.DeviceTaint{Key: "busy", Effect: resourcev1.DeviceTaintEffectNoSchedule, TimeAdded: &stamp}
	ageless := resourcev1.DeviceTaint{Key: "broken", Effect: resourcev1.DeviceTaintEffectNoExecute}
	slice := func(generation int64, device string, taints ...resourcev1.DeviceTaint) resourcev1.ResourceSlice {
		return resourcev1.ResourceSlice{Spec: resourcev1.ResourceSliceSpec{Driver: "d", Pool: resourcev1.ResourcePool{Name: "p", Generation: generation},
			Devices: []resourcev1.Device{{Name: device, Taints: taints}}}}
	}
	tolerates := func(seconds ...*int64) (out []resourcev1.DeviceToleration) {
		for _, s := range seconds {
			out = append(out, resourcev1.DeviceToleration{Key: "broken", Operator: resourcev1.DeviceTolerationOpExists, TolerationSeconds: s})
		}
		return out
	}
	minute, hour := new(int64(60)), new(int64(3600))
	type slices = []resourcev1.ResourceSlice
	for name, tc := range map[string]struct {
		slices      slices
		tolerations []resourcev1.DeviceToleration
		due         time.Time
		ever        bool
	}{
		"no taint":                {slices: slices{slice(1, "gpu")}},
		"no taint that evicts":    {slices: slices{slice(1, "gpu", busy)}},
		"another device":          {slices: slices{slice(1, "other", broken)}},
		"tainted":                 {slices: slices{slice(1, "gpu", busy, broken)}, due: added, ever: true},
		"tainted, who knows when": {slices: slices{slice(1, "gpu", ageless)}, due: seen, ever: true},
		"tainted before":          {slices: slices{slice(1, "gpu", broken), slice(2, "gpu")}},
		"tolerated":               {slices: slices{slice(1, "gpu", broken)}, tolerations: tolerates(nil)},
		"tolerated for a while":   {slices: slices{slice(1, "gpu", broken)}, tolerations: tolerates(minute), due: added.Add(time.Minute), ever: true},
		"tolerated for the least": {slices: slices{slice(1, "gpu", broken)}, tolerations: tolerates(hour, nil, minute), due: added.Add(time.Minute), ever: true},
	} {
		c := &resourcev1.ResourceClaim{Status: resourcev1.ResourceClaimStatus{Allocation: &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{
			Results: []resourcev1.DeviceRequestAllocationResult{{Driver: "d", Pool: "p", Device: "gpu", Tolerations: tc.tolerations}}}}}}
		if due, ever := deadline(c, tc.slices, seen); !due.Equal(tc.due) || ever != tc.ever {
			t.Errorf("%s: %v, %v; want %v, %v", name, due, ever, tc.due, tc.ever)
		}
	}
	if _, ever := deadline(&resourcev1.ResourceClaim{}, slices{slice(1, "gpu", broken)}, seen); ever {
		t.Error("a claim without devices is evicted")
	}
}
