package inprocess

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

func TestStatefulSets(t *testing.T) {
	e := cluster(t)
	scale := func(t *testing.T, ns string, n int) {
		t.Helper()
		must(e.AppsV1().StatefulSets(ns).Patch(t.Context(), "web", types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), metav1.PatchOptions{}))(t)
	}
	// observed waits until the controller has acted upon the newest specification.
	observed := func(t *testing.T, ns string, check func(*appsv1.StatefulSet) bool) {
		t.Helper()
		eventually(t, "the status is as expected", func(ctx context.Context) error {
			s, err := e.AppsV1().StatefulSets(ns).Get(ctx, "web", metav1.GetOptions{})
			if err == nil && (s.Status.ObservedGeneration != s.Generation || !check(s)) {
				err = fmt.Errorf("it is %+v", s.Status)
			}
			return err
		})
	}
	parallel(t, []subtest{
		{"scaling in order", func(t *testing.T) {
			ns := e.settled(t)
			w := must(e.CoreV1().Pods(ns).Watch(t.Context(), metav1.ListOptions{LabelSelector: "app=web"}))(t)
			defer w.Stop()
			set := statefulSet("web", 3)
			set.Spec.PodManagementPolicy = appsv1.OrderedReadyPodManagement
			must(e.AppsV1().StatefulSets(ns).Create(t.Context(), set, metav1.CreateOptions{}))(t)
			for i := range 3 {
				if ev := nextOf(t, w, watch.Added); ev != fmt.Sprint("web-", i) {
					t.Errorf("pod %d to be made is %s", i, ev)
				}
			}
			e.awaitPods(t, ns, "web", 3)
			unready := func(is bool, pods ...string) {
				for _, name := range pods {
					e.setReady(t, ns, name, !is)
				}
			}
			unready(true, "web-0", "web-1", "web-2")
			scale(t, ns, 0)
			observed(t, ns, func(s *appsv1.StatefulSet) bool { return s.Status.Replicas == 3 && s.Status.ReadyReplicas == 0 })
			// Each goes as soon as it may, so that it may not be seen ready again.
			for i := range 3 {
				patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"true"}}}`, simReady)
				if _, err := e.CoreV1().Pods(ns).Patch(t.Context(), fmt.Sprint("web-", i), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil && !apierrors.IsNotFound(err) {
					t.Fatal(err)
				}
			}
			for i := 2; i >= 0; i-- {
				if ev := nextOf(t, w, watch.Deleted); ev != fmt.Sprint("web-", i) {
					t.Errorf("pod %d to go is %s", i, ev)
				}
			}
			// It grows no more while the first is not ready.
			scale(t, ns, 1)
			e.awaitPods(t, ns, "web", 1)
			unready(true, "web-0")
			scale(t, ns, 2)
			observed(t, ns, func(s *appsv1.StatefulSet) bool { return s.Status.Replicas == 1 && s.Status.ReadyReplicas == 0 })
			unready(false, "web-0")
			e.awaitPods(t, ns, "web", 2)
		}},
		{"burst scaling", func(t *testing.T) {
			ns := e.settled(t)
			set := statefulSet("web", 1)
			set.Spec.PodManagementPolicy = appsv1.ParallelPodManagement
			set.Spec.Template.Annotations = map[string]string{simReady: "false"}
			must(e.AppsV1().StatefulSets(ns).Create(t.Context(), set, metav1.CreateOptions{}))(t)
			scale(t, ns, 3)
			observed(t, ns, func(s *appsv1.StatefulSet) bool { return s.Status.Replicas == 3 && s.Status.ReadyReplicas == 0 })
			if got := names(must(e.pods(t.Context(), ns, "web"))(t)); got != "web-0 web-1 web-2" {
				t.Errorf("the pods are %s", got)
			}
			scale(t, ns, 0)
			observed(t, ns, func(s *appsv1.StatefulSet) bool { return s.Status.Replicas == 0 })
		}},
		{"rolling update and back", func(t *testing.T) {
			ns := e.settled(t)
			api := e.AppsV1().StatefulSets(ns)
			must(api.Create(t.Context(), statefulSet("web", 3), metav1.CreateOptions{}))(t)
			done := func(s *appsv1.StatefulSet) bool {
				return s.Status.UpdatedReplicas == 3 && s.Status.AvailableReplicas == 3 && s.Status.CurrentRevision == s.Status.UpdateRevision
			}
			observed(t, ns, done)
			first := must(api.Get(t.Context(), "web", metav1.GetOptions{}))(t).Status.CurrentRevision
			image := func(image string) {
				must(api.Patch(t.Context(), "web", types.StrategicMergePatchType, fmt.Appendf(nil, `{"spec":{"template":{"spec":{"containers":[{"name":"main","image":%q}]}}}}`, image), metav1.PatchOptions{}))(t)
				observed(t, ns, done)
				for name, p := range e.awaitPods(t, ns, "web", 3) {
					if p.Spec.Containers[0].Image != image {
						t.Errorf("%s runs %s", name, p.Spec.Containers[0].Image)
					}
				}
			}
			image("app:2")
			if got := must(api.Get(t.Context(), "web", metav1.GetOptions{}))(t).Status.CurrentRevision; got == first {
				t.Errorf("the revision is %s still", got)
			}
			image("app:1")
			if got := must(api.Get(t.Context(), "web", metav1.GetOptions{}))(t).Status.CurrentRevision; got != first {
				t.Errorf("back at the first template the revision is %s, not %s", got, first)
			}
			if n := len(must(e.AppsV1().ControllerRevisions(ns).List(t.Context(), metav1.ListOptions{}))(t).Items); n != 2 {
				t.Errorf("there are %d revisions", n)
			}
		}},
	})
}

// nextOf is the name of the next object of which the watch sees the given event.
func nextOf(t *testing.T, w watch.Interface, kind watch.EventType) string {
	t.Helper()
	for {
		if ev := next(t, w); ev.Type == kind {
			return ev.Object.(metav1.Object).GetName()
		}
	}
}
