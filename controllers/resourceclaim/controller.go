package resourceclaim

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/podstatus"
)

const (
	// claimsByPod is the index of claims by the UIDs of the pods that have
	// reserved them, or that they were made for.
	claimsByPod = "podUIDs"
	// podsByTemplate is the index of pods by the templates of their claims.
	podsByTemplate = "spec.resourceClaims.template"
)

// Kinds of requests, since pods and claims may have the same names.
const (
	podPrefix   = "pod/"
	claimPrefix = "claim/"
)

// Reconciler reconciles pods and claims.
type Reconciler struct {
	client   client.Client
	live     client.Reader
	recorder record.EventRecorder
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client: mgr.GetClient(), live: mgr.GetAPIReader(),
		recorder: mgr.GetEventRecorderFor("resource_claim"), //nolint:staticcheck // events as Kubernetes has them, with a source
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := index.Ensure(mgr, &resourcev1.ResourceClaim{}, claimsByPod, podUIDs); err != nil {
		return err
	}
	if err := index.Ensure(mgr, &corev1.Pod{}, podsByTemplate, templates); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("resourceclaim-controller").
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.ofPod)).
		Watches(&resourcev1.ResourceClaim{}, handler.EnqueueRequestsFromMapFunc(ofClaim)).
		Watches(&resourcev1.ResourceClaimTemplate{}, handler.EnqueueRequestsFromMapFunc(r.ofTemplate)).
		WithOptions(outcome.Options(5, mgr)).
		Complete(r)
}

func podUIDs(o client.Object) (out []string) {
	c := o.(*resourcev1.ResourceClaim)
	for _, ref := range c.Status.ReservedFor {
		if isPod(ref) {
			out = append(out, string(ref.UID))
		}
	}
	if ref := metav1.GetControllerOfNoCopy(c); ref != nil && ref.Kind == "Pod" {
		out = append(out, string(ref.UID))
	}
	return out
}

func isPod(ref resourcev1.ResourceClaimConsumerReference) bool {
	return ref.APIGroup == "" && ref.Resource == "pods"
}

func templates(o client.Object) (out []string) {
	for _, entry := range o.(*corev1.Pod).Spec.ResourceClaims {
		if entry.ResourceClaimTemplateName != nil {
			out = append(out, *entry.ResourceClaimTemplateName)
		}
	}
	return out
}

func request(prefix string, o client.Object) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: prefix + o.GetName()}}
}

// ofPod names the pod, if it has claims, and the claims that it uses or used.
func (r *Reconciler) ofPod(ctx context.Context, o client.Object) (out []reconcile.Request) {
	p := o.(*corev1.Pod)
	if len(p.Spec.ResourceClaims) == 0 && p.Status.ExtendedResourceClaimStatus == nil {
		return nil
	}
	out = append(out, request(podPrefix, p))
	var claims resourcev1.ResourceClaimList
	if err := r.client.List(ctx, &claims, client.InNamespace(p.Namespace), client.MatchingFields{claimsByPod: string(p.UID)}, client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Finding the claims of a pod", "pod", klog.KObj(p))
	}
	for i := range claims.Items {
		out = append(out, request(claimPrefix, &claims.Items[i]))
	}
	return out
}

// ofClaim names the claim, and the pod that it was made for.
func ofClaim(_ context.Context, o client.Object) []reconcile.Request {
	out := []reconcile.Request{request(claimPrefix, o)}
	add := func(name string) {
		out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: podPrefix + name}})
	}
	if ref := metav1.GetControllerOfNoCopy(o); ref != nil && ref.Kind == "Pod" {
		add(ref.Name)
	}
	return out
}

// ofTemplate names the pods that wait for a template.
func (r *Reconciler) ofTemplate(ctx context.Context, o client.Object) (out []reconcile.Request) {
	var pods corev1.PodList
	err := r.client.List(ctx, &pods, client.InNamespace(o.GetNamespace()), client.MatchingFields{podsByTemplate: o.GetName()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Finding the pods of a template", "resourceClaimTemplate", klog.KObj(o))
	}
	for i := range pods.Items {
		if len(needs(&pods.Items[i])) > 0 {
			out = append(out, request(podPrefix, &pods.Items[i]))
		}
	}
	return out
}

// Reconcile looks at one pod or one claim.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	key := req.NamespacedName
	if name, is := cut(key.Name, podPrefix); is {
		key.Name = name
		return outcome.Of(ctrl.Result{}, r.pod(ctx, key))
	}
	key.Name, _ = cut(key.Name, claimPrefix)
	return outcome.Of(ctrl.Result{}, r.claim(ctx, key))
}

func cut(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):], true
	}
	return s, false
}

// pod makes the claims that a pod lacks.
func (r *Reconciler) pod(ctx context.Context, key types.NamespacedName) error {
	p := &corev1.Pod{}
	if err := r.client.Get(ctx, key, p); err != nil {
		return client.IgnoreNotFound(err)
	}
	if p.DeletionTimestamp != nil || podstatus.Finished(p) {
		return nil
	}
	names := map[string]string{}
	var errs []error
	for _, entry := range needs(p) {
		name, err := r.ensure(ctx, p, entry)
		if err != nil {
			r.recorder.Eventf(p, corev1.EventTypeWarning, "FailedResourceClaimCreation", "PodResourceClaim %s: %v", entry.Name, err)
			errs = append(errs, err)
			continue
		}
		names[entry.Name] = name
	}
	if len(names) > 0 {
		before := p.DeepCopy()
		p.Status.ResourceClaimStatuses = statuses(p, names)
		if err := r.client.Status().Patch(ctx, p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			errs = append(errs, fmt.Errorf("naming the claims of pod %s: %w", key, err))
		}
	}
	if p.Spec.NodeName != "" {
		errs = append(errs, r.reserve(ctx, p))
	}
	return errors.Join(errs...)
}

// ensure finds or makes the claim of a pod's entry.
func (r *Reconciler) ensure(ctx context.Context, p *corev1.Pod, entry corev1.PodResourceClaim) (string, error) {
	var claims resourcev1.ResourceClaimList
	if err := r.live.List(ctx, &claims, client.InNamespace(p.Namespace)); err != nil {
		return "", fmt.Errorf("listing resource claims: %w", err)
	}
	if c := made(claims.Items, p, entry.Name); c != nil {
		return c.Name, nil
	}
	template := &resourcev1.ResourceClaimTemplate{}
	key := types.NamespacedName{Namespace: p.Namespace, Name: *entry.ResourceClaimTemplateName}
	if err := r.client.Get(ctx, key, template); err != nil {
		return "", fmt.Errorf("resource claim template %q: %w", key.Name, err)
	}
	c := fromTemplate(p, entry.Name, template)
	if err := r.client.Create(ctx, c); err != nil {
		return "", fmt.Errorf("creating the claim of pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	klog.FromContext(ctx).Info("Created resource claim", "resourceClaim", klog.KObj(c), "pod", klog.KObj(p))
	return c.Name, nil
}

// reserve reserves the allocated claims of a pod that has a node already.
func (r *Reconciler) reserve(ctx context.Context, p *corev1.Pod) error {
	var errs []error
	for _, name := range claimNames(p) {
		c := &resourcev1.ResourceClaim{}
		err := r.client.Get(ctx, types.NamespacedName{Namespace: p.Namespace, Name: name}, c)
		if err != nil || c.Status.Allocation == nil || c.DeletionTimestamp != nil || reserved(c, p) {
			errs = append(errs, client.IgnoreNotFound(err))
			continue
		}
		c.Status.ReservedFor = append(c.Status.ReservedFor, resourcev1.ResourceClaimConsumerReference{Resource: "pods", Name: p.Name, UID: p.UID})
		if err := r.client.Status().Update(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("reserving claim %s/%s: %w", c.Namespace, c.Name, err))
		}
	}
	return errors.Join(errs...)
}

func reserved(c *resourcev1.ResourceClaim, p *corev1.Pod) bool {
	for _, ref := range c.Status.ReservedFor {
		if isPod(ref) && ref.UID == p.UID {
			return true
		}
	}
	return false
}

// claimNames are the names of the claims that a pod has.
func claimNames(p *corev1.Pod) (out []string) {
	for _, entry := range p.Spec.ResourceClaims {
		if entry.ResourceClaimName != nil {
			out = append(out, *entry.ResourceClaimName)
		}
	}
	for _, s := range p.Status.ResourceClaimStatuses {
		if s.ResourceClaimName != nil {
			out = append(out, *s.ResourceClaimName)
		}
	}
	return out
}

// claim frees a claim of pods that do not use it any more.
func (r *Reconciler) claim(ctx context.Context, key types.NamespacedName) error {
	c := &resourcev1.ResourceClaim{}
	if err := r.client.Get(ctx, key, c); err != nil {
		return client.IgnoreNotFound(err)
	}
	consumers, ended, err := r.consumers(ctx, c)
	if err != nil {
		return err
	}
	plan := planRelease(c, consumers, ended)
	if plan.changed || plan.deallocate {
		c.Status.ReservedFor = plan.reserved
		if plan.deallocate {
			c.Status.Allocation, c.Status.Devices = nil, nil
		}
		if err := r.client.Status().Update(ctx, c); err != nil {
			return fmt.Errorf("freeing claim %s: %w", key, err)
		}
		klog.FromContext(ctx).Info("Freed resource claim", "resourceClaim", key, "reservedFor", len(plan.reserved), "deallocated", plan.deallocate)
	}
	if plan.unprotect {
		controllerutil.RemoveFinalizer(c, resourcev1.Finalizer)
		if err := r.client.Update(ctx, c); err != nil {
			return fmt.Errorf("letting go of claim %s: %w", key, err)
		}
	}
	if plan.remove {
		if err := r.client.Delete(ctx, c, client.Preconditions{UID: &c.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting claim %s: %w", key, err)
		}
		klog.FromContext(ctx).Info("Deleted the claim of a pod that has ended", "resourceClaim", key)
	}
	return nil
}

// consumers are the states of the pods of a claim, and whether the one that it
// was made for has ended.
func (r *Reconciler) consumers(ctx context.Context, c *resourcev1.ResourceClaim) (map[types.UID]consumer, bool, error) {
	states := map[types.UID]consumer{}
	for _, ref := range c.Status.ReservedFor {
		states[ref.UID] = unknown
		if !isPod(ref) {
			continue
		}
		ended, err := r.ended(ctx, c.Namespace, ref.Name, ref.UID)
		if err != nil {
			return nil, false, err
		}
		if states[ref.UID] = uses; ended {
			states[ref.UID] = finished
		}
	}
	owner := metav1.GetControllerOfNoCopy(c)
	if owner == nil || owner.Kind != "Pod" {
		return states, false, nil
	}
	ended, err := r.ended(ctx, c.Namespace, owner.Name, owner.UID)
	return states, ended, err
}

// ended tells whether a pod has finished, will never start, or is gone.
func (r *Reconciler) ended(ctx context.Context, namespace, name string, uid types.UID) (bool, error) {
	for _, from := range []client.Reader{r.client, r.live} {
		p := &corev1.Pod{}
		err := from.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, p)
		if err == nil && p.UID == uid {
			return podstatus.Finished(p) || p.DeletionTimestamp != nil && p.Spec.NodeName == "", nil
		}
		if client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("getting pod %s/%s: %w", namespace, name, err)
		}
	}
	return true, nil
}
