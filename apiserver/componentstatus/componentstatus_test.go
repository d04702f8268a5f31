package componentstatus

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/fields"
)

func checks() map[string]Check {
	return map[string]Check{
		"scheduler": func(context.Context) (string, error) { return "ok", nil },
		"etcd-0":    func(context.Context) (string, error) { return "", errors.New("no leader") },
		"stuck": func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		},
	}
}

func TestListAsTable(t *testing.T) {
	r := New(checks)
	list, err := r.List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	table, err := r.ConvertToTable(t.Context(), list, nil)
	if err != nil {
		t.Fatal(err)
	}
	var cells [][]any
	for _, row := range table.Rows {
		cells = append(cells, row.Cells)
	}
	want := [][]any{
		{"etcd-0", "Unhealthy", "", "no leader"},
		{"scheduler", "Healthy", "ok", ""},
		{"stuck", "Unhealthy", "", "context deadline exceeded"},
	}
	if diff := cmp.Diff(want, cells); diff != "" {
		t.Error(diff)
	}
}

func TestGetAndSelect(t *testing.T) {
	r := New(checks)
	obj, err := r.Get(t.Context(), "scheduler", nil)
	if err != nil || obj.(*corev1.ComponentStatus).Conditions[0].Status != corev1.ConditionTrue {
		t.Errorf("got %v, %v", obj, err)
	}
	if _, err := r.Get(t.Context(), "none", nil); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want NotFound", err)
	}
	one, err := r.List(t.Context(), &metainternalversion.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", "scheduler")})
	if err != nil || len(one.(*corev1.ComponentStatusList).Items) != 1 {
		t.Errorf("got %v, %v", one, err)
	}
}
