package inprocess

import (
	"context"
	"errors"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

func TestDaemonSets(t *testing.T) {
	e := cluster(t) // of three nodes
	daemons := func(t *testing.T, ns string) {
		t.Helper()
		eventually(t, "all daemons are up to date", func(ctx context.Context) error {
			ds, err := e.AppsV1().DaemonSets(ns).Get(ctx, "agent", metav1.GetOptions{})
			if err == nil && (ds.Status.ObservedGeneration != ds.Generation || ds.Status.UpdatedNumberScheduled != 3 || ds.Status.NumberAvailable != 3) {
				err = fmt.Errorf("its status is %+v", ds.Status)
			}
			return err
		})
	}
	image := func(t *testing.T, ns, image string) {
		t.Helper()
		patch := fmt.Appendf(nil, `{"spec":{"template":{"spec":{"containers":[{"name":"main","image":%q}]}}}}`, image)
		must(e.AppsV1().DaemonSets(ns).Patch(t.Context(), "agent", types.StrategicMergePatchType, patch, metav1.PatchOptions{}))(t)
	}
	parallel(t, []subtest{
		{"a daemon that failed is replaced", func(t *testing.T) {
			ns := e.settled(t)
			must(e.AppsV1().DaemonSets(ns).Create(t.Context(), daemonSet("agent"), metav1.CreateOptions{}))(t)
			for name, p := range e.awaitPods(t, ns, "agent", 3) {
				eventually(t, "the failed daemon is gone", func(ctx context.Context) error {
					now, err := e.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
					if err != nil {
						if apierrors.IsNotFound(err) {
							return nil
						}
						return err
					}
					if now.Status.Phase != corev1.PodFailed { // the simulated node may write what it thinks over it
						_, err = e.CoreV1().Pods(ns).Patch(ctx, name, types.MergePatchType, []byte(`{"status":{"phase":"Failed"}}`), metav1.PatchOptions{}, "status")
					}
					return errors.Join(err, errors.New("it is there"))
				})
				for _, other := range e.awaitPods(t, ns, "agent", 3) {
					if other.UID == p.UID {
						t.Error("it is still there")
					}
				}
				break
			}
		}},
		{"rollback without restarts", func(t *testing.T) {
			ns := e.settled(t)
			must(e.AppsV1().DaemonSets(ns).Create(t.Context(), daemonSet("agent"), metav1.CreateOptions{}))(t)
			daemons(t, ns)
			before := e.awaitPods(t, ns, "agent", 3)
			patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{%q:"false"}}}}}`, simReady)
			must(e.AppsV1().DaemonSets(ns).Patch(t.Context(), "agent", types.StrategicMergePatchType, patch, metav1.PatchOptions{}))(t)
			eventually(t, "the update is stuck at its first daemon", func(ctx context.Context) error {
				ds, err := e.AppsV1().DaemonSets(ns).Get(ctx, "agent", metav1.GetOptions{})
				if err == nil && (ds.Status.UpdatedNumberScheduled != 1 || ds.Status.NumberAvailable != 2) {
					err = fmt.Errorf("its status is %+v", ds.Status)
				}
				return err
			})
			must(e.AppsV1().DaemonSets(ns).Patch(t.Context(), "agent", types.StrategicMergePatchType, fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{%q:null}}}}}`, simReady), metav1.PatchOptions{}))(t)
			daemons(t, ns)
			kept := 0
			for name, p := range e.awaitPods(t, ns, "agent", 3) {
				if was, found := before[name]; found && was.UID == p.UID {
					kept++
				}
			}
			if kept != 2 {
				t.Errorf("%d of the two daemons that had not been updated were kept", kept)
			}
		}},
		{"ControllerRevision lifecycle", func(t *testing.T) {
			ns := e.settled(t)
			ds := must(e.AppsV1().DaemonSets(ns).Create(t.Context(), daemonSet("agent"), metav1.CreateOptions{}))(t)
			daemons(t, ns)
			api := e.AppsV1().ControllerRevisions(ns)
			all := metav1.ListOptions{LabelSelector: "app=agent"}
			count := func(n int) []appsv1.ControllerRevision {
				t.Helper()
				var items []appsv1.ControllerRevision
				eventually(t, fmt.Sprintf("there are %d revisions", n), func(ctx context.Context) error {
					if items = must(api.List(ctx, all))(t).Items; len(items) != n {
						return fmt.Errorf("there are %d", len(items))
					}
					return nil
				})
				return items
			}
			first := count(1)[0]
			if got := must(api.Patch(t.Context(), first.Name, types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"patched":"yes"}}}`), metav1.PatchOptions{}))(t); got.Labels["patched"] != "yes" {
				t.Errorf("after a patch its labels are %v", got.Labels)
			}
			second := &appsv1.ControllerRevision{
				ObjectMeta: metav1.ObjectMeta{Name: first.Name + "x", Labels: map[string]string{"app": "agent"}, OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ds, appsv1.SchemeGroupVersion.WithKind("DaemonSet"))}},
				Data:       runtime.RawExtension{Raw: []byte(`{"spec":{}}`)}, Revision: 2,
			}
			must(api.Create(t.Context(), second, metav1.CreateOptions{}))(t)
			count(2)
			if err := api.Delete(t.Context(), first.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			// The controller makes the revision of the present template again.
			eventually(t, "the present template has a revision", func(ctx context.Context) error {
				got, err := api.Get(ctx, first.Name, metav1.GetOptions{})
				if err == nil && (got.UID == first.UID || got.Revision != 3) {
					err = fmt.Errorf("it is %+v", got)
				}
				return err
			})
			if err := api.Delete(t.Context(), second.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			count(1)
			eventually(t, "the revision is updated", func(ctx context.Context) error {
				got := must(api.Get(ctx, first.Name, metav1.GetOptions{}))(t)
				got.Labels["updated"] = "yes"
				_, err := api.Update(ctx, got, metav1.UpdateOptions{})
				return err
			})
			image(t, ns, "app:2")
			count(2)
			daemons(t, ns)
			if err := api.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "updated=yes"}); err != nil {
				t.Fatal(err)
			}
			if left := count(1)[0]; left.Revision != 4 && left.Revision != 3 {
				t.Errorf("the revision that is left is %d", left.Revision)
			}
		}},
	})
}
