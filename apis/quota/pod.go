package quota

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/component-helpers/resource"

	"coracle.dev/coracle/apis/pod"
)

var pods = Kind{
	GroupResource: corev1.Resource("pods"),
	counts:        []corev1.ResourceName{CountName(corev1.Resource("pods")), corev1.ResourcePods},
	more:          isComputing,
	uses:          podUsage,
	selects:       selectsPod,
	scopes:        []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeCrossNamespacePodAffinity},
}

// computing maps the resources of containers to the names of their requests and limits in a quota. The
// bare name means the requests, too.
var computing = map[corev1.ResourceName]struct{ requests, limits corev1.ResourceName }{
	corev1.ResourceCPU:              {corev1.ResourceRequestsCPU, corev1.ResourceLimitsCPU},
	corev1.ResourceMemory:           {corev1.ResourceRequestsMemory, corev1.ResourceLimitsMemory},
	corev1.ResourceEphemeralStorage: {corev1.ResourceRequestsEphemeralStorage, corev1.ResourceLimitsEphemeralStorage},
}

func isComputing(name corev1.ResourceName) bool {
	for bare, n := range computing {
		if name == bare || name == n.requests || name == n.limits {
			return true
		}
	}
	requested, ok := strings.CutPrefix(string(name), corev1.DefaultResourceRequestsPrefix)
	if strings.HasPrefix(requested, corev1.ResourceHugePagesPrefix) {
		return true
	}
	return ok && isExtended(corev1.ResourceName(requested))
}

// isExtended tells resources that nodes advertise from those that Kubernetes itself knows.
func isExtended(name corev1.ResourceName) bool {
	return strings.Contains(string(name), "/") && !strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

func podUsage(obj runtime.Object, now time.Time) corev1.ResourceList {
	p := obj.(*corev1.Pod)
	used := corev1.ResourceList{CountName(corev1.Resource("pods")): one()}
	if ended(p, now) {
		return used
	}
	used[corev1.ResourcePods] = one()
	o := resource.PodResourcesOptions{UseStatusResources: true}
	for name, q := range resource.PodRequests(p, o) {
		switch n, known := computing[name]; {
		case known:
			used[name], used[n.requests] = q, q
		case strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix):
			used[name], used[corev1.DefaultResourceRequestsPrefix+name] = q, q
		case isExtended(name):
			used[corev1.DefaultResourceRequestsPrefix+name] = q
		}
	}
	for name, q := range resource.PodLimits(p, o) {
		if n, known := computing[name]; known {
			used[n.limits] = q
		}
	}
	return used
}

// ended says that a pod takes no place any more: it has come to its end, or its node has not confirmed
// its deletion in the time that it was given.
func ended(p *corev1.Pod, now time.Time) bool {
	if p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded {
		return true
	}
	if p.DeletionTimestamp == nil || p.DeletionGracePeriodSeconds == nil {
		return false
	}
	// The timestamp has the grace period within.
	return now.After(p.DeletionTimestamp.Time)
}

// Unspecified says which of the required names the containers of a pod, or the pod as a whole, leave
// open: where CPU or memory is limited by a quota, everybody must say how much is wanted.
func Unspecified(p *corev1.Pod, required []corev1.ResourceName) error {
	missing := map[corev1.ResourceName][]string{}
	for _, c := range slices.Concat(p.Spec.Containers, p.Spec.InitContainers) {
		for _, name := range required {
			if !specifies(&c.Resources, name) && !(p.Spec.Resources != nil && specifies(p.Spec.Resources, name)) {
				missing[name] = append(missing[name], c.Name)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var all []string
	for name, containers := range missing {
		slices.Sort(containers)
		all = append(all, fmt.Sprintf("%s for: %s", name, strings.Join(slices.Compact(containers), ",")))
	}
	slices.Sort(all)
	return fmt.Errorf("must specify %s", strings.Join(all, "; "))
}

// specifies is true, too, for names that need not be specified.
func specifies(r *corev1.ResourceRequirements, name corev1.ResourceName) bool {
	for _, bare := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		var ok bool
		switch name {
		case bare, computing[bare].requests:
			_, ok = r.Requests[bare]
		case computing[bare].limits:
			_, ok = r.Limits[bare]
		default:
			continue
		}
		return ok
	}
	return true
}

func selectsPod(obj runtime.Object, r corev1.ScopedResourceSelectorRequirement) bool {
	p := obj.(*corev1.Pod)
	terminating := p.Spec.ActiveDeadlineSeconds != nil && *p.Spec.ActiveDeadlineSeconds >= 0
	switch r.ScopeName {
	case corev1.ResourceQuotaScopeTerminating:
		return terminating
	case corev1.ResourceQuotaScopeNotTerminating:
		return !terminating
	case corev1.ResourceQuotaScopeBestEffort:
		return pod.QOSClass(p) == corev1.PodQOSBestEffort
	case corev1.ResourceQuotaScopeNotBestEffort:
		return pod.QOSClass(p) != corev1.PodQOSBestEffort
	case corev1.ResourceQuotaScopePriorityClass:
		return selectsValue(r, p.Spec.PriorityClassName)
	case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return reachesOut(p.Spec.Affinity)
	}
	return false
}

// selectsValue matches a requirement with the values that an object has; empty ones are none.
func selectsValue(r corev1.ScopedResourceSelectorRequirement, values ...string) bool {
	values = slices.DeleteFunc(values, func(v string) bool { return v == "" })
	listed := slices.ContainsFunc(values, func(v string) bool { return slices.Contains(r.Values, v) })
	switch r.Operator {
	case corev1.ScopeSelectorOpExists:
		return len(values) > 0
	case corev1.ScopeSelectorOpDoesNotExist:
		return len(values) == 0
	case corev1.ScopeSelectorOpIn:
		return listed
	case corev1.ScopeSelectorOpNotIn:
		return !listed
	}
	return false
}

// reachesOut says that a pod wants to be near to, or far from, pods of other namespaces.
func reachesOut(a *corev1.Affinity) bool {
	if a == nil {
		return false
	}
	var terms []corev1.PodAffinityTerm
	add := func(required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		terms = append(terms, required...)
		for _, w := range preferred {
			terms = append(terms, w.PodAffinityTerm)
		}
	}
	if n := a.PodAffinity; n != nil {
		add(n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if n := a.PodAntiAffinity; n != nil {
		add(n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return slices.ContainsFunc(terms, func(t corev1.PodAffinityTerm) bool {
		return len(t.Namespaces) > 0 || t.NamespaceSelector != nil
	})
}
