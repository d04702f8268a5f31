package statefulset

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newSet(replicas int32, change ...func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
	s := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "set"},
		Spec: appsv1.StatefulSetSpec{
			Replicas:    &replicas,
			ServiceName: "svc",
			Selector:    &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "new"}}},
			},
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{
				Type:          appsv1.RollingUpdateStatefulSetStrategyType,
				RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: new(int32(0))},
			},
		},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func parallel(s *appsv1.StatefulSet) { s.Spec.PodManagementPolicy = appsv1.ParallelPodManagement }
func onDelete(s *appsv1.StatefulSet) {
	s.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
}
func from(n int32) func(*appsv1.StatefulSet) {
	return func(s *appsv1.StatefulSet) { s.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: n} }
}
func partition(n int32) func(*appsv1.StatefulSet) {
	return func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.RollingUpdate.Partition = &n }
}
func unavailable(v intstr.IntOrString) func(*appsv1.StatefulSet) {
	return func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable = &v }
}
func withClaims(whenDeleted, whenScaled string) func(*appsv1.StatefulSet) {
	return func(s *appsv1.StatefulSet) {
		s.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}}
		s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
			WhenDeleted: appsv1.PersistentVolumeClaimRetentionPolicyType(whenDeleted), WhenScaled: appsv1.PersistentVolumeClaimRetentionPolicyType(whenScaled)}
	}
}

// pods reads pods from a text like "0:new 1:old,unready 2:old,deleted".
func pods(set *appsv1.StatefulSet, text string) []*corev1.Pod {
	var all []*corev1.Pod
	for _, word := range strings.Fields(text) {
		number, rest, _ := strings.Cut(word, ":")
		var ordinal int
		if _, err := fmt.Sscan(number, &ordinal); err != nil {
			panic(err)
		}
		marks := strings.Split(rest, ",")
		p := newPod(set, ordinal, template{marks[0], &set.Spec.Template})
		p.UID = types.UID(p.Name)
		p.Status.Phase = corev1.PodRunning
		ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-time.Minute))}
		for _, m := range marks[1:] {
			switch m {
			case "unready":
				ready.Status = corev1.ConditionFalse
			case "young":
				ready.LastTransitionTime = metav1.NewTime(now.Add(-2 * time.Second))
			case "deleted":
				p.DeletionTimestamp = &metav1.Time{Time: now}
			case "pending":
				p.Status.Phase, ready.Status = corev1.PodPending, corev1.ConditionFalse
			case "failed":
				p.Status.Phase, ready.Status = corev1.PodFailed, corev1.ConditionFalse
			case "succeeded":
				p.Status.Phase, ready.Status = corev1.PodSucceeded, corev1.ConditionFalse
			case "unlabelled":
				delete(p.Labels, appsv1.PodIndexLabel)
			}
		}
		p.Status.Conditions = []corev1.PodCondition{ready}
		all = append(all, p)
	}
	return all
}

// summary is what a plan does, as "+web-0/revision -web-1 ~web-2".
func summary(a actions) string {
	var words []string
	for _, c := range a.createClaims {
		words = append(words, "+"+c.Name)
	}
	for _, c := range a.updateClaims {
		words = append(words, "~"+c.Name+ownersOf(c))
	}
	for _, p := range a.create {
		words = append(words, "+"+p.Name+"/"+revisionOf(p))
	}
	for _, p := range a.relabel {
		words = append(words, "~"+p.Name)
	}
	for _, p := range a.remove {
		words = append(words, "-"+p.Name)
	}
	return strings.Join(words, " ")
}

func ownersOf(c *corev1.PersistentVolumeClaim) string {
	out := ""
	for _, ref := range c.OwnerReferences {
		out += "(" + ref.Name + ")"
	}
	return out
}

func TestPlan(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  *appsv1.StatefulSet
		pods string
		want string
	}{
		{"the first of all", newSet(3), "", "+web-0/new"},
		{"the next, in order", newSet(3), "0:new", "+web-1/new"},
		{"none while one is not ready", newSet(3), "0:new,unready", ""},
		{"none while one is being deleted", newSet(2), "0:new,deleted", ""},
		{"none while one is not ready for long enough", newSet(3, func(s *appsv1.StatefulSet) { s.Spec.MinReadySeconds = 5 }), "0:new,young", ""},
		{"the lowest gap first", newSet(3), "0:new 2:new", "+web-1/new"},
		{"all at once in parallel", newSet(3, parallel), "", "+web-0/new +web-1/new +web-2/new"},
		{"from a start ordinal", newSet(2, from(5)), "", "+web-5/new"},
		{"moved to a start ordinal", newSet(2, from(5)), "0:new 1:new 5:new 6:new", "-web-1"},
		{"replaces one that failed", newSet(2), "0:new,failed 1:new", "-web-0"},
		{"replaces one that succeeded", newSet(2), "0:new,succeeded 1:new", "-web-0"},
		{"gives back an identity", newSet(1), "0:new,unlabelled", "~web-0"},
		{"shrinks from the highest", newSet(1), "0:new 1:new 2:new", "-web-2"},
		{"shrinks one after another", newSet(1), "0:new 1:new 2:new,deleted", ""},
		{"shrinks not while one is not ready", newSet(1), "0:new,unready 1:new", ""},
		{"shrinks by one that is not ready itself", newSet(1), "0:new 1:new 2:new,unready", "-web-2"},
		{"shrinks not above one that is not ready", newSet(1), "0:new 1:new,unready 2:new,unready", ""},
		{"shrinks at once in parallel", newSet(1, parallel), "0:new,unready 1:new 2:new", "-web-2 -web-1"},
		{"updates the highest first", newSet(3), "0:old 1:old 2:old", "-web-2"},
		{"updates the next", newSet(3), "0:old 1:old 2:new", "-web-1"},
		{"makes the updated one anew", newSet(3), "0:old 1:old", "+web-2/new"},
		{"updates none while one is not ready", newSet(3), "0:old 1:old 2:new,unready", ""},
		{"updates in parallel, one at a time", newSet(3, parallel), "0:old 1:old 2:old", "-web-2"},
		{"updates what does not work at once in parallel", newSet(3, parallel), "0:old,unready 1:old 2:old", "-web-0"},
		{"updates several", newSet(4, unavailable(intstr.FromInt32(2))), "0:old 1:old 2:old 3:old", "-web-3 -web-2"},
		{"updates several by percentage, rounded down", newSet(4, parallel, unavailable(intstr.FromString("70%"))), "0:old 1:old 2:old 3:new,unready", "-web-2"},
		{"leaves what is below the partition", newSet(3, partition(2)), "0:old 1:old 2:new", ""},
		{"makes what is below the partition of the old", newSet(3, partition(2)), "0:old 2:new", "+web-1/old"},
		{"a partition beyond all", newSet(2, partition(7)), "0:old 1:old", ""},
		{"on delete, updates none", newSet(2, onDelete), "0:old 1:old", ""},
		{"on delete, makes of the new", newSet(2, onDelete), "0:old", "+web-1/new"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := observed{set: tc.set, pods: pods(tc.set, tc.pods), settled: true, current: template{"old", &tc.set.Spec.Template}, update: template{"new", &tc.set.Spec.Template}}
			if got := summary(plan(o, now)); got != tc.want {
				t.Errorf("does %q, not %q", got, tc.want)
			}
			o.settled = false
			if got := summary(plan(o, now)); got != "" {
				t.Errorf("not settled, does %q", got)
			}
		})
	}
}

// claims of names as "data-web-0" or "data-web-0(owner)".
func claims(set *appsv1.StatefulSet, text string) map[string]*corev1.PersistentVolumeClaim {
	all := map[string]*corev1.PersistentVolumeClaim{}
	for _, word := range strings.Fields(text) {
		name, owner, _ := strings.Cut(strings.TrimSuffix(word, ")"), "(")
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}}
		switch {
		case owner == "deleted":
			c.DeletionTimestamp = &metav1.Time{Time: now}
		case owner == set.Name:
			c.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(set, kind)}
		case owner != "":
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: strings.TrimPrefix(owner, "former-"), UID: types.UID(owner)}}
			c.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(p, podKind)}
		}
		all[name] = c
	}
	return all
}

func TestPlanClaims(t *testing.T) {
	for _, tc := range []struct {
		name         string
		set          *appsv1.StatefulSet
		pods, claims string
		want         string
	}{
		{"made before the pod", newSet(1, withClaims("Retain", "Retain")), "", "", "+data-web-0 +web-0/new"},
		{"used again", newSet(1, withClaims("Retain", "Retain")), "", "data-web-0", "+web-0/new"},
		{"waited for to go", newSet(1, withClaims("Retain", "Retain")), "", "data-web-0(deleted)", ""},
		{"waited for to go with a former pod", newSet(1, withClaims("Retain", "Delete")), "", "data-web-0(former-web-0)", ""},
		{"made for a pod that waits for it", newSet(1, withClaims("Retain", "Retain")), "0:new,pending", "", "+data-web-0"},
		{"go with the set", newSet(1, withClaims("Delete", "Retain")), "0:new", "data-web-0", "~data-web-0(web)"},
		{"go with the set no longer", newSet(1, withClaims("Retain", "Retain")), "0:new", "data-web-0(web)", "~data-web-0"},
		{"kept when scaled", newSet(0, withClaims("Retain", "Retain")), "0:new", "data-web-0", "-web-0"},
		{"go when scaled", newSet(0, withClaims("Retain", "Delete")), "0:new", "data-web-0", "~data-web-0(web-0) -web-0"},
		{"go when scaled, and with the set", newSet(1, withClaims("Delete", "Delete")), "0:new 1:new", "data-web-0(web) data-web-1(web)", "~data-web-1(web-1) -web-1"},
		{"stay when scaled back in time", newSet(1, withClaims("Retain", "Delete")), "0:new,deleted", "data-web-0(web-0)", "~data-web-0"},
		{"another's is left", newSet(1, withClaims("Delete", "Delete")), "0:new", "data-web-0(operator)", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := observed{set: tc.set, pods: pods(tc.set, tc.pods), claims: claims(tc.set, tc.claims), settled: true,
				current: template{"old", &tc.set.Spec.Template}, update: template{"new", &tc.set.Spec.Template}}
			if got := summary(plan(o, now)); got != tc.want {
				t.Errorf("does %q, not %q", got, tc.want)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  *appsv1.StatefulSet
		pods string
		want appsv1.StatefulSetStatus
	}{
		{"halfway", newSet(3), "0:old 1:old,unready 2:new", appsv1.StatefulSetStatus{
			Replicas: 3, ReadyReplicas: 2, AvailableReplicas: 2, CurrentReplicas: 2, UpdatedReplicas: 1, CurrentRevision: "old", UpdateRevision: "new"}},
		{"one about to go", newSet(2), "0:old 1:old", appsv1.StatefulSetStatus{
			Replicas: 2, ReadyReplicas: 2, AvailableReplicas: 2, CurrentReplicas: 1, CurrentRevision: "old", UpdateRevision: "new"}},
		{"complete", newSet(2), "0:new 1:new", appsv1.StatefulSetStatus{
			Replicas: 2, ReadyReplicas: 2, AvailableReplicas: 2, CurrentReplicas: 2, UpdatedReplicas: 2, CurrentRevision: "new", UpdateRevision: "new"}},
		{"not yet available", newSet(1, func(s *appsv1.StatefulSet) { s.Spec.MinReadySeconds = 10 }), "0:new,young", appsv1.StatefulSetStatus{
			Replicas: 1, ReadyReplicas: 1, CurrentReplicas: 1, UpdatedReplicas: 1, CurrentRevision: "new", UpdateRevision: "new"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := observed{set: tc.set, pods: pods(tc.set, tc.pods), settled: true, current: template{"old", &tc.set.Spec.Template}, update: template{"new", &tc.set.Spec.Template}}
			a := plan(o, now)
			if diff := cmp.Diff(tc.want, a.status); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if tc.set.Spec.MinReadySeconds > 0 && a.after != 8*time.Second {
				t.Errorf("looks again after %v", a.after)
			}
		})
	}
}

func TestNewPod(t *testing.T) {
	set := newSet(1, withClaims("Retain", "Retain"))
	set.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data"}, {Name: "other"}}
	p := newPod(set, 7, template{"web-abc", &set.Spec.Template})
	want := map[string]string{"app": "web", "statefulset.kubernetes.io/pod-name": "web-7", "apps.kubernetes.io/pod-index": "7", "controller-revision-hash": "web-abc"}
	if diff := cmp.Diff(want, p.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if p.Name != "web-7" || p.GenerateName != "" || p.Spec.Hostname != "web-7" || p.Spec.Subdomain != "svc" {
		t.Errorf("pod is %+v", p)
	}
	if len(p.Spec.Volumes) != 2 || p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName != "data-web-7" || p.Spec.Volumes[1].Name != "other" {
		t.Errorf("volumes are %+v", p.Spec.Volumes)
	}
}

func TestOrdinalOf(t *testing.T) {
	for name, want := range map[string]int{"web-0": 0, "web-12": 12, "web-012": -1, "web-": -1, "web": -1, "web-a": -1, "web-1-1": -1, "webb-1": -1, "web--1": -1} {
		if got := ordinalOf(newSet(1), name); got != want {
			t.Errorf("%s has ordinal %d, not %d", name, got, want)
		}
	}
}
