package pod

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
)

// defaultRequests makes what is limited requested, unless the request says otherwise.
func defaultRequests(r *corev1.ResourceRequirements) {
	if r.Limits == nil {
		return
	}
	if r.Requests == nil {
		r.Requests = corev1.ResourceList{}
	}
	addMissing(r.Requests, r.Limits, func(corev1.ResourceName) bool { return true })
}

// defaultPodRequests completes the requests of a pod that limits its resources as a whole: by the sum
// of its containers' requests where there is one, else by the limit.
func defaultPodRequests(s *corev1.PodSpec) {
	if s.Resources == nil || len(s.Resources.Limits) == 0 {
		return
	}
	requests := s.Resources.Requests
	if requests == nil {
		requests = corev1.ResourceList{}
	}
	addMissing(requests, ContainerRequests(s), func(n corev1.ResourceName) bool {
		return isPodLevel(n) && !isHugePages(n)
	})
	addMissing(requests, s.Resources.Limits, isPodLevel)
	if len(requests) > 0 {
		s.Resources.Requests = requests
	}
}

func addMissing(into, from corev1.ResourceList, wanted func(corev1.ResourceName) bool) {
	for name, q := range from {
		if _, ok := into[name]; !ok && wanted(name) {
			into[name] = q.DeepCopy()
		}
	}
}

// ContainerRequests is what the containers request together: the larger of the sum of all that run on
// and of what any init container needs beside the sidecars started before it.
func ContainerRequests(s *corev1.PodSpec) corev1.ResourceList {
	total, sidecars, peak := corev1.ResourceList{}, corev1.ResourceList{}, corev1.ResourceList{}
	for i := range s.Containers {
		addTo(total, s.Containers[i].Resources.Requests)
	}
	for i := range s.InitContainers {
		c := &s.InitContainers[i]
		need := c.Resources.Requests.DeepCopy()
		if need == nil {
			need = corev1.ResourceList{}
		}
		addTo(need, sidecars)
		raiseTo(peak, need)
		if IsSidecar(c) {
			addTo(total, c.Resources.Requests)
			addTo(sidecars, c.Resources.Requests)
		}
	}
	raiseTo(total, peak)
	return total
}

// IsSidecar tells init containers that go on running from those that must finish.
func IsSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

func addTo(sum, more corev1.ResourceList) {
	for name, q := range more {
		have := sum[name]
		have.Add(q)
		sum[name] = have
	}
}

func raiseTo(peak, other corev1.ResourceList) {
	for name, q := range other {
		if have, ok := peak[name]; !ok || q.Cmp(have) > 0 {
			peak[name] = q.DeepCopy()
		}
	}
}

func isHugePages(n corev1.ResourceName) bool {
	return strings.HasPrefix(string(n), corev1.ResourceHugePagesPrefix)
}

// isPodLevel tells the resources that a pod may request as a whole.
func isPodLevel(n corev1.ResourceName) bool {
	return n == corev1.ResourceCPU || n == corev1.ResourceMemory || isHugePages(n)
}

// QOSClass is the quality-of-service class that follows from the pod's requests and limits of CPU and
// memory.
func QOSClass(p *corev1.Pod) corev1.PodQOSClass {
	if p.Status.QOSClass != "" {
		return p.Status.QOSClass
	}
	return ComputeQOSClass(&p.Spec)
}

// ComputeQOSClass is QOSClass for a specification alone.
func ComputeQOSClass(s *corev1.PodSpec) corev1.PodQOSClass {
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	guaranteed := true
	count := func(r *corev1.ResourceRequirements) {
		addTo(requests, computeOnly(r.Requests))
		l := computeOnly(r.Limits)
		addTo(limits, l)
		guaranteed = guaranteed && len(l) == 2
	}
	if r := s.Resources; r != nil && (len(computeOnly(r.Requests)) > 0 || len(computeOnly(r.Limits)) > 0) {
		count(r)
	} else {
		forEachContainer(s, func(c *corev1.Container) { count(&c.Resources) })
	}
	if len(requests) == 0 && len(limits) == 0 {
		return corev1.PodQOSBestEffort
	}
	if guaranteed && len(requests) == len(limits) && sameQuantities(requests, limits) {
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

// computeOnly keeps CPU and memory, where they are not zero.
func computeOnly(list corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if q, ok := list[name]; ok && q.Sign() > 0 {
			out[name] = q
		}
	}
	return out
}

func sameQuantities(a, b corev1.ResourceList) bool {
	for name, q := range a {
		other, ok := b[name]
		if !ok || !equal(q, other) {
			return false
		}
	}
	return true
}

func equal(a, b apiresource.Quantity) bool { return a.Cmp(b) == 0 }
