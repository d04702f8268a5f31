package pod

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

const (
	required  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferred = "preferredDuringSchedulingIgnoredDuringExecution"
)

func checkAffinity(path *field.Path, a *corev1.Affinity) field.ErrorList {
	if a == nil {
		return nil
	}
	var errs field.ErrorList
	if n := a.NodeAffinity; n != nil {
		at := path.Child("nodeAffinity")
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			errs = append(errs, CheckNodeSelector(at.Child(required), r)...)
		}
		errs = append(errs, resource.Each(at.Child(preferred), n.PreferredDuringSchedulingIgnoredDuringExecution,
			func(at *field.Path, t *corev1.PreferredSchedulingTerm) field.ErrorList {
				return append(checkWeight(at.Child("weight"), t.Weight), checkNodeTerm(at.Child("preference"), &t.Preference)...)
			})...)
	}
	if p := a.PodAffinity; p != nil {
		errs = append(errs, checkPodTerms(path.Child("podAffinity"), p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	if p := a.PodAntiAffinity; p != nil {
		errs = append(errs, checkPodTerms(path.Child("podAntiAffinity"), p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	return errs
}

func checkWeight(path *field.Path, weight int32) field.ErrorList {
	if weight < 1 || weight > 100 {
		return field.ErrorList{field.Invalid(path, weight, "must be in the range 1-100")}
	}
	return nil
}

// CheckNodeSelector checks the terms of which a node must match one.
func CheckNodeSelector(path *field.Path, s *corev1.NodeSelector) field.ErrorList {
	path = path.Child("nodeSelectorTerms")
	if len(s.NodeSelectorTerms) == 0 {
		return field.ErrorList{field.Required(path, "must have at least one node selector term")}
	}
	return resource.Each(path, s.NodeSelectorTerms, checkNodeTerm)
}

func checkNodeTerm(path *field.Path, t *corev1.NodeSelectorTerm) field.ErrorList {
	errs := resource.Each(path.Child("matchExpressions"), t.MatchExpressions, checkNodeRequirement)
	return append(errs, resource.Each(path.Child("matchFields"), t.MatchFields, checkNodeField)...)
}

func checkNodeRequirement(path *field.Path, r *corev1.NodeSelectorRequirement) field.ErrorList {
	var errs field.ErrorList
	switch values := path.Child("values"); r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(values, "must be specified when `operator` is 'In' or 'NotIn'"))
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			errs = append(errs, field.Forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			errs = append(errs, field.Required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
		}
	default:
		errs = append(errs, field.Invalid(path.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	errs = append(errs, resource.QualifiedName(path.Child("key"), r.Key)...)
	for i, v := range r.Values {
		errs = append(errs, resource.Messages(path.Child("values").Index(i), v, utilvalidation.IsValidLabelValue(v))...)
	}
	return errs
}

// checkNodeField: the name is the one field of a node that can be selected by.
func checkNodeField(path *field.Path, r *corev1.NodeSelectorRequirement) field.ErrorList {
	var errs field.ErrorList
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) != 1 {
			errs = append(errs, field.Required(path.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
		}
	default:
		errs = append(errs, field.Invalid(path.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	if r.Key != "metadata.name" {
		return append(errs, field.Invalid(path.Child("key"), r.Key, "not a valid field selector key"))
	}
	for i, v := range r.Values {
		errs = append(errs, resource.Messages(path.Child("values").Index(i), v, validation.NameIsDNSSubdomain(v, false))...)
	}
	return errs
}

func checkPodTerms(path *field.Path, must []corev1.PodAffinityTerm, should []corev1.WeightedPodAffinityTerm) field.ErrorList {
	errs := resource.Each(path.Child(required), must, checkPodTerm)
	return append(errs, resource.Each(path.Child(preferred), should, func(at *field.Path, t *corev1.WeightedPodAffinityTerm) field.ErrorList {
		return append(checkWeight(at.Child("weight"), t.Weight), checkPodTerm(at.Child("podAffinityTerm"), &t.PodAffinityTerm)...)
	})...)
}

func checkPodTerm(path *field.Path, t *corev1.PodAffinityTerm) field.ErrorList {
	errs := resource.Selector(path.Child("labelSelector"), t.LabelSelector)
	errs = append(errs, resource.Selector(path.Child("namespaceSelector"), t.NamespaceSelector)...)
	for _, ns := range t.Namespaces {
		errs = append(errs, resource.DNSLabel(path.Child("namespace"), ns)...)
	}
	errs = append(errs, checkLabelKeys(path.Child("matchLabelKeys"), t.MatchLabelKeys, t.LabelSelector != nil)...)
	errs = append(errs, checkLabelKeys(path.Child("mismatchLabelKeys"), t.MismatchLabelKeys, t.LabelSelector != nil)...)
	for i, key := range t.MatchLabelKeys {
		if slices.Contains(t.MismatchLabelKeys, key) {
			errs = append(errs, field.Invalid(path.Child("matchLabelKeys").Index(i), key, "exists in both matchLabelKeys and mismatchLabelKeys"))
		}
	}
	return append(errs, checkTopologyKey(path.Child("topologyKey"), t.TopologyKey)...)
}

func checkTopologyKey(path *field.Path, key string) field.ErrorList {
	if key == "" {
		return field.ErrorList{field.Required(path, "can not be empty")}
	}
	return resource.QualifiedName(path, key)
}

func checkLabelKeys(path *field.Path, keys []string, selector bool) field.ErrorList {
	if len(keys) == 0 {
		return nil
	}
	if !selector {
		return field.ErrorList{field.Forbidden(path, "must not be specified when labelSelector is not set")}
	}
	return resource.Each(path, keys, func(at *field.Path, key *string) field.ErrorList { return resource.QualifiedName(at, *key) })
}

func checkToleration(path *field.Path, t *corev1.Toleration) field.ErrorList {
	var errs field.ErrorList
	if t.Key != "" {
		errs = append(errs, resource.QualifiedName(path.Child("key"), t.Key)...)
	} else if t.Operator != corev1.TolerationOpExists {
		errs = append(errs, field.Invalid(path.Child("operator"), t.Operator,
			"operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
	}
	if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
		errs = append(errs, field.Invalid(path.Child("effect"), t.Effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"))
	}
	switch t.Operator {
	case corev1.TolerationOpEqual, "":
		if msgs := utilvalidation.IsValidLabelValue(t.Value); len(msgs) > 0 {
			errs = append(errs, field.Invalid(path.Child("operator"), t.Value, strings.Join(msgs, ";")))
		}
	case corev1.TolerationOpExists:
		if t.Value != "" {
			errs = append(errs, field.Invalid(path.Child("operator"), t, "value must be empty when `operator` is 'Exists'"))
		}
	case corev1.TolerationOpLt, corev1.TolerationOpGt:
		if _, err := strconv.ParseInt(t.Value, 10, 64); err != nil {
			errs = append(errs, field.Invalid(path.Child("value"), t.Value, "value must be an integer when `operator` is 'Gt' or 'Lt'"))
		}
	default:
		errs = append(errs, resource.Supported(path.Child("operator"), t.Operator, corev1.TolerationOpEqual, corev1.TolerationOpExists)...)
	}
	if t.Effect != "" {
		errs = append(errs, CheckTaintEffect(path.Child("effect"), t.Effect)...)
	}
	return errs
}

// CheckTaintEffect checks the effect of a taint.
func CheckTaintEffect(path *field.Path, e corev1.TaintEffect) field.ErrorList {
	return resource.OneOf(path, e, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)
}

func (c *checker) checkSpread(path *field.Path) field.ErrorList {
	seen := map[string]bool{}
	return resource.Each(path, c.spec.TopologySpreadConstraints, func(at *field.Path, t *corev1.TopologySpreadConstraint) field.ErrorList {
		var errs field.ErrorList
		if t.MaxSkew <= 0 {
			errs = append(errs, field.Invalid(at.Child("maxSkew"), t.MaxSkew, "must be greater than zero"))
		}
		errs = append(errs, checkTopologyKey(at.Child("topologyKey"), t.TopologyKey)...)
		errs = append(errs, resource.Supported(at.Child("whenUnsatisfiable"), t.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)...)
		key := fmt.Sprintf("{%v, %v}", t.TopologyKey, t.WhenUnsatisfiable)
		if seen[key] {
			errs = append(errs, field.Duplicate(at.Child("{topologyKey, whenUnsatisfiable}"), key))
		}
		seen[key] = true
		return append(errs, checkSpreadDetails(at, t)...)
	})
}

func checkSpreadDetails(path *field.Path, t *corev1.TopologySpreadConstraint) field.ErrorList {
	var errs field.ErrorList
	if m := t.MinDomains; m != nil {
		if *m <= 0 {
			errs = append(errs, field.Invalid(path.Child("minDomains"), *m, "must be greater than zero"))
		}
		if t.WhenUnsatisfiable != corev1.DoNotSchedule {
			errs = append(errs, field.Invalid(path.Child("minDomains"), *m,
				fmt.Sprintf("can only use minDomains if whenUnsatisfiable=%s, not %s", corev1.DoNotSchedule, t.WhenUnsatisfiable)))
		}
	}
	for name, p := range resource.Sorted(map[string]*corev1.NodeInclusionPolicy{"nodeAffinityPolicy": t.NodeAffinityPolicy, "nodeTaintsPolicy": t.NodeTaintsPolicy}) {
		if p != nil {
			errs = append(errs, resource.Supported(path.Child(name), *p, corev1.NodeInclusionPolicyHonor, corev1.NodeInclusionPolicyIgnore)...)
		}
	}
	errs = append(errs, resource.Selector(path.Child("labelSelector"), t.LabelSelector)...)
	return append(errs, checkLabelKeys(path.Child("matchLabelKeys"), t.MatchLabelKeys, t.LabelSelector != nil)...)
}

// CheckTolerations checks tolerations that a pod will be given.
func CheckTolerations(path *field.Path, tolerations []corev1.Toleration) field.ErrorList {
	return resource.Each(path, tolerations, checkToleration)
}
