package expression

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel/environment"
)

var spec = field.NewPath("spec")

// policy collects what policies of both kinds have: variables, which later expressions may name, and
// match conditions.
type policy struct {
	compiler plugincel.Compiler
	options  plugincel.OptionalVariableDeclarations
	found    []found
}

func newPolicy(param *admissionv1.ParamKind, variables []admissionv1.Variable, conditions []admissionv1.MatchCondition) *policy {
	p := &policy{compiler: compiler(), options: plugincel.OptionalVariableDeclarations{HasParams: param != nil, HasAuthorizer: true}}
	p.conditions(spec.Child("matchConditions"), conditions)
	if len(variables) > 0 {
		p.variables(variables)
	}
	return p
}

func (p *policy) conditions(path *field.Path, list []admissionv1.MatchCondition) {
	for i := range list {
		p.add(path.Index(i).Child("expression"), (*matchconditions.MatchCondition)(&list[i]), p.options)
	}
}

// variables makes the compiler one that knows each variable once it is compiled.
func (p *policy) variables(list []admissionv1.Variable) {
	composed, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		return // of a fixed environment; expressions that name a variable are then refused
	}
	for i, v := range list {
		at := spec.Child("variables").Index(i).Child("expression")
		p.found = append(p.found, found{path: at, text: v.Expression, compile: func(mode environment.Type) *field.Error {
			result := composed.CompileAndStoreVariable(&validating.Variable{Name: v.Name, Expression: v.Expression}, p.options, mode)
			if result.Error != nil {
				return fault(at, v.Expression, result.Error)
			}
			return nil
		}})
	}
	p.compiler = composed
}

func (p *policy) add(path *field.Path, accessor plugincel.ExpressionAccessor, options plugincel.OptionalVariableDeclarations) {
	p.found = append(p.found, expression(p.compiler, path, accessor, options))
}

func validatingPolicy(obj runtime.Object) []found {
	s := &obj.(*admissionv1.ValidatingAdmissionPolicy).Spec
	p := newPolicy(s.ParamKind, s.Variables, s.MatchConditions)
	// Texts for users must not depend on who asks.
	texts := plugincel.OptionalVariableDeclarations{HasParams: p.options.HasParams}
	for i := range s.Validations {
		v, at := &s.Validations[i], spec.Child("validations").Index(i)
		p.add(at.Child("expression"), &validating.ValidationCondition{Expression: v.Expression}, p.options)
		p.add(at.Child("messageExpression"), &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression}, texts)
	}
	for i := range s.AuditAnnotations {
		a := &s.AuditAnnotations[i]
		p.add(spec.Child("auditAnnotations").Index(i).Child("valueExpression"),
			&validating.AuditAnnotationCondition{Key: a.Key, ValueExpression: a.ValueExpression}, p.options)
	}
	return p.found
}

func mutatingPolicy(obj runtime.Object) []found {
	s := &obj.(*admissionv1.MutatingAdmissionPolicy).Spec
	p := newPolicy(s.ParamKind, s.Variables, s.MatchConditions)
	patches := p.options
	patches.HasPatchTypes = true
	for i := range s.Mutations {
		m, at := &s.Mutations[i], spec.Child("mutations").Index(i)
		if m.ApplyConfiguration != nil {
			p.add(at.Child("applyConfiguration", "expression"), &patch.ApplyConfigurationCondition{Expression: m.ApplyConfiguration.Expression}, patches)
		}
		if m.JSONPatch != nil {
			p.add(at.Child("jsonPatch", "expression"), &patch.JSONPatchCondition{Expression: m.JSONPatch.Expression}, patches)
		}
	}
	return p.found
}

func validatingWebhooks(obj runtime.Object) []found {
	var out []found
	for i, w := range obj.(*admissionv1.ValidatingWebhookConfiguration).Webhooks {
		out = append(out, webhookConditions(i, w.MatchConditions)...)
	}
	return out
}

func mutatingWebhooks(obj runtime.Object) []found {
	var out []found
	for i, w := range obj.(*admissionv1.MutatingWebhookConfiguration).Webhooks {
		out = append(out, webhookConditions(i, w.MatchConditions)...)
	}
	return out
}

func webhookConditions(i int, list []admissionv1.MatchCondition) []found {
	if len(list) == 0 {
		return nil
	}
	p := &policy{compiler: compiler(), options: plugincel.OptionalVariableDeclarations{HasAuthorizer: true}}
	p.conditions(field.NewPath("webhooks").Index(i).Child("matchConditions"), list)
	return p.found
}
