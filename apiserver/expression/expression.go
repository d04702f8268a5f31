// Package expression checks the CEL expressions that users put into objects: those of admission policies,
// of webhooks' match conditions and of device selectors.
//
// What an expression may name and must evaluate to is what the code says that will run it; each is
// compiled here by the same compilers when its object is written. Everything that is wrong with an object
// comes at once, each fault with the path of the expression and the compiler's own words.
//
// Invariants: an expression that an update leaves as it was is compiled as stored, in the wider
// environment in which older servers' expressions are still valid.
//
// Differences from Kubernetes: the types of the objects that a policy is about are not compared with its
// expressions; status.typeChecking is left to others.
package expression

import (
	"errors"
	"sync"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	dracel "k8s.io/dynamic-resource-allocation/cel"

	"coracle.dev/coracle/apis/resource"
)

// found is an expression of an object.
type found struct {
	path *field.Path
	text string
	// compile returns what is wrong with it.
	compile func(environment.Type) *field.Error
}

// collectors find the expressions of an object, in the order in which they may refer to each other.
var collectors = map[schema.GroupResource]func(runtime.Object) []found{
	admissionv1.Resource("validatingadmissionpolicies"):     validatingPolicy,
	admissionv1.Resource("mutatingadmissionpolicies"):       mutatingPolicy,
	admissionv1.Resource("validatingwebhookconfigurations"): validatingWebhooks,
	admissionv1.Resource("mutatingwebhookconfigurations"):   mutatingWebhooks,
	resourcev1.Resource("deviceclasses"):                    deviceClass,
	resourcev1.Resource("resourceclaims"):                   deviceClaim,
	resourcev1.Resource("resourceclaimtemplates"):           deviceClaimTemplate,
}

// Complete makes the validation of d check expressions too.
func Complete(d *resource.Descriptor) {
	collect := collectors[d.GroupResource()]
	if collect == nil {
		return
	}
	validate, update := d.Validate, d.ValidateUpdate
	d.Validate = func(obj runtime.Object) field.ErrorList {
		return append(validate(obj), check(collect(obj), nil)...)
	}
	d.ValidateUpdate = func(obj, old runtime.Object) field.ErrorList {
		return append(update(obj, old), check(collect(obj), collect(old))...)
	}
}

func check(now, before []found) field.ErrorList {
	stored := map[string]bool{}
	for _, f := range before {
		stored[f.text] = true
	}
	var errs field.ErrorList
	for _, f := range now {
		if f.text == "" {
			continue // that it is missing is said already
		}
		mode := environment.NewExpressions
		if stored[f.text] {
			mode = environment.StoredExpressions
		}
		if err := f.compile(mode); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// compiler knows what all expressions of admission may name. Making one takes some milliseconds.
var compiler = sync.OnceValue(func() plugincel.Compiler {
	return plugincel.NewCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
})

// expression makes one that c compiles.
func expression(c plugincel.Compiler, path *field.Path, accessor plugincel.ExpressionAccessor, options plugincel.OptionalVariableDeclarations) found {
	return found{path: path, text: accessor.GetExpression(), compile: func(mode environment.Type) *field.Error {
		if result := c.CompileCELExpression(accessor, options, mode); result.Error != nil {
			return fault(path, accessor.GetExpression(), result.Error)
		}
		return nil
	}}
}

func fault(path *field.Path, text string, err *apiservercel.Error) *field.Error {
	switch err.Type {
	case apiservercel.ErrorTypeRequired:
		return field.Required(path, err.Detail)
	case apiservercel.ErrorTypeInvalid:
		return field.Invalid(path, text, err.Detail)
	}
	return field.InternalError(path, errors.New(err.Detail))
}

func deviceClass(obj runtime.Object) []found {
	return selectors(field.NewPath("spec", "selectors"), obj.(*resourcev1.DeviceClass).Spec.Selectors)
}

func deviceClaim(obj runtime.Object) []found {
	return requests(field.NewPath("spec", "devices", "requests"), obj.(*resourcev1.ResourceClaim).Spec.Devices.Requests)
}

func deviceClaimTemplate(obj runtime.Object) []found {
	return requests(field.NewPath("spec", "spec", "devices", "requests"), obj.(*resourcev1.ResourceClaimTemplate).Spec.Spec.Devices.Requests)
}

func requests(path *field.Path, list []resourcev1.DeviceRequest) []found {
	var out []found
	for i := range list {
		if e := list[i].Exactly; e != nil {
			out = append(out, selectors(path.Index(i).Child("exactly", "selectors"), e.Selectors)...)
		}
		for j := range list[i].FirstAvailable {
			out = append(out, selectors(path.Index(i).Child("firstAvailable").Index(j).Child("selectors"), list[i].FirstAvailable[j].Selectors)...)
		}
	}
	return out
}

// selectors are expressions about one device; their cost is bounded, for the scheduler runs them often.
func selectors(path *field.Path, list []resourcev1.DeviceSelector) []found {
	var out []found
	for i, s := range list {
		if s.CEL == nil {
			continue
		}
		at, text := path.Index(i).Child("cel", "expression"), s.CEL.Expression
		out = append(out, found{path: at, text: text, compile: func(mode environment.Type) *field.Error {
			result := dracel.GetCompiler(dracel.Features{}).CompileCELExpression(text, dracel.Options{EnvType: &mode})
			switch {
			case result.Error != nil:
				return fault(at, text, result.Error)
			case result.MaxCost > resourcev1.CELSelectorExpressionMaxCost:
				return field.Forbidden(at, "too complex, exceeds cost limit")
			}
			return nil
		}})
	}
	return out
}
