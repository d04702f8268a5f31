package spec

import (
	corev1 "k8s.io/api/core/v1"
	podresource "k8s.io/component-helpers/resource"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	minShares   = 2
	maxShares   = 262144
	cpuPeriod   = 100000
	minCPUQuota = 1000

	guaranteedOOMAdj = -997
	bestEffortOOMAdj = 1000
	// systemCriticalPriority is the lowest priority of pods that a node
	// cannot do without.
	systemCriticalPriority = 2 * 1000000000
)

// Shares turns milli-CPUs into cgroup v1 CPU shares.
func Shares(milliCPU int64) int64 {
	if milliCPU == 0 {
		return minShares
	}
	return min(max(milliCPU*1024/1000, minShares), maxShares)
}

// Quota turns milli-CPUs into microseconds per period; 0 means no limit.
func Quota(milliCPU int64) int64 {
	if milliCPU == 0 {
		return 0
	}
	return max(milliCPU*cpuPeriod/1000, minCPUQuota)
}

// LinuxResources is the container's share of the machine.
func LinuxResources(pod *corev1.Pod, c *corev1.Container, o Options) *runtimev1.LinuxContainerResources {
	request := c.Resources.Requests.Cpu().MilliValue()
	cpuLimit := c.Resources.Limits.Cpu()
	if _, set := c.Resources.Requests[corev1.ResourceCPU]; !set && !cpuLimit.IsZero() {
		request = cpuLimit.MilliValue()
	}
	memory := c.Resources.Limits.Memory().Value()
	r := &runtimev1.LinuxContainerResources{
		CpuShares:          Shares(request),
		CpuPeriod:          cpuPeriod,
		CpuQuota:           Quota(cpuLimit.MilliValue()),
		MemoryLimitInBytes: memory,
		OomScoreAdj:        OOMScoreAdj(pod, c, o.MemoryCapacity),
	}
	if o.CgroupV2 {
		r.Unified = map[string]string{"memory.oom.group": "1"}
	}
	if o.CgroupV2 && o.SwapLimit {
		r.Unified["memory.swap.max"] = "0"
	}
	r.HugepageLimits = hugepages(c)
	return r
}

func hugepages(c *corev1.Container) []*runtimev1.HugepageLimit {
	const prefix = corev1.ResourceHugePagesPrefix
	var out []*runtimev1.HugepageLimit
	for name, q := range c.Resources.Limits {
		if size, ok := cutPrefix(string(name), prefix); ok {
			out = append(out, &runtimev1.HugepageLimit{PageSize: pageSize(size), Limit: uint64(q.Value())})
		}
	}
	return out
}

// OOMScoreAdj ranks containers for the kernel: the less memory a container
// asked for compared to the node's, the sooner it goes.
func OOMScoreAdj(pod *corev1.Pod, c *corev1.Container, memoryCapacity int64) int64 {
	if pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCriticalPriority {
		return guaranteedOOMAdj
	}
	switch QOSClass(pod) {
	case corev1.PodQOSGuaranteed:
		return guaranteedOOMAdj
	case corev1.PodQOSBestEffort:
		return bestEffortOOMAdj
	}
	if memoryCapacity <= 0 {
		return bestEffortOOMAdj - 1
	}
	adj := 1000 - 1000*c.Resources.Requests.Memory().Value()/memoryCapacity
	const lowest = 1000 + guaranteedOOMAdj
	if adj < lowest {
		return lowest
	}
	return min(adj, bestEffortOOMAdj-1)
}

// QOSClass ranks the pod by its CPU and memory requests and limits.
func QOSClass(pod *corev1.Pod) corev1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	if podresource.IsPodLevelResourcesSet(pod) {
		return qosOf([]corev1.ResourceRequirements{*pod.Spec.Resources})
	}
	var all []corev1.ResourceRequirements
	for _, c := range pod.Spec.Containers {
		all = append(all, c.Resources)
	}
	for _, c := range pod.Spec.InitContainers {
		all = append(all, c.Resources)
	}
	return qosOf(all)
}

func qosOf(all []corev1.ResourceRequirements) corev1.PodQOSClass {
	anySet, guaranteed := false, true
	for _, r := range all {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := r.Requests[name], r.Limits[name]
			if !request.IsZero() || !limit.IsZero() {
				anySet = true
			}
			if limit.IsZero() || (!request.IsZero() && request.Cmp(limit) != 0) {
				guaranteed = false
			}
		}
	}
	switch {
	case !anySet:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

// PodResources is the pod's cgroup: the sum of requests as shares, and a
// limit where every container has one.
func PodResources(pod *corev1.Pod) *runtimev1.LinuxContainerResources {
	requests := podresource.PodRequests(pod, podresource.PodResourcesOptions{})
	limits := podresource.PodLimits(pod, podresource.PodResourcesOptions{})
	r := &runtimev1.LinuxContainerResources{
		CpuShares: Shares(requests.Cpu().MilliValue()),
		CpuPeriod: cpuPeriod,
	}
	cpuLimited, memoryLimited := true, true
	if !podresource.IsPodLevelLimitsSet(pod) {
		for _, c := range append(append([]corev1.Container(nil), pod.Spec.Containers...), pod.Spec.InitContainers...) {
			cpuLimited = cpuLimited && !c.Resources.Limits.Cpu().IsZero()
			memoryLimited = memoryLimited && !c.Resources.Limits.Memory().IsZero()
		}
	}
	if cpuLimited {
		r.CpuQuota = Quota(limits.Cpu().MilliValue())
	}
	if memoryLimited {
		r.MemoryLimitInBytes = limits.Memory().Value()
	}
	return r
}
