package disruption

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/podstatus"
)

// setUpStale adds the part that takes back conditions of disruptions that did
// not come about.
func (r *Reconciler) setUpStale(mgr ctrl.Manager) error {
	marked := predicate.NewPredicateFuncs(func(obj client.Object) bool {
		c := podstatus.Condition(obj.(*corev1.Pod), corev1.DisruptionTarget)
		return c != nil && c.Status == corev1.ConditionTrue && obj.GetDeletionTimestamp() == nil
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("disruption-controller-stale").
		For(&corev1.Pod{}, builder.WithPredicates(marked)).
		WithOptions(outcome.Options(1)).
		Complete(reconcile.Func(r.unmark))
}

func (r *Reconciler) unmark(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	p := &corev1.Pod{}
	if err := r.client.Get(ctx, req.NamespacedName, p); err != nil {
		return outcome.Of(ctrl.Result{}, client.IgnoreNotFound(err))
	}
	is, left := stale(p, r.now())
	if !is {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"resourceVersion":%q},"status":{"conditions":[{"type":%q,"status":"False","lastTransitionTime":%q,"reason":null,"message":null}]}}`,
		p.UID, p.ResourceVersion, corev1.DisruptionTarget, r.now().UTC().Format("2006-01-02T15:04:05Z"))
	if err := r.client.Status().Patch(ctx, p, client.RawPatch(types.StrategicMergePatchType, []byte(patch))); err != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("taking back the disruption of pod %s: %w", req.Name, err))
	}
	return ctrl.Result{}, nil
}
