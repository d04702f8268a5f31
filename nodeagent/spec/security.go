package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/ptr"
)

// Paths that a container may not see, or not write, unless its procMount
// says otherwise.
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
		"/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// ImageUser is the user that an image asks to run as: a number, or a name.
type ImageUser struct {
	UID  *int64
	Name string
}

// effective merges the pod's security context into the container's.
func effective(pod *corev1.Pod, c *corev1.Container) corev1.SecurityContext {
	var out corev1.SecurityContext
	if c.SecurityContext != nil {
		out = *c.SecurityContext
	}
	p := pod.Spec.SecurityContext
	if p == nil {
		return out
	}
	out.RunAsUser = either(out.RunAsUser, p.RunAsUser)
	out.RunAsGroup = either(out.RunAsGroup, p.RunAsGroup)
	out.RunAsNonRoot = either(out.RunAsNonRoot, p.RunAsNonRoot)
	out.SELinuxOptions = either(out.SELinuxOptions, p.SELinuxOptions)
	out.SeccompProfile = either(out.SeccompProfile, p.SeccompProfile)
	out.AppArmorProfile = either(out.AppArmorProfile, p.AppArmorProfile)
	return out
}

func either[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// VerifyNonRoot refuses a container that asks not to run as root but would.
func VerifyNonRoot(pod *corev1.Pod, c *corev1.Container, image ImageUser) error {
	sc := effective(pod, c)
	if !ptr.Deref(sc.RunAsNonRoot, false) {
		return nil
	}
	where := fmt.Sprintf("(pod: %q, container: %s)", Describe(pod), c.Name)
	switch {
	case sc.RunAsUser != nil && *sc.RunAsUser == 0:
		return errors.New("container's runAsUser breaks non-root policy " + where)
	case sc.RunAsUser != nil:
		return nil
	case image.UID != nil && *image.UID == 0:
		return errors.New("container has runAsNonRoot and image will run as root " + where)
	case image.UID == nil && image.Name != "":
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", image.Name, where)
	}
	return nil
}

func containerSecurity(pod *corev1.Pod, c *corev1.Container, image ImageUser, targetID string, o Options) (*runtimev1.LinuxContainerSecurityContext, error) {
	sc := effective(pod, c)
	out := &runtimev1.LinuxContainerSecurityContext{
		NamespaceOptions: namespaceOptions(pod, targetID),
		Privileged:       ptr.Deref(sc.Privileged, false),
		ReadonlyRootfs:   ptr.Deref(sc.ReadOnlyRootFilesystem, false),
		NoNewPrivs:       noNewPrivileges(&sc),
		SelinuxOptions:   selinux(sc.SELinuxOptions),
	}
	switch {
	case sc.RunAsUser != nil:
		out.RunAsUser = &runtimev1.Int64Value{Value: *sc.RunAsUser}
	case image.UID != nil:
		out.RunAsUser = &runtimev1.Int64Value{Value: *image.UID}
	default:
		out.RunAsUsername = image.Name
	}
	if sc.RunAsGroup != nil {
		out.RunAsGroup = &runtimev1.Int64Value{Value: *sc.RunAsGroup}
	}
	out.SupplementalGroups, out.SupplementalGroupsPolicy = groups(pod)
	if caps := sc.Capabilities; caps != nil {
		out.Capabilities = &runtimev1.Capability{AddCapabilities: capNames(caps.Add), DropCapabilities: capNames(caps.Drop)}
	}
	var err error
	if out.Seccomp, err = seccomp(sc.SeccompProfile, out.Privileged, o); err != nil {
		return nil, err
	}
	out.Apparmor = apparmor(sc.AppArmorProfile)
	if !out.Privileged && (sc.ProcMount == nil || *sc.ProcMount == corev1.DefaultProcMount) {
		out.MaskedPaths, out.ReadonlyPaths = slices.Clone(maskedPaths), slices.Clone(readonlyPaths)
	}
	return out, nil
}

// noNewPrivileges follows allowPrivilegeEscalation: false, which privileged
// containers and those with CAP_SYS_ADMIN cannot ask for.
func noNewPrivileges(sc *corev1.SecurityContext) bool {
	return sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation
}

func capNames(in []corev1.Capability) []string {
	out := make([]string, len(in))
	for i, c := range in {
		out[i] = strings.TrimPrefix(string(c), "CAP_")
	}
	return out
}

func groups(pod *corev1.Pod) ([]int64, runtimev1.SupplementalGroupsPolicy) {
	p := pod.Spec.SecurityContext
	if p == nil {
		return nil, runtimev1.SupplementalGroupsPolicy_Merge
	}
	var out []int64
	if p.FSGroup != nil {
		out = append(out, *p.FSGroup)
	}
	out = append(out, p.SupplementalGroups...)
	if p.SupplementalGroupsPolicy != nil && *p.SupplementalGroupsPolicy == corev1.SupplementalGroupsPolicyStrict {
		return out, runtimev1.SupplementalGroupsPolicy_Strict
	}
	return out, runtimev1.SupplementalGroupsPolicy_Merge
}

func seccomp(p *corev1.SeccompProfile, privileged bool, o Options) (*runtimev1.SecurityProfile, error) {
	unconfined := &runtimev1.SecurityProfile{ProfileType: runtimev1.SecurityProfile_Unconfined}
	runtimeDefault := &runtimev1.SecurityProfile{ProfileType: runtimev1.SecurityProfile_RuntimeDefault}
	switch {
	case privileged:
		return unconfined, nil
	case p == nil && o.SeccompDefault:
		return runtimeDefault, nil
	case p == nil, p.Type == corev1.SeccompProfileTypeUnconfined:
		return unconfined, nil
	case p.Type == corev1.SeccompProfileTypeRuntimeDefault:
		return runtimeDefault, nil
	case p.Type == corev1.SeccompProfileTypeLocalhost:
		if ptr.Deref(p.LocalhostProfile, "") == "" {
			return nil, errors.New("localhostProfile must be set if seccompProfile type is Localhost.")
		}
		return &runtimev1.SecurityProfile{ProfileType: runtimev1.SecurityProfile_Localhost, LocalhostRef: o.SeccompProfileDir + "/" + *p.LocalhostProfile}, nil
	}
	return unconfined, nil
}

func apparmor(p *corev1.AppArmorProfile) *runtimev1.SecurityProfile {
	if p == nil {
		return nil
	}
	switch p.Type {
	case corev1.AppArmorProfileTypeRuntimeDefault:
		return &runtimev1.SecurityProfile{ProfileType: runtimev1.SecurityProfile_RuntimeDefault}
	case corev1.AppArmorProfileTypeLocalhost:
		return &runtimev1.SecurityProfile{ProfileType: runtimev1.SecurityProfile_Localhost, LocalhostRef: ptr.Deref(p.LocalhostProfile, "")}
	}
	return &runtimev1.SecurityProfile{ProfileType: runtimev1.SecurityProfile_Unconfined}
}

func selinux(o *corev1.SELinuxOptions) *runtimev1.SELinuxOption {
	if o == nil {
		return nil
	}
	return &runtimev1.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

func namespaceOptions(pod *corev1.Pod, targetID string) *runtimev1.NamespaceOption {
	mode := func(host bool) runtimev1.NamespaceMode {
		if host {
			return runtimev1.NamespaceMode_NODE
		}
		return runtimev1.NamespaceMode_POD
	}
	n := &runtimev1.NamespaceOption{
		Network: mode(pod.Spec.HostNetwork),
		Ipc:     mode(pod.Spec.HostIPC),
		Pid:     runtimev1.NamespaceMode_CONTAINER,
	}
	switch {
	case pod.Spec.HostPID:
		n.Pid = runtimev1.NamespaceMode_NODE
	case targetID != "":
		n.Pid, n.TargetId = runtimev1.NamespaceMode_TARGET, targetID
	case ptr.Deref(pod.Spec.ShareProcessNamespace, false):
		n.Pid = runtimev1.NamespaceMode_POD
	}
	return n
}
