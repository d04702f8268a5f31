package abac

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Authorizer allows what a policy allows, and has no opinion on the rest.
type Authorizer struct {
	authorizer.AuthorizerFunc
	policies []Policy
}

var (
	_ authorizer.Authorizer   = &Authorizer{}
	_ authorizer.RuleResolver = &Authorizer{}
)

// New returns an authorizer of policies.
func New(policies []Policy) *Authorizer {
	z := &Authorizer{policies: policies}
	z.AuthorizerFunc = z.decide
	return z
}

func (z *Authorizer) decide(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	for _, p := range z.policies {
		if p.allows(a) {
			return authorizer.DecisionAllow, "", nil
		}
	}
	return authorizer.DecisionNoOpinion, "No policy matched.", nil
}

func (p Policy) allows(a authorizer.Attributes) bool {
	if !p.isFor(a.GetUser()) || p.Readonly && !a.IsReadOnly() {
		return false
	}
	if !a.IsResourceRequest() {
		return matchesPath(p.NonResourcePath, a.GetPath())
	}
	return matches(p.Namespace, a.GetNamespace()) && matches(p.Resource, a.GetResource()) && matches(p.APIGroup, a.GetAPIGroup())
}

func (p Policy) isFor(u user.Info) bool {
	if p.User == "" && p.Group == "" {
		return false
	}
	return (p.User == "" || p.User == u.GetName()) && (p.Group == "" || slices.Contains(u.GetGroups(), p.Group))
}

func matches(pattern, value string) bool { return pattern == all || pattern == value }

func matchesPath(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, all); ok {
		return strings.HasPrefix(path, prefix)
	}
	return pattern == path
}

// RulesFor implements authorizer.RuleResolver.
func (z *Authorizer) RulesFor(_ context.Context, u user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	var resources []authorizer.ResourceRuleInfo
	var paths []authorizer.NonResourceRuleInfo
	for _, p := range z.policies {
		if !p.isFor(u) {
			continue
		}
		verbs := []string{all}
		if p.Readonly {
			verbs = []string{"get", "list", "watch"}
		}
		if p.Resource != "" && matches(p.Namespace, namespace) {
			resources = append(resources, &authorizer.DefaultResourceRuleInfo{
				Verbs: verbs, APIGroups: []string{p.APIGroup}, Resources: []string{p.Resource},
			})
		}
		if p.NonResourcePath != "" {
			paths = append(paths, &authorizer.DefaultNonResourceRuleInfo{Verbs: verbs, NonResourceURLs: []string{p.NonResourcePath}})
		}
	}
	return resources, paths, false, nil
}
