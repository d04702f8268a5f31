package registry

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"coracle.dev/coracle/apis/catalog"
	"coracle.dev/coracle/apis/resource"
)

func descriptor(t *testing.T, gr schema.GroupResource) *resource.Descriptor {
	t.Helper()
	for _, d := range catalog.Resources() {
		if d.GroupResource() == gr {
			return d
		}
	}
	t.Fatalf("no resource %s", gr)
	return nil
}

func deployment(replicas, ready int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d", Generation: 4, Labels: map[string]string{"a": "b"}},
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas},
		Status:     appsv1.DeploymentStatus{ReadyReplicas: ready},
	}
}

func TestUpdateIsolatesSpecAndStatus(t *testing.T) {
	d := descriptor(t, appsv1.Resource("deployments"))
	for _, test := range []struct {
		name                        string
		at                          endpoint
		wantReplicas, wantReady     int32
		wantGeneration              int64
		wantLabelOf                 string
		changeReplicas, changeReady int32
	}{
		{"spec at main", mainEndpoint, 2, 1, 5, "new", 2, 7},
		{"no spec at main", mainEndpoint, 1, 1, 4, "new", 1, 7},
		{"both at status", statusEndpoint, 1, 7, 4, "b", 2, 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			old, obj := deployment(1, 1), deployment(test.changeReplicas, test.changeReady)
			obj.Labels = map[string]string{"a": "new"}
			newStrategy(d, test.at).PrepareForUpdate(t.Context(), obj, old)
			if *obj.Spec.Replicas != test.wantReplicas || obj.Status.ReadyReplicas != test.wantReady {
				t.Errorf("got %d replicas, %d ready", *obj.Spec.Replicas, obj.Status.ReadyReplicas)
			}
			if obj.Generation != test.wantGeneration || obj.Labels["a"] != test.wantLabelOf {
				t.Errorf("got generation %d, label %q", obj.Generation, obj.Labels["a"])
			}
		})
	}
}

func TestCreateClearsStatus(t *testing.T) {
	obj := deployment(1, 7)
	newStrategy(descriptor(t, appsv1.Resource("deployments")), mainEndpoint).PrepareForCreate(t.Context(), obj)
	if obj.Status.ReadyReplicas != 0 || obj.Generation != 1 {
		t.Errorf("got %d ready, generation %d", obj.Status.ReadyReplicas, obj.Generation)
	}
	node := &corev1.Node{Status: corev1.NodeStatus{Phase: corev1.NodeRunning}}
	newStrategy(descriptor(t, corev1.Resource("nodes")), mainEndpoint).PrepareForCreate(t.Context(), node)
	if node.Status.Phase != corev1.NodeRunning {
		t.Error("a node cannot be registered with its status")
	}
}

func TestResetFields(t *testing.T) {
	d := descriptor(t, schema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"})
	main, status := resetFields(d, mainEndpoint), resetFields(d, statusEndpoint)
	for _, version := range []fieldpath.APIVersion{"autoscaling/v1", "autoscaling/v2"} {
		if s := main[version]; s == nil || !s.Has(fieldpath.MakePathOrDie("status")) {
			t.Errorf("%s: the main endpoint does not reset status", version)
		}
		if s := status[version]; s == nil || !s.Has(fieldpath.MakePathOrDie("spec")) {
			t.Errorf("%s: /status does not reset spec", version)
		}
	}
	if r := resetFields(descriptor(t, corev1.Resource("configmaps")), mainEndpoint); r != nil {
		t.Errorf("config maps reset %v", r)
	}
}

func TestPodGracePeriod(t *testing.T) {
	thirty, five, negative := int64(30), int64(5), int64(-1)
	for _, test := range []struct {
		name  string
		node  string
		phase corev1.PodPhase
		asked *int64
		want  int64
	}{
		{"running", "n", corev1.PodRunning, nil, 30},
		{"running, asked for less", "n", corev1.PodRunning, &five, 5},
		{"running, asked for nonsense", "n", corev1.PodRunning, &negative, 1},
		{"unscheduled", "", corev1.PodPending, nil, 0},
		{"unscheduled, asked", "", corev1.PodPending, &five, 0},
		{"succeeded", "n", corev1.PodSucceeded, nil, 0},
		{"failed", "n", corev1.PodFailed, &five, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := &corev1.Pod{
				Spec:   corev1.PodSpec{NodeName: test.node, TerminationGracePeriodSeconds: &thirty},
				Status: corev1.PodStatus{Phase: test.phase},
			}
			options := &metav1.DeleteOptions{GracePeriodSeconds: test.asked}
			if !(podDeletion{}).CheckGracefulDelete(t.Context(), pod, options) {
				t.Fatal("not graceful")
			}
			if *options.GracePeriodSeconds != test.want {
				t.Errorf("got %d s, want %d", *options.GracePeriodSeconds, test.want)
			}
		})
	}
}

func TestTable(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d := &resource.Descriptor{Columns: []resource.Column[runtime.Object]{
		{Name: "Name", Type: "string", Value: func(o runtime.Object) any { return o.(*corev1.ConfigMap).Name }},
		{Name: "Data", Type: "integer", Value: func(o runtime.Object) any { return int64(len(o.(*corev1.ConfigMap).Data)) }},
		{Name: "Age", Type: "string", Value: func(o runtime.Object) any { return o.(*corev1.ConfigMap).CreationTimestamp }},
	}}
	converter := newTable(d)
	converter.clock = testclock.NewFakePassiveClock(now)
	remaining := int64(3)
	list := &corev1.ConfigMapList{
		ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "more", RemainingItemCount: &remaining},
		Items: []corev1.ConfigMap{
			{ObjectMeta: metav1.ObjectMeta{Name: "a", CreationTimestamp: metav1.NewTime(now.Add(-90 * time.Minute))}, Data: map[string]string{"k": "v"}},
			{ObjectMeta: metav1.ObjectMeta{Name: "b"}},
		},
	}
	got, err := converter.ConvertToTable(t.Context(), list, &metav1.TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var cells [][]any
	for _, r := range got.Rows {
		cells = append(cells, r.Cells)
	}
	want := [][]any{{"a", int64(1), "90m"}, {"b", int64(0), "<unknown>"}}
	if diff := cmp.Diff(want, cells); diff != "" {
		t.Error(diff)
	}
	if got.ResourceVersion != "9" || got.Continue != "more" || *got.RemainingItemCount != 3 || len(got.ColumnDefinitions) != 3 {
		t.Errorf("got metadata %+v, %d columns", got.ListMeta, len(got.ColumnDefinitions))
	}
	bare, err := converter.ConvertToTable(t.Context(), &list.Items[0], &metav1.TableOptions{NoHeaders: true})
	if err != nil || len(bare.ColumnDefinitions) != 0 || len(bare.Rows) != 1 {
		t.Errorf("without headers: %+v, %v", bare, err)
	}
}
