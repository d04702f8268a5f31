package pod

import (
	"fmt"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

const (
	sysctlPattern   = `^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`
	sysctlMaxLength = 253
)

var sysctlName = regexp.MustCompile(sysctlPattern)

func isPrivileged(s *corev1.SecurityContext) bool {
	return s != nil && s.Privileged != nil && *s.Privileged
}

func (c *checker) checkPodSecurity(path *field.Path) field.ErrorList {
	s := c.spec
	var errs field.ErrorList
	if resource.Deref(s.ShareProcessNamespace) && s.HostPID {
		errs = append(errs, field.Invalid(path.Child("shareProcessNamespace"), *s.ShareProcessNamespace, "ShareProcessNamespace and HostPID cannot both be enabled"))
	}
	errs = append(errs, checkHostUsers(path, s)...)
	sc, path := s.SecurityContext, path.Child("securityContext")
	if sc == nil {
		return errs
	}
	errs = append(errs, checkIdentity(path, sc.RunAsUser, sc.RunAsGroup)...)
	if sc.FSGroup != nil {
		errs = append(errs, resource.Messages(path.Child("fsGroup"), *sc.FSGroup, utilvalidation.IsValidGroupID(*sc.FSGroup))...)
	}
	for i, g := range sc.SupplementalGroups {
		errs = append(errs, resource.Messages(path.Child("supplementalGroups").Index(i), g, utilvalidation.IsValidGroupID(g))...)
	}
	if p := sc.SupplementalGroupsPolicy; p != nil {
		errs = append(errs, resource.Supported(path.Child("supplementalGroupsPolicy"), *p, corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)...)
	}
	if p := sc.FSGroupChangePolicy; p != nil {
		errs = append(errs, resource.Supported(path.Child("fsGroupChangePolicy"), *p, corev1.FSGroupChangeOnRootMismatch, corev1.FSGroupChangeAlways)...)
	}
	if p := sc.SELinuxChangePolicy; p != nil {
		errs = append(errs, resource.Supported(path.Child("seLinuxChangePolicy"), *p, corev1.SELinuxChangePolicyMountOption, corev1.SELinuxChangePolicyRecursive)...)
	}
	errs = append(errs, checkSysctls(path.Child("sysctls"), sc.Sysctls)...)
	errs = append(errs, checkWindowsOptions(path.Child("windowsOptions"), sc.WindowsOptions)...)
	errs = append(errs, checkSeccomp(path.Child("seccompProfile"), sc.SeccompProfile)...)
	return append(errs, checkAppArmor(path.Child("appArmorProfile"), sc.AppArmorProfile)...)
}

func checkIdentity(path *field.Path, user, group *int64) field.ErrorList {
	var errs field.ErrorList
	if user != nil {
		errs = append(errs, resource.Messages(path.Child("runAsUser"), *user, utilvalidation.IsValidUserID(*user))...)
	}
	if group != nil {
		errs = append(errs, resource.Messages(path.Child("runAsGroup"), *group, utilvalidation.IsValidGroupID(*group))...)
	}
	return errs
}

// checkHostUsers: a pod with users of its own shares no other namespace with the host.
func checkHostUsers(path *field.Path, s *corev1.PodSpec) field.ErrorList {
	if s.HostUsers == nil || *s.HostUsers {
		return nil
	}
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{{"hostNetwork", s.HostNetwork}, {"hostPID", s.HostPID}, {"hostIPC", s.HostIPC}} {
		if f.set {
			errs = append(errs, field.Forbidden(path.Child(f.name), "when `pod.Spec.HostUsers` is false"))
		}
	}
	return errs
}

func checkSysctls(path *field.Path, sysctls []corev1.Sysctl) field.ErrorList {
	errs := resource.Each(path, sysctls, func(at *field.Path, s *corev1.Sysctl) field.ErrorList {
		switch {
		case s.Name == "":
			return field.ErrorList{field.Required(at.Child("name"), "")}
		case len(s.Name) > sysctlMaxLength || !sysctlName.MatchString(s.Name):
			return field.ErrorList{field.Invalid(at.Child("name"), s.Name,
				fmt.Sprintf("must have at most %d characters and match regex %s", sysctlMaxLength, sysctlPattern))}
		}
		return nil
	})
	return append(errs, resource.Unique(path, sysctls, "name", func(s *corev1.Sysctl) string { return s.Name })...)
}

func checkSeccomp(path *field.Path, p *corev1.SeccompProfile) field.ErrorList {
	if p == nil {
		return nil
	}
	profile := path.Child("localhostProfile")
	switch p.Type {
	case "":
		return field.ErrorList{field.Required(path.Child("type"), "type is required when seccompProfile is set")}
	case corev1.SeccompProfileTypeLocalhost:
		if p.LocalhostProfile == nil {
			return field.ErrorList{field.Required(profile, "must be set when seccomp type is Localhost")}
		}
		return resource.RelativePath(profile, *p.LocalhostProfile)
	case corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined:
		if p.LocalhostProfile != nil {
			return field.ErrorList{field.Invalid(profile, p, "can only be set when seccomp type is Localhost")}
		}
		return nil
	}
	return resource.Supported(path.Child("type"), p.Type, corev1.SeccompProfileTypeLocalhost,
		corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)
}

func checkAppArmor(path *field.Path, p *corev1.AppArmorProfile) field.ErrorList {
	if p == nil {
		return nil
	}
	profile := path.Child("localhostProfile")
	switch p.Type {
	case "":
		return field.ErrorList{field.Required(path.Child("type"), "type is required when appArmorProfile is set")}
	case corev1.AppArmorProfileTypeLocalhost:
		if p.LocalhostProfile == nil || *p.LocalhostProfile == "" {
			return field.ErrorList{field.Required(profile, "must be set when AppArmor type is Localhost")}
		}
		return nil
	case corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined:
		if p.LocalhostProfile != nil {
			return field.ErrorList{field.Invalid(profile, p.LocalhostProfile, "can only be set when AppArmor type is Localhost")}
		}
		return nil
	}
	return resource.Supported(path.Child("type"), p.Type, corev1.AppArmorProfileTypeLocalhost,
		corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)
}

// checkSecurity checks a container's own security context.
func (c *checker) checkSecurity(path *field.Path, s *corev1.SecurityContext) field.ErrorList {
	if s == nil {
		return nil
	}
	errs := checkIdentity(path, s.RunAsUser, s.RunAsGroup)
	if m := s.ProcMount; m != nil {
		errs = append(errs, resource.Supported(path.Child("procMount"), *m, corev1.DefaultProcMount, corev1.UnmaskedProcMount)...)
		if *m == corev1.UnmaskedProcMount && (c.spec.HostUsers == nil || *c.spec.HostUsers) {
			errs = append(errs, field.Invalid(path.Child("procMount"), *m, "`hostUsers` must be false to use `Unmasked`"))
		}
	}
	if s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation {
		if isPrivileged(s) {
			errs = append(errs, field.Invalid(path, s, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
		}
		if s.Capabilities != nil && slices.Contains(s.Capabilities.Add, "CAP_SYS_ADMIN") {
			errs = append(errs, field.Invalid(path, s, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
		}
	}
	errs = append(errs, checkWindowsOptions(path.Child("windowsOptions"), s.WindowsOptions)...)
	errs = append(errs, checkSeccomp(path.Child("seccompProfile"), s.SeccompProfile)...)
	return append(errs, checkAppArmor(path.Child("appArmorProfile"), s.AppArmorProfile)...)
}
