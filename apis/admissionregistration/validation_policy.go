package admissionregistration

import (
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

var specPath = field.NewPath("spec")

func validateValidatingPolicy(p *admissionv1.ValidatingAdmissionPolicy) field.ErrorList {
	s := &p.Spec
	errs := checkPolicy(s.FailurePolicy, s.ParamKind, s.MatchConstraints, s.MatchConditions)
	if len(s.Validations) == 0 && len(s.AuditAnnotations) == 0 {
		errs = append(errs, field.Required(specPath.Child("validations"), "validations or auditAnnotations must contain at least one item"),
			field.Required(specPath.Child("auditAnnotations"), "validations or auditAnnotations must contain at least one item"))
	}
	errs = append(errs, checkVariables(specPath.Child("variables"), s.Variables)...)
	return append(errs, resource.Each(specPath.Child("validations"), s.Validations, func(at *field.Path, v *admissionv1.Validation) field.ErrorList {
		if strings.TrimSpace(v.Expression) == "" {
			return field.ErrorList{field.Required(at.Child("expression"), "expression is not specified")}
		}
		return nil
	})...)
}

func validateValidatingPolicyUpdate(p, _ *admissionv1.ValidatingAdmissionPolicy) field.ErrorList {
	return validateValidatingPolicy(p)
}

func validateMutatingPolicy(p *admissionv1.MutatingAdmissionPolicy) field.ErrorList {
	s := &p.Spec
	errs := checkPolicy(s.FailurePolicy, s.ParamKind, s.MatchConstraints, s.MatchConditions)
	errs = append(errs, resource.OneOf(specPath.Child("reinvocationPolicy"), s.ReinvocationPolicy,
		admissionv1.IfNeededReinvocationPolicy, admissionv1.NeverReinvocationPolicy)...)
	errs = append(errs, checkVariables(specPath.Child("variables"), s.Variables)...)
	mutations := specPath.Child("mutations")
	if len(s.Mutations) == 0 {
		errs = append(errs, field.Required(mutations, "mutations must contain at least one item"))
	}
	return append(errs, resource.Each(mutations, s.Mutations, checkMutation)...)
}

func validateMutatingPolicyUpdate(p, _ *admissionv1.MutatingAdmissionPolicy) field.ErrorList {
	return validateMutatingPolicy(p)
}

func checkMutation(path *field.Path, m *admissionv1.Mutation) field.ErrorList {
	apply, patch := path.Child("applyConfiguration"), path.Child("jsonPatch")
	switch m.PatchType {
	case admissionv1.PatchTypeApplyConfiguration:
		if m.ApplyConfiguration == nil {
			return field.ErrorList{field.Required(apply, "must be specified when patchType is ApplyConfiguration")}
		}
		return resource.NotEmpty(apply.Child("expression"), strings.TrimSpace(m.ApplyConfiguration.Expression))
	case admissionv1.PatchTypeJSONPatch:
		if m.JSONPatch == nil {
			return field.ErrorList{field.Required(patch, "must be specified when patchType is JSONPatch")}
		}
		return resource.NotEmpty(patch.Child("expression"), strings.TrimSpace(m.JSONPatch.Expression))
	}
	return resource.OneOf(path.Child("patchType"), m.PatchType, admissionv1.PatchTypeApplyConfiguration, admissionv1.PatchTypeJSONPatch)
}

func checkPolicy(failure *admissionv1.FailurePolicyType, param *admissionv1.ParamKind, match *admissionv1.MatchResources, conditions []admissionv1.MatchCondition) field.ErrorList {
	var errs field.ErrorList
	if failure == nil {
		errs = append(errs, field.Required(specPath.Child("failurePolicy"), ""))
	} else {
		errs = append(errs, resource.Supported(specPath.Child("failurePolicy"), *failure, admissionv1.Fail, admissionv1.Ignore)...)
	}
	if param != nil {
		errs = append(errs, resource.NotEmpty(specPath.Child("paramKind", "apiVersion"), param.APIVersion)...)
		errs = append(errs, resource.NotEmpty(specPath.Child("paramKind", "kind"), param.Kind)...)
	}
	if match == nil {
		errs = append(errs, field.Required(specPath.Child("matchConstraints"), ""))
	} else {
		errs = append(errs, checkMatch(specPath.Child("matchConstraints"), match)...)
		if len(match.ResourceRules) == 0 {
			errs = append(errs, field.Required(specPath.Child("matchConstraints", "resourceRules"), ""))
		}
	}
	return append(errs, checkConditions(specPath.Child("matchConditions"), conditions)...)
}

func checkVariables(path *field.Path, variables []admissionv1.Variable) field.ErrorList {
	errs := resource.Each(path, variables, func(at *field.Path, v *admissionv1.Variable) field.ErrorList {
		var errs field.ErrorList
		if v.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), "name is not specified"))
		}
		if strings.TrimSpace(v.Expression) == "" {
			errs = append(errs, field.Required(at.Child("expression"), "expression is not specified"))
		}
		return errs
	})
	return append(errs, resource.Unique(path, variables, "name", func(v *admissionv1.Variable) string { return v.Name })...)
}

func checkMatch(path *field.Path, m *admissionv1.MatchResources) field.ErrorList {
	var errs field.ErrorList
	if m.MatchPolicy == nil {
		errs = append(errs, field.Required(path.Child("matchPolicy"), ""))
	} else {
		errs = append(errs, resource.Supported(path.Child("matchPolicy"), *m.MatchPolicy, admissionv1.Equivalent, admissionv1.Exact)...)
	}
	errs = append(errs, resource.Selector(path.Child("namespaceSelector"), m.NamespaceSelector)...)
	errs = append(errs, resource.Selector(path.Child("objectSelector"), m.ObjectSelector)...)
	named := func(at *field.Path, r *admissionv1.NamedRuleWithOperations) field.ErrorList {
		return checkRule(at, &r.RuleWithOperations)
	}
	errs = append(errs, resource.Each(path.Child("resourceRules"), m.ResourceRules, named)...)
	return append(errs, resource.Each(path.Child("excludeResourceRules"), m.ExcludeResourceRules, named)...)
}

func validateValidatingPolicyBinding(b *admissionv1.ValidatingAdmissionPolicyBinding) field.ErrorList {
	errs := checkBinding(b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
	actions := specPath.Child("validationActions")
	if len(b.Spec.ValidationActions) == 0 {
		return append(errs, field.Required(actions, "at least one validation action is required"))
	}
	seen := map[admissionv1.ValidationAction]bool{}
	for i, a := range b.Spec.ValidationActions {
		errs = append(errs, resource.Supported(actions.Index(i), a, admissionv1.Audit, admissionv1.Deny, admissionv1.Warn)...)
		if seen[a] {
			errs = append(errs, field.Duplicate(actions.Index(i), a))
		}
		seen[a] = true
	}
	if seen[admissionv1.Deny] && seen[admissionv1.Warn] {
		errs = append(errs, field.Invalid(actions, b.Spec.ValidationActions, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"))
	}
	return errs
}

func validateValidatingPolicyBindingUpdate(b, _ *admissionv1.ValidatingAdmissionPolicyBinding) field.ErrorList {
	return validateValidatingPolicyBinding(b)
}

func validateMutatingPolicyBinding(b *admissionv1.MutatingAdmissionPolicyBinding) field.ErrorList {
	return checkBinding(b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
}

func validateMutatingPolicyBindingUpdate(b, _ *admissionv1.MutatingAdmissionPolicyBinding) field.ErrorList {
	return validateMutatingPolicyBinding(b)
}

func checkBinding(policy string, param *admissionv1.ParamRef, match *admissionv1.MatchResources) field.ErrorList {
	errs := resource.NotEmpty(specPath.Child("policyName"), policy)
	if policy != "" {
		errs = resource.DNSSubdomain(specPath.Child("policyName"), policy)
	}
	if match != nil {
		errs = append(errs, checkMatch(specPath.Child("matchResources"), match)...)
	}
	if param == nil {
		return errs
	}
	path := specPath.Child("paramRef")
	switch {
	case param.Name == "" && param.Selector == nil:
		errs = append(errs, field.Required(path.Child("name"), "one of name or selector must be specified"),
			field.Required(path.Child("selector"), "one of name or selector must be specified"))
	case param.Name != "" && param.Selector != nil:
		errs = append(errs, field.Forbidden(path.Child("name"), "name and selector are mutually exclusive"),
			field.Forbidden(path.Child("selector"), "name and selector are mutually exclusive"))
	}
	if param.ParameterNotFoundAction == nil {
		return append(errs, field.Required(path.Child("parameterNotFoundAction"), ""))
	}
	return append(errs, resource.Supported(path.Child("parameterNotFoundAction"), *param.ParameterNotFoundAction, admissionv1.AllowAction, admissionv1.DenyAction)...)
}
