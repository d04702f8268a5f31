package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

func deployment(name string, replicas int32, change ...func(*appsv1.Deployment)) *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			Template: template("app", name),
		},
	}
	for _, f := range change {
		f(d)
	}
	return d
}

func rollingUpdate(surge, unavailable intstr.IntOrString) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		d.Spec.Strategy = appsv1.DeploymentStrategy{
			Type:          appsv1.RollingUpdateDeploymentStrategyType,
			RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable},
		}
	}
}

func (e *env) waitDeployment(name string, replicas int32) *appsv1.Deployment {
	e.t.Helper()
	d := &appsv1.Deployment{}
	e.eventually(fmt.Sprintf("deployment %s is rolled out with %d pods", name, replicas), func() error {
		e.get(name, d)
		st := d.Status
		return errors.Join(expect("replicas", st.Replicas, replicas), expect("updated", st.UpdatedReplicas, replicas),
			expect("available", st.AvailableReplicas, replicas), expect("observedGeneration", st.ObservedGeneration, d.Generation))
	}, &appsv1.DeploymentList{})
	return d
}

func condition(d *appsv1.Deployment, t appsv1.DeploymentConditionType) string {
	for _, c := range d.Status.Conditions {
		if c.Type == t {
			return string(c.Status) + " " + c.Reason
		}
	}
	return ""
}

// observer follows the pods of a deployment and notes when a bound is passed.
type observer struct {
	mu       sync.Mutex
	pods     map[types.UID]*corev1.Pod
	most     int // active pods
	least    int // available pods, once there have been as many
	reached  bool
	problems []string
}

func (e *env) observe(most, least int) *observer {
	o := &observer{pods: map[types.UID]*corev1.Pod{}, most: most, least: least}
	e.onChange(e.t.Context(), &corev1.PodList{}, func(ev watch.Event) {
		p, ok := ev.Object.(*corev1.Pod)
		if !ok {
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.pods[p.UID] = p
		if ev.Type == watch.Deleted {
			delete(o.pods, p.UID)
		}
		o.check()
	})
	return o
}

func (o *observer) check() {
	active, ready := 0, 0
	for _, p := range o.pods {
		if podstatus.Active(p) {
			active++
			if podstatus.Ready(p) {
				ready++
			}
		}
	}
	if active > o.most {
		o.problems = append(o.problems, fmt.Sprintf("%d active pods, above %d", active, o.most))
	}
	o.reached = o.reached || ready >= o.least
	if o.reached && ready < o.least {
		o.problems = append(o.problems, fmt.Sprintf("%d ready pods, below %d", ready, o.least))
	}
}

func (o *observer) verify(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.problems {
		t.Error(p)
	}
}

func TestDeploymentRollsOut(t *testing.T) {
	for _, tc := range []struct {
		surge, unavailable intstr.IntOrString
		most, least        int
	}{
		{intstr.FromInt32(1), intstr.FromInt32(0), 11, 10},
		{intstr.FromInt32(0), intstr.FromInt32(3), 10, 7},
		{intstr.FromString("25%"), intstr.FromString("25%"), 13, 8},
	} {
		t.Run(fmt.Sprintf("surge %s, unavailable %s", tc.surge.String(), tc.unavailable.String()), func(t *testing.T) {
			e := start(t, "replicaset-controller", "deployment-controller")
			e.kubelet()
			d := deployment("web", 10, rollingUpdate(tc.surge, tc.unavailable))
			e.create(d)
			e.waitDeployment("web", 10)
			o := e.observe(tc.most, tc.least)
			for i := range 3 {
				e.patch(d, fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"v":"%d"}}}}}`, i))
				d = e.waitDeployment("web", 10)
				if want := fmt.Sprint(i + 2); d.Annotations["deployment.kubernetes.io/revision"] != want {
					t.Errorf("revision is %q, not %s", d.Annotations["deployment.kubernetes.io/revision"], want)
				}
			}
			o.verify(t)
		})
	}
}

func TestDeploymentLifecycle(t *testing.T) {
	e := start(t, "replicaset-controller", "deployment-controller")
	e.kubelet()
	d := deployment("web", 3)
	e.create(d)
	d = e.waitDeployment("web", 3)
	e.eventually("conditions say that it is complete", func() error {
		e.get("web", d)
		return errors.Join(
			expect("Available", condition(d, appsv1.DeploymentAvailable), "True MinimumReplicasAvailable"),
			expect("Progressing", condition(d, appsv1.DeploymentProgressing), "True NewReplicaSetAvailable"))
	}, &appsv1.DeploymentList{})

	sets := func() (names, revisions []string) {
		var list appsv1.ReplicaSetList
		if err := e.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(list.Items, func(a, b appsv1.ReplicaSet) int { return strings.Compare(a.Name, b.Name) })
		for _, rs := range list.Items {
			names = append(names, rs.Name)
			revisions = append(revisions, rs.Annotations["deployment.kubernetes.io/revision"])
		}
		return names, revisions
	}

	t.Run("an event tells of the first scaling", func(t *testing.T) {
		names, _ := sets()
		e.eventually("there is an event", func() error {
			if want := "ScalingReplicaSet: Scaled up replica set " + names[0] + " from 0 to 3"; !strings.Contains(e.events(), want) {
				return errors.New("no event " + want)
			}
			return nil
		}, &corev1.EventList{})
	})
	t.Run("going back to a template takes its replica set up again", func(t *testing.T) {
		e.patch(d, `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"image:2"}]}}}}`)
		e.waitDeployment("web", 3)
		e.patch(d, `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"image:1"}]}}}}`)
		d = e.waitDeployment("web", 3)
		names, revisions := sets()
		if len(names) != 2 || !slices.Contains(revisions, "3") || !slices.Contains(revisions, "2") {
			t.Errorf("replica sets %v have revisions %v, want two with 2 and 3", names, revisions)
		}
		if d.Annotations["deployment.kubernetes.io/revision"] != "3" {
			t.Errorf("revision is %s, not 3", d.Annotations["deployment.kubernetes.io/revision"])
		}
	})
	t.Run("a change while paused is rolled out on resuming", func(t *testing.T) {
		e.patch(d, `{"spec":{"paused":true,"template":{"spec":{"containers":[{"name":"c","image":"image:3"}]}}}}`)
		e.eventually("it is known to be paused", func() error {
			e.get("web", d)
			return errors.Join(expect("Progressing", condition(d, appsv1.DeploymentProgressing), "Unknown DeploymentPaused"),
				expect("updated", d.Status.UpdatedReplicas, int32(0)))
		}, &appsv1.DeploymentList{})
		if names, _ := sets(); len(names) != 2 {
			t.Errorf("replica sets %v, want no third one", names)
		}
		e.patch(d, `{"spec":{"paused":false}}`)
		e.waitDeployment("web", 3)
		if names, _ := sets(); len(names) != 3 {
			t.Errorf("replica sets %v, want three", names)
		}
	})
	t.Run("old revisions are removed", func(t *testing.T) {
		e.patch(d, `{"spec":{"revisionHistoryLimit":0}}`)
		e.eventually("one replica set is left", func() error {
			names, _ := sets()
			return expect("replica sets", len(names), 1)
		}, &appsv1.ReplicaSetList{})
	})
	t.Run("a rollout that stands still is called timed out", func(t *testing.T) {
		e.patch(d, `{"spec":{"progressDeadlineSeconds":1,"template":{"metadata":{"labels":{"broken":"yes"}}}}}`)
		e.eventually("the deadline passes", func() error {
			e.get("web", d)
			return errors.Join(
				expect("Progressing", condition(d, appsv1.DeploymentProgressing), "False ProgressDeadlineExceeded"),
				expect("Available", condition(d, appsv1.DeploymentAvailable), "True MinimumReplicasAvailable"))
		}, &appsv1.DeploymentList{})
	})
}

func TestDeploymentRecreate(t *testing.T) {
	e := start(t, "replicaset-controller", "deployment-controller")
	e.kubelet()
	d := deployment("web", 4, func(d *appsv1.Deployment) {
		d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
	})
	e.create(d)
	e.waitDeployment("web", 4)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	versions := map[types.UID]string{}
	e.onChange(ctx, &corev1.PodList{}, func(ev watch.Event) {
		p, ok := ev.Object.(*corev1.Pod)
		if !ok {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		versions[p.UID] = p.Labels["pod-template-hash"]
		if ev.Type == watch.Deleted {
			delete(versions, p.UID)
		}
		seen := map[string]bool{}
		for _, v := range versions {
			seen[v] = true
		}
		if len(seen) > 1 {
			t.Errorf("pods of %d templates at once", len(seen))
		}
	})
	// One pod takes its time to go.
	slow := e.pods("app", "web")[0]
	e.patch(&slow, `{"metadata":{"finalizers":["example.com/slow"]}}`)
	e.patch(d, `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"image:2"}]}}}}`)
	e.eventually("only the slow pod is left", func() error { return expect("pods", len(e.pods("app", "web")), 1) }, &corev1.PodList{})
	time.Sleep(200 * time.Millisecond) // in which nothing may be created
	if pods := e.pods("app", "web"); len(pods) != 1 {
		t.Errorf("%d pods while an old one still runs, want 1", len(pods))
	}
	e.patch(&slow, `{"metadata":{"finalizers":null}}`)
	e.waitDeployment("web", 4)
	cancel()
}

func TestDeploymentScalesProportionally(t *testing.T) {
	e := start(t, "replicaset-controller", "deployment-controller")
	e.kubelet()
	d := deployment("web", 10, rollingUpdate(intstr.FromInt32(3), intstr.FromInt32(2)))
	e.create(d)
	e.waitDeployment("web", 10)
	e.patch(d, `{"spec":{"template":{"metadata":{"labels":{"broken":"yes"}}}}}`)
	sizes := func(want ...int32) {
		t.Helper()
		e.eventually(fmt.Sprintf("replica sets have sizes %v", want), func() error {
			var list appsv1.ReplicaSetList
			if err := e.List(t.Context(), &list); err != nil {
				return err
			}
			var got []int32
			for _, rs := range list.Items {
				got = append(got, *rs.Spec.Replicas)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				return fmt.Errorf("they are %v", got)
			}
			return nil
		}, &appsv1.ReplicaSetList{})
	}
	sizes(5, 8)
	e.patch(d, `{"spec":{"replicas":30}}`)
	// 13 pods become 33: the old set of 8 gets 20.3, the new one of 5 the rest.
	sizes(13, 20)
}

func TestDeploymentManyPods(t *testing.T) {
	e := start(t, "replicaset-controller", "deployment-controller")
	e.kubelet()
	began := time.Now()
	e.create(deployment("web", 1000))
	e.waitDeployment("web", 1000)
	t.Logf("0 to 1,000 pods in %v", time.Since(began).Round(time.Millisecond))
	if n := len(e.pods("app", "web")); n != 1000 {
		t.Errorf("%d pods, want 1,000", n)
	}
}
