package horizontalpodautoscaler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// period is how often an autoscaler is looked at.
const period = 15 * time.Second

// Reconciler reconciles HorizontalPodAutoscalers.
type Reconciler struct {
	client   client.Client
	mapper   meta.RESTMapper
	recorder record.EventRecorder
	metrics  reader
	now      func() time.Time

	mu     sync.Mutex
	states map[types.NamespacedName]state
}

// reader reads metrics.
type reader interface {
	read(ctx context.Context, namespace string, spec autoscalingv2.MetricSpec, selector labels.Selector) reading
}

// state is what is remembered of an autoscaler.
type state struct {
	uid      types.UID
	history  history
	selector labels.Selector
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) (*Reconciler, error) {
	metrics, err := newSource(mgr)
	if err != nil {
		return nil, err
	}
	return &Reconciler{
		client:   mgr.GetClient(),
		mapper:   mgr.GetRESTMapper(),
		recorder: mgr.GetEventRecorderFor("horizontal-pod-autoscaler"), //nolint:staticcheck // events as Kubernetes has them, with a source
		metrics:  metrics,
		now:      moment.Now(mgr),
		states:   map[types.NamespacedName]state{},
	}, nil
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("horizontal-pod-autoscaler-controller").
		For(&autoscalingv2.HorizontalPodAutoscaler{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(outcome.Options(5, mgr)).
		Complete(r)
}

// Reconcile looks at one autoscaler's target and metrics, and scales the target.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	hpa := &autoscalingv2.HorizontalPodAutoscaler{}
	if err := r.client.Get(ctx, req.NamespacedName, hpa); err != nil {
		r.forget(req.NamespacedName)
		return outcome.Of(ctrl.Result{}, client.IgnoreNotFound(err))
	}
	if hpa.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	again := ctrl.Result{RequeueAfter: period}
	target, scale, err := r.scale(ctx, hpa)
	if err != nil {
		return outcome.Of(again, r.refuse(ctx, hpa, err))
	}
	o, err := r.observe(ctx, hpa, scale)
	if err != nil {
		return outcome.Of(again, err)
	}
	return outcome.Of(again, r.apply(ctx, hpa, target, scale, o))
}

// scale reads the target's scale.
func (r *Reconciler) scale(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler) (*unstructured.Unstructured, *autoscalingv1.Scale, error) {
	ref := hpa.Spec.ScaleTargetRef
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, nil, fmt.Errorf("invalid API version in scale target reference: %w", err)
	}
	mapping, err := r.mapper.RESTMapping(schema.GroupKind{Group: gv.Group, Kind: ref.Kind}, gv.Version)
	if meta.IsNoMatchError(err) {
		// A version of before is as good: the scale is the same in each.
		mapping, err = r.mapper.RESTMapping(schema.GroupKind{Group: gv.Group, Kind: ref.Kind})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("unable to determine resource for scale target reference: %w", err)
	}
	target := &unstructured.Unstructured{}
	target.SetGroupVersionKind(mapping.GroupVersionKind)
	target.SetNamespace(hpa.Namespace)
	target.SetName(ref.Name)
	found := newScale() // as the client wants it, of an object that is
	if err := r.client.SubResource("scale").Get(ctx, target, found); err != nil {
		return nil, nil, err
	}
	scale := &autoscalingv1.Scale{}
	return target, scale, runtime.DefaultUnstructuredConverter.FromUnstructured(found.Object, scale)
}

func newScale() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(autoscalingv1.SchemeGroupVersion.WithKind("Scale"))
	return u
}

// rescale gives the target a size, if it is still the one that was read.
func (r *Reconciler) rescale(ctx context.Context, target *unstructured.Unstructured, scale *autoscalingv1.Scale, replicas int32) error {
	wanted := newScale()
	wanted.SetNamespace(scale.Namespace)
	wanted.SetName(scale.Name)
	wanted.SetResourceVersion(scale.ResourceVersion)
	if err := unstructured.SetNestedField(wanted.Object, int64(replicas), "spec", "replicas"); err != nil {
		return err
	}
	return r.client.SubResource("scale").Update(ctx, target, client.WithSubResourceBody(wanted))
}

// refuse tells that the target's scale cannot be read.
func (r *Reconciler) refuse(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, cause error) error {
	r.recorder.Event(hpa, corev1.EventTypeWarning, "FailedGetScale", cause.Error())
	st := hpa.Status.DeepCopy()
	setCondition(st, autoscalingv2.AbleToScale, false, "FailedGetScale", fmt.Sprintf("the HPA controller was unable to get the target's current scale: %v", cause), r.now())
	return r.writeStatus(ctx, hpa, *st)
}

func (r *Reconciler) observe(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, scale *autoscalingv1.Scale) (observed, error) {
	o := observed{hpa: hpa, scale: scale, history: r.recall(hpa, scale)}
	if scale.Status.Selector == "" {
		o.reason, o.trouble = "InvalidSelector", errors.New("the HPA target's scale is missing a selector")
		return o, nil
	}
	selector, err := labels.Parse(scale.Status.Selector)
	if err != nil {
		o.reason, o.trouble = "InvalidSelector", fmt.Errorf("couldn't convert selector into a corresponding internal selector object: %w", err)
		return o, nil
	}
	var list corev1.PodList
	if err := r.client.List(ctx, &list, client.InNamespace(hpa.Namespace), client.MatchingLabelsSelector{Selector: selector}, client.UnsafeDisableDeepCopy); err != nil {
		return o, fmt.Errorf("listing pods: %w", err)
	}
	for i := range list.Items {
		o.pods = append(o.pods, &list.Items[i])
	}
	if others := r.rivals(hpa, selector, o.pods); len(others) > 1 {
		o.reason, o.trouble = "AmbiguousSelector", fmt.Errorf("pods by selector %v are controlled by multiple HPAs: [%s]", scale.Status.Selector, strings.Join(others, " "))
		return o, nil
	}
	for _, spec := range hpa.Spec.Metrics {
		o.readings = append(o.readings, r.metrics.read(ctx, hpa.Namespace, spec, selector))
	}
	return o, nil
}

// apply scales the target, if that is what is planned, and tells of it.
func (r *Reconciler) apply(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, target *unstructured.Unstructured, scale *autoscalingv1.Scale, o observed) error {
	now := r.now()
	a := plan(o, now)
	for _, e := range a.events {
		r.recorder.Event(hpa, corev1.EventTypeWarning, e.reason, e.message)
	}
	from, to := scale.Spec.Replicas, scale.Spec.Replicas
	var failure error
	if a.rescale {
		failure = r.rescale(ctx, target, scale, a.replicas)
		if apierrors.IsConflict(failure) || apierrors.IsNotFound(failure) {
			return failure // it changed meanwhile: looked at again
		}
		r.tell(hpa, &a, failure, now)
		if failure == nil {
			to = a.replicas
			klog.FromContext(ctx).Info("Rescaled", "autoscaler", klog.KObj(hpa), "from", from, "to", to, "reason", a.why)
		}
	}
	if a.failure == nil {
		r.remember(hpa, o.history.with(a.recommended, from, to, now))
	}
	return errors.Join(failure, r.writeStatus(ctx, hpa, a.status))
}

func (r *Reconciler) tell(hpa *autoscalingv2.HorizontalPodAutoscaler, a *actions, failure error, now time.Time) {
	if failure != nil {
		r.recorder.Eventf(hpa, corev1.EventTypeWarning, "FailedRescale", "New size: %d; reason: %s; error: %v", a.replicas, a.why, failure)
		setCondition(&a.status, autoscalingv2.AbleToScale, false, "FailedUpdateScale", fmt.Sprintf("the HPA controller was unable to update the target scale: %v", failure), now)
		return
	}
	r.recorder.Eventf(hpa, corev1.EventTypeNormal, "SuccessfulRescale", "New size: %d; reason: %s", a.replicas, a.why)
	setCondition(&a.status, autoscalingv2.AbleToScale, true, "SucceededRescale", fmt.Sprintf("the HPA controller was able to update the target scale to %d", a.replicas), now)
	a.status.LastScaleTime = &metav1.Time{Time: now}
}

func (r *Reconciler) writeStatus(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, st autoscalingv2.HorizontalPodAutoscalerStatus) error {
	if apiequality.Semantic.DeepEqual(hpa.Status, st) {
		return nil
	}
	hpa.Status = st
	if err := r.client.Status().Update(ctx, hpa); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	return nil
}

// recall is the history of an autoscaler; one seen for the first time has
// recommended the present scale.
func (r *Reconciler) recall(hpa *autoscalingv2.HorizontalPodAutoscaler, scale *autoscalingv1.Scale) history {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.states[client.ObjectKeyFromObject(hpa)]
	if s.uid != hpa.UID {
		return history{recommended: []past{{scale.Spec.Replicas, r.now()}}}
	}
	return s.history
}

func (r *Reconciler) remember(hpa *autoscalingv2.HorizontalPodAutoscaler, h history) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := client.ObjectKeyFromObject(hpa)
	s := r.states[key]
	s.uid, s.history = hpa.UID, h
	r.states[key] = s
}

func (r *Reconciler) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.states, key)
}

// rivals names the autoscalers of any of the given pods, this one among them:
// two that scale the same pods would fight.
func (r *Reconciler) rivals(hpa *autoscalingv2.HorizontalPodAutoscaler, selector labels.Selector, pods []*corev1.Pod) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := client.ObjectKeyFromObject(hpa)
	s := r.states[key]
	s.selector = selector
	r.states[key] = s
	var names []string
	for other, s := range r.states {
		if other.Namespace != key.Namespace || s.selector == nil {
			continue
		}
		if other == key || slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return s.selector.Matches(labels.Set(p.Labels)) }) {
			names = append(names, other.String())
		}
	}
	slices.Sort(names)
	return names
}
