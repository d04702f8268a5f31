package pod

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

const (
	notForLinux    = "cannot be set for a linux pod"
	notForWindows  = "cannot be set for a windows pod"
	maxCredentials = 64 * 1024
)

// part is a field that a pod of one operating system must not have.
type part struct {
	name string
	set  bool
}

func forbid(path *field.Path, why string, parts ...part) field.ErrorList {
	var errs field.ErrorList
	for _, p := range parts {
		if p.set {
			errs = append(errs, field.Forbidden(path.Child(p.name), why))
		}
	}
	return errs
}

// checkOS: a pod that names its operating system has nothing that belongs to the other.
func (c *checker) checkOS(path *field.Path) field.ErrorList {
	s := c.spec
	if s.OS == nil {
		return nil
	}
	security := path.Child("securityContext")
	var errs field.ErrorList
	switch s.OS.Name {
	case corev1.Linux:
		if sc := s.SecurityContext; sc != nil && sc.WindowsOptions != nil {
			errs = append(errs, field.Forbidden(security.Child("windowsOptions"), "windows options cannot be set for a linux pod"))
		}
	case corev1.Windows:
		errs = append(errs, forbid(path, notForWindows, part{"hostPID", s.HostPID}, part{"hostIPC", s.HostIPC},
			part{"hostUsers", s.HostUsers != nil}, part{"shareProcessNamespace", s.ShareProcessNamespace != nil})...)
		if sc := s.SecurityContext; sc != nil {
			errs = append(errs, forbid(security, notForWindows,
				part{"appArmorProfile", sc.AppArmorProfile != nil}, part{"seLinuxOptions", sc.SELinuxOptions != nil},
				part{"seccompProfile", sc.SeccompProfile != nil}, part{"fsGroup", sc.FSGroup != nil},
				part{"fsGroupChangePolicy", sc.FSGroupChangePolicy != nil}, part{"sysctls", len(sc.Sysctls) > 0},
				part{"runAsUser", sc.RunAsUser != nil}, part{"runAsGroup", sc.RunAsGroup != nil},
				part{"supplementalGroups", sc.SupplementalGroups != nil}, part{"supplementalGroupsPolicy", sc.SupplementalGroupsPolicy != nil})...)
		}
	default:
		return nil
	}
	c.eachContainer(path, func(at *field.Path, ctr *corev1.Container) {
		errs = append(errs, checkContainerOS(at.Child("securityContext"), ctr.SecurityContext, s.OS.Name)...)
	})
	return errs
}

func checkContainerOS(path *field.Path, s *corev1.SecurityContext, os corev1.OSName) field.ErrorList {
	switch {
	case s == nil:
		return nil
	case os == corev1.Linux:
		return forbid(path, notForLinux, part{"windowsOptions", s.WindowsOptions != nil})
	}
	return forbid(path, notForWindows,
		part{"appArmorProfile", s.AppArmorProfile != nil}, part{"seLinuxOptions", s.SELinuxOptions != nil},
		part{"seccompProfile", s.SeccompProfile != nil}, part{"capabilities", s.Capabilities != nil},
		part{"readOnlyRootFilesystem", s.ReadOnlyRootFilesystem != nil}, part{"privileged", s.Privileged != nil},
		part{"allowPrivilegeEscalation", s.AllowPrivilegeEscalation != nil}, part{"procMount", s.ProcMount != nil},
		part{"runAsUser", s.RunAsUser != nil}, part{"runAsGroup", s.RunAsGroup != nil})
}

// eachContainer goes through the containers of all three kinds.
func (c *checker) eachContainer(path *field.Path, f func(*field.Path, *corev1.Container)) {
	for _, list := range []struct {
		name       string
		containers []corev1.Container
	}{{"initContainers", c.spec.InitContainers}, {"containers", c.spec.Containers}} {
		for i := range list.containers {
			f(path.Child(list.name).Index(i), &list.containers[i])
		}
	}
	for i := range c.spec.EphemeralContainers {
		f(path.Child("ephemeralContainers").Index(i), (*corev1.Container)(&c.spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
}

// checkWindowsOptions checks what a container on Windows runs as.
func checkWindowsOptions(path *field.Path, o *corev1.WindowsSecurityContextOptions) field.ErrorList {
	if o == nil {
		return nil
	}
	var errs field.ErrorList
	if name := o.GMSACredentialSpecName; name != nil {
		errs = append(errs, resource.Messages(path.Child("gmsaCredentialSpecName"), *name, utilvalidation.IsDNS1123Subdomain(*name))...)
	}
	if spec := o.GMSACredentialSpec; spec != nil {
		at := path.Child("gmsaCredentialSpec")
		switch {
		case *spec == "":
			errs = append(errs, field.Invalid(at, *spec, "gmsaCredentialSpec cannot be an empty string"))
		case len(*spec) > maxCredentials:
			errs = append(errs, field.Invalid(at, *spec, "gmsaCredentialSpec size must be under 64 KiB"))
		}
	}
	if name := o.RunAsUserName; name != nil {
		at := path.Child("runAsUserName")
		switch {
		case *name == "":
			errs = append(errs, field.Invalid(at, *name, "runAsUserName cannot be an empty string"))
		case strings.ContainsFunc(*name, func(r rune) bool { return r < ' ' || r == 0x7f }):
			errs = append(errs, field.Invalid(at, *name, "runAsUserName cannot contain control characters"))
		case strings.Count(*name, `\`) > 1:
			errs = append(errs, field.Invalid(at, *name, "runAsUserName cannot contain more than one backslash"))
		}
	}
	return errs
}
