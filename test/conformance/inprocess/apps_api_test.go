package inprocess

import (
	"context"
	"fmt"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	podTemplate = `{metadata: {labels: {app: tested}}, spec: {containers: [{name: main, image: "app:1"}]}}`
	jobTemplate = `{spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: "app:1"}]}}}}`
	selecting   = `selector: {matchLabels: {app: tested}}, template: ` + podTemplate
)

// workloadOperations are the resources of workloads, tried in a cluster whose controllers write them too.
var workloadOperations = []operation{
	{
		name: "CronJob", group: "batch", version: "v1", resource: "cronjobs", subresources: []string{"status"},
		object: `{spec: {schedule: "0 0 1 1 *", jobTemplate: ` + jobTemplate + `}}`,
	},
	{
		name: "DaemonSet", group: "apps", version: "v1", resource: "daemonsets", subresources: []string{"status"},
		object: `{spec: {` + selecting + `}}`, status: condition,
	},
	{
		name: "Deployment", group: "apps", version: "v1", resource: "deployments", subresources: []string{"status"},
		object: `{spec: {replicas: 1, ` + selecting + `}}`, status: condition,
	},
	{
		name: "ReplicaSet", group: "apps", version: "v1", resource: "replicasets", subresources: []string{"status"},
		object: `{spec: {replicas: 1, ` + selecting + `}}`, status: condition,
	},
	{
		name: "StatefulSet", group: "apps", version: "v1", resource: "statefulsets", subresources: []string{"status"},
		object: `{spec: {replicas: 1, serviceName: tested, ` + selecting + `}}`, status: condition,
	},
	{
		name: "PodDisruptionBudget", group: "policy", version: "v1", resource: "poddisruptionbudgets", subresources: []string{"status"},
		object: `{spec: {minAvailable: 1, selector: {matchLabels: {app: none}}}}`, status: condition,
	},
}

func TestWorkloadOperations(t *testing.T) {
	e := cluster(t)
	for _, o := range workloadOperations {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			e.operate(t, o, e.settled(t))
		})
	}
}

// scaled is the scale subresource of one object.
type scaled struct {
	get    func(context.Context, string, metav1.GetOptions) (*autoscalingv1.Scale, error)
	update func(context.Context, string, *autoscalingv1.Scale, metav1.UpdateOptions) (*autoscalingv1.Scale, error)
	patch  func(context.Context, []byte) error
}

// TestScale reads, updates and patches the scale of each kind that has one.
func TestScale(t *testing.T) {
	e := cluster(t)
	parallel(t, []subtest{
		{"Deployment", func(t *testing.T) {
			ns := e.settled(t)
			api := e.AppsV1().Deployments(ns)
			must(api.Create(t.Context(), deployment("web", 1), metav1.CreateOptions{}))(t)
			rescale(t, "web", scaled{api.GetScale, api.UpdateScale, func(ctx context.Context, patch []byte) error {
				_, err := api.Patch(ctx, "web", types.MergePatchType, patch, metav1.PatchOptions{}, "scale")
				return err
			}})
		}},
		{"ReplicaSet", func(t *testing.T) {
			ns := e.settled(t)
			api := e.AppsV1().ReplicaSets(ns)
			must(api.Create(t.Context(), replicaSet("web", 1), metav1.CreateOptions{}))(t)
			rescale(t, "web", scaled{api.GetScale, api.UpdateScale, func(ctx context.Context, patch []byte) error {
				_, err := api.Patch(ctx, "web", types.MergePatchType, patch, metav1.PatchOptions{}, "scale")
				return err
			}})
		}},
		{"ReplicationController", func(t *testing.T) {
			ns := e.settled(t)
			api := e.CoreV1().ReplicationControllers(ns)
			must(api.Create(t.Context(), replicationController("web", 1), metav1.CreateOptions{}))(t)
			rescale(t, "web", scaled{api.GetScale, api.UpdateScale, func(ctx context.Context, patch []byte) error {
				_, err := api.Patch(ctx, "web", types.MergePatchType, patch, metav1.PatchOptions{}, "scale")
				return err
			}})
		}},
		{"StatefulSet", func(t *testing.T) {
			ns := e.settled(t)
			api := e.AppsV1().StatefulSets(ns)
			must(api.Create(t.Context(), statefulSet("web", 1), metav1.CreateOptions{}))(t)
			rescale(t, "web", scaled{api.GetScale, api.UpdateScale, func(ctx context.Context, patch []byte) error {
				_, err := api.Patch(ctx, "web", types.MergePatchType, patch, metav1.PatchOptions{}, "scale")
				return err
			}})
		}},
	})
}

// rescale takes a workload from one replica to two by an update, and to three by a patch.
func rescale(t *testing.T, name string, s scaled) {
	t.Helper()
	is := func(n int32) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s has %d replicas", name, n), func(ctx context.Context) error {
			got, err := s.get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if got.Spec.Replicas != n || got.Status.Replicas != n || got.Status.Selector != "app="+name {
				return fmt.Errorf("its scale is %+v, %+v", got.Spec, got.Status)
			}
			return nil
		})
	}
	is(1)
	eventually(t, "the scale is updated", func(ctx context.Context) error {
		scale := must(s.get(ctx, name, metav1.GetOptions{}))(t)
		scale.Spec.Replicas = 2
		updated, err := s.update(ctx, name, scale, metav1.UpdateOptions{})
		if err == nil && updated.Spec.Replicas != 2 {
			t.Errorf("the update returns %+v", updated.Spec)
		}
		return err
	})
	is(2)
	if err := s.patch(t.Context(), []byte(`{"spec":{"replicas":3}}`)); err != nil {
		t.Fatal(err)
	}
	is(3)
}
