package rbac

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

func rule(verbs, groups, resources, names []string) *rbacv1.PolicyRule {
	return &rbacv1.PolicyRule{Verbs: verbs, APIGroups: groups, Resources: resources, ResourceNames: names}
}

func TestCovers(t *testing.T) {
	one := func(s string) []string { return []string{s} }
	ask := func(verb, group, resource, sub, name string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{Verb: verb, APIGroup: group, Resource: resource, Subresource: sub, Name: name, ResourceRequest: true}
	}
	path := func(verb, p string) authorizer.AttributesRecord {
		return authorizer.AttributesRecord{Verb: verb, Path: p}
	}
	urls := func(u ...string) *rbacv1.PolicyRule {
		return &rbacv1.PolicyRule{Verbs: one("get"), NonResourceURLs: u}
	}
	for name, c := range map[string]struct {
		rule *rbacv1.PolicyRule
		ask  authorizer.AttributesRecord
		want bool
	}{
		"exact":                       {rule(one("get"), one(""), one("pods"), nil), ask("get", "", "pods", "", "a"), true},
		"another verb":                {rule(one("get"), one(""), one("pods"), nil), ask("list", "", "pods", "", ""), false},
		"another group":               {rule(one("get"), one("apps"), one("pods"), nil), ask("get", "", "pods", "", "a"), false},
		"everything":                  {rule(one("*"), one("*"), one("*"), nil), ask("x", "y", "z", "w", "v"), true},
		"resource is not subresource": {rule(one("get"), one(""), one("pods"), nil), ask("get", "", "pods", "log", "a"), false},
		"subresource":                 {rule(one("get"), one(""), one("pods/log"), nil), ask("get", "", "pods", "log", "a"), true},
		"subresource is not resource": {rule(one("get"), one(""), one("pods/log"), nil), ask("get", "", "pods", "", "a"), false},
		"subresource of all":          {rule(one("get"), one("*"), one("*/scale"), nil), ask("get", "apps", "deployments", "scale", "a"), true},
		"another subresource of all":  {rule(one("get"), one("*"), one("*/scale"), nil), ask("get", "apps", "deployments", "status", "a"), false},
		"suffix of a subresource":     {rule(one("get"), one(""), one("pods/xlog"), nil), ask("get", "", "pods", "log", "a"), false},
		"named":                       {rule(one("get"), one(""), one("pods"), one("a")), ask("get", "", "pods", "", "a"), true},
		"another name":                {rule(one("get"), one(""), one("pods"), one("a")), ask("get", "", "pods", "", "b"), false},
		"no name":                     {rule(one("list"), one(""), one("pods"), one("a")), ask("list", "", "pods", "", ""), false},
		"path":                        {urls("/healthz"), path("get", "/healthz"), true},
		"path below":                  {urls("/healthz"), path("get", "/healthz/etcd"), false},
		"path by prefix":              {urls("/healthz/*"), path("get", "/healthz/etcd"), true},
		"path outside of prefix":      {urls("/healthz/*"), path("get", "/healthz"), false},
		"all paths":                   {urls("*"), path("get", "/anything"), true},
		"path is not a resource":      {rule(one("*"), one("*"), one("*"), nil), path("get", "/healthz"), false},
		"resource is not a path":      {urls("*"), ask("get", "", "pods", "", "a"), false},
	} {
		if got := Covers(c.rule, c.ask); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestSubjects(t *testing.T) {
	robot := &user.DefaultInfo{Name: "system:serviceaccount:ns:robot", Groups: []string{"system:serviceaccounts"}}
	for name, c := range map[string]struct {
		subject   rbacv1.Subject
		namespace string
		want      bool
	}{
		"by name":              {rbacv1.Subject{Kind: "User", Name: robot.Name}, "", true},
		"by group":             {rbacv1.Subject{Kind: "Group", Name: "system:serviceaccounts"}, "", true},
		"as account":           {rbacv1.Subject{Kind: "ServiceAccount", Namespace: "ns", Name: "robot"}, "other", true},
		"of the binding's":     {rbacv1.Subject{Kind: "ServiceAccount", Name: "robot"}, "ns", true},
		"of another namespace": {rbacv1.Subject{Kind: "ServiceAccount", Name: "robot"}, "other", false},
		"of no namespace":      {rbacv1.Subject{Kind: "ServiceAccount", Name: "robot"}, "", false},
		"a group is no user":   {rbacv1.Subject{Kind: "User", Name: "system:serviceaccounts"}, "", false},
	} {
		if got := applies([]rbacv1.Subject{c.subject}, robot, c.namespace) != nil; got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestAggregate(t *testing.T) {
	role := func(name, label, verb string) *rbacv1.ClusterRole {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{label: "true"}}, Rules: []rbacv1.PolicyRule{{Verbs: []string{verb}}}}
	}
	sum := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "sum", Labels: map[string]string{"x": "true"}}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"stale"}}},
		AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"x": "true"}}}},
	}
	got, err := Aggregate(sum, []*rbacv1.ClusterRole{role("b", "x", "list"), sum, role("a", "x", "get"), role("c", "y", "watch"), role("d", "x", "get")})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]rbacv1.PolicyRule{{Verbs: []string{"get"}}, {Verbs: []string{"list"}}}, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}
