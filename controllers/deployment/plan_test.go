package deployment

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

// world describes a deployment and its replica sets in brief.
type world struct {
	replicas           int32
	surge, unavailable string
	recreate, paused   bool
	history            int32
	deadline           int32
	// sets are "version spec/active/available[/desired]", the oldest first.
	sets    []string
	version string
	running []string
	// progressing is "Status Reason age".
	progressing string
	status      appsv1.DeploymentStatus
}

func templateOf(version string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "image:" + version}}},
	}
}

func (w world) observed(t *testing.T) observed {
	t.Helper()
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "d", Generation: 1, Annotations: map[string]string{"note": "copied"}},
		Spec: appsv1.DeploymentSpec{
			Replicas: &w.replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: templateOf(w.version),
			Paused:   w.paused,
		},
		Status: w.status,
	}
	if w.recreate {
		d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
	} else {
		surge, unavailable := intstr.Parse(w.surge), intstr.Parse(w.unavailable)
		d.Spec.Strategy.Type = appsv1.RollingUpdateDeploymentStrategyType
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable}
	}
	if w.deadline > 0 {
		d.Spec.ProgressDeadlineSeconds = &w.deadline
	}
	if w.history > 0 {
		limit := w.history - 1
		d.Spec.RevisionHistoryLimit = &limit
	}
	if f := strings.Fields(w.progressing); len(f) == 3 {
		age, err := time.ParseDuration(f[2])
		if err != nil {
			t.Fatal(err)
		}
		setCondition(&d.Status, newCondition(appsv1.DeploymentProgressing, corev1.ConditionStatus(f[0]), f[1], "", now.Add(-age)))
	}
	o := observed{deployment: d, running: map[types.UID]bool{}}
	for i, s := range w.sets {
		o.sets = append(o.sets, parseSet(t, d, s, i))
	}
	for _, v := range w.running {
		o.running[types.UID(v)] = true
	}
	return o
}

func parseSet(t *testing.T, d *appsv1.Deployment, s string, i int) *appsv1.ReplicaSet {
	t.Helper()
	var version string
	var spec, active, available int32
	desired := *d.Spec.Replicas
	s, unobserved := strings.CutSuffix(s, "?")
	n, err := fmt.Sscanf(strings.ReplaceAll(s, "/", " "), "%s %d %d %d %d", &version, &spec, &active, &available, &desired)
	if n < 4 {
		t.Fatalf("reading %q: %v", s, err)
	}
	of := d.DeepCopy()
	of.Spec.Template = templateOf(version)
	rs := newSet(of)
	rs.Name, rs.UID = version, types.UID(version)
	rs.CreationTimestamp = metav1.NewTime(now.Add(time.Duration(i-100) * time.Hour))
	rs.Spec.Replicas = &spec
	rs.Status = appsv1.ReplicaSetStatus{Replicas: active, ReadyReplicas: available, AvailableReplicas: available}
	rs.Annotations = map[string]string{"note": "copied", revisionAnnotation: fmt.Sprint(i + 1)}
	setReplicas(rs, desired, desired+maxSurge(d))
	if unobserved {
		rs.Generation = 1
	}
	return rs
}

// describe tells what is to be done, in short.
func describe(a actions) []string {
	var out []string
	if a.create != nil {
		out = append(out, fmt.Sprintf("create %d", *a.create.Spec.Replicas))
	}
	for _, c := range a.update {
		out = append(out, fmt.Sprintf("%s %d>%d", c.set.Name, c.from, *c.set.Spec.Replicas))
	}
	for _, rs := range a.remove {
		out = append(out, "remove "+rs.Name)
	}
	return out
}

func TestPlanScaling(t *testing.T) {
	for _, tc := range []struct {
		name string
		w    world
		want []string
	}{
		{"first rollout", world{replicas: 3, surge: "25%", unavailable: "25%", version: "a"}, []string{"create 3"}},
		{"none asked for", world{replicas: 0, surge: "1", unavailable: "0", version: "a"}, []string{"create 0"}},
		{"nothing to do", world{replicas: 3, surge: "1", unavailable: "0", version: "a", sets: []string{"a 3/3/3"}}, nil},
		{"new template starts with the surge", world{replicas: 10, surge: "3", unavailable: "0", version: "b", sets: []string{"a 10/10/10"}}, []string{"create 3"}},
		{"percentages: surge up, unavailable down", world{replicas: 10, surge: "25%", unavailable: "25%", version: "b", sets: []string{"a 10/10/10"}}, []string{"create 3", "a 10>8"}},
		{"no room to grow: shrink", world{replicas: 10, surge: "0", unavailable: "2", version: "b", sets: []string{"a 10/10/10", "b 0/0/0"}}, []string{"a 10>8"}},
		{"unavailable new pods are not counted on", world{replicas: 10, surge: "1", unavailable: "0", version: "b", sets: []string{"a 10/10/10", "b 1/1/0"}}, nil},
		{"an available new pod replaces an old one", world{replicas: 10, surge: "1", unavailable: "0", version: "b", sets: []string{"a 10/10/10", "b 1/1/1"}}, []string{"a 10>9"}},
		{"both bounds zero: one may be unavailable", world{replicas: 4, surge: "0", unavailable: "0", version: "b", sets: []string{"a 4/4/4", "b 0/0/0"}}, []string{"a 4>3"}},
		{"unhealthy old pods go first", world{replicas: 10, surge: "2", unavailable: "2", version: "b", sets: []string{"a 3/3/3", "c 4/4/1", "b 5/5/5"}}, []string{"a 3>2", "c 4>1"}},
		{"what an old set reports beyond its size is not there", world{replicas: 10, surge: "0", unavailable: "3", version: "b", sets: []string{"a 7/10/10", "b 3/3/3"}}, []string{"a 7>4"}},
		{"the oldest goes first", world{replicas: 6, surge: "2", unavailable: "0", version: "c", sets: []string{"a 3/3/3", "b 3/3/3", "c 2/2/2"}}, []string{"a 3>1"}},
		{"going back to an old template", world{replicas: 4, surge: "1", unavailable: "1", version: "a", sets: []string{"a 0/0/0", "b 4/4/4"}}, []string{"a 0>1"}},
		{"pods of an old set that are yet to go take room", world{replicas: 4, surge: "1", unavailable: "0", version: "b", sets: []string{"a 3/4/4", "b 1/1/1"}}, nil},
		{"new set too large", world{replicas: 4, surge: "1", unavailable: "1", version: "a", sets: []string{"a 6/6/6/4"}}, []string{"a 6>4"}},
		{"none grows while one has yet to observe its size", world{replicas: 4, surge: "1", unavailable: "0", version: "b", sets: []string{"a 3/3/3?", "b 1/1/1"}}, nil},
		{"a new one is made without pods meanwhile", world{replicas: 4, surge: "1", unavailable: "0", version: "b", sets: []string{"a 4/4/4?"}}, []string{"create 0"}},
		{"none shrinks for one that has yet to observe its size", world{replicas: 4, surge: "1", unavailable: "0", version: "b", sets: []string{"a 4/4/4", "b 1/1/1?"}}, nil},

		{"resize: one set takes it all", world{replicas: 8, surge: "1", unavailable: "0", version: "a", sets: []string{"a 3/3/3/3"}}, []string{"a 3>8"}},
		{"resize of one set in the midst of a paused rollout", world{replicas: 8, surge: "1", unavailable: "0", paused: true, version: "b", sets: []string{"a 3/3/3/3"}}, []string{"a 3>8"}},
		{"resize in the midst: proportionally up", world{replicas: 15, surge: "3", unavailable: "2", version: "b", sets: []string{"a 8/8/8/10", "b 5/5/0/10"}}, []string{"a 8>11", "b 5>7"}},
		{"resize in the midst: proportionally down", world{replicas: 5, surge: "1", unavailable: "1", version: "b", sets: []string{"a 8/8/8/10", "b 3/3/0/10"}}, []string{"a 8>4", "b 3>2"}},
		{"resize to zero", world{replicas: 0, surge: "1", unavailable: "1", version: "b", sets: []string{"a 8/8/8/10", "b 3/3/0/10"}}, []string{"a 8>0", "b 3>0"}},
		{"paused: nothing new is rolled out", world{replicas: 3, surge: "1", unavailable: "1", paused: true, version: "b", sets: []string{"a 3/3/3"}}, nil},

		{"recreate: down first", world{replicas: 3, recreate: true, version: "b", sets: []string{"a 3/3/3"}}, []string{"a 3>0"}},
		{"recreate: waits for counted pods", world{replicas: 3, recreate: true, version: "b", sets: []string{"a 0/1/0"}}, nil},
		{"recreate: waits for pods being deleted", world{replicas: 3, recreate: true, version: "b", sets: []string{"a 0/0/0"}, running: []string{"a"}}, nil},
		{"recreate: then all at once", world{replicas: 3, recreate: true, version: "b", sets: []string{"a 0/0/0"}}, []string{"create 3"}},
		{"recreate: going back", world{replicas: 3, recreate: true, version: "a", sets: []string{"a 0/0/0", "b 0/0/0"}}, []string{"a 0>3"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := tc.w.observed(t)
			before := o.deployment.DeepCopy()
			a := plan(o, now)
			if diff := cmp.Diff(tc.want, describe(a)); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, o.deployment); diff != "" {
				t.Errorf("the plan changed what it observed:\n%s", diff)
			}
		})
	}
}

// A rollout is played to its end, with sets that do at once as they are told,
// and sets that lag; the bounds hold at every step.
func TestPlanKeepsBounds(t *testing.T) {
	for _, tc := range []struct{ replicas, surge, unavailable int32 }{
		{1, 1, 0}, {1, 0, 1}, {5, 1, 0}, {5, 0, 2}, {7, 3, 2}, {10, 10, 10}, {20, 5, 0},
	} {
		for _, lag := range []int{0, 1, 3} {
			t.Run(fmt.Sprintf("%d +%d -%d lag %d", tc.replicas, tc.surge, tc.unavailable, lag), func(t *testing.T) {
				w := world{replicas: tc.replicas, surge: fmt.Sprint(tc.surge), unavailable: fmt.Sprint(tc.unavailable), version: "b",
					sets: []string{fmt.Sprintf("a %d/%d/%d", tc.replicas, tc.replicas, tc.replicas)}}
				o := w.observed(t)
				for step := range 500 {
					a := plan(o, now)
					o.deployment.Status = a.status
					follow(&o, a)
					// Sets catch up with their specs, some later than others.
					for i, rs := range o.sets {
						if (step+i)%(lag+1) == 0 {
							rs.Status = appsv1.ReplicaSetStatus{Replicas: *rs.Spec.Replicas, AvailableReplicas: *rs.Spec.Replicas}
						}
					}
					checkBounds(t, o, tc.replicas+tc.surge, tc.replicas-tc.unavailable)
					if complete(o.deployment, &a.status) {
						return
					}
				}
				t.Errorf("the rollout did not end: %+v", o.deployment.Status)
			})
		}
	}
}

func follow(o *observed, a actions) {
	if a.create != nil {
		a.create.UID, a.create.Name = "b", "b"
		a.create.CreationTimestamp = metav1.NewTime(now)
		o.sets = append(o.sets, a.create)
	}
	for _, c := range a.update {
		for i := range o.sets {
			if o.sets[i].UID == c.set.UID {
				o.sets[i] = c.set
			}
		}
	}
}

func checkBounds(t *testing.T, o observed, most, least int32) {
	t.Helper()
	if n := present(o.sets); n > most {
		t.Fatalf("%d replicas may be there, above %d", n, most)
	}
	// A pod is surely available if its set both wants and reports it.
	if n := dependable(o.sets); n < least {
		t.Fatalf("%d replicas are available, below %d", n, least)
	}
}

func TestPlanRevisions(t *testing.T) {
	o := world{replicas: 1, surge: "1", unavailable: "0", version: "a", sets: []string{"a 0/0/0", "b 1/1/1"}}.observed(t)
	a := plan(o, now)
	if a.revision != "3" {
		t.Errorf("the deployment's revision becomes %q, not 3", a.revision)
	}
	got := a.update[0].set.Annotations
	want := map[string]string{revisionAnnotation: "3", historyAnnotation: "1", desiredAnnotation: "1", maximumAnnotation: "2", "note": "copied"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("annotations of the set (-want +got):\n%s", diff)
	}
}

func TestPlanNewSet(t *testing.T) {
	o := world{replicas: 2, surge: "1", unavailable: "0", version: "a"}.observed(t)
	o.deployment.Annotations[corev1.LastAppliedConfigAnnotation] = "{}"
	a := plan(o, now)
	rs := a.create
	hash := rs.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	if rs.Name != "web-"+hash || rs.Spec.Selector.MatchLabels[appsv1.DefaultDeploymentUniqueLabelKey] != hash ||
		rs.Spec.Template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] != hash {
		t.Errorf("name %s, selector %v and template labels %v do not agree", rs.Name, rs.Spec.Selector.MatchLabels, rs.Spec.Template.Labels)
	}
	want := map[string]string{revisionAnnotation: "1", desiredAnnotation: "2", maximumAnnotation: "3", "note": "copied"}
	if diff := cmp.Diff(want, rs.Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if !metav1.IsControlledBy(rs, o.deployment) {
		t.Errorf("owners are %v", rs.OwnerReferences)
	}
	o.deployment.Status.CollisionCount = new(int32(1))
	if collided := newSet(o.deployment); collided.Name == rs.Name {
		t.Errorf("a collision does not change the hash %s", hash)
	}
}

func TestPlanCleanup(t *testing.T) {
	done := appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}
	for _, tc := range []struct {
		name  string
		keep  int32
		sets  []string
		state appsv1.DeploymentStatus
		want  []string
	}{
		{"the oldest go", 1, []string{"a 0/0/0", "b 0/0/0", "c 0/0/0", "d 1/1/1"}, done, []string{"remove a", "remove b"}},
		{"not while pods are left", 0, []string{"a 0/1/0", "b 0/0/0", "d 1/1/1"}, done, []string{"remove b"}},
		{"not during a rollout", 0, []string{"a 0/0/0", "d 1/1/1"}, appsv1.DeploymentStatus{}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := world{replicas: 1, surge: "1", unavailable: "0", version: "d", sets: tc.sets, history: tc.keep + 1, status: tc.state}
			if diff := cmp.Diff(tc.want, describe(plan(w.observed(t), now))); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanConditions(t *testing.T) {
	complete := appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2}
	for _, tc := range []struct {
		name                   string
		w                      world
		progressing, available string
		after                  time.Duration
	}{
		{"created", world{version: "a"}, "True NewReplicaSetCreated", "False MinimumReplicasUnavailable", 11 * time.Second},
		{"found", world{version: "a", sets: []string{"a 2/0/0"}}, "True FoundNewReplicaSet", "False MinimumReplicasUnavailable", 11 * time.Second},
		{"moves", world{version: "a", sets: []string{"a 2/1/0"}, progressing: "True NewReplicaSetCreated 5s"}, "True ReplicaSetUpdated", "False MinimumReplicasUnavailable", 11 * time.Second},
		{"stands still", world{version: "a", sets: []string{"a 2/2/1"}, progressing: "True ReplicaSetUpdated 5s",
			status: appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 1, AvailableReplicas: 1}},
			"True ReplicaSetUpdated", "False MinimumReplicasUnavailable", 6 * time.Second},
		{"timed out", world{version: "a", sets: []string{"a 2/2/1"}, progressing: "True ReplicaSetUpdated 11s",
			status: appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 1, AvailableReplicas: 1}},
			"False ProgressDeadlineExceeded", "False MinimumReplicasUnavailable", 0},
		{"moves again after having timed out", world{version: "a", sets: []string{"a 2/2/2"}, progressing: "False ProgressDeadlineExceeded 1h",
			status: appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 1, AvailableReplicas: 1}},
			"True NewReplicaSetAvailable", "True MinimumReplicasAvailable", 0},
		{"complete", world{version: "a", sets: []string{"a 2/2/2"}, status: complete}, "True NewReplicaSetAvailable", "True MinimumReplicasAvailable", 0},
		{"a pod lost later is no lack of progress", world{version: "a", sets: []string{"a 2/2/1"}, status: complete, progressing: "True NewReplicaSetAvailable 1h"},
			"True NewReplicaSetAvailable", "False MinimumReplicasUnavailable", 0},
		{"paused", world{version: "a", paused: true, sets: []string{"a 2/2/2"}, progressing: "True ReplicaSetUpdated 1h"}, "Unknown DeploymentPaused", "True MinimumReplicasAvailable", 0},
		{"resumed", world{version: "a", sets: []string{"a 2/2/1"}, progressing: "Unknown DeploymentPaused 1h",
			status: appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 1, AvailableReplicas: 1}},
			"Unknown DeploymentResumed", "False MinimumReplicasUnavailable", 11 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.w.replicas, tc.w.surge, tc.w.unavailable, tc.w.deadline = 2, "1", "0", 10
			a := plan(tc.w.observed(t), now)
			for kind, want := range map[appsv1.DeploymentConditionType]string{
				appsv1.DeploymentProgressing: tc.progressing, appsv1.DeploymentAvailable: tc.available,
			} {
				c := condition(&a.status, kind)
				if c == nil {
					t.Fatalf("no condition %s", kind)
				}
				if got := string(c.Status) + " " + c.Reason; got != want {
					t.Errorf("%s is %q, not %q", kind, got, want)
				}
			}
			if a.after != tc.after {
				t.Errorf("looks again after %v, not %v", a.after, tc.after)
			}
		})
	}
}

func TestPlanReplicaFailure(t *testing.T) {
	o := world{replicas: 1, surge: "1", unavailable: "0", version: "a", sets: []string{"a 1/0/0"}}.observed(t)
	o.sets[0].Status.Conditions = []appsv1.ReplicaSetCondition{{Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: "quota"}}
	st := plan(o, now).status
	if c := condition(&st, appsv1.DeploymentReplicaFailure); c == nil || c.Reason != "FailedCreate" || c.Message != "quota" {
		t.Errorf("ReplicaFailure is %v", c)
	}
	o.sets[0].Status.Conditions = nil
	o.deployment.Status = st
	st = plan(o, now).status
	if c := condition(&st, appsv1.DeploymentReplicaFailure); c != nil {
		t.Errorf("ReplicaFailure stays: %v", c)
	}
}

func TestExtendHistory(t *testing.T) {
	if got := extendHistory("", "1"); got != "1" {
		t.Errorf("first: %s", got)
	}
	if got := extendHistory("1,2", "3"); got != "1,2,3" {
		t.Errorf("third: %s", got)
	}
	long := strings.Repeat("1234567,", 249) + "1234567"
	got := extendHistory(long, "7654321")
	if len(got) > historyLimit || !strings.HasSuffix(got, ",7654321") {
		t.Errorf("%d characters, ending in %s", len(got), got[len(got)-10:])
	}
}
