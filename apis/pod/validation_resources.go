package pod

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	check "coracle.dev/coracle/apis/resource"
)

const (
	notNegative = "must be greater than or equal to 0"
	notInteger  = "must be an integer"
)

var (
	standardResources = []corev1.ResourceName{
		corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, corev1.ResourceRequestsCPU,
		corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage, corev1.ResourceLimitsCPU,
		corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage, corev1.ResourcePods, corev1.ResourceQuotas,
		corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceSecrets, corev1.ResourceConfigMaps,
		corev1.ResourcePersistentVolumeClaims, corev1.ResourceStorage, corev1.ResourceRequestsStorage,
		corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers,
	}
	containerResources = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}
	countedResources   = []corev1.ResourceName{
		corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers,
		corev1.ResourceSecrets, corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims,
		corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers,
	}
)

// IsExtended tells resources that are neither Kubernetes' own nor part of a quota.
func IsExtended(n corev1.ResourceName) bool {
	if !strings.Contains(string(n), "/") || strings.Contains(string(n), corev1.ResourceDefaultNamespacePrefix) ||
		strings.HasPrefix(string(n), corev1.DefaultResourceRequestsPrefix) {
		return false
	}
	return len(utilvalidation.IsQualifiedName(corev1.DefaultResourceRequestsPrefix+string(n))) == 0
}

func isNative(n corev1.ResourceName) bool {
	return !strings.Contains(string(n), "/") || strings.Contains(string(n), corev1.ResourceDefaultNamespacePrefix)
}

// mayOvercommit tells resources of which more may be promised than there is.
func mayOvercommit(n corev1.ResourceName) bool { return isNative(n) && !isHugePages(n) }

// CheckResourceName checks the name of a resource in any place.
func CheckResourceName(path *field.Path, n corev1.ResourceName) field.ErrorList {
	errs := check.Messages(path, n, utilvalidation.IsQualifiedName(string(n)))
	if len(errs) == 0 && !strings.Contains(string(n), "/") && !slices.Contains(standardResources, n) &&
		!isHugePages(n) && !strings.HasPrefix(string(n), corev1.ResourceRequestsHugePagesPrefix) {
		errs = append(errs, field.Invalid(path, n, "must be a standard resource type or fully qualified"))
	}
	return errs
}

func checkContainerResourceName(path *field.Path, n corev1.ResourceName) field.ErrorList {
	errs := CheckResourceName(path, n)
	switch {
	case !strings.Contains(string(n), "/"):
		if !slices.Contains(containerResources, n) && !isHugePages(n) {
			errs = append(errs, field.Invalid(path, n, "must be a standard resource for containers"))
		}
	case !isNative(n) && !IsExtended(n):
		errs = append(errs, field.Invalid(path, n, "doesn't follow extended resource name standard"))
	}
	return errs
}

// CheckQuantity checks the amount of a resource.
func CheckQuantity(path *field.Path, n corev1.ResourceName, q resource.Quantity) field.ErrorList {
	var errs field.ErrorList
	if q.Sign() < 0 {
		errs = append(errs, field.Invalid(path, q.String(), notNegative))
	}
	if (slices.Contains(countedResources, n) || IsExtended(n)) && q.MilliValue()%1000 != 0 {
		errs = append(errs, field.Invalid(path, q, notInteger))
	}
	return errs
}

// checkQuantities checks amounts of what a container may have.
func checkQuantities(path *field.Path, list corev1.ResourceList) field.ErrorList {
	var errs field.ErrorList
	for _, n := range slices.Sorted(maps.Keys(list)) {
		at := path.Key(string(n))
		errs = append(errs, checkContainerResourceName(at, n)...)
		errs = append(errs, CheckQuantity(at, n, list[n])...)
		if size := list[n]; isHugePages(n) {
			errs = append(errs, checkHugePages(at, n, size)...)
		}
	}
	return errs
}

// checkHugePages requires a whole number of pages.
func checkHugePages(path *field.Path, n corev1.ResourceName, q resource.Quantity) field.ErrorList {
	page, err := resource.ParseQuantity(strings.TrimPrefix(string(n), corev1.ResourceHugePagesPrefix))
	if err != nil || page.Value() <= 0 {
		return field.ErrorList{field.Invalid(path, n, "page size is not a valid quantity")}
	}
	if q.Value()%page.Value() != 0 {
		return field.ErrorList{field.Invalid(path, q.String(), fmt.Sprintf("%s is not positive integer multiple of %s", q.String(), n))}
	}
	return nil
}

func (c *checker) checkResources(path *field.Path, r *corev1.ResourceRequirements) field.ErrorList {
	limits, requests := path.Child("limits"), path.Child("requests")
	errs := checkQuantities(limits, r.Limits)
	errs = append(errs, checkQuantities(requests, r.Requests)...)
	compute, huge := false, false
	for _, list := range []corev1.ResourceList{r.Limits, r.Requests} {
		for n := range list {
			compute = compute || n == corev1.ResourceCPU || n == corev1.ResourceMemory
			huge = huge || isHugePages(n)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(r.Requests)) {
		q := r.Requests[n]
		limit, limited := r.Limits[n]
		switch {
		case !limited && !mayOvercommit(n):
			errs = append(errs, field.Required(limits, "Limit must be set for non overcommitable resources"))
		case !limited:
		case q.Cmp(limit) != 0 && !mayOvercommit(n):
			errs = append(errs, field.Invalid(requests, q.String(), fmt.Sprintf("must be equal to %s limit of %s", n, limit.String())))
		case q.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(requests, q.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", n, limit.String())))
		}
	}
	if huge && !compute {
		errs = append(errs, field.Forbidden(path, "HugePages require cpu or memory"))
	}
	return append(errs, c.checkClaimUse(path.Child("claims"), r.Claims)...)
}

func (c *checker) checkClaimUse(path *field.Path, claims []corev1.ResourceClaim) field.ErrorList {
	errs := check.Each(path, claims, func(at *field.Path, claim *corev1.ResourceClaim) field.ErrorList {
		if claim.Name == "" {
			return field.ErrorList{field.Required(at.Child("name"), "")}
		}
		if !c.claims[claim.Name] {
			return field.ErrorList{field.NotFound(at.Child("name"), claim.Name)}
		}
		return nil
	})
	return append(errs, check.Unique(path, claims, "", func(claim *corev1.ResourceClaim) string { return claim.Name + "/" + claim.Request })...)
}

// checkPodResources: a pod as a whole may have CPU, memory and huge pages, no less than its containers
// ask for together.
func (c *checker) checkPodResources(path *field.Path) field.ErrorList {
	r := c.spec.Resources
	if r == nil {
		return nil
	}
	errs := c.checkResources(path, r)
	for kind, list := range check.Sorted(map[string]corev1.ResourceList{"limits": r.Limits, "requests": r.Requests}) {
		for _, n := range slices.Sorted(maps.Keys(list)) {
			if !isPodLevel(n) {
				errs = append(errs, field.NotSupported(path.Child(kind).Key(string(n)), n, []corev1.ResourceName{"cpu", "hugepages-", "memory"}))
			}
		}
	}
	total := ContainerRequests(c.spec)
	for _, n := range slices.Sorted(maps.Keys(r.Requests)) {
		have, want := r.Requests[n], total[n]
		if want.Cmp(have) > 0 {
			errs = append(errs, field.Invalid(path.Child("requests").Key(string(n)), have.String(),
				fmt.Sprintf("must be greater than or equal to aggregate container requests of %s", want.String())))
		}
	}
	return errs
}
