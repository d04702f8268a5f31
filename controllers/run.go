package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"coracle.dev/coracle/controllers/internal/moment"
)

// setLogger gives controller-runtime its process-wide logger once.
var setLogger = sync.OnceFunc(func() { log.SetLogger(klog.Background()) })

// Run runs the selected controllers against the API server of cfg until ctx
// ends. It returns nil when ctx ended, an error when a controller cannot be
// set up or the lease was lost.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return err
	}
	mgr, err := newManager(ctx, cfg, o)
	if err != nil {
		return fmt.Errorf("making the manager of controllers: %w", err)
	}
	if o.Clock != nil {
		mgr = moment.Follow(mgr, o.Clock)
	}
	for _, e := range entries() {
		if !o.enabled(e.name) {
			continue
		}
		if err := e.add(mgr, o); err != nil {
			return fmt.Errorf("adding controller %s: %w", e.name, err)
		}
	}
	return mgr.Start(ctx)
}

func newManager(ctx context.Context, cfg *rest.Config, o Options) (ctrl.Manager, error) {
	setLogger()
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.RateLimiter = -1, nil
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                        scheme,
		Logger:                        klog.FromContext(ctx),
		Cache:                         cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsAddress},
		HealthProbeBindAddress:        o.HealthAddress,
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              "kube-controller-manager",
		LeaderElectionNamespace:       "kube-system",
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       new(5 * time.Second),
		// Several clusters may run in one process, each with its controllers.
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, err
	}
	return mgr, mgr.AddReadyzCheck("ping", healthz.Ping)
}
