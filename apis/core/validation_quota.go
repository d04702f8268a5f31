package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/pod"
	"coracle.dev/coracle/apis/resource"
)

func validateLimitRange(l *corev1.LimitRange) field.ErrorList {
	path := field.NewPath("spec", "limits")
	errs := resource.Each(path, l.Spec.Limits, checkLimits)
	return append(errs, resource.Unique(path, l.Spec.Limits, "type", func(i *corev1.LimitRangeItem) string { return string(i.Type) })...)
}

func validateLimitRangeUpdate(l, _ *corev1.LimitRange) field.ErrorList { return validateLimitRange(l) }

// checkLimits: min <= defaultRequest <= default <= max, for each resource that has them.
func checkLimits(path *field.Path, item *corev1.LimitRangeItem) field.ErrorList {
	errs := resource.Messages(path.Child("type"), item.Type, utilvalidation.IsQualifiedName(string(item.Type)))
	if item.Type == corev1.LimitTypePod {
		for name, list := range resource.Sorted(map[string]corev1.ResourceList{"default": item.Default, "defaultRequest": item.DefaultRequest}) {
			if len(list) > 0 {
				errs = append(errs, field.Forbidden(path.Child(name), "may not be specified when `type` is 'Pod'"))
			}
		}
	}
	if item.Type == corev1.LimitTypePersistentVolumeClaim {
		_, low := item.Min[corev1.ResourceStorage]
		_, high := item.Max[corev1.ResourceStorage]
		if !low && !high {
			errs = append(errs, field.Required(path.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
		}
	}
	names := map[corev1.ResourceName]bool{}
	for _, list := range []corev1.ResourceList{item.Max, item.Min, item.Default, item.DefaultRequest, item.MaxLimitRequestRatio} {
		for n := range list {
			names[n] = true
		}
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		errs = append(errs, pod.CheckResourceName(path.Key(string(n)), n)...)
		errs = append(errs, checkOrder(path, item, n)...)
	}
	return errs
}

func checkOrder(path *field.Path, item *corev1.LimitRangeItem, n corev1.ResourceName) field.ErrorList {
	var errs field.ErrorList
	inOrder := func(child, what string, low corev1.ResourceList, than string, high corev1.ResourceList) {
		a, okA := low[n]
		b, okB := high[n]
		if okA && okB && a.Cmp(b) > 0 {
			errs = append(errs, field.Invalid(path.Child(child).Key(string(n)), a.String(),
				fmt.Sprintf("%s value %s is greater than %s value %s", what, a.String(), than, b.String())))
		}
	}
	inOrder("min", "min", item.Min, "max", item.Max)
	inOrder("defaultRequest", "min", item.Min, "default request", item.DefaultRequest)
	inOrder("defaultRequest", "default request", item.DefaultRequest, "max", item.Max)
	inOrder("defaultRequest", "default request", item.DefaultRequest, "default limit", item.Default)
	inOrder("default", "min", item.Min, "default", item.Default)
	inOrder("default", "default", item.Default, "max", item.Max)
	if ratio, ok := item.MaxLimitRequestRatio[n]; ok && ratio.Cmp(apiresource.MustParse("1")) < 0 {
		errs = append(errs, field.Invalid(path.Child("maxLimitRequestRatio").Key(string(n)), ratio.String(), fmt.Sprintf("ratio %s is less than 1", ratio.String())))
	}
	return errs
}

// quotaScopes pairs each scope with the one that it excludes.
var quotaScopes = map[corev1.ResourceQuotaScope]corev1.ResourceQuotaScope{
	corev1.ResourceQuotaScopeTerminating:               corev1.ResourceQuotaScopeNotTerminating,
	corev1.ResourceQuotaScopeNotTerminating:            corev1.ResourceQuotaScopeTerminating,
	corev1.ResourceQuotaScopeBestEffort:                corev1.ResourceQuotaScopeNotBestEffort,
	corev1.ResourceQuotaScopeNotBestEffort:             corev1.ResourceQuotaScopeBestEffort,
	corev1.ResourceQuotaScopePriorityClass:             "",
	corev1.ResourceQuotaScopeCrossNamespacePodAffinity: "",
	corev1.ResourceQuotaScopeVolumeAttributesClass:     "",
}

func validateResourceQuota(q *corev1.ResourceQuota) field.ErrorList {
	path := field.NewPath("spec")
	errs := checkQuotaList(path.Child("hard"), q.Spec.Hard)
	scopes := path.Child("scopes")
	for i, s := range q.Spec.Scopes {
		excluded, known := quotaScopes[s]
		switch {
		case !known:
			errs = append(errs, field.Invalid(scopes, q.Spec.Scopes, "unsupported scope"))
		case excluded != "" && slices.Contains(q.Spec.Scopes[:i], excluded):
			errs = append(errs, field.Invalid(scopes, q.Spec.Scopes, "conflicting scopes"))
		}
		errs = append(errs, checkScopeResources(scopes, q.Spec.Scopes, s, q.Spec.Hard)...)
	}
	if s := q.Spec.ScopeSelector; s != nil {
		at := path.Child("scopeSelector", "matchExpressions")
		errs = append(errs, resource.Each(at, s.MatchExpressions, checkScope)...)
		for i, r := range s.MatchExpressions {
			errs = append(errs, checkScopeResources(at.Index(i), r, r.ScopeName, q.Spec.Hard)...)
		}
	}
	return errs
}

// podAmounts are what a scope of pods can be a scope of, besides their number. Pods of best effort have
// none of it.
var podAmounts = []corev1.ResourceName{
	corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage,
	corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage,
}

// checkScopeResources requires that what is limited can be limited within the scope. Only the standard
// resources are known well enough to say.
func checkScopeResources(path *field.Path, value any, scope corev1.ResourceQuotaScope, hard corev1.ResourceList) field.ErrorList {
	var errs field.ErrorList
	for _, n := range slices.Sorted(maps.Keys(hard)) {
		if strings.Contains(string(n), "/") || len(pod.CheckResourceName(path, n)) > 0 {
			continue
		}
		fits := n == corev1.ResourcePods
		switch scope {
		case corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeNotBestEffort,
			corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
			fits = fits || slices.Contains(podAmounts, n)
		case corev1.ResourceQuotaScopeBestEffort:
		default:
			fits = true
		}
		if !fits {
			errs = append(errs, field.Invalid(path, value, "unsupported scope applied to resource"))
		}
	}
	return errs
}

func checkScope(path *field.Path, r *corev1.ScopedResourceSelectorRequirement) field.ErrorList {
	var errs field.ErrorList
	if _, known := quotaScopes[r.ScopeName]; !known {
		errs = append(errs, field.Invalid(path.Child("scopeName"), r.ScopeName, "unsupported scope"))
	}
	switch r.ScopeName {
	case corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeTerminating,
		corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		if r.Operator != corev1.ScopeSelectorOpExists {
			errs = append(errs, field.Invalid(path.Child("operator"), r.Operator,
				"must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
		}
	}
	switch r.Operator {
	case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(path.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
		}
	case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
		if len(r.Values) != 0 {
			errs = append(errs, field.Invalid(path.Child("values"), r.Values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
		}
	default:
		errs = append(errs, field.Invalid(path.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	return errs
}

func checkQuotaList(path *field.Path, list corev1.ResourceList) field.ErrorList {
	var errs field.ErrorList
	for _, n := range slices.Sorted(maps.Keys(list)) {
		at := path.Key(string(n))
		// Counts of objects, count/<resource>.<group>, have any name.
		if !strings.HasPrefix(string(n), "count/") {
			errs = append(errs, pod.CheckResourceName(at, n)...)
		}
		errs = append(errs, pod.CheckQuantity(at, n, list[n])...)
	}
	return errs
}

func validateResourceQuotaUpdate(q, old *corev1.ResourceQuota) field.ErrorList {
	errs := validateResourceQuota(q)
	if !equality.Semantic.DeepEqual(q.Spec.Scopes, old.Spec.Scopes) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "scopes"), q.Spec.Scopes, resource.Immutable))
	}
	return errs
}

func validateResourceQuotaStatus(q, _ *corev1.ResourceQuota) field.ErrorList {
	path := field.NewPath("status")
	return append(checkQuotaList(path.Child("hard"), q.Status.Hard), checkQuotaList(path.Child("used"), q.Status.Used)...)
}
