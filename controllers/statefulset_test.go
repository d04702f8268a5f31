package controllers_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func statefulSet(name string, replicas int32) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: name},
		Spec: appsv1.StatefulSetSpec{
			Replicas:    &replicas,
			ServiceName: name,
			Selector:    &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			Template:    template("app", name),
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{
				ObjectMeta: metav1.ObjectMeta{Name: "data"},
				Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
				},
			}},
		},
	}
}

func (e *env) waitStatefulSet(name string, replicas int32) *appsv1.StatefulSet {
	e.t.Helper()
	set := &appsv1.StatefulSet{}
	e.eventually(fmt.Sprintf("stateful set %s has %d up-to-date pods", name, replicas), func() error {
		e.get(name, set)
		st := set.Status
		return errors.Join(expect("observedGeneration", st.ObservedGeneration, set.Generation),
			expect("replicas", st.Replicas, replicas), expect("available", st.AvailableReplicas, replicas),
			expect("current", st.CurrentReplicas, replicas), expect("updated", st.UpdatedReplicas, replicas),
			expect("the current revision", st.CurrentRevision, st.UpdateRevision))
	}, &appsv1.StatefulSetList{})
	return set
}

func (e *env) claims() []string {
	e.t.Helper()
	var list corev1.PersistentVolumeClaimList
	if err := e.List(e.t.Context(), &list, client.InNamespace(e.ns)); err != nil {
		e.t.Fatalf("listing claims: %v", err)
	}
	var names []string
	for _, c := range list.Items {
		if c.DeletionTimestamp == nil {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (e *env) podNames(app string) string {
	var names []string
	for _, p := range e.pods("app", app) {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestStatefulSet(t *testing.T) {
	e := start(t, "statefulset-controller", "garbage-collector-controller")
	e.kubelet()
	set := statefulSet("web", 3)
	e.create(set)
	e.waitStatefulSet("web", 3)
	if got, claims := e.podNames("web"), fmt.Sprint(e.claims()); got != "web-0 web-1 web-2" || claims != "[data-web-0 data-web-1 data-web-2]" {
		t.Errorf("pods are %s, claims are %s", got, claims)
	}

	t.Run("a deleted pod returns with its name and claim", func(t *testing.T) {
		p := &corev1.Pod{}
		e.get("web-1", p)
		was := p.UID
		e.delete(p)
		e.eventually("the pod is back", func() error {
			err := e.Get(t.Context(), client.ObjectKeyFromObject(p), p)
			if err == nil && p.UID == was {
				return fmt.Errorf("it is the old one")
			}
			return err
		}, &corev1.PodList{})
		e.waitStatefulSet("web", 3)
		e.get("web-1", p)
		if got := p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName; got != "data-web-1" {
			t.Errorf("the claim is %s", got)
		}
	})
	t.Run("a pod that failed is replaced", func(t *testing.T) {
		p := &corev1.Pod{}
		e.get("web-2", p)
		was := p.UID
		if err := e.Status().Patch(t.Context(), p, client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"Failed"}}`))); err != nil {
			t.Fatal(err)
		}
		e.eventually("the pod is another", func() error {
			if err := e.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil || p.UID == was {
				return fmt.Errorf("uid %s, error %v", p.UID, err)
			}
			return nil
		}, &corev1.PodList{})
		e.waitStatefulSet("web", 3)
	})
	t.Run("rolls up to the partition, then all, and keeps history", func(t *testing.T) {
		e.patch(set, `{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}},"template":{"spec":{"containers":[{"name":"c","image":"image:2"}]}}}}`)
		e.eventually("one is updated", func() error {
			e.get("web", set)
			return errors.Join(expect("updated", set.Status.UpdatedReplicas, int32(1)), expect("available", set.Status.AvailableReplicas, int32(3)))
		}, &appsv1.StatefulSetList{})
		p := &corev1.Pod{}
		e.get("web-2", p)
		if p.Spec.Containers[0].Image != "image:2" {
			t.Errorf("web-2 runs %s", p.Spec.Containers[0].Image)
		}
		e.get("web-0", p)
		e.delete(p)
		e.eventually("web-0 is made of the old template", func() error {
			if err := e.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
				return err
			}
			e.get("web", set)
			return errors.Join(expect("image", p.Spec.Containers[0].Image, "image:1"), expect("available", set.Status.AvailableReplicas, int32(3)))
		}, &corev1.PodList{}, &appsv1.StatefulSetList{})
		e.patch(set, `{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}`)
		e.waitStatefulSet("web", 3)
		var revisions appsv1.ControllerRevisionList
		if err := e.List(t.Context(), &revisions, client.InNamespace(e.ns)); err != nil || len(revisions.Items) != 2 {
			t.Errorf("%d revisions, error %v", len(revisions.Items), err)
		}
	})
	t.Run("claims stay after scaling down, or go", func(t *testing.T) {
		e.patch(set, `{"spec":{"replicas":2}}`)
		e.waitStatefulSet("web", 2)
		if got := fmt.Sprint(e.claims()); got != "[data-web-0 data-web-1 data-web-2]" {
			t.Errorf("claims are %s", got)
		}
		e.patch(set, `{"spec":{"replicas":1,"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Delete","whenDeleted":"Retain"}}}`)
		e.waitStatefulSet("web", 1)
		e.eventually("the claim went with its pod", func() error {
			return expect("claims", fmt.Sprint(e.claims()), "[data-web-0 data-web-2]")
		}, &corev1.PersistentVolumeClaimList{})
		e.patch(set, `{"spec":{"replicas":2}}`)
		e.waitStatefulSet("web", 2)
	})
	t.Run("goes with its pods, and the claims if told", func(t *testing.T) {
		e.patch(set, `{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Retain","whenDeleted":"Delete"}}}`)
		e.eventually("the claims have the set as owner", func() error {
			c := &corev1.PersistentVolumeClaim{}
			e.get("data-web-1", c)
			return expect("owners", len(c.OwnerReferences), 1)
		}, &corev1.PersistentVolumeClaimList{})
		e.delete(set)
		e.eventually("all is gone but the claim of no pod", func() error {
			return errors.Join(expect("pods", e.podNames("web"), ""), expect("claims", fmt.Sprint(e.claims()), "[data-web-2]"))
		}, &corev1.PodList{}, &corev1.PersistentVolumeClaimList{})
	})
}

// In order, a pod is not made before the one below it is ready; what is in the
// way of a pod's name is told.
func TestStatefulSetWaits(t *testing.T) {
	e := start(t, "statefulset-controller")
	e.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "db-0", Labels: map[string]string{"in": "theway"}}, Spec: template().Spec})
	set := statefulSet("db", 2)
	e.create(set)
	e.eventually("an event tells what is in the way", func() error {
		var list corev1.EventList
		if err := e.List(t.Context(), &list, client.InNamespace(e.ns)); err != nil {
			return err
		}
		for _, ev := range list.Items {
			if ev.Reason == "FailedCreate" && strings.HasPrefix(ev.Message, "create Pod db-0 in StatefulSet db failed error: pods \"db-0\" already exists") {
				return nil
			}
		}
		return errors.New("no such event")
	}, &corev1.EventList{})
	e.delete(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "db-0"}}, client.GracePeriodSeconds(0))
	e.eventually("the first pod is made, and no other", func() error {
		e.get("db", set)
		p := &corev1.Pod{}
		if err := e.Get(t.Context(), client.ObjectKey{Namespace: e.ns, Name: "db-0"}, p); err != nil || !metav1.IsControlledBy(p, set) {
			return fmt.Errorf("not controlled, error %v", err)
		}
		return expect("replicas", set.Status.Replicas, int32(1))
	}, &corev1.PodList{}, &appsv1.StatefulSetList{})
	if err := e.Get(t.Context(), client.ObjectKey{Namespace: e.ns, Name: "db-1"}, &corev1.Pod{}); !apierrors.IsNotFound(err) {
		t.Errorf("db-1 exists though db-0 is not ready: %v", err)
	}
	e.kubelet()
	e.waitStatefulSet("db", 2)
}
