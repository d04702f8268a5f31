package outcome

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestOf(t *testing.T) {
	boom := errors.New("boom")
	conflict := apierrors.NewConflict(corev1.Resource("pods"), "p", boom)
	notFound := apierrors.NewNotFound(corev1.Resource("pods"), "p")
	later := reconcile.Result{RequeueAfter: time.Hour}
	soon := reconcile.Result{RequeueAfter: again}
	for name, tc := range map[string]struct {
		err    error
		result reconcile.Result
		want   error
	}{
		"success":   {nil, later, nil},
		"failure":   {boom, reconcile.Result{}, boom},
		"conflict":  {fmt.Errorf("writing: %w", conflict), soon, nil},
		"joined":    {errors.Join(conflict, notFound), soon, nil},
		"not found": {notFound, soon, nil},
		"stopping":  {fmt.Errorf("writing: %w", context.Canceled), reconcile.Result{}, nil},
	} {
		if got, err := Of(later, tc.err); got != tc.result || !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, %v; want %v, %v", name, got, err, tc.result, tc.want)
		}
	}
}
