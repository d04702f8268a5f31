// Package outcome sorts the errors of a pass into failures and the ordinary
// course of things, and says how failures are retried.
package outcome

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/moment"
)

// again is how long after a conflict the next pass starts. The event that
// brings the cache up to date usually starts it sooner.
const again = 20 * time.Millisecond

// Of makes the result of a pass. A conflict means that the cache was stale; the
// pass is repeated, without noise and without growing delays. That something
// was not found means that it went away meanwhile, likewise. That a context was
// cancelled means that the manager is stopping.
func Of(result reconcile.Result, err error) (reconcile.Result, error) {
	if err == nil {
		return result, nil
	}
	if errors.Is(err, context.Canceled) {
		return reconcile.Result{}, nil
	}
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return reconcile.Result{RequeueAfter: again}, nil
	}
	return reconcile.Result{}, err
}

// Options are those of a controller which runs the given number of passes at
// once. Failures back off for each object alone: an overall limit, as
// controller-runtime has by default, would let the failures of some objects
// hold up others. The manager, where it is given, says by what clock the
// controller comes back to an object.
func Options(workers int, mgr ...ctrl.Manager) controller.Options {
	o := controller.Options{
		MaxConcurrentReconciles: workers,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, 5*time.Minute),
	}
	if len(mgr) > 0 {
		o.NewQueue = moment.NewQueue(mgr[0])
	}
	return o
}
