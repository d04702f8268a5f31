package spec

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Options are the node's own settings.
type Options struct {
	// MemoryCapacity of the node in bytes, for OOM scores.
	MemoryCapacity int64
	// CgroupV2 tells which cgroup hierarchy is in use.
	CgroupV2 bool
	// SwapLimit tells whether swap can be limited; then containers get none.
	SwapLimit bool
	// SeccompDefault confines containers that name no profile.
	SeccompDefault bool
	// SeccompProfileDir holds the profiles of type Localhost.
	SeccompProfileDir string
	// LogDir is the folder of all pods' log folders.
	LogDir string
}

// ContainerInput is all that a container's configuration is made of.
type ContainerInput struct {
	Pod       *corev1.Pod
	Container *corev1.Container
	Attempt   uint32
	ImageRef  string
	ImageUser ImageUser
	Env       []EnvVar
	Mounts    []*runtimev1.Mount
	// TargetID is the container whose process namespace an ephemeral
	// container joins.
	TargetID string
}

// Container computes the container's configuration. An error is the user's
// to mend (CreateContainerConfigError).
func Container(in ContainerInput, o Options) (*runtimev1.ContainerConfig, error) {
	if err := VerifyNonRoot(in.Pod, in.Container, in.ImageUser); err != nil {
		return nil, err
	}
	security, err := containerSecurity(in.Pod, in.Container, in.ImageUser, in.TargetID, o)
	if err != nil {
		return nil, err
	}
	env := make(map[string]string, len(in.Env))
	envs := make([]*runtimev1.KeyValue, 0, len(in.Env))
	for _, e := range in.Env {
		env[e.Name] = e.Value
		envs = append(envs, &runtimev1.KeyValue{Key: e.Name, Value: []byte(e.Value)})
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	c := in.Container
	config := &runtimev1.ContainerConfig{
		Metadata:    &runtimev1.ContainerMetadata{Name: c.Name, Attempt: in.Attempt},
		Image:       &runtimev1.ImageSpec{Image: in.ImageRef, UserSpecifiedImage: c.Image},
		Command:     ExpandAll(c.Command, lookup),
		Args:        ExpandAll(c.Args, lookup),
		WorkingDir:  c.WorkingDir,
		Envs:        envs,
		Mounts:      in.Mounts,
		Labels:      Labels(in.Pod, c.Name),
		Annotations: containerAnnotations(in.Pod, c, in.Attempt),
		LogPath:     ContainerLog(c.Name, in.Attempt),
		Stdin:       c.Stdin,
		StdinOnce:   c.StdinOnce,
		Tty:         c.TTY,
		Linux: &runtimev1.LinuxContainerConfig{
			Resources:       LinuxResources(in.Pod, c, o),
			SecurityContext: security,
		},
		StopSignal: stopSignal(c),
	}
	return config, nil
}

func stopSignal(c *corev1.Container) runtimev1.Signal {
	if c.Lifecycle == nil || c.Lifecycle.StopSignal == nil {
		return runtimev1.Signal_SIGNAL_RUNTIME_DEFAULT
	}
	name := "SIGNAL_" + strings.NewReplacer("+", "PLUS", "-", "MINUS").Replace(string(*c.Lifecycle.StopSignal))
	return runtimev1.Signal(runtimev1.Signal_value[name])
}

func containerAnnotations(pod *corev1.Pod, c *corev1.Container, attempt uint32) map[string]string {
	a := map[string]string{
		AnnotationHash:          ContainerHash(c),
		AnnotationRestartCount:  strconv.Itoa(int(attempt)),
		AnnotationMessagePath:   c.TerminationMessagePath,
		AnnotationMessagePolicy: string(c.TerminationMessagePolicy),
		AnnotationGracePeriod:   strconv.FormatInt(GracePeriod(pod), 10),
	}
	if len(c.Ports) > 0 {
		if data, err := json.Marshal(c.Ports); err == nil {
			a[annotationPorts] = string(data)
		}
	}
	return a
}

// SandboxInput is all that a sandbox's configuration is made of.
type SandboxInput struct {
	Pod          *corev1.Pod
	Attempt      uint32
	Hostname     string
	DNS          *runtimev1.DNSConfig
	CgroupParent string
}

// Sandbox computes the configuration of the pod's sandbox.
func Sandbox(in SandboxInput, o Options) *runtimev1.PodSandboxConfig {
	pod := in.Pod
	labels := Labels(pod, "")
	for k, v := range pod.Labels {
		if _, ours := labels[k]; !ours {
			labels[k] = v
		}
	}
	annotations := map[string]string{annotationConfigSource: "api"}
	for k, v := range pod.Annotations {
		annotations[k] = v
	}
	security := &runtimev1.LinuxSandboxSecurityContext{
		NamespaceOptions: namespaceOptions(pod, ""),
		Privileged:       anyPrivileged(pod),
		Seccomp:          &runtimev1.SecurityProfile{ProfileType: runtimev1.SecurityProfile_RuntimeDefault},
	}
	if p := pod.Spec.SecurityContext; p != nil {
		if p.RunAsUser != nil {
			security.RunAsUser = &runtimev1.Int64Value{Value: *p.RunAsUser}
		}
		if p.RunAsGroup != nil && p.RunAsUser != nil {
			security.RunAsGroup = &runtimev1.Int64Value{Value: *p.RunAsGroup}
		}
		security.SelinuxOptions = selinux(p.SELinuxOptions)
	}
	security.SupplementalGroups, security.SupplementalGroupsPolicy = groups(pod)
	config := &runtimev1.PodSandboxConfig{
		Metadata:     &runtimev1.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: in.Attempt},
		LogDirectory: PodLogDir(o.LogDir, pod.Namespace, pod.Name, pod.UID),
		DnsConfig:    in.DNS,
		Labels:       labels,
		Annotations:  annotations,
		PortMappings: portMappings(pod),
		Linux: &runtimev1.LinuxPodSandboxConfig{
			CgroupParent:    in.CgroupParent,
			SecurityContext: security,
			Sysctls:         sysctls(pod),
			Resources:       PodResources(pod),
		},
	}
	if !pod.Spec.HostNetwork || pod.Spec.HostnameOverride != nil {
		config.Hostname = in.Hostname
	}
	return config
}

func anyPrivileged(pod *corev1.Pod) bool {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if sc := list[i].SecurityContext; sc != nil && sc.Privileged != nil && *sc.Privileged {
				return true
			}
		}
	}
	return false
}

func portMappings(pod *corev1.Pod) []*runtimev1.PortMapping {
	if pod.Spec.HostNetwork {
		return nil
	}
	var out []*runtimev1.PortMapping
	add := func(c *corev1.Container) {
		for _, p := range c.Ports {
			if p.HostPort > 0 {
				out = append(out, &runtimev1.PortMapping{
					Protocol:      runtimev1.Protocol(runtimev1.Protocol_value[string(p.Protocol)]),
					ContainerPort: p.ContainerPort, HostPort: p.HostPort, HostIp: p.HostIP,
				})
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		if IsSidecar(&pod.Spec.InitContainers[i]) {
			add(&pod.Spec.InitContainers[i])
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	return out
}

func sysctls(pod *corev1.Pod) map[string]string {
	if pod.Spec.SecurityContext == nil || len(pod.Spec.SecurityContext.Sysctls) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		out[strings.ReplaceAll(s.Name, "/", ".")] = s.Value
	}
	return out
}

func cutPrefix(s, prefix string) (string, bool) { return strings.CutPrefix(s, prefix) }

// pageSize writes a page size as cgroups name it: 2Mi becomes 2MB.
func pageSize(s string) string {
	return filepath.Base(strings.TrimSuffix(s, "i")) + "B"
}
