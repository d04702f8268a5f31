package pod

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// checker is what the checks of one specification share.
type checker struct {
	spec *corev1.PodSpec
	meta *metav1.ObjectMeta
	// isPod tells a pod from a template, of which less is asked.
	isPod   bool
	volumes map[string]*corev1.VolumeSource
	claims  map[string]bool
}

// ValidateSpec returns every fault of a pod's specification. meta is that of the pod.
func ValidateSpec(s *corev1.PodSpec, meta *metav1.ObjectMeta, path *field.Path) field.ErrorList {
	return newChecker(s, meta, true).check(path)
}

// ValidateTemplate returns every fault of a pod template.
func ValidateTemplate(t *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	errs := metavalidation.ValidateLabels(t.Labels, path.Child("labels"))
	errs = append(errs, validation.ValidateAnnotations(t.Annotations, path.Child("annotations"))...)
	errs = append(errs, newChecker(&t.Spec, &t.ObjectMeta, false).check(path.Child("spec"))...)
	if len(t.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(path.Child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return errs
}

func newChecker(s *corev1.PodSpec, meta *metav1.ObjectMeta, isPod bool) *checker {
	c := &checker{spec: s, meta: meta, isPod: isPod, volumes: map[string]*corev1.VolumeSource{}, claims: map[string]bool{}}
	for i := range s.Volumes {
		c.volumes[s.Volumes[i].Name] = &s.Volumes[i].VolumeSource
	}
	for _, claim := range s.ResourceClaims {
		c.claims[claim.Name] = true
	}
	return c
}

func (c *checker) check(path *field.Path) field.ErrorList {
	s := c.spec
	errs := c.checkVolumes(path.Child("volumes"))
	errs = append(errs, checkResourceClaims(path.Child("resourceClaims"), s.ResourceClaims)...)
	errs = append(errs, c.checkContainers(path)...)
	errs = append(errs, c.checkPodResources(path.Child("resources"))...)
	errs = append(errs, resource.OneOf(path.Child("restartPolicy"), s.RestartPolicy,
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)...)
	errs = append(errs, checkDNS(path, s)...)
	errs = append(errs, metavalidation.ValidateLabels(s.NodeSelector, path.Child("nodeSelector"))...)
	errs = append(errs, c.checkPodSecurity(path)...)
	for i, ref := range s.ImagePullSecrets {
		errs = append(errs, resource.NotEmpty(path.Child("imagePullSecrets").Index(i).Child("name"), ref.Name)...)
	}
	errs = append(errs, checkAffinity(path.Child("affinity"), s.Affinity)...)
	errs = append(errs, resource.Each(path.Child("readinessGates"), s.ReadinessGates, func(at *field.Path, g *corev1.PodReadinessGate) field.ErrorList {
		return resource.Messages(at.Child("conditionType"), string(g.ConditionType), utilvalidation.IsQualifiedName(string(g.ConditionType)))
	})...)
	errs = append(errs, checkSchedulingGates(path.Child("schedulingGates"), s.SchedulingGates)...)
	errs = append(errs, resource.Each(path.Child("tolerations"), s.Tolerations, checkToleration)...)
	errs = append(errs, c.checkSpread(path.Child("topologySpreadConstraints"))...)
	errs = append(errs, checkNames(path, s)...)
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		errs = append(errs, field.Invalid(path.Child("activeDeadlineSeconds"), *d, utilvalidation.InclusiveRangeError(1, math.MaxInt32)))
	}
	if s.PreemptionPolicy != nil {
		errs = append(errs, resource.OneOf(path.Child("preemptionPolicy"), *s.PreemptionPolicy, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	if s.OS != nil {
		errs = append(errs, resource.OneOf(path.Child("os", "name"), s.OS.Name, corev1.Linux, corev1.Windows)...)
	}
	errs = append(errs, c.checkOS(path)...)
	return append(errs, checkQuantities(path.Child("overhead"), s.Overhead)...)
}

// checkNames checks the names of other things, and the pod's own in DNS.
func checkNames(path *field.Path, s *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	for _, n := range []struct{ field, value string }{
		{"serviceAccountName", s.ServiceAccountName},
		{"nodeName", s.NodeName},
		{"priorityClassName", s.PriorityClassName},
		{"runtimeClassName", resource.Deref(s.RuntimeClassName)},
	} {
		if n.value != "" {
			errs = append(errs, resource.DNSSubdomain(path.Child(n.field), n.value)...)
		}
	}
	for _, n := range []struct{ field, value string }{{"hostname", s.Hostname}, {"subdomain", s.Subdomain}} {
		if n.value != "" {
			errs = append(errs, resource.DNSLabel(path.Child(n.field), n.value)...)
		}
	}
	if h := s.HostnameOverride; h != nil {
		errs = append(errs, checkHostnameOverride(path, s, *h)...)
	}
	return errs
}

func checkHostnameOverride(path *field.Path, s *corev1.PodSpec, name string) field.ErrorList {
	at := path.Child("hostnameOverride")
	var errs field.ErrorList
	if s.HostNetwork {
		errs = append(errs, field.Forbidden(at, "may not be specified when hostNetwork is true"))
	}
	if s.SetHostnameAsFQDN != nil && *s.SetHostnameAsFQDN {
		errs = append(errs, field.Forbidden(at, "may not be specified when setHostnameAsFQDN is true"))
	}
	if len(name) > utilvalidation.DNS1123LabelMaxLength+1 {
		errs = append(errs, field.TooLongCharacters(at, name, utilvalidation.DNS1123LabelMaxLength+1))
	}
	return append(errs, resource.DNSSubdomain(at, name)...)
}

func checkSchedulingGates(path *field.Path, gates []corev1.PodSchedulingGate) field.ErrorList {
	errs := resource.Each(path, gates, func(at *field.Path, g *corev1.PodSchedulingGate) field.ErrorList {
		return resource.Messages(at, g.Name, utilvalidation.IsQualifiedName(g.Name))
	})
	return append(errs, resource.Unique(path, gates, "", func(g *corev1.PodSchedulingGate) string { return g.Name })...)
}

func checkResourceClaims(path *field.Path, claims []corev1.PodResourceClaim) field.ErrorList {
	errs := resource.Each(path, claims, func(at *field.Path, c *corev1.PodResourceClaim) field.ErrorList {
		errs := resource.NotEmpty(at.Child("name"), c.Name)
		if c.Name != "" {
			errs = resource.DNSLabel(at.Child("name"), c.Name)
		}
		switch {
		case c.ResourceClaimName != nil && c.ResourceClaimTemplateName != nil:
			errs = append(errs, field.Invalid(at, *c, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"))
		case c.ResourceClaimName == nil && c.ResourceClaimTemplateName == nil:
			errs = append(errs, field.Invalid(at, *c, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"))
		case c.ResourceClaimName != nil:
			errs = append(errs, resource.DNSSubdomain(at.Child("resourceClaimName"), *c.ResourceClaimName)...)
		default:
			errs = append(errs, resource.DNSSubdomain(at.Child("resourceClaimTemplateName"), *c.ResourceClaimTemplateName)...)
		}
		return errs
	})
	return append(errs, resource.Unique(path, claims, "name", func(c *corev1.PodResourceClaim) string { return c.Name })...)
}
