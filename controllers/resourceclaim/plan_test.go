package resourceclaim

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestPlanRelease(t *testing.T) {
	claim := func(allocated, protected, deleting bool, reserved ...types.UID) *resourcev1.ResourceClaim {
		c := &resourcev1.ResourceClaim{}
		if allocated {
			c.Status.Allocation = &resourcev1.AllocationResult{}
		}
		if protected {
			c.Finalizers = []string{resourcev1.Finalizer}
		}
		if deleting {
			c.DeletionTimestamp = new(metav1.Now())
		}
		for _, uid := range reserved {
			c.Status.ReservedFor = append(c.Status.ReservedFor, resourcev1.ResourceClaimConsumerReference{UID: uid})
		}
		return c
	}
	states := map[types.UID]consumer{"runs": uses, "done": finished, "other": unknown}
	for name, tc := range map[string]struct {
		claim *resourcev1.ResourceClaim
		ended bool
		want  release
	}{
		"new":                               {claim(false, false, false), false, release{}},
		"allocated, not reserved yet":       {claim(true, true, false), false, release{}},
		"in use":                            {claim(true, true, false, "runs"), false, release{reserved: []resourcev1.ResourceClaimConsumerReference{{UID: "runs"}}}},
		"in use by one of two":              {claim(true, true, false, "done", "runs"), false, release{reserved: []resourcev1.ResourceClaimConsumerReference{{UID: "runs"}}, changed: true}},
		"in use by who knows":               {claim(true, true, false, "done", "other"), false, release{reserved: []resourcev1.ResourceClaimConsumerReference{{UID: "other"}}, changed: true}},
		"its last pod is done":              {claim(true, true, false, "done"), false, release{changed: true, deallocate: true, unprotect: true}},
		"about to be allocated":             {claim(false, true, false), false, release{}},
		"freed, and deleted":                {claim(false, true, true), false, release{unprotect: true}},
		"deleted while allocated":           {claim(true, true, true), false, release{deallocate: true, unprotect: true}},
		"deleted while in use":              {claim(true, true, true, "runs"), false, release{reserved: []resourcev1.ResourceClaimConsumerReference{{UID: "runs"}}}},
		"made for a pod that has ended":     {claim(true, true, false, "done"), true, release{changed: true, deallocate: true, unprotect: true, remove: true}},
		"of a pod that never used it":       {claim(true, true, false), true, release{deallocate: true, unprotect: true, remove: true}},
		"of a pod that has ended, deleting": {claim(false, false, true), true, release{}},
	} {
		if d := cmp.Diff(tc.want, planRelease(tc.claim, states, tc.ended), cmp.AllowUnexported(release{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestStatuses(t *testing.T) {
	p := &corev1.Pod{}
	p.Spec.ResourceClaims = []corev1.PodResourceClaim{
		{Name: "a", ResourceClaimTemplateName: new("t")}, {Name: "b", ResourceClaimName: new("mine")}, {Name: "c", ResourceClaimTemplateName: new("t")}}
	p.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{Name: "c", ResourceClaimName: new("p-c-x")}}
	if got := needs(p); len(got) != 1 || got[0].Name != "a" {
		t.Errorf("claims are needed for %v", got)
	}
	want := []corev1.PodResourceClaimStatus{{Name: "a", ResourceClaimName: new("p-a-y")}, {Name: "c", ResourceClaimName: new("p-c-x")}}
	if d := cmp.Diff(want, statuses(p, map[string]string{"a": "p-a-y"})); d != "" {
		t.Errorf("statuses (-want +got):\n%s", d)
	}
}
