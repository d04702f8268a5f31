package pod

import (
	"fmt"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// mutableFields is how a refusal names the fields that may change.
var mutableFields = []string{
	"`spec.containers[*].image`", "`spec.initContainers[*].image`", "`spec.activeDeadlineSeconds`",
	"`spec.tolerations` (only additions to existing tolerations)",
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
}

// Validate returns every fault of a new pod.
func Validate(p *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec")
	errs := ValidateSpec(&p.Spec, &p.ObjectMeta, path)
	if len(p.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(path.Child("ephemeralContainers"), "cannot be set on create"))
	}
	if len(p.Spec.SchedulingGates) > 0 && p.Spec.NodeName != "" {
		errs = append(errs, field.Forbidden(path.Child("nodeName"), "cannot be set until all schedulingGates have been cleared"))
	}
	return errs
}

// ValidateUpdate returns every fault of a change to a pod, most of which is fixed once it is made.
func ValidateUpdate(p, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec")
	errs := ValidateSpec(&p.Spec, &p.ObjectMeta, path)
	if len(p.Spec.Containers) != len(old.Spec.Containers) {
		return append(errs, field.Forbidden(path.Child("containers"), "pod updates may not add or remove containers"))
	}
	if len(p.Spec.InitContainers) != len(old.Spec.InitContainers) {
		return append(errs, field.Forbidden(path.Child("initContainers"), "pod updates may not add or remove containers"))
	}
	errs = append(errs, checkDeadlineUpdate(path.Child("activeDeadlineSeconds"), p.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds)...)
	errs = append(errs, checkAddedTolerations(path.Child("tolerations"), p.Spec.Tolerations, old.Spec.Tolerations)...)
	for i, g := range p.Spec.SchedulingGates {
		if !slices.Contains(old.Spec.SchedulingGates, g) {
			errs = append(errs, field.Forbidden(path.Child("schedulingGates").Index(i).Child("name"),
				fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", g.Name)))
		}
	}
	return append(errs, checkRest(path, p, old)...)
}

// checkRest sets what may change back to what it was and requires the rest to be the same.
func checkRest(path *field.Path, p, old *corev1.Pod) field.ErrorList {
	rest := p.Spec.DeepCopy()
	for i := range rest.Containers {
		rest.Containers[i].Image = old.Spec.Containers[i].Image
	}
	for i := range rest.InitContainers {
		rest.InitContainers[i].Image = old.Spec.InitContainers[i].Image
	}
	rest.ActiveDeadlineSeconds = old.Spec.ActiveDeadlineSeconds
	rest.SchedulingGates = old.Spec.SchedulingGates
	rest.Tolerations = old.Spec.Tolerations
	if period := old.Spec.TerminationGracePeriodSeconds; period != nil && *period < 0 && resource.Deref(p.Spec.TerminationGracePeriodSeconds) == 1 {
		rest.TerminationGracePeriodSeconds = period
	}
	var errs field.ErrorList
	if len(old.Spec.SchedulingGates) > 0 {
		errs = checkGated(path, rest, &old.Spec)
	}
	if equality.Semantic.DeepEqual(rest, &old.Spec) {
		return errs
	}
	return append(errs, field.Forbidden(path, fmt.Sprintf("pod updates may not change fields other than %s\n%v",
		strings.Join(mutableFields, ","), diff.Diff(rest, old.Spec))))
}

func checkDeadlineUpdate(path *field.Path, deadline, old *int64) field.ErrorList {
	switch {
	case deadline == nil && old != nil:
		return field.ErrorList{field.Invalid(path, deadline, "must not update from a positive integer to nil value")}
	case deadline == nil:
		return nil
	case *deadline < 0 || *deadline > math.MaxInt32:
		return field.ErrorList{field.Invalid(path, *deadline, utilvalidation.InclusiveRangeError(0, math.MaxInt32))}
	case old != nil && *old < *deadline:
		return field.ErrorList{field.Invalid(path, *deadline, "must be less than or equal to previous value")}
	}
	return nil
}

func checkAddedTolerations(path *field.Path, tolerations, old []corev1.Toleration) field.ErrorList {
	same := func(a, b corev1.Toleration) bool {
		a.TolerationSeconds, b.TolerationSeconds = nil, nil
		return equality.Semantic.DeepEqual(a, b)
	}
	for _, o := range old {
		if !slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool { return same(t, o) }) {
			return field.ErrorList{field.Forbidden(path, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return nil
}

// ValidateEphemeralUpdate returns every fault of a write to /ephemeralcontainers: containers can be
// added there, never changed or taken away.
func ValidateEphemeralUpdate(p, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec")
	errs := ValidateSpec(&p.Spec, &p.ObjectMeta, path)
	if _, static := old.Annotations[corev1.MirrorPodAnnotationKey]; static {
		errs = append(errs, field.Forbidden(field.NewPath(""), "static pods do not support ephemeral containers"))
	}
	have := map[string]*corev1.EphemeralContainer{}
	for i := range p.Spec.EphemeralContainers {
		have[p.Spec.EphemeralContainers[i].Name] = &p.Spec.EphemeralContainers[i]
	}
	for i := range old.Spec.EphemeralContainers {
		was := &old.Spec.EphemeralContainers[i]
		switch now := have[was.Name]; {
		case now == nil:
			errs = append(errs, field.Forbidden(path.Child("ephemeralContainers"), fmt.Sprintf("existing ephemeral containers %q may not be removed\n", was.Name)))
		case !equality.Semantic.DeepEqual(now, was):
			errs = append(errs, field.Forbidden(path.Child("ephemeralContainers"),
				fmt.Sprintf("existing ephemeral containers %q may not be changed\n%v", was.Name, diff.Diff(now, was))))
		}
	}
	return errs
}

// ValidateStatusUpdate returns every fault of a write to /status.
func ValidateStatusUpdate(p, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("status")
	var errs field.ErrorList
	if name := p.Status.NominatedNodeName; name != "" {
		errs = append(errs, resource.DNSSubdomain(path.Child("nominatedNodeName"), name)...)
	}
	for i, ip := range p.Status.PodIPs {
		errs = append(errs, utilvalidation.IsValidIPForLegacyField(path.Child("podIPs").Index(i), ip.IP, false, nil)...)
	}
	errs = append(errs, resource.Unique(path.Child("podIPs"), p.Status.PodIPs, "", func(ip *corev1.PodIP) string { return ip.IP })...)
	if p.Spec.RestartPolicy == corev1.RestartPolicyAlways {
		return errs
	}
	return append(errs, checkFinished(path, p, old)...)
}

// checkFinished: a container that has ended for good does not run again.
func checkFinished(path *field.Path, p, old *corev1.Pod) field.ErrorList {
	ended := map[string]*corev1.ContainerStateTerminated{}
	for _, c := range old.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil && (p.Spec.RestartPolicy == corev1.RestartPolicyNever || t.ExitCode == 0) {
			ended[c.Name] = t
		}
	}
	for _, c := range p.Spec.Containers {
		if len(c.RestartPolicyRules) > 0 || c.RestartPolicy != nil {
			delete(ended, c.Name) // the container has rules of its own
		}
	}
	var errs field.ErrorList
	for i, c := range p.Status.ContainerStatuses {
		if ended[c.Name] != nil && c.State.Terminated == nil {
			errs = append(errs, field.Forbidden(path.Child("containerStatuses").Index(i).Child("state"), "may not be transitioned to non-terminated state"))
		}
	}
	return errs
}
