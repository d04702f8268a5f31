package pod

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/util/dryrun"
	"k8s.io/client-go/util/retry"
)

// maxDisruptedPods bounds a budget's list of evictions that its controller has not seen yet.
const maxDisruptedPods = 2000

// evictionRetry is how long an eviction fights for a budget or a pod that others write to as well.
var evictionRetry = wait.Backoff{Steps: 20, Duration: 500 * time.Millisecond, Factor: 1, Jitter: 0.1}

// Eviction serves pods/eviction: a deletion that disruption budgets can refuse.
type Eviction struct {
	pods    *genericregistry.Store
	budgets *genericregistry.Store
}

var (
	_ rest.NamedCreater             = &Eviction{}
	_ rest.GroupVersionKindProvider = &Eviction{}
)

// NewEviction makes the storage of pods/eviction over the stores of pods and poddisruptionbudgets.
func NewEviction(pods, budgets *genericregistry.Store) *Eviction {
	return &Eviction{pods: pods, budgets: budgets}
}

// GroupVersionKind implements rest.GroupVersionKindProvider.
func (e *Eviction) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return policyv1.SchemeGroupVersion.WithKind("Eviction")
}

// New implements rest.Storage.
func (e *Eviction) New() runtime.Object { return &policyv1.Eviction{} }

// Destroy implements rest.Storage.
func (e *Eviction) Destroy() {}

// NamespaceScoped implements rest.Scoper.
func (e *Eviction) NamespaceScoped() bool { return true }

// Create implements rest.NamedCreater.
func (e *Eviction) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	eviction, ok := obj.(*policyv1.Eviction)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Eviction object: %T", obj))
	}
	if name != eviction.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	wish, err := deleteOptions(eviction, options)
	if err != nil {
		return nil, err
	}
	if validate != nil {
		if err := validate(ctx, eviction.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	pod, deleted, err := e.deleteUnguarded(ctx, name, wish)
	if err != nil {
		return nil, err
	}
	if !deleted {
		if err := e.deleteGuarded(ctx, pod, wish); err != nil {
			return nil, err
		}
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

// deleteOptions are those of the eviction; dry run asked for in either place must not contradict.
func deleteOptions(eviction *policyv1.Eviction, options *metav1.CreateOptions) (*metav1.DeleteOptions, error) {
	out := &metav1.DeleteOptions{}
	if eviction.DeleteOptions != nil {
		out = eviction.DeleteOptions.DeepCopy()
	}
	switch {
	case len(options.DryRun) == 0:
	case len(out.DryRun) == 0:
		out.DryRun = options.DryRun
	case len(out.DryRun) != len(options.DryRun) || out.DryRun[0] != options.DryRun[0]:
		return nil, apierrors.NewBadRequest("Non-matching dry-run options in request and content")
	}
	return out, nil
}

// deleteUnguarded deletes a pod that no budget counts: one that has not started, has finished or is
// being deleted. Else it returns the pod.
func (e *Eviction) deleteUnguarded(ctx context.Context, name string, wish *metav1.DeleteOptions) (pod *corev1.Pod, deleted bool, err error) {
	again := apierrors.IsConflict
	if hasVersion(wish) {
		again = func(error) bool { return false }
	}
	err = retry.OnError(evictionRetry, again, func() error {
		obj, err := e.pods.Get(ctx, name, &metav1.GetOptions{})
		if err != nil {
			return err
		}
		pod = obj.(*corev1.Pod)
		if !unguarded(pod) {
			return nil
		}
		options := wish
		if pod.Status.Phase == corev1.PodPending && pod.DeletionTimestamp == nil && !hasVersion(wish) {
			options = atVersion(wish, pod) // it must not have started meanwhile
		}
		if _, _, err := e.pods.Delete(ctx, name, rest.ValidateAllObjectFunc, options); err != nil {
			return err
		}
		deleted = true
		return nil
	})
	return pod, deleted, err
}

func unguarded(pod *corev1.Pod) bool {
	switch pod.Status.Phase {
	case corev1.PodSucceeded, corev1.PodFailed, corev1.PodPending:
		return true
	}
	return pod.DeletionTimestamp != nil
}

// deleteGuarded deletes a running pod if its budget allows.
func (e *Eviction) deleteGuarded(ctx context.Context, pod *corev1.Pod, wish *metav1.DeleteOptions) error {
	budget, err := e.budgetOf(ctx, pod)
	if err != nil {
		return err
	}
	options := wish
	pinned := false
	if budget != nil {
		if mayGoUnhealthy(pod, budget) {
			pinned = true
			if !hasVersion(wish) {
				options = atVersion(wish, pod) // it must not have become healthy meanwhile
			}
		} else if err := e.take(ctx, pod.Name, budget.Name, dryrun.IsDryRun(wish.DryRun)); err != nil {
			return err
		}
	}
	err = e.markAndDelete(ctx, pod.Name, options, wish)
	if pinned && apierrors.IsConflict(err) && !hasVersion(wish) {
		return tooManyRequests(budget.Name)
	}
	return err
}

// markAndDelete states in the pod why it goes, then deletes it.
func (e *Eviction) markAndDelete(ctx context.Context, name string, options, wish *metav1.DeleteOptions) error {
	options = options.DeepCopy()
	key, err := e.pods.KeyFunc(ctx, name)
	if err != nil {
		return err
	}
	preconditions := &storage.Preconditions{}
	if options.Preconditions != nil {
		preconditions.UID, preconditions.ResourceVersion = options.Preconditions.UID, options.Preconditions.ResourceVersion
	}
	out := &corev1.Pod{}
	err = e.pods.Storage.GuaranteedUpdate(ctx, key, out, false, preconditions, storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
		p := obj.(*corev1.Pod)
		setCondition(&p.Status, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, ObservedGeneration: p.Generation,
			Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting",
		}, metav1.Now())
		return p, nil
	}), dryrun.IsDryRun(wish.DryRun), nil)
	if err != nil {
		return interpret(err, name)
	}
	if hasVersion(options) && !dryrun.IsDryRun(wish.DryRun) {
		options.Preconditions.ResourceVersion = &out.ResourceVersion
	}
	_, _, err = e.pods.Delete(ctx, name, rest.ValidateAllObjectFunc, options)
	return err
}

// budgetOf returns the budget that counts the pod, or nil. Two cannot be honoured at once.
func (e *Eviction) budgetOf(ctx context.Context, pod *corev1.Pod) (*policyv1.PodDisruptionBudget, error) {
	if len(pod.Labels) == 0 {
		return nil, nil
	}
	obj, err := e.budgets.List(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("listing disruption budgets: %w", err)
	}
	var found *policyv1.PodDisruptionBudget
	list := obj.(*policyv1.PodDisruptionBudgetList)
	for i := range list.Items {
		b := &list.Items[i]
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil || b.Namespace != pod.Namespace || !selector.Matches(labels.Set(pod.Labels)) {
			continue // a selector that cannot be read was refused at its creation
		}
		if found != nil {
			return nil, &apierrors.StatusError{ErrStatus: metav1.Status{
				Status: metav1.StatusFailure, Code: 500,
				Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
			}}
		}
		found = b
	}
	return found, nil
}

// mayGoUnhealthy reports whether the pod, being unhealthy, may go without taking from the budget.
func mayGoUnhealthy(pod *corev1.Pod, b *policyv1.PodDisruptionBudget) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil && *p == policyv1.AlwaysAllow {
		return true
	}
	return b.Status.CurrentHealthy >= b.Status.DesiredHealthy && b.Status.DesiredHealthy > 0
}

// take takes one disruption from the budget, with the budget's resource version as the lock.
func (e *Eviction) take(ctx context.Context, pod, budget string, dryRun bool) error {
	key, err := e.budgets.KeyFunc(ctx, budget)
	if err != nil {
		return err
	}
	err = e.budgets.Storage.GuaranteedUpdate(ctx, key, &policyv1.PodDisruptionBudget{}, false, nil,
		storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
			b := obj.(*policyv1.PodDisruptionBudget)
			return b, decrement(b, pod, metav1.Now())
		}), dryRun, nil)
	if storage.IsNotFound(err) {
		return nil // a budget that is gone guards nothing
	}
	return err
}

func decrement(b *policyv1.PodDisruptionBudget, pod string, now metav1.Time) error {
	resource := policyv1.Resource("poddisruptionbudget")
	switch s := &b.Status; {
	case s.ObservedGeneration < b.Generation:
		return tooManyRequests(b.Name)
	case s.DisruptionsAllowed < 0:
		return apierrors.NewForbidden(resource, b.Name, fmt.Errorf("pdb disruptions allowed is negative"))
	case len(s.DisruptedPods) > maxDisruptedPods:
		return apierrors.NewForbidden(resource, b.Name, fmt.Errorf("DisruptedPods map too big - too many evictions not confirmed by PDB controller"))
	case s.DisruptionsAllowed == 0:
		return refusal(0, fmt.Sprintf("The disruption budget %s needs %d healthy pods and has %d currently", b.Name, s.DesiredHealthy, s.CurrentHealthy))
	}
	b.Status.DisruptionsAllowed--
	if b.Status.DisruptedPods == nil {
		b.Status.DisruptedPods = map[string]metav1.Time{}
	}
	// The budget's controller takes the pod off once it sees it being deleted, or after two minutes.
	b.Status.DisruptedPods[pod] = now
	return nil
}

func tooManyRequests(budget string) error {
	return refusal(10, fmt.Sprintf("The disruption budget %s is still being processed by the server.", budget))
}

func refusal(retryAfter int, cause string) error {
	err := apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", retryAfter)
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type: policyv1.DisruptionBudgetCause, Message: cause,
	})
	return err
}

func hasVersion(o *metav1.DeleteOptions) bool {
	return o.Preconditions != nil && o.Preconditions.ResourceVersion != nil
}

func atVersion(o *metav1.DeleteOptions, pod *corev1.Pod) *metav1.DeleteOptions {
	o = o.DeepCopy()
	if o.Preconditions == nil {
		o.Preconditions = &metav1.Preconditions{}
	}
	o.Preconditions.ResourceVersion = &pod.ResourceVersion
	return o
}
