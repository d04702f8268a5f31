package quota

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
)

// Suffixes of names that are limited per class.
const (
	classSuffix        = ".storageclass.storage.k8s.io/"
	claimsPerClass     = classSuffix + "persistentvolumeclaims"
	storagePerClass    = classSuffix + "requests.storage"
	betaClassOfAClaim  = corev1.BetaStorageClassAnnotation
	devicesPerClass    = corev1.ResourceClaimsPerClass
	allDevicesAsAmount = resourcev1.AllocationResultsMaxSize
)

var services = Kind{
	GroupResource: corev1.Resource("services"),
	counts:        []corev1.ResourceName{CountName(corev1.Resource("services")), corev1.ResourceServices},
	more: func(name corev1.ResourceName) bool {
		return name == corev1.ResourceServicesNodePorts || name == corev1.ResourceServicesLoadBalancers
	},
	uses: serviceUsage,
}

func serviceUsage(obj runtime.Object, _ time.Time) corev1.ResourceList {
	s := obj.(*corev1.Service)
	var ports, balancers int64
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		ports = int64(len(s.Spec.Ports))
	case corev1.ServiceTypeLoadBalancer:
		balancers = 1
		every := s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts
		for _, p := range s.Spec.Ports {
			if every || p.NodePort != 0 {
				ports++
			}
		}
	}
	return corev1.ResourceList{
		CountName(corev1.Resource("services")): one(), corev1.ResourceServices: one(),
		corev1.ResourceServicesNodePorts: number(ports), corev1.ResourceServicesLoadBalancers: number(balancers),
	}
}

var claimCounts = []corev1.ResourceName{CountName(corev1.Resource("persistentvolumeclaims")), corev1.ResourcePersistentVolumeClaims}

var claims = Kind{
	GroupResource: corev1.Resource("persistentvolumeclaims"),
	counts:        claimCounts,
	more: func(name corev1.ResourceName) bool {
		return name == corev1.ResourceRequestsStorage ||
			strings.HasSuffix(string(name), claimsPerClass) || strings.HasSuffix(string(name), storagePerClass)
	},
	uses:    claimUsage,
	selects: selectsClaim,
	scopes:  []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeVolumeAttributesClass},
}

func claimUsage(obj runtime.Object, _ time.Time) corev1.ResourceList {
	c := obj.(*corev1.PersistentVolumeClaim)
	used := corev1.ResourceList{}
	class, named := c.Annotations[betaClassOfAClaim]
	if !named && c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	for _, name := range claimCounts {
		used[name] = one()
	}
	if class != "" {
		used[corev1.ResourceName(class+claimsPerClass)] = one()
	}
	size, requested := claimSize(c)
	if !requested {
		return used
	}
	used[corev1.ResourceRequestsStorage] = size
	if class != "" {
		used[corev1.ResourceName(class+storagePerClass)] = size
	}
	return used
}

// claimSize is the larger of what is requested and what is allocated already: a request may be lowered
// again after an expansion that failed, and what was allocated meanwhile stays taken.
func claimSize(c *corev1.PersistentVolumeClaim) (apiresource.Quantity, bool) {
	size, ok := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if !ok {
		return size, false
	}
	if allocated, ok := c.Status.AllocatedResources[corev1.ResourceStorage]; ok && allocated.Cmp(size) > 0 {
		size = allocated
	}
	return size, true
}

func selectsClaim(obj runtime.Object, r corev1.ScopedResourceSelectorRequirement) bool {
	if r.ScopeName != corev1.ResourceQuotaScopeVolumeAttributesClass {
		return false
	}
	c := obj.(*corev1.PersistentVolumeClaim)
	var classes []string
	for _, name := range []*string{c.Spec.VolumeAttributesClassName, c.Status.CurrentVolumeAttributesClassName} {
		if name != nil {
			classes = append(classes, *name)
		}
	}
	if s := c.Status.ModifyVolumeStatus; s != nil {
		classes = append(classes, s.TargetVolumeAttributesClassName)
	}
	return selectsValue(r, classes...)
}

var resourceClaims = Kind{
	GroupResource: resourcev1.Resource("resourceclaims"),
	counts:        []corev1.ResourceName{CountName(resourcev1.Resource("resourceclaims"))},
	more:          func(name corev1.ResourceName) bool { return strings.HasSuffix(string(name), devicesPerClass) },
	uses:          deviceUsage,
}

// deviceUsage counts devices by class: as many as the claim may get at most.
func deviceUsage(obj runtime.Object, _ time.Time) corev1.ResourceList {
	c := obj.(*resourcev1.ResourceClaim)
	used := corev1.ResourceList{CountName(resourcev1.Resource("resourceclaims")): one()}
	add := func(class string, n int64) {
		name := corev1.ResourceName(class + devicesPerClass)
		q := used[name]
		q.Add(number(n))
		used[name] = q
	}
	for _, r := range c.Spec.Devices.Requests {
		if r.Exactly != nil {
			add(r.Exactly.DeviceClassName, devices(r.Exactly.AllocationMode, r.Exactly.Count))
		}
		// One of these is satisfied; which one is not known.
		most := map[string]int64{}
		for _, s := range r.FirstAvailable {
			most[s.DeviceClassName] = max(most[s.DeviceClassName], devices(s.AllocationMode, s.Count))
		}
		for class, n := range most {
			add(class, n)
		}
	}
	return used
}

func devices(mode resourcev1.DeviceAllocationMode, count int64) int64 {
	if mode == resourcev1.DeviceAllocationModeAll {
		return allDevicesAsAmount
	}
	return count
}
