package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/apis/resource"
)

const (
	webhookSeconds int32 = 10
	webhookPort    int32 = 443
)

func defaultValidatingWebhooks(c *admissionv1.ValidatingWebhookConfiguration) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		defaultSelection(&w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector)
		resource.SetPointer(&w.TimeoutSeconds, webhookSeconds)
		defaultClient(&w.ClientConfig)
		defaultRules(w.Rules)
	}
}

func defaultMutatingWebhooks(c *admissionv1.MutatingWebhookConfiguration) {
	for i := range c.Webhooks {
		w := &c.Webhooks[i]
		defaultSelection(&w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector)
		resource.SetPointer(&w.TimeoutSeconds, webhookSeconds)
		resource.SetPointer(&w.ReinvocationPolicy, admissionv1.NeverReinvocationPolicy)
		defaultClient(&w.ClientConfig)
		defaultRules(w.Rules)
	}
}

func defaultSelection(failure **admissionv1.FailurePolicyType, match **admissionv1.MatchPolicyType, namespaces, objects **metav1.LabelSelector) {
	resource.SetPointer(failure, admissionv1.Fail)
	resource.SetPointer(match, admissionv1.Equivalent)
	resource.SetPointer(namespaces, metav1.LabelSelector{})
	resource.SetPointer(objects, metav1.LabelSelector{})
}

func defaultClient(c *admissionv1.WebhookClientConfig) {
	if c.Service != nil {
		resource.SetPointer(&c.Service.Port, webhookPort)
	}
}

func defaultRules(rules []admissionv1.RuleWithOperations) {
	for i := range rules {
		resource.SetPointer(&rules[i].Scope, admissionv1.AllScopes)
	}
}

func defaultValidatingPolicy(p *admissionv1.ValidatingAdmissionPolicy) {
	resource.SetPointer(&p.Spec.FailurePolicy, admissionv1.Fail)
	defaultMatch(p.Spec.MatchConstraints)
}

func defaultMutatingPolicy(p *admissionv1.MutatingAdmissionPolicy) {
	resource.SetPointer(&p.Spec.FailurePolicy, admissionv1.Fail)
	defaultMatch(p.Spec.MatchConstraints)
}

func defaultValidatingPolicyBinding(b *admissionv1.ValidatingAdmissionPolicyBinding) {
	defaultMatch(b.Spec.MatchResources)
}

func defaultMutatingPolicyBinding(b *admissionv1.MutatingAdmissionPolicyBinding) {
	defaultMatch(b.Spec.MatchResources)
}

func defaultMatch(m *admissionv1.MatchResources) {
	if m == nil {
		return
	}
	resource.SetPointer(&m.MatchPolicy, admissionv1.Equivalent)
	resource.SetPointer(&m.NamespaceSelector, metav1.LabelSelector{})
	resource.SetPointer(&m.ObjectSelector, metav1.LabelSelector{})
	for _, rules := range [][]admissionv1.NamedRuleWithOperations{m.ResourceRules, m.ExcludeResourceRules} {
		for i := range rules {
			resource.SetPointer(&rules[i].Scope, admissionv1.AllScopes)
		}
	}
}
