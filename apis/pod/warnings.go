package pod

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// oldLabels maps labels of nodes that are no longer set to those that replaced them.
var oldLabels = map[string]struct{ since, use string }{
	"beta.kubernetes.io/arch":                  {"v1.14", corev1.LabelArchStable},
	"beta.kubernetes.io/os":                    {"v1.14", corev1.LabelOSStable},
	"beta.kubernetes.io/instance-type":         {"v1.17", corev1.LabelInstanceTypeStable},
	"failure-domain.beta.kubernetes.io/zone":   {"v1.17", corev1.LabelTopologyZone},
	"failure-domain.beta.kubernetes.io/region": {"v1.17", corev1.LabelTopologyRegion},
}

// oldVolumes maps kinds of volume to the version that deprecated them, or after which they do not work.
var oldVolumes = map[string]string{
	"gitRepo": "deprecated in v1.11", "cephfs": "deprecated in v1.28, non-functional in v1.31+",
	"rbd": "deprecated in v1.28, non-functional in v1.31+", "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
	"storageos": "deprecated in v1.22, non-functional in v1.25+", "flocker": "deprecated in v1.22, non-functional in v1.25+",
	"quobyte": "deprecated in v1.22, non-functional in v1.25+", "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
	"photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
}

// Warnings tells the author of a pod what is valid and yet hardly meant.
func Warnings(p *corev1.Pod) []string {
	var out []string
	if msgs := utilvalidation.IsDNS1123Label(p.Name); p.Name != "" && len(msgs) > 0 {
		out = append(out, fmt.Sprintf("metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: %v", msgs))
	}
	return append(out, specWarnings(&p.Spec, field.NewPath("spec"))...)
}

// TemplateWarnings is Warnings for a pod template.
func TemplateWarnings(t *corev1.PodTemplateSpec, path *field.Path) []string {
	return specWarnings(&t.Spec, path.Child("spec"))
}

func specWarnings(s *corev1.PodSpec, path *field.Path) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(s.NodeSelector)) {
		if l, ok := oldLabels[key]; ok {
			out = append(out, fmt.Sprintf("%s: deprecated since %s; use %q instead", path.Child("nodeSelector").Key(key), l.since, l.use))
		}
	}
	if resource.Deref(s.TerminationGracePeriodSeconds) < 0 {
		out = append(out, fmt.Sprintf("%s: must be >= 0; negative values are invalid and will be treated as 1", path.Child("terminationGracePeriodSeconds")))
	}
	for i := range s.Volumes {
		for _, kind := range SetFields(&s.Volumes[i].VolumeSource) {
			if text, ok := oldVolumes[kind]; ok {
				out = append(out, fmt.Sprintf("%s: %s", path.Child("volumes").Index(i).Child(kind), text))
			}
		}
	}
	for _, list := range []struct {
		name       string
		containers []corev1.Container
	}{{"initContainers", s.InitContainers}, {"containers", s.Containers}} {
		for i := range list.containers {
			out = append(out, containerWarnings(&list.containers[i], path.Child(list.name).Index(i))...)
		}
	}
	return append(out, portNameWarnings(s.Containers, path.Child("containers"))...)
}

func containerWarnings(c *corev1.Container, path *field.Path) []string {
	var out []string
	for _, list := range []struct {
		name string
		list corev1.ResourceList
	}{{"limits", c.Resources.Limits}, {"requests", c.Resources.Requests}} {
		for _, n := range []corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
			if q, ok := list.list[n]; ok && q.MilliValue()%1000 != 0 {
				out = append(out, fmt.Sprintf("%s: fractional byte value %q is invalid, must be an integer",
					path.Child("resources", list.name).Key(string(n)), q.String()))
			}
		}
	}
	env := map[string]bool{}
	for i, e := range c.Env {
		if env[e.Name] {
			out = append(out, fmt.Sprintf("%s: hides previous definition of %q, which may be dropped when using apply", path.Child("env").Index(i), e.Name))
		}
		env[e.Name] = true
	}
	type port struct {
		protocol corev1.Protocol
		number   int32
		host     int32
		ip       string
	}
	ports := map[port]*field.Path{}
	for i, p := range c.Ports {
		key, at := port{p.Protocol, p.ContainerPort, p.HostPort, p.HostIP}, path.Child("ports").Index(i)
		if first, ok := ports[key]; ok {
			out = append(out, fmt.Sprintf("%s: duplicate port definition with %s", at, first))
			continue
		}
		ports[key] = at
	}
	return out
}

// portNameWarnings: services and probes that name a port of two containers mean the first.
func portNameWarnings(containers []corev1.Container, path *field.Path) []string {
	var out []string
	names := map[string]*field.Path{}
	for i := range containers {
		for j, p := range containers[i].Ports {
			at := path.Index(i).Child("ports").Index(j)
			if first, ok := names[p.Name]; ok && p.Name != "" {
				out = append(out, fmt.Sprintf("%s: duplicate port name %q with %s, services and probes that select ports by name will use %s", at, p.Name, first, first))
				continue
			}
			names[p.Name] = at
		}
	}
	return out
}
