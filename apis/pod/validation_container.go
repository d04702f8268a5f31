package pod

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

func (c *checker) checkContainers(path *field.Path) field.ErrorList {
	regular, initial := path.Child("containers"), path.Child("initContainers")
	var errs field.ErrorList
	if len(c.spec.Containers) == 0 {
		errs = append(errs, field.Required(regular, ""))
	}
	errs = append(errs, resource.Each(regular, c.spec.Containers, func(at *field.Path, ctr *corev1.Container) field.ErrorList {
		errs := append(c.checkContainer(at, ctr), c.checkProbes(at, ctr)...)
		if p := ctr.RestartPolicy; p != nil {
			errs = append(errs, resource.Supported(at.Child("restartPolicy"), *p, containerRestartPolicies...)...)
		}
		return errs
	})...)
	errs = append(errs, resource.Unique(regular, c.spec.Containers, "name", containerName)...)
	errs = append(errs, checkHostPorts(regular, c.spec.Containers)...)
	errs = append(errs, resource.Each(initial, c.spec.InitContainers, c.checkInitContainer)...)
	errs = append(errs, c.checkInitNames(initial)...)
	errs = append(errs, c.checkEphemeral(path.Child("ephemeralContainers"))...)
	if c.spec.HostNetwork {
		errs = append(errs, c.checkNetworkPorts(regular, c.spec.Containers)...)
		errs = append(errs, c.checkNetworkPorts(initial, c.spec.InitContainers)...)
	}
	return errs
}

var containerRestartPolicies = []corev1.ContainerRestartPolicy{
	corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure,
}

func containerName(c *corev1.Container) string { return c.Name }

// checkContainer checks what containers of all three kinds have.
func (c *checker) checkContainer(path *field.Path, ctr *corev1.Container) field.ErrorList {
	errs := resource.NotEmpty(path.Child("name"), ctr.Name)
	if ctr.Name != "" {
		errs = resource.DNSLabel(path.Child("name"), ctr.Name)
	}
	switch image := path.Child("image"); {
	case ctr.Image == "":
		errs = append(errs, field.Required(image, ""))
	case ctr.Image != strings.TrimSpace(ctr.Image):
		errs = append(errs, field.Invalid(image, ctr.Image, "must not have leading or trailing whitespace"))
	}
	errs = append(errs, resource.OneOf(path.Child("terminationMessagePolicy"), ctr.TerminationMessagePolicy,
		corev1.TerminationMessageFallbackToLogsOnError, corev1.TerminationMessageReadFile)...)
	errs = append(errs, checkPorts(path.Child("ports"), ctr.Ports)...)
	errs = append(errs, resource.Each(path.Child("env"), ctr.Env, c.checkEnv)...)
	errs = append(errs, resource.Each(path.Child("envFrom"), ctr.EnvFrom, checkEnvFrom)...)
	errs = append(errs, c.checkMounts(path, ctr)...)
	errs = append(errs, c.checkDevices(path.Child("volumeDevices"), ctr)...)
	errs = append(errs, resource.OneOf(path.Child("imagePullPolicy"), ctr.ImagePullPolicy,
		corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	errs = append(errs, c.checkResources(path.Child("resources"), &ctr.Resources)...)
	errs = append(errs, c.checkResizePolicy(path.Child("resizePolicy"), ctr)...)
	return append(errs, c.checkSecurity(path.Child("securityContext"), ctr.SecurityContext)...)
}

// checkResizePolicy: what is never started again cannot be resized by a restart.
func (c *checker) checkResizePolicy(path *field.Path, ctr *corev1.Container) field.ErrorList {
	restarts := c.spec.RestartPolicy != corev1.RestartPolicyNever || IsSidecar(ctr) || ctr.RestartPolicy != nil || len(ctr.RestartPolicyRules) > 0
	errs := resource.Each(path, ctr.ResizePolicy, func(at *field.Path, p *corev1.ContainerResizePolicy) field.ErrorList {
		errs := resource.OneOf(at.Child("resourceName"), p.ResourceName, corev1.ResourceCPU, corev1.ResourceMemory)
		errs = append(errs, resource.OneOf(at.Child("restartPolicy"), p.RestartPolicy, corev1.NotRequired, corev1.RestartContainer)...)
		if p.RestartPolicy == corev1.RestartContainer && !restarts {
			errs = append(errs, field.Invalid(at.Child("restartPolicy"), p.RestartPolicy, "must be 'NotRequired' when `restartPolicy` is 'Never'"))
		}
		return errs
	})
	return append(errs, resource.Unique(path, ctr.ResizePolicy, "", func(p *corev1.ContainerResizePolicy) string { return string(p.ResourceName) })...)
}

func checkPorts(path *field.Path, ports []corev1.ContainerPort) field.ErrorList {
	errs := resource.Each(path, ports, func(at *field.Path, p *corev1.ContainerPort) field.ErrorList {
		var errs field.ErrorList
		if p.Name != "" {
			errs = append(errs, resource.Messages(at.Child("name"), p.Name, utilvalidation.IsValidPortName(p.Name))...)
		}
		if p.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), ""))
		} else {
			errs = append(errs, resource.PortNumber(at.Child("containerPort"), p.ContainerPort)...)
		}
		if p.HostPort != 0 {
			errs = append(errs, resource.PortNumber(at.Child("hostPort"), p.HostPort)...)
		}
		return append(errs, resource.OneOf(at.Child("protocol"), p.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
	})
	return append(errs, resource.Unique(path, ports, "name", func(p *corev1.ContainerPort) string { return p.Name })...)
}

// checkHostPorts forbids that two containers take one port of the host.
func checkHostPorts(path *field.Path, containers []corev1.Container) field.ErrorList {
	var errs field.ErrorList
	taken := map[string]bool{}
	for i := range containers {
		for j, p := range containers[i].Ports {
			if p.HostPort == 0 {
				continue
			}
			key := fmt.Sprintf("%s/%s/%d", p.Protocol, p.HostIP, p.HostPort)
			if taken[key] {
				errs = append(errs, field.Duplicate(path.Index(i).Child("ports").Index(j).Child("hostPort"), key))
			}
			taken[key] = true
		}
	}
	return errs
}

// checkNetworkPorts: in the host's network a container's port is the host's. A template may leave the
// second open, as it is filled in when the pod is made.
func (c *checker) checkNetworkPorts(path *field.Path, containers []corev1.Container) field.ErrorList {
	var errs field.ErrorList
	for i := range containers {
		for j, p := range containers[i].Ports {
			if (c.isPod || p.HostPort != 0) && p.HostPort != p.ContainerPort {
				errs = append(errs, field.Invalid(path.Index(i).Child("ports").Index(j).Child("hostPort"), p.HostPort,
					"must match `containerPort` when `hostNetwork` is true"))
			}
		}
	}
	return errs
}

// checkInitContainer: an init container that must finish can be neither probed nor hooked; a sidecar can.
func (c *checker) checkInitContainer(path *field.Path, ctr *corev1.Container) field.ErrorList {
	errs := c.checkContainer(path, ctr)
	errs = append(errs, checkHostPorts(path, []corev1.Container{*ctr})...)
	if IsSidecar(ctr) {
		return append(errs, c.checkProbes(path, ctr)...)
	}
	if p := ctr.RestartPolicy; p != nil {
		errs = append(errs, resource.Supported(path.Child("restartPolicy"), *p, containerRestartPolicies...)...)
	}
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"lifecycle", ctr.Lifecycle != nil}, {"livenessProbe", ctr.LivenessProbe != nil},
		{"readinessProbe", ctr.ReadinessProbe != nil}, {"startupProbe", ctr.StartupProbe != nil},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(path.Child(f.name), "may not be set for init containers without restartPolicy=Always"))
		}
	}
	return errs
}

// checkInitNames: names are unique among init and regular containers together.
func (c *checker) checkInitNames(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i := range c.spec.Containers {
		seen[c.spec.Containers[i].Name] = true
	}
	for i := range c.spec.InitContainers {
		name := c.spec.InitContainers[i].Name
		if name != "" && seen[name] {
			errs = append(errs, field.Duplicate(path.Index(i).Child("name"), name))
		}
		seen[name] = true
	}
	return errs
}

// checkEphemeral: containers that are added to a running pod have neither ports nor resources nor
// probes, and a target that exists.
func (c *checker) checkEphemeral(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var names []string
	for _, list := range [][]corev1.Container{c.spec.Containers, c.spec.InitContainers} {
		for i := range list {
			names = append(names, list[i].Name)
		}
	}
	others := slices.Clone(names)
	for i := range c.spec.EphemeralContainers {
		e := &c.spec.EphemeralContainers[i]
		ctr, at := (*corev1.Container)(&e.EphemeralContainerCommon), path.Index(i)
		errs = append(errs, c.checkContainer(at, ctr)...)
		if e.Name != "" && slices.Contains(names, e.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), e.Name))
		}
		names = append(names, e.Name)
		if e.TargetContainerName != "" && !slices.Contains(others, e.TargetContainerName) {
			errs = append(errs, field.NotFound(at.Child("targetContainerName"), e.TargetContainerName))
		}
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"ports", len(e.Ports) > 0}, {"livenessProbe", e.LivenessProbe != nil}, {"readinessProbe", e.ReadinessProbe != nil},
			{"startupProbe", e.StartupProbe != nil}, {"lifecycle", e.Lifecycle != nil},
			{"resources", e.Resources.Limits != nil || e.Resources.Requests != nil || len(e.Resources.Claims) > 0},
			{"resizePolicy", len(e.ResizePolicy) > 0}, {"restartPolicy", e.RestartPolicy != nil},
		} {
			if f.set {
				errs = append(errs, field.Forbidden(at.Child(f.name), "cannot be set for an Ephemeral Container"))
			}
		}
		for j, m := range e.VolumeMounts {
			if m.SubPath != "" {
				errs = append(errs, field.Forbidden(at.Child("volumeMounts").Index(j).Child("subPath"), "cannot be set for an Ephemeral Container"))
			}
			if m.SubPathExpr != "" {
				errs = append(errs, field.Forbidden(at.Child("volumeMounts").Index(j).Child("subPathExpr"), "cannot be set for an Ephemeral Container"))
			}
		}
	}
	return errs
}
