package flowcontrol

import (
	"fmt"
	"slices"
	"strings"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

const maxPrecedence = 10000

var specPath = field.NewPath("spec")

func validateFlowSchema(f schema) field.ErrorList {
	var errs field.ErrorList
	if p := f.Spec.MatchingPrecedence; p <= 0 {
		errs = append(errs, field.Invalid(specPath.Child("matchingPrecedence"), p, "must be a positive value"))
	} else if p > maxPrecedence {
		errs = append(errs, field.Invalid(specPath.Child("matchingPrecedence"), p, fmt.Sprintf("must not be greater than %v", maxPrecedence)))
	}
	if d := f.Spec.DistinguisherMethod; d != nil {
		errs = append(errs, resource.Supported(specPath.Child("distinguisherMethod", "type"), d.Type,
			flowcontrolv1.FlowDistinguisherMethodByNamespaceType, flowcontrolv1.FlowDistinguisherMethodByUserType)...)
	}
	name := specPath.Child("priorityLevelConfiguration", "name")
	if f.Spec.PriorityLevelConfiguration.Name == "" {
		errs = append(errs, field.Required(name, "must reference a priority level"))
	} else {
		errs = append(errs, resource.DNSSubdomain(name, f.Spec.PriorityLevelConfiguration.Name)...)
	}
	return append(errs, resource.Each(specPath.Child("rules"), f.Spec.Rules, checkRule)...)
}

func validateFlowSchemaUpdate(f, _ schema) field.ErrorList { return validateFlowSchema(f) }

func checkRule(path *field.Path, r *flowcontrolv1.PolicyRulesWithSubjects) field.ErrorList {
	var errs field.ErrorList
	if len(r.Subjects) == 0 {
		errs = append(errs, field.Required(path.Child("subjects"), "subjects must contain at least one value"))
	}
	errs = append(errs, resource.Each(path.Child("subjects"), r.Subjects, checkSubject)...)
	if len(r.ResourceRules) == 0 && len(r.NonResourceRules) == 0 {
		errs = append(errs, field.Required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
	}
	for i, rr := range r.ResourceRules {
		at := path.Child("resourceRules").Index(i)
		for name, list := range resource.Sorted(map[string][]string{"verbs": rr.Verbs, "apiGroups": rr.APIGroups, "resources": rr.Resources}) {
			if len(list) == 0 {
				errs = append(errs, field.Required(at.Child(name), name+" must contain at least one value"))
			}
			errs = append(errs, checkWildcard(at.Child(name), name, list)...)
		}
		errs = append(errs, checkVerbs(at.Child("verbs"), rr.Verbs)...)
		errs = append(errs, checkWildcard(at.Child("namespaces"), "namespaces", rr.Namespaces)...)
		for j, ns := range rr.Namespaces {
			if ns != flowcontrolv1.NamespaceEvery {
				errs = append(errs, resource.DNSLabel(at.Child("namespaces").Index(j), ns)...)
			}
		}
		if len(rr.Namespaces) == 0 && !rr.ClusterScope {
			errs = append(errs, field.Required(at.Child("namespaces"), "resource rules that are not cluster scoped must supply at least one namespace"))
		}
	}
	for i, nr := range r.NonResourceRules {
		at := path.Child("nonResourceRules").Index(i)
		for name, list := range resource.Sorted(map[string][]string{"verbs": nr.Verbs, "nonResourceURLs": nr.NonResourceURLs}) {
			if len(list) == 0 {
				errs = append(errs, field.Required(at.Child(name), name+" must contain at least one value"))
			}
			errs = append(errs, checkWildcard(at.Child(name), name, list)...)
		}
		errs = append(errs, checkVerbs(at.Child("verbs"), nr.Verbs)...)
		for j, url := range nr.NonResourceURLs {
			errs = append(errs, checkURL(at.Child("nonResourceURLs").Index(j), url)...)
		}
	}
	return errs
}

// checkWildcard: "*" stands alone.
func checkWildcard(path *field.Path, name string, list []string) field.ErrorList {
	if len(list) > 1 && slices.Contains(list, "*") {
		return field.ErrorList{field.Invalid(path, list, fmt.Sprintf("if '*' is present, must not specify other %s", wildcardNames[name]))}
	}
	return nil
}

// wildcardNames are the words for what a list is of.
var wildcardNames = map[string]string{
	"verbs": "verbs", "apiGroups": "api groups", "resources": "resources", "namespaces": "namespaces", "nonResourceURLs": "non-resource URLs",
}

var verbs = []string{"get", "list", "create", "update", "delete", "deletecollection", "patch", "watch", "proxy", "bind", "escalate", "use", "impersonate"}

func checkVerbs(path *field.Path, list []string) field.ErrorList {
	if slices.Contains(list, "*") {
		return nil
	}
	var errs field.ErrorList
	for _, v := range list {
		errs = append(errs, resource.Supported(path, strings.ToLower(v), verbs...)...)
	}
	return errs
}

// checkURL: a path begins at the root, and "*" may be its last segment.
func checkURL(path *field.Path, url string) field.ErrorList {
	switch {
	case url == "*":
		return nil
	case url == "":
		return field.ErrorList{field.Invalid(path, url, "must not be empty")}
	case strings.Contains(url, " "):
		return field.ErrorList{field.Invalid(path, url, "must not contain white-space")}
	case !strings.HasPrefix(url, "/"):
		return field.ErrorList{field.Invalid(path, url, "must start with slash")}
	case strings.Contains(url, "//"):
		return field.ErrorList{field.Invalid(path, url, "must not contain double slash")}
	case strings.Contains(strings.TrimSuffix(url, "/*"), "*"):
		return field.ErrorList{field.Invalid(path, url, "wildcard can only do suffix matching")}
	}
	return nil
}

func checkSubject(path *field.Path, s *flowcontrolv1.Subject) field.ErrorList {
	user, group, account := path.Child("user"), path.Child("group"), path.Child("serviceAccount")
	switch s.Kind {
	case flowcontrolv1.SubjectKindUser:
		if s.User == nil {
			return field.ErrorList{field.Required(user, "user is required when subject kind is 'User'")}
		}
		return resource.NotEmpty(user.Child("name"), s.User.Name)
	case flowcontrolv1.SubjectKindGroup:
		if s.Group == nil {
			return field.ErrorList{field.Required(group, "group is required when subject kind is 'Group'")}
		}
		return resource.NotEmpty(group.Child("name"), s.Group.Name)
	case flowcontrolv1.SubjectKindServiceAccount:
		if s.ServiceAccount == nil {
			return field.ErrorList{field.Required(account, "serviceAccount is required when subject kind is 'ServiceAccount'")}
		}
		errs := resource.NotEmpty(account.Child("name"), s.ServiceAccount.Name)
		return append(errs, resource.NotEmpty(account.Child("namespace"), s.ServiceAccount.Namespace)...)
	}
	return resource.Supported(path.Child("kind"), s.Kind, flowcontrolv1.SubjectKindGroup, flowcontrolv1.SubjectKindServiceAccount, flowcontrolv1.SubjectKindUser)
}

func validatePriorityLevel(p level) field.ErrorList {
	errs := resource.Supported(specPath.Child("type"), p.Spec.Type, flowcontrolv1.PriorityLevelEnablementExempt, flowcontrolv1.PriorityLevelEnablementLimited)
	exempt := p.Spec.Type == flowcontrolv1.PriorityLevelEnablementExempt
	switch {
	case exempt && p.Spec.Limited != nil:
		errs = append(errs, field.Forbidden(specPath.Child("limited"), "must be nil if the type is Exempt"))
	case !exempt && p.Spec.Exempt != nil:
		errs = append(errs, field.Forbidden(specPath.Child("exempt"), "must be nil if the type is Limited"))
	case !exempt && p.Spec.Limited == nil:
		errs = append(errs, field.Required(specPath.Child("limited"), "must not be empty when type is Limited"))
	}
	if p.Spec.Limited != nil {
		errs = append(errs, checkLimited(specPath.Child("limited"), p.Spec.Limited)...)
	}
	return errs
}

func checkLimited(path *field.Path, l *flowcontrolv1.LimitedPriorityLevelConfiguration) field.ErrorList {
	errs := resource.NotNegativePointer(path.Child("nominalConcurrencyShares"), l.NominalConcurrencyShares)
	if p := l.LendablePercent; p != nil && (*p < 0 || *p > 100) {
		errs = append(errs, field.Invalid(path.Child("lendablePercent"), *p, "must be between 0 and 100, inclusive"))
	}
	errs = append(errs, resource.NotNegativePointer(path.Child("borrowingLimitPercent"), l.BorrowingLimitPercent)...)
	path = path.Child("limitResponse")
	q := l.LimitResponse.Queuing
	switch l.LimitResponse.Type {
	case flowcontrolv1.LimitResponseTypeReject:
		if q != nil {
			errs = append(errs, field.Forbidden(path.Child("queuing"), "must be nil if limited.limitResponse.type is not Limited"))
		}
	case flowcontrolv1.LimitResponseTypeQueue:
		if q == nil {
			return append(errs, field.Required(path.Child("queuing"), "must not be empty if limited.limitResponse.type is Limited"))
		}
		for _, n := range []struct {
			name  string
			value int32
		}{{"queueLengthLimit", q.QueueLengthLimit}, {"queues", q.Queues}, {"handSize", q.HandSize}} {
			if n.value <= 0 {
				errs = append(errs, field.Invalid(path.Child("queuing", n.name), n.value, "must be positive"))
			}
		}
		if q.HandSize > q.Queues {
			errs = append(errs, field.Invalid(path.Child("queuing", "handSize"), q.HandSize,
				fmt.Sprintf("should not be greater than queues (%d)", q.Queues)))
		}
	default:
		errs = append(errs, resource.Supported(path.Child("type"), l.LimitResponse.Type, flowcontrolv1.LimitResponseTypeQueue, flowcontrolv1.LimitResponseTypeReject)...)
	}
	return errs
}

func validatePriorityLevelUpdate(p, _ level) field.ErrorList { return validatePriorityLevel(p) }
