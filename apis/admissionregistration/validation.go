package admissionregistration

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

const maxWebhookSeconds = 30

// reviewVersions are those of AdmissionReview that the server can send.
var reviewVersions = []string{"v1", "v1beta1"}

// webhook is what the two kinds of webhook have in common.
type webhook struct {
	name               string
	client             *admissionv1.WebhookClientConfig
	rules              []admissionv1.RuleWithOperations
	failure            *admissionv1.FailurePolicyType
	match              *admissionv1.MatchPolicyType
	sideEffects        *admissionv1.SideEffectClass
	timeout            *int32
	versions           []string
	namespaces, object *metav1.LabelSelector
	conditions         []admissionv1.MatchCondition
}

func validateMutatingWebhooks(c *admissionv1.MutatingWebhookConfiguration) field.ErrorList {
	path := field.NewPath("webhooks")
	errs := resource.Each(path, c.Webhooks, func(at *field.Path, w *admissionv1.MutatingWebhook) field.ErrorList {
		errs := checkWebhook(at, webhook{
			w.Name, &w.ClientConfig, w.Rules, w.FailurePolicy, w.MatchPolicy, w.SideEffects, w.TimeoutSeconds,
			w.AdmissionReviewVersions, w.NamespaceSelector, w.ObjectSelector, w.MatchConditions,
		})
		if p := w.ReinvocationPolicy; p != nil {
			errs = append(errs, resource.Supported(at.Child("reinvocationPolicy"), *p, admissionv1.IfNeededReinvocationPolicy, admissionv1.NeverReinvocationPolicy)...)
		}
		return errs
	})
	return append(errs, resource.Unique(path, c.Webhooks, "name", func(w *admissionv1.MutatingWebhook) string { return w.Name })...)
}

func validateMutatingWebhooksUpdate(c, _ *admissionv1.MutatingWebhookConfiguration) field.ErrorList {
	return validateMutatingWebhooks(c)
}

func validateValidatingWebhooks(c *admissionv1.ValidatingWebhookConfiguration) field.ErrorList {
	path := field.NewPath("webhooks")
	errs := resource.Each(path, c.Webhooks, func(at *field.Path, w *admissionv1.ValidatingWebhook) field.ErrorList {
		return checkWebhook(at, webhook{
			w.Name, &w.ClientConfig, w.Rules, w.FailurePolicy, w.MatchPolicy, w.SideEffects, w.TimeoutSeconds,
			w.AdmissionReviewVersions, w.NamespaceSelector, w.ObjectSelector, w.MatchConditions,
		})
	})
	return append(errs, resource.Unique(path, c.Webhooks, "name", func(w *admissionv1.ValidatingWebhook) string { return w.Name })...)
}

func validateValidatingWebhooksUpdate(c, _ *admissionv1.ValidatingWebhookConfiguration) field.ErrorList {
	return validateValidatingWebhooks(c)
}

func checkWebhook(path *field.Path, w webhook) field.ErrorList {
	errs := utilvalidation.IsFullyQualifiedName(path.Child("name"), w.name)
	errs = append(errs, resource.Each(path.Child("rules"), w.rules, checkRule)...)
	if w.failure != nil {
		errs = append(errs, resource.Supported(path.Child("failurePolicy"), *w.failure, admissionv1.Fail, admissionv1.Ignore)...)
	}
	if w.match != nil {
		errs = append(errs, resource.Supported(path.Child("matchPolicy"), *w.match, admissionv1.Equivalent, admissionv1.Exact)...)
	}
	if w.sideEffects == nil {
		errs = append(errs, field.Required(path.Child("sideEffects"), "must specify one of None, NoneOnDryRun"))
	} else {
		errs = append(errs, resource.Supported(path.Child("sideEffects"), *w.sideEffects, admissionv1.SideEffectClassNone, admissionv1.SideEffectClassNoneOnDryRun)...)
	}
	if t := w.timeout; t != nil && (*t > maxWebhookSeconds || *t < 1) {
		errs = append(errs, field.Invalid(path.Child("timeoutSeconds"), *t, fmt.Sprintf("the timeout value must be between 1 and %d seconds", maxWebhookSeconds)))
	}
	errs = append(errs, checkVersions(path.Child("admissionReviewVersions"), w.versions)...)
	errs = append(errs, resource.Selector(path.Child("namespaceSelector"), w.namespaces)...)
	errs = append(errs, resource.Selector(path.Child("objectSelector"), w.object)...)
	errs = append(errs, checkConditions(path.Child("matchConditions"), w.conditions)...)
	return append(errs, checkClient(path.Child("clientConfig"), w.client)...)
}

func checkVersions(path *field.Path, versions []string) field.ErrorList {
	if len(versions) == 0 {
		return field.ErrorList{field.Required(path, fmt.Sprintf("must specify one of %v", strings.Join(reviewVersions, ", ")))}
	}
	if !slices.ContainsFunc(versions, func(v string) bool { return slices.Contains(reviewVersions, v) }) {
		return field.ErrorList{field.Invalid(path, versions, fmt.Sprintf("must include at least one of %v", strings.Join(reviewVersions, ", ")))}
	}
	return nil
}

func checkConditions(path *field.Path, conditions []admissionv1.MatchCondition) field.ErrorList {
	errs := resource.Each(path, conditions, func(at *field.Path, c *admissionv1.MatchCondition) field.ErrorList {
		errs := resource.NotEmpty(at.Child("name"), c.Name)
		if c.Name != "" {
			errs = resource.QualifiedName(at.Child("name"), c.Name)
		}
		return append(errs, resource.NotEmpty(at.Child("expression"), strings.TrimSpace(c.Expression))...)
	})
	return append(errs, resource.Unique(path, conditions, "name", func(c *admissionv1.MatchCondition) string { return c.Name })...)
}

// checkRule: lists are not empty, and "*" stands alone in them.
func checkRule(path *field.Path, r *admissionv1.RuleWithOperations) field.ErrorList {
	operations := make([]string, len(r.Operations))
	for i, o := range r.Operations {
		operations[i] = string(o)
		if !slices.Contains([]admissionv1.OperationType{admissionv1.OperationAll, admissionv1.Create, admissionv1.Update, admissionv1.Delete, admissionv1.Connect}, o) {
			return field.ErrorList{field.NotSupported(path.Child("operations").Index(i), o,
				[]admissionv1.OperationType{admissionv1.OperationAll, admissionv1.Connect, admissionv1.Create, admissionv1.Delete, admissionv1.Update})}
		}
	}
	var errs field.ErrorList
	for _, l := range []struct {
		name string
		list []string
	}{{"operations", operations}, {"apiGroups", r.APIGroups}, {"apiVersions", r.APIVersions}, {"resources", r.Resources}} {
		if len(l.list) == 0 {
			errs = append(errs, field.Required(path.Child(l.name), ""))
		} else if l.name != "resources" && len(l.list) > 1 && slices.Contains(l.list, "*") {
			errs = append(errs, field.Invalid(path.Child(l.name), l.list, "if '*' is present, must not specify other "+l.name))
		}
	}
	for i, v := range r.APIVersions {
		if v == "" {
			errs = append(errs, field.Required(path.Child("apiVersions").Index(i), ""))
		}
	}
	if r.Scope != nil {
		errs = append(errs, resource.Supported(path.Child("scope"), *r.Scope, admissionv1.AllScopes, admissionv1.ClusterScope, admissionv1.NamespacedScope)...)
	}
	return errs
}

// checkClient: a webhook is reached by URL or as a service.
func checkClient(path *field.Path, c *admissionv1.WebhookClientConfig) field.ErrorList {
	if (c.URL == nil) == (c.Service == nil) {
		return field.ErrorList{field.Required(path.Child("url"), "exactly one of url or service is required")}
	}
	if c.URL != nil {
		return checkURL(path.Child("url"), *c.URL)
	}
	s, path := c.Service, path.Child("service")
	var errs field.ErrorList
	if s.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), "service name is required"))
	}
	if s.Namespace == "" {
		errs = append(errs, field.Required(path.Child("namespace"), "service namespace is required"))
	}
	if s.Port != nil {
		for _, m := range utilvalidation.IsValidPortNum(int(*s.Port)) {
			errs = append(errs, field.Invalid(path.Child("port"), *s.Port, "port is not valid: "+m))
		}
	}
	if s.Path != nil && !strings.HasPrefix(*s.Path, "/") {
		errs = append(errs, field.Invalid(path.Child("path"), *s.Path, "must start with a '/'"))
	}
	return errs
}

func checkURL(path *field.Path, text string) field.ErrorList {
	const form = "; desired format: https://host[/path]"
	u, err := url.Parse(text)
	if err != nil {
		return field.ErrorList{field.Required(path, "url must be a valid URL: "+err.Error()+form)}
	}
	var errs field.ErrorList
	add := func(bad bool, value, message string) {
		if bad {
			errs = append(errs, field.Invalid(path, value, message))
		}
	}
	add(u.Scheme != "https", u.Scheme, "'https' is the only allowed URL scheme"+form)
	add(u.Host == "", u.Host, "host must be specified"+form)
	add(u.User != nil, "<user>", "user information is not permitted in the URL")
	add(u.Fragment != "", u.Fragment, "fragments are not permitted in the URL")
	add(u.RawQuery != "", u.RawQuery, "query parameters are not permitted in the URL")
	return errs
}
