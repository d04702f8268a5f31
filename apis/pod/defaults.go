package pod

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"coracle.dev/coracle/apis/resource"
)

// Default fills what a pod leaves out. A pod gets more than a template does: requests, service links
// and host ports are settled only when a pod is made.
func Default(p *corev1.Pod) {
	DefaultSpec(&p.Spec)
	forEachContainer(&p.Spec, func(c *corev1.Container) {
		defaultRequests(&c.Resources)
	})
	defaultPodRequests(&p.Spec)
	resource.SetPointer(&p.Spec.EnableServiceLinks, corev1.DefaultEnableServiceLinks)
	if p.Spec.HostNetwork {
		defaultHostPorts(p.Spec.Containers)
		defaultHostPorts(p.Spec.InitContainers)
	}
	for _, statuses := range [][]corev1.ContainerStatus{p.Status.ContainerStatuses, p.Status.InitContainerStatuses} {
		for i := range statuses {
			RoundUp(statuses[i].AllocatedResources)
			if r := statuses[i].Resources; r != nil {
				RoundUp(r.Limits)
				RoundUp(r.Requests)
			}
		}
	}
}

// DefaultTemplate fills what a pod template leaves out.
func DefaultTemplate(t *corev1.PodTemplateSpec) { DefaultSpec(&t.Spec) }

// DefaultSpec fills what the specification of a pod or of a template leaves out.
func DefaultSpec(s *corev1.PodSpec) {
	resource.SetDefault(&s.DNSPolicy, corev1.DNSClusterFirst)
	resource.SetDefault(&s.RestartPolicy, corev1.RestartPolicyAlways)
	resource.SetDefault(&s.SchedulerName, corev1.DefaultSchedulerName)
	resource.SetPointer(&s.TerminationGracePeriodSeconds, int64(corev1.DefaultTerminationGracePeriodSeconds))
	resource.SetPointer(&s.SecurityContext, corev1.PodSecurityContext{})
	SyncServiceAccount(s)
	RoundUp(s.Overhead)
	if r := s.Resources; r != nil {
		RoundUp(r.Limits)
		RoundUp(r.Requests)
	}
	for i := range s.Volumes {
		defaultVolume(&s.Volumes[i])
	}
	forEachContainer(s, defaultContainer)
	for i := range s.EphemeralContainers {
		defaultContainer((*corev1.Container)(&s.EphemeralContainers[i].EphemeralContainerCommon))
	}
}

// SyncServiceAccount keeps the old name of the field serviceAccountName equal to the new one, which
// rules.
func SyncServiceAccount(s *corev1.PodSpec) {
	resource.SetDefault(&s.ServiceAccountName, s.DeprecatedServiceAccount)
	s.DeprecatedServiceAccount = s.ServiceAccountName
}

func forEachContainer(s *corev1.PodSpec, f func(*corev1.Container)) {
	for i := range s.InitContainers {
		f(&s.InitContainers[i])
	}
	for i := range s.Containers {
		f(&s.Containers[i])
	}
}

func defaultContainer(c *corev1.Container) {
	resource.SetDefault(&c.ImagePullPolicy, pullPolicy(c.Image))
	resource.SetDefault(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	resource.SetDefault(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	RoundUp(c.Resources.Limits)
	RoundUp(c.Resources.Requests)
	for i := range c.Ports {
		resource.SetDefault(&c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil {
			defaultFieldRef(from.FieldRef)
			if from.FileKeyRef != nil {
				resource.SetPointer(&from.FileKeyRef.Optional, false)
			}
		}
	}
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		defaultProbe(p)
	}
	if c.Lifecycle != nil {
		for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil {
				defaultHTTPGet(h.HTTPGet)
			}
		}
	}
}

// pullPolicy depends on the tag: a tag that moves is pulled each time. An image with neither tag nor
// digest has the tag latest.
func pullPolicy(image string) corev1.PullPolicy {
	name, _, pinned := strings.Cut(image, "@")
	_, tag, tagged := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	if tag == "latest" || !tagged && !pinned {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

func defaultProbe(p *corev1.Probe) {
	if p == nil {
		return
	}
	resource.SetDefault(&p.TimeoutSeconds, 1)
	resource.SetDefault(&p.PeriodSeconds, 10)
	resource.SetDefault(&p.SuccessThreshold, 1)
	resource.SetDefault(&p.FailureThreshold, 3)
	defaultHTTPGet(p.HTTPGet)
	if p.GRPC != nil {
		resource.SetPointer(&p.GRPC.Service, "")
	}
}

func defaultHTTPGet(h *corev1.HTTPGetAction) {
	if h == nil {
		return
	}
	resource.SetDefault(&h.Path, "/")
	resource.SetDefault(&h.Scheme, corev1.URISchemeHTTP)
}

func defaultFieldRef(r *corev1.ObjectFieldSelector) {
	if r != nil {
		resource.SetDefault(&r.APIVersion, "v1")
	}
}

func defaultHostPorts(containers []corev1.Container) {
	for i := range containers {
		for j := range containers[i].Ports {
			resource.SetDefault(&containers[i].Ports[j].HostPort, containers[i].Ports[j].ContainerPort)
		}
	}
}

// RoundUp brings quantities to a multiple of one thousandth, the finest that the API knows.
func RoundUp(list corev1.ResourceList) {
	for name, q := range list {
		q.RoundUp(apiresource.Milli)
		list[name] = q
	}
}
