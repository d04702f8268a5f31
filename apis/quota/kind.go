// Package quota says what objects count for in resource quotas: which names of a quota a resource adds
// to, how much an object uses of each, and which objects the scopes of a quota select.
//
// It is pure: objects in, quantities out. Admission measures with it what a request adds, and the quota
// controller what is there, so that both always agree.
//
// Every namespaced resource is counted, as count/RESOURCE.GROUP; pods, services, persistent volume
// claims and resource claims use more than that, and objects of those must be handed over as their typed
// Go structs. Any other object is looked at no further than that it exists.
//
// Differences from Kubernetes: extended resources that a device class stands for without naming itself
// (requests.deviceclass.resource.kubernetes.io/...) are not counted.
package quota

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind says what objects of one resource count for.
type Kind struct {
	schema.GroupResource

	// counts are the names of which each object uses one.
	counts []corev1.ResourceName
	// more tells further names that objects may use, and uses how much of them and of counts; both are
	// nil where there are none.
	more func(corev1.ResourceName) bool
	uses func(obj runtime.Object, now time.Time) corev1.ResourceList
	// selects matches an object with one requirement of a scope; nil selects none.
	selects func(obj runtime.Object, r corev1.ScopedResourceSelectorRequirement) bool
	// scopes are those that the configuration of admission may limit.
	scopes []corev1.ResourceQuotaScope
}

// countPrefix is of names that count objects.
const countPrefix = "count/"

// For returns the kind of a resource.
func For(gr schema.GroupResource) Kind {
	for _, k := range special {
		if k.GroupResource == gr {
			return k
		}
	}
	k := Kind{GroupResource: gr, counts: []corev1.ResourceName{CountName(gr)}}
	if slices.Contains(plain, gr.Resource) && gr.Group == "" {
		k.counts = append(k.counts, corev1.ResourceName(gr.Resource))
	}
	return k
}

// plain are resources of the core group that are also counted under their bare name.
var plain = []string{"replicationcontrollers", "resourcequotas", "secrets", "configmaps"}

// special are the kinds that use more than their number.
var special = []Kind{pods, services, claims, resourceClaims}

// Special lists the kinds that use more than their number.
func Special() []Kind { return slices.Clone(special) }

// CountName is the name that counts objects of any resource.
func CountName(gr schema.GroupResource) corev1.ResourceName {
	return corev1.ResourceName(countPrefix + gr.String())
}

// Resources lists what must be counted to know the usage of the given names: a name that no resource
// has, such as that of a custom resource that is gone, is passed over by the caller, which knows what
// is served.
func Resources(names []corev1.ResourceName) []schema.GroupResource {
	var out []schema.GroupResource
	add := func(gr schema.GroupResource) {
		if !slices.Contains(out, gr) {
			out = append(out, gr)
		}
	}
	for _, name := range names {
		if counted, ok := strings.CutPrefix(string(name), countPrefix); ok {
			add(schema.ParseGroupResource(counted))
			continue
		}
		if slices.Contains(plain, string(name)) {
			add(schema.GroupResource{Resource: string(name)})
		}
		for _, k := range special {
			if k.has(name) {
				add(k.GroupResource)
			}
		}
	}
	return out
}

func (k Kind) has(name corev1.ResourceName) bool {
	return slices.Contains(k.counts, name) || k.more != nil && k.more(name)
}

// Names are those of the given names that objects of this kind may use.
func (k Kind) Names(of []corev1.ResourceName) []corev1.ResourceName {
	var out []corev1.ResourceName
	for _, name := range of {
		if k.has(name) {
			out = append(out, name)
		}
	}
	return out
}

// Usage is what obj counts for. It depends on now because a pod that is overdue in being deleted uses
// no computing resources any more.
func (k Kind) Usage(obj runtime.Object, now time.Time) corev1.ResourceList {
	if k.uses != nil {
		return k.uses(obj, now)
	}
	used := corev1.ResourceList{}
	for _, name := range k.counts {
		used[name] = one()
	}
	return used
}

// Matches says whether obj counts for a quota of names such as hard: they have names in common, and the
// quota's scopes select obj.
func (k Kind) Matches(q *corev1.ResourceQuota, hard corev1.ResourceList, obj runtime.Object) bool {
	if !slices.ContainsFunc(keys(hard), k.has) {
		return false
	}
	return len(k.Matching(Requirements(q), obj)) == len(Requirements(q))
}

// Matching are those requirements of scopes that select obj.
func (k Kind) Matching(of []corev1.ScopedResourceSelectorRequirement, obj runtime.Object) []corev1.ScopedResourceSelectorRequirement {
	var out []corev1.ScopedResourceSelectorRequirement
	for _, r := range of {
		if k.selects != nil && k.selects(obj, r) {
			out = append(out, r)
		}
	}
	return out
}

// Uncovered are the limited requirements for which there is none of the same scope among covered.
func (k Kind) Uncovered(limited, covered []corev1.ScopedResourceSelectorRequirement) []corev1.ScopedResourceSelectorRequirement {
	var out []corev1.ScopedResourceSelectorRequirement
	for _, l := range limited {
		if slices.Contains(k.scopes, l.ScopeName) && !slices.ContainsFunc(covered, func(c corev1.ScopedResourceSelectorRequirement) bool {
			return c.ScopeName == l.ScopeName
		}) {
			out = append(out, l)
		}
	}
	return out
}

// Requirements are the scopes and the scope selector of a quota; an object must match all.
func Requirements(q *corev1.ResourceQuota) []corev1.ScopedResourceSelectorRequirement {
	var out []corev1.ScopedResourceSelectorRequirement
	for _, s := range q.Spec.Scopes {
		out = append(out, corev1.ScopedResourceSelectorRequirement{ScopeName: s, Operator: corev1.ScopeSelectorOpExists})
	}
	if q.Spec.ScopeSelector != nil {
		out = append(out, q.Spec.ScopeSelector.MatchExpressions...)
	}
	return out
}

// Used is what objs, all of this kind and of the quota's namespace, use together of the quota's
// specified names. Names that this kind may use are there even where nothing uses them.
func (k Kind) Used(q *corev1.ResourceQuota, objs []runtime.Object, now time.Time) corev1.ResourceList {
	used := corev1.ResourceList{}
	for _, name := range k.Names(keys(q.Spec.Hard)) {
		used[name] = apiresource.Quantity{Format: apiresource.DecimalSI}
	}
	for _, obj := range objs {
		if !k.Matches(q, q.Spec.Hard, obj) {
			continue
		}
		for name, amount := range k.Usage(obj, now) {
			if sum, ok := used[name]; ok {
				sum.Add(amount)
				used[name] = sum
			}
		}
	}
	return used
}

func keys(list corev1.ResourceList) []corev1.ResourceName {
	out := make([]corev1.ResourceName, 0, len(list))
	for name := range list {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func one() apiresource.Quantity { return *apiresource.NewQuantity(1, apiresource.DecimalSI) }

func number(n int64) apiresource.Quantity { return *apiresource.NewQuantity(n, apiresource.DecimalSI) }
