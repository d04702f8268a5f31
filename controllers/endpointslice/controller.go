package endpointslice

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/endpointslice"
	"k8s.io/endpointslice/topologycache"
	endpointsliceutil "k8s.io/endpointslice/util"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/pace"
	"coracle.dev/coracle/controllers/internal/podcontrol"
	"coracle.dev/coracle/controllers/internal/service"
	"coracle.dev/coracle/controllers/internal/slice"
)

const (
	managerName = "endpointslice-controller.k8s.io"
	perSlice    = 100
)

// Reconciler reconciles services: it writes their EndpointSlices.
type Reconciler struct {
	client   client.Client
	recorder record.EventRecorder
	slices   *endpointslice.Reconciler
	tracker  *endpointsliceutil.EndpointSliceTracker
	triggers *endpointsliceutil.TriggerTimeTracker
	topology *topologycache.TopologyCache
	pace     *pace.Limiter
	placed   sync.Once // the library knows the nodes
}

// New makes the reconciler with the manager's client and connection.
func New(mgr ctrl.Manager) (*Reconciler, error) {
	clientset, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making a client for endpoint slices: %w", err)
	}
	r := &Reconciler{
		client:   mgr.GetClient(),
		recorder: mgr.GetEventRecorderFor("endpoint-slice-controller"), //nolint:staticcheck // events as Kubernetes has them, with a source
		tracker:  endpointsliceutil.NewEndpointSliceTracker(),
		triggers: endpointsliceutil.NewTriggerTimeTracker(),
		topology: topologycache.NewTopologyCache(),
		pace:     pace.New(time.Now),
	}
	r.slices = endpointslice.NewReconciler(clientset, nodes{r.client}, perSlice, r.tracker, r.topology, r.recorder, managerName,
		endpointslice.WithPreferSameTrafficDistributionEnabled(true))
	return r, nil
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := slice.Index(mgr); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("endpointslice-controller").
		For(&corev1.Service{}).
		Watches(&corev1.Pod{}, service.PodHandler{Reader: r.client}).
		Watches(&corev1.Node{}, r.nodes(), builder.WithPredicates(placed)).
		Watches(&discoveryv1.EndpointSlice{}, slice.Handler{Manager: managerName, Tracker: r.tracker}).
		WithOptions(outcome.Options(5)).
		Complete(r)
}

// Reconcile writes the slices of one service.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if wait := r.pace.Wait(req.NamespacedName); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	r.placed.Do(func() { r.overthrown(ctx) })
	svc := &corev1.Service{}
	err := r.client.Get(ctx, req.NamespacedName, svc)
	if apierrors.IsNotFound(err) {
		// The slices are the service's; the garbage collector has them.
		r.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if svc.Spec.Selector == nil || svc.Spec.Type == corev1.ServiceTypeExternalName || svc.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	pods, err := service.Pods(ctx, r.client, svc)
	if err != nil {
		return ctrl.Result{}, err
	}
	r.pace.Done(req.NamespacedName, len(pods))
	existing, err := slice.List(ctx, r.client, managerName, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	existing = alive(existing)
	if r.tracker.StaleSlices(svc, existing) {
		return outcome.Of(ctrl.Result{}, apierrors.NewConflict(discoveryv1.Resource("endpointslices"), svc.Name, errStale))
	}
	trigger := r.triggers.ComputeEndpointLastChangeTriggerTime(svc.Namespace, svc, pods)
	return outcome.Of(ctrl.Result{}, r.write(ctx, svc, pods, existing, trigger))
}

// errStale is why a pass is repeated before it began.
var errStale = errors.New("the cache does not hold the slices last written")

func (r *Reconciler) write(ctx context.Context, svc *corev1.Service, pods []*corev1.Pod, existing []*discoveryv1.EndpointSlice, trigger time.Time) error {
	err := r.slices.Reconcile(klog.FromContext(ctx), svc, pods, existing, trigger)
	err = utilerrors.FilterOut(err, podcontrol.NamespaceTerminating)
	if err == nil {
		return nil
	}
	if utilerrors.FilterOut(err, apierrors.IsConflict, apierrors.IsNotFound) == nil {
		return apierrors.NewConflict(discoveryv1.Resource("endpointslices"), svc.Name, err)
	}
	r.recorder.Eventf(svc, corev1.EventTypeWarning, "FailedToUpdateEndpointSlices",
		"Error updating Endpoint Slices for Service %s/%s: %v", svc.Namespace, svc.Name, err)
	return fmt.Errorf("writing the endpoint slices of %s: %w", svc.Name, err)
}

func (r *Reconciler) forget(name types.NamespacedName) {
	r.triggers.DeleteService(name.Namespace, name.Name)
	r.slices.DeleteService(name.Namespace, name.Name)
	r.tracker.DeleteService(name.Namespace, name.Name)
	r.pace.Forget(name)
}

// alive are the slices that are not being deleted.
func alive(slices []*discoveryv1.EndpointSlice) []*discoveryv1.EndpointSlice {
	var out []*discoveryv1.EndpointSlice
	for _, s := range slices {
		if s.DeletionTimestamp == nil {
			out = append(out, s)
		}
	}
	return out
}

// queue holds the services that are to be reconciled.
type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// gather is how long changes of nodes are gathered, since all nodes are looked at for them: a cluster that gets a
// thousand nodes looks at them a few times rather than a thousand.
const gather = 200 * time.Millisecond

// nodes looks at all nodes soon after one has changed.
func (r *Reconciler) nodes() handler.EventHandler {
	var pending atomic.Bool
	soon := func(ctx context.Context, q queue) {
		if !pending.CompareAndSwap(false, true) {
			return
		}
		ctx = context.WithoutCancel(ctx)
		time.AfterFunc(gather, func() {
			pending.Store(false)
			for _, request := range r.overthrown(ctx) {
				q.Add(request)
			}
		})
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, _ event.CreateEvent, q queue) { soon(ctx, q) },
		UpdateFunc: func(ctx context.Context, _ event.UpdateEvent, q queue) { soon(ctx, q) },
		DeleteFunc: func(ctx context.Context, _ event.DeleteEvent, q queue) { soon(ctx, q) },
	}
}

// overthrown tells the library where the nodes are, and names the services whose
// hints that overthrows.
func (r *Reconciler) overthrown(ctx context.Context) []reconcile.Request {
	all, err := nodes{r.client}.List(labels.Everything())
	if err != nil {
		klog.FromContext(ctx).Error(err, "Listing nodes")
		return nil
	}
	r.topology.SetNodes(klog.FromContext(ctx), all)
	var requests []reconcile.Request
	for _, key := range r.topology.GetOverloadedServices() {
		if name, ok := parseKey(key); ok {
			requests = append(requests, reconcile.Request{NamespacedName: name})
		}
	}
	return requests
}
