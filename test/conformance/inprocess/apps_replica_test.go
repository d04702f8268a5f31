package inprocess

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestReplicas(t *testing.T) {
	e := cluster(t)
	parallel(t, []subtest{
		{"ReplicaSet replaced and patched", func(t *testing.T) {
			ns := e.settled(t)
			api := e.AppsV1().ReplicaSets(ns)
			must(api.Create(t.Context(), replicaSet("web", 1), metav1.CreateOptions{}))(t)
			e.awaitPods(t, ns, "web", 1)
			eventually(t, "the set is replaced", func(ctx context.Context) error {
				rs := must(api.Get(ctx, "web", metav1.GetOptions{}))(t)
				rs.Spec.Replicas = new(int32(2))
				_, err := api.Update(ctx, rs, metav1.UpdateOptions{})
				return err
			})
			e.awaitPods(t, ns, "web", 2)
			patch := `{"metadata":{"labels":{"patched":"yes"}},"spec":{"replicas":3,"template":{"spec":{"containers":[{"name":"main","image":"app:2"}]}}}}`
			rs := must(api.Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}))(t)
			if rs.Labels["patched"] != "yes" || *rs.Spec.Replicas != 3 || rs.Spec.Template.Spec.Containers[0].Image != "app:2" {
				t.Errorf("after the patch it is %+v", rs)
			}
			e.awaitPods(t, ns, "web", 3)
		}},
		{"ReplicationController lifecycle", func(t *testing.T) {
			ns := e.settled(t)
			api := e.CoreV1().ReplicationControllers(ns)
			rc := replicationController("web", 1)
			rc.Labels = map[string]string{"lifecycle": ns}
			must(api.Create(t.Context(), rc, metav1.CreateOptions{}))(t)
			e.awaitPods(t, ns, "web", 1)
			if rc := must(api.Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"patched":"yes"}}}`), metav1.PatchOptions{}))(t); rc.Labels["patched"] != "yes" {
				t.Errorf("after a patch its labels are %v", rc.Labels)
			}
			must(api.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"status":{"conditions":[{"type":"Tested","status":"True"}]}}`), metav1.PatchOptions{}, "status"))(t)
			if rc := must(api.Get(t.Context(), "web", metav1.GetOptions{}))(t); len(rc.Status.Conditions) != 1 || rc.Status.Conditions[0].Type != "Tested" {
				t.Errorf("after a patch of the status it is %+v", rc.Status)
			}
			must(api.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{}, "scale"))(t)
			e.awaitPods(t, ns, "web", 2)
			eventually(t, "the controller is updated", func(ctx context.Context) error {
				rc := must(api.Get(ctx, "web", metav1.GetOptions{}))(t)
				rc.Spec.Replicas = new(int32(1))
				_, err := api.Update(ctx, rc, metav1.UpdateOptions{})
				return err
			})
			e.awaitPods(t, ns, "web", 1)
			mine := metav1.ListOptions{LabelSelector: "lifecycle=" + ns}
			if n := len(must(e.CoreV1().ReplicationControllers("").List(t.Context(), mine))(t).Items); n != 1 {
				t.Errorf("%d are listed", n)
			}
			if err := api.DeleteCollection(t.Context(), metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}, mine); err != nil {
				t.Fatal(err)
			}
			if _, err := api.Get(t.Context(), "web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("after its deletion: %v", err)
			}
		}},
		{"ReplicationController over quota", func(t *testing.T) {
			ns := e.settled(t)
			quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "few"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}}}
			must(e.CoreV1().ResourceQuotas(ns).Create(t.Context(), quota, metav1.CreateOptions{}))(t)
			eventually(t, "the quota is in force", func(ctx context.Context) error {
				p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: templateOf("p").Spec}
				_, err := e.CoreV1().Pods(ns).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
				return lacks(err, "exceeded quota: few")
			})
			must(e.CoreV1().ResourceQuotas(ns).Patch(t.Context(), "few", types.MergePatchType, []byte(`{"spec":{"hard":{"pods":"2"}}}`), metav1.PatchOptions{}))(t)
			api := e.CoreV1().ReplicationControllers(ns)
			must(api.Create(t.Context(), replicationController("web", 3), metav1.CreateOptions{}))(t)
			failure := func(want bool) func(context.Context) error {
				return func(ctx context.Context) error {
					rc, err := api.Get(ctx, "web", metav1.GetOptions{})
					if err == nil && (rc.Status.ObservedGeneration != rc.Generation || rc.Status.Replicas != 2 || (len(rc.Status.Conditions) > 0) != want) {
						err = fmt.Errorf("its status is %+v", rc.Status)
					}
					return err
				}
			}
			eventually(t, "the failure is told", failure(true))
			must(api.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{}))(t)
			eventually(t, "the failure is gone", failure(false))
		}},
		{"Deployment lifecycle", func(t *testing.T) {
			ns := e.settled(t)
			api := e.AppsV1().Deployments(ns)
			must(api.Create(t.Context(), deployment("web", 2), metav1.CreateOptions{}))(t)
			e.awaitPods(t, ns, "web", 2)
			patch := `{"metadata":{"labels":{"lifecycle":"` + ns + `"}},"spec":{"replicas":1,"template":{"spec":{"containers":[{"name":"main","image":"app:2"}]}}}}`
			must(api.Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}))(t)
			eventually(t, "the patch is rolled out", rolledOut(api.Get, 1))
			for _, p := range e.awaitPods(t, ns, "web", 1) {
				if p.Spec.Containers[0].Image != "app:2" {
					t.Errorf("after the patch %s runs %s", p.Name, p.Spec.Containers[0].Image)
				}
			}
			must(api.Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{}))(t)
			eventually(t, "it is scaled", rolledOut(api.Get, 2))
			patched := must(api.Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(condition), metav1.PatchOptions{}, "status"))(t)
			found := false
			for _, c := range patched.Status.Conditions {
				found = found || c.Type == "Tested"
			}
			if !found {
				t.Errorf("after a patch of the status it is %+v", patched.Status)
			}
			if err := api.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "lifecycle=" + ns}); err != nil {
				t.Fatal(err)
			}
			e.awaitPods(t, ns, "web", 0)
		}},
		{"Deployment rollover", func(t *testing.T) {
			ns := e.settled(t)
			api := e.AppsV1().Deployments(ns)
			d := deployment("web", 3)
			must(api.Create(t.Context(), d, metav1.CreateOptions{}))(t)
			eventually(t, "it is rolled out", rolledOut(api.Get, 3))
			// The second change does not come up; the third replaces it before it has.
			image := func(image, ready string) {
				patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{%q:%q}},"spec":{"containers":[{"name":"main","image":%q}]}}}}`, simReady, ready, image)
				must(api.Patch(t.Context(), "web", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}))(t)
			}
			image("app:2", "false")
			eventually(t, "the change is begun", func(ctx context.Context) error {
				d, err := api.Get(ctx, "web", metav1.GetOptions{})
				if err == nil && d.Status.UpdatedReplicas == 0 {
					err = fmt.Errorf("its status is %+v", d.Status)
				}
				return err
			})
			image("app:3", "true")
			eventually(t, "the last change is rolled out", rolledOut(api.Get, 3))
			for _, p := range e.awaitPods(t, ns, "web", 3) {
				if p.Spec.Containers[0].Image != "app:3" {
					t.Errorf("%s runs %s", p.Name, p.Spec.Containers[0].Image)
				}
			}
			for _, rs := range must(e.AppsV1().ReplicaSets(ns).List(t.Context(), metav1.ListOptions{}))(t).Items {
				if image := rs.Spec.Template.Spec.Containers[0].Image; (*rs.Spec.Replicas == 3) != (image == "app:3") {
					t.Errorf("the replica set of %s has %d replicas", image, *rs.Spec.Replicas)
				}
			}
		}},
	})
}

// rolledOut checks that a deployment has all its replicas available and up to date.
func rolledOut(get func(context.Context, string, metav1.GetOptions) (*appsv1.Deployment, error), n int32) func(context.Context) error {
	return func(ctx context.Context) error {
		d, err := get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if s := d.Status; s.ObservedGeneration != d.Generation || s.Replicas != n || s.UpdatedReplicas != n || s.AvailableReplicas != n {
			return fmt.Errorf("its status is %+v", s)
		}
		return nil
	}
}
