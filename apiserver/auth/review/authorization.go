package review

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Access serves subjectaccessreviews: may this user do that?
func Access(a authorizer.Authorizer) rest.Storage {
	return &storage[*authorizationv1.SubjectAccessReview]{
		singular: "subjectaccessreview", new: func() *authorizationv1.SubjectAccessReview { return &authorizationv1.SubjectAccessReview{} },
		answer: func(ctx context.Context, r *authorizationv1.SubjectAccessReview) error {
			if err := validate("SubjectAccessReview", &r.ObjectMeta, &r.Spec, true); err != nil {
				return err
			}
			r.Status = decide(ctx, a, subject(&r.Spec), &r.Spec)
			return nil
		},
	}
}

// LocalAccess serves localsubjectaccessreviews: the same, within one namespace.
func LocalAccess(a authorizer.Authorizer) rest.Storage {
	return &storage[*authorizationv1.LocalSubjectAccessReview]{
		singular: "localsubjectaccessreview", namespaced: true,
		new: func() *authorizationv1.LocalSubjectAccessReview { return &authorizationv1.LocalSubjectAccessReview{} },
		answer: func(ctx context.Context, r *authorizationv1.LocalSubjectAccessReview) error {
			meta := r.ObjectMeta
			meta.Namespace = ""
			if err := validate("LocalSubjectAccessReview", &meta, &r.Spec, true); err != nil {
				return err
			}
			namespace := request.NamespaceValue(ctx)
			if namespace == "" {
				return apierrors.NewBadRequest("namespace is required on this type: localsubjectaccessreview")
			}
			if ra := r.Spec.ResourceAttributes; ra == nil || ra.Namespace != namespace {
				return apierrors.NewBadRequest(fmt.Sprintf("spec.resourceAttributes.namespace must match namespace: %v", namespace))
			}
			r.Status = decide(ctx, a, subject(&r.Spec), &r.Spec)
			return nil
		},
	}
}

// SelfAccess serves selfsubjectaccessreviews: may I do that?
func SelfAccess(a authorizer.Authorizer) rest.Storage {
	return &storage[*authorizationv1.SelfSubjectAccessReview]{
		singular: "selfsubjectaccessreview",
		new:      func() *authorizationv1.SelfSubjectAccessReview { return &authorizationv1.SelfSubjectAccessReview{} },
		answer: func(ctx context.Context, r *authorizationv1.SelfSubjectAccessReview) error {
			spec := &authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: r.Spec.ResourceAttributes, NonResourceAttributes: r.Spec.NonResourceAttributes}
			if err := validate("SelfSubjectAccessReview", &r.ObjectMeta, spec, false); err != nil {
				return err
			}
			u, ok := request.UserFrom(ctx)
			if !ok {
				return apierrors.NewBadRequest("no user present on request")
			}
			r.Status = decide(ctx, a, u, spec)
			return nil
		},
	}
}

// SelfRules serves selfsubjectrulesreviews: what may I do in this namespace?
func SelfRules(rules authorizer.RuleResolver) rest.Storage {
	return &storage[*authorizationv1.SelfSubjectRulesReview]{
		singular: "selfsubjectrulesreview",
		new:      func() *authorizationv1.SelfSubjectRulesReview { return &authorizationv1.SelfSubjectRulesReview{} },
		answer: func(ctx context.Context, r *authorizationv1.SelfSubjectRulesReview) error {
			u, ok := request.UserFrom(ctx)
			if !ok {
				return apierrors.NewBadRequest("no user present on request")
			}
			if r.Spec.Namespace == "" {
				return apierrors.NewBadRequest("no namespace on request")
			}
			resources, urls, incomplete, err := rules.RulesFor(ctx, u, r.Spec.Namespace)
			r.Status = rulesStatus(resources, urls, incomplete, err)
			return nil
		},
	}
}

func rulesStatus(resources []authorizer.ResourceRuleInfo, urls []authorizer.NonResourceRuleInfo, incomplete bool, err error) authorizationv1.SubjectRulesReviewStatus {
	status := authorizationv1.SubjectRulesReviewStatus{
		ResourceRules: []authorizationv1.ResourceRule{}, NonResourceRules: []authorizationv1.NonResourceRule{}, Incomplete: incomplete,
	}
	for _, r := range resources {
		status.ResourceRules = append(status.ResourceRules, authorizationv1.ResourceRule{
			Verbs: r.GetVerbs(), APIGroups: r.GetAPIGroups(), Resources: r.GetResources(), ResourceNames: r.GetResourceNames(),
		})
	}
	for _, r := range urls {
		status.NonResourceRules = append(status.NonResourceRules, authorizationv1.NonResourceRule{Verbs: r.GetVerbs(), NonResourceURLs: r.GetNonResourceURLs()})
	}
	if err != nil {
		status.EvaluationError = err.Error()
	}
	return status
}

// validate checks what all access reviews have in common.
func validate(kind string, meta *metav1.ObjectMeta, s *authorizationv1.SubjectAccessReviewSpec, named bool) error {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	switch {
	case s.ResourceAttributes != nil && s.NonResourceAttributes != nil:
		errs = append(errs, field.Invalid(spec.Child("nonResourceAttributes"), s.NonResourceAttributes, "cannot be specified in combination with resourceAttributes"))
	case s.ResourceAttributes == nil && s.NonResourceAttributes == nil:
		errs = append(errs, field.Invalid(spec.Child("resourceAttributes"), s.NonResourceAttributes, "exactly one of nonResourceAttributes or resourceAttributes must be specified"))
	}
	if named && s.User == "" && len(s.Groups) == 0 {
		errs = append(errs, field.Invalid(spec.Child("user"), s.User, "at least one of user or group must be specified"))
	}
	if ra := s.ResourceAttributes; ra != nil {
		at := spec.Child("resourceAttributes")
		if f := ra.FieldSelector; f != nil && f.RawSelector != "" && len(f.Requirements) > 0 {
			errs = append(errs, field.Invalid(at.Child("fieldSelector", "rawSelector"), f.RawSelector, "may not specified at the same time as requirements"))
		}
		if l := ra.LabelSelector; l != nil && l.RawSelector != "" && len(l.Requirements) > 0 {
			errs = append(errs, field.Invalid(at.Child("labelSelector", "rawSelector"), l.RawSelector, "may not specified at the same time as requirements"))
		}
	}
	if meta.Name != "" || meta.GenerateName != "" || meta.Namespace != "" || len(meta.Labels) > 0 || len(meta.Annotations) > 0 {
		errs = append(errs, field.Invalid(field.NewPath("metadata"), "", "must be empty"))
	}
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(authorizationv1.SchemeGroupVersion.WithKind(kind).GroupKind(), "", errs)
}

func subject(s *authorizationv1.SubjectAccessReviewSpec) user.Info {
	u := &user.DefaultInfo{Name: s.User, UID: s.UID, Groups: s.Groups}
	for k, v := range s.Extra {
		if u.Extra == nil {
			u.Extra = map[string][]string{}
		}
		u.Extra[strings.ToLower(k)] = v
	}
	return u
}

func decide(ctx context.Context, a authorizer.Authorizer, u user.Info, s *authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus {
	decision, reason, err := a.Authorize(ctx, attributes(u, s))
	status := authorizationv1.SubjectAccessReviewStatus{
		Allowed: decision == authorizer.DecisionAllow, Denied: decision == authorizer.DecisionDeny, Reason: reason,
	}
	if err != nil {
		status.EvaluationError = err.Error()
	}
	return status
}

func attributes(u user.Info, s *authorizationv1.SubjectAccessReviewSpec) authorizer.Attributes {
	if n := s.NonResourceAttributes; n != nil {
		return authorizer.AttributesRecord{User: u, Verb: n.Verb, Path: n.Path}
	}
	ra := s.ResourceAttributes
	out := authorizer.AttributesRecord{
		User: u, Verb: ra.Verb, Namespace: ra.Namespace, APIGroup: ra.Group, APIVersion: anyIfEmpty(ra.Version),
		Resource: ra.Resource, Subresource: ra.Subresource, Name: ra.Name, ResourceRequest: true,
	}
	if f := ra.FieldSelector; f != nil {
		out.FieldSelectorRequirements, out.FieldSelectorParsingErr = fieldRequirements(f)
	}
	if l := ra.LabelSelector; l != nil {
		out.LabelSelectorRequirements, out.LabelSelectorParsingErr = labelRequirements(l)
	}
	return out
}

func anyIfEmpty(version string) string {
	if version == "" {
		return "*"
	}
	return version
}

// fieldRequirements leaves out what it does not understand: the rest still narrows the request, and the
// authorizers treat what is missing as broader.
func fieldRequirements(f *authorizationv1.FieldSelectorAttributes) (fields.Requirements, error) {
	if f.RawSelector != "" {
		selector, err := fields.ParseSelector(f.RawSelector)
		if err != nil {
			return nil, err
		}
		return selector.Requirements(), nil
	}
	var out fields.Requirements
	var unknown error
	for _, r := range f.Requirements {
		switch {
		case r.Operator == metav1.FieldSelectorOpIn && len(r.Values) == 1:
			out = append(out, fields.Requirement{Operator: selection.Equals, Field: r.Key, Value: r.Values[0]})
		case r.Operator == metav1.FieldSelectorOpNotIn && len(r.Values) == 1:
			out = append(out, fields.Requirement{Operator: selection.NotEquals, Field: r.Key, Value: r.Values[0]})
		default:
			unknown = fmt.Errorf("field selector %s %s %v cannot be evaluated", r.Key, r.Operator, r.Values)
		}
	}
	if len(out) == 0 {
		return nil, unknown
	}
	return out, nil
}

func labelRequirements(l *authorizationv1.LabelSelectorAttributes) (labels.Requirements, error) {
	if l.RawSelector != "" {
		return labels.ParseToRequirements(l.RawSelector)
	}
	operators := map[metav1.LabelSelectorOperator]selection.Operator{
		metav1.LabelSelectorOpIn: selection.In, metav1.LabelSelectorOpNotIn: selection.NotIn,
		metav1.LabelSelectorOpExists: selection.Exists, metav1.LabelSelectorOpDoesNotExist: selection.DoesNotExist,
	}
	var out labels.Requirements
	var unknown error
	for _, r := range l.Requirements {
		op, ok := operators[r.Operator]
		if !ok {
			unknown = fmt.Errorf("%q is not a valid label selector operator", r.Operator)
			continue
		}
		req, err := labels.NewRequirement(r.Key, op, r.Values)
		if err != nil {
			unknown = err
			continue
		}
		out = append(out, *req)
	}
	if len(out) == 0 {
		return nil, unknown
	}
	return out, nil
}
