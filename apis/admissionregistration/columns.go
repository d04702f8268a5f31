package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"

	"coracle.dev/coracle/apis/resource"
)

var mutatingWebhookColumns = []resource.Column[*admissionv1.MutatingWebhookConfiguration]{
	resource.Name[*admissionv1.MutatingWebhookConfiguration](),
	resource.Number("Webhooks", func(c *admissionv1.MutatingWebhookConfiguration) int { return len(c.Webhooks) }),
	resource.Age[*admissionv1.MutatingWebhookConfiguration](),
}

var validatingWebhookColumns = []resource.Column[*admissionv1.ValidatingWebhookConfiguration]{
	resource.Name[*admissionv1.ValidatingWebhookConfiguration](),
	resource.Number("Webhooks", func(c *admissionv1.ValidatingWebhookConfiguration) int { return len(c.Webhooks) }),
	resource.Age[*admissionv1.ValidatingWebhookConfiguration](),
}

var validatingPolicyColumns = []resource.Column[*admissionv1.ValidatingAdmissionPolicy]{
	resource.Name[*admissionv1.ValidatingAdmissionPolicy](),
	resource.Number("Validations", func(p *admissionv1.ValidatingAdmissionPolicy) int { return len(p.Spec.Validations) }),
	resource.Text("ParamKind", func(p *admissionv1.ValidatingAdmissionPolicy) any { return paramKind(p.Spec.ParamKind) }),
	resource.Age[*admissionv1.ValidatingAdmissionPolicy](),
}

var mutatingPolicyColumns = []resource.Column[*admissionv1.MutatingAdmissionPolicy]{
	resource.Name[*admissionv1.MutatingAdmissionPolicy](),
	resource.Number("Mutations", func(p *admissionv1.MutatingAdmissionPolicy) int { return len(p.Spec.Mutations) }),
	resource.Text("ParamKind", func(p *admissionv1.MutatingAdmissionPolicy) any { return paramKind(p.Spec.ParamKind) }),
	resource.Age[*admissionv1.MutatingAdmissionPolicy](),
}

var validatingBindingColumns = []resource.Column[*admissionv1.ValidatingAdmissionPolicyBinding]{
	resource.Name[*admissionv1.ValidatingAdmissionPolicyBinding](),
	resource.Text("PolicyName", func(b *admissionv1.ValidatingAdmissionPolicyBinding) any { return b.Spec.PolicyName }),
	resource.Text("ParamRef", func(b *admissionv1.ValidatingAdmissionPolicyBinding) any { return paramRef(b.Spec.ParamRef) }),
	resource.Age[*admissionv1.ValidatingAdmissionPolicyBinding](),
}

var mutatingBindingColumns = []resource.Column[*admissionv1.MutatingAdmissionPolicyBinding]{
	resource.Name[*admissionv1.MutatingAdmissionPolicyBinding](),
	resource.Text("PolicyName", func(b *admissionv1.MutatingAdmissionPolicyBinding) any { return b.Spec.PolicyName }),
	resource.Text("ParamRef", func(b *admissionv1.MutatingAdmissionPolicyBinding) any { return paramRef(b.Spec.ParamRef) }),
	resource.Age[*admissionv1.MutatingAdmissionPolicyBinding](),
}

func paramKind(k *admissionv1.ParamKind) string {
	if k == nil {
		return resource.Unset
	}
	return k.APIVersion + "/" + k.Kind
}

func paramRef(r *admissionv1.ParamRef) string {
	switch {
	case r == nil:
		return resource.Unset
	case r.Name == "" && r.Selector != nil:
		return resource.SelectorText(r.Selector)
	case r.Namespace != "":
		return r.Namespace + "/" + r.Name
	}
	return r.Name
}
