// Package resourcequota tells the admission plugin ResourceQuota, which is k8s.io/apiserver's, what the
// objects of a request count for: it puts apis/quota into that plugin's terms.
package resourcequota

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	upstream "k8s.io/apiserver/pkg/quota/v1"
	"k8s.io/apiserver/pkg/quota/v1/generic"

	"coracle.dev/coracle/apis/quota"
)

// Configuration lists what counts for more than its number, and what is not counted at all. The plugin
// counts everything else by itself.
func Configuration() upstream.Configuration {
	var evaluators []upstream.Evaluator
	for _, k := range quota.Special() {
		evaluators = append(evaluators, evaluator{k})
	}
	for _, name := range []string{"replicationcontrollers", "resourcequotas", "secrets", "configmaps"} {
		evaluators = append(evaluators, evaluator{quota.For(corev1.Resource(name))}) // they have two names each
	}
	ignored := map[schema.GroupResource]struct{}{}
	for _, gr := range []schema.GroupResource{
		{Resource: "bindings"}, {Resource: "componentstatuses"}, {Resource: "events"}, {Group: "events.k8s.io", Resource: "events"},
		{Group: "authentication.k8s.io", Resource: "tokenreviews"}, {Group: "authentication.k8s.io", Resource: "selfsubjectreviews"},
		{Group: "authorization.k8s.io", Resource: "subjectaccessreviews"}, {Group: "authorization.k8s.io", Resource: "selfsubjectaccessreviews"},
		{Group: "authorization.k8s.io", Resource: "localsubjectaccessreviews"}, {Group: "authorization.k8s.io", Resource: "selfsubjectrulesreviews"},
	} {
		ignored[gr] = struct{}{}
	}
	return generic.NewConfiguration(evaluators, ignored)
}

// evaluator is a kind in the plugin's terms.
type evaluator struct{ kind quota.Kind }

var _ upstream.Evaluator = evaluator{}

// GroupResource implements quota.Evaluator.
func (e evaluator) GroupResource() schema.GroupResource { return e.kind.GroupResource }

// Constraints implements quota.Evaluator.
func (e evaluator) Constraints(required []corev1.ResourceName, item runtime.Object) error {
	if p, ok := item.(*corev1.Pod); ok {
		return quota.Unspecified(p, required)
	}
	return nil
}

// Handles implements quota.Evaluator: it picks the requests that may raise usage.
func (e evaluator) Handles(a admission.Attributes) bool {
	create, update := a.GetOperation() == admission.Create, a.GetOperation() == admission.Update
	switch e.kind.GroupResource {
	case corev1.Resource("pods"):
		return create && a.GetSubresource() == "" || update && a.GetSubresource() == "resize"
	case corev1.Resource("persistentvolumeclaims"):
		return a.GetSubresource() == "" || update && a.GetSubresource() == "status" && claimChanges(a)
	case corev1.Resource("services"):
		return a.GetSubresource() == ""
	}
	return a.GetSubresource() == "" && (create || e.GroupResource().Resource == "resourceclaims")
}

// claimChanges says whether a write to a claim's status may change what the claim counts for.
func claimChanges(a admission.Attributes) bool {
	c, ok := a.GetObject().(*corev1.PersistentVolumeClaim)
	old, had := a.GetOldObject().(*corev1.PersistentVolumeClaim)
	return ok && had && (!equality.Semantic.DeepEqual(c.Status.AllocatedResources, old.Status.AllocatedResources) ||
		!equality.Semantic.DeepEqual(c.Status.CurrentVolumeAttributesClassName, old.Status.CurrentVolumeAttributesClassName) ||
		!equality.Semantic.DeepEqual(c.Status.ModifyVolumeStatus, old.Status.ModifyVolumeStatus))
}

// Matches implements quota.Evaluator.
func (e evaluator) Matches(q *corev1.ResourceQuota, item runtime.Object) (bool, error) {
	return e.kind.Matches(q, q.Status.Hard, item), nil
}

// MatchingScopes implements quota.Evaluator.
func (e evaluator) MatchingScopes(item runtime.Object, scopes []corev1.ScopedResourceSelectorRequirement) ([]corev1.ScopedResourceSelectorRequirement, error) {
	return e.kind.Matching(scopes, item), nil
}

// UncoveredQuotaScopes implements quota.Evaluator.
func (e evaluator) UncoveredQuotaScopes(limited, covered []corev1.ScopedResourceSelectorRequirement) ([]corev1.ScopedResourceSelectorRequirement, error) {
	return e.kind.Uncovered(limited, covered), nil
}

// MatchingResources implements quota.Evaluator.
func (e evaluator) MatchingResources(names []corev1.ResourceName) []corev1.ResourceName {
	return e.kind.Names(names)
}

// Usage implements quota.Evaluator.
func (e evaluator) Usage(item runtime.Object) (corev1.ResourceList, error) {
	return e.kind.Usage(item, time.Now()), nil
}

// UsageStats implements quota.Evaluator. Admission does not call it: what is there is the quota
// controller's to count.
func (e evaluator) UsageStats(upstream.UsageStatsOptions) (upstream.UsageStats, error) {
	return upstream.UsageStats{}, errors.New("usage of a namespace is counted by the quota controller")
}
