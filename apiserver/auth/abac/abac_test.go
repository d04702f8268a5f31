package abac

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

const policies = `
# who may do what
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"alice","namespace":"*","resource":"*","apiGroup":"*","nonResourcePath":"*"}}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"kubelet","namespace":"*","resource":"pods","readonly":true}}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"bob","namespace":"projectCaribou","resource":"pods","apiGroup":"","readonly":true}}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"group":"*","readonly":true,"nonResourcePath":"/version*"}}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"dora","group":"deployers","namespace":"shop","resource":"deployments","apiGroup":"apps"}}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"namespace":"*","resource":"*","apiGroup":"*"}}
{"user":"old","readonly":true}
{"user":"older","resource":"pods","namespace":"attic"}
`

func load(t *testing.T) *Authorizer {
	t.Helper()
	p, err := read(strings.NewReader(policies))
	if err != nil {
		t.Fatal(err)
	}
	return New(p)
}

func TestAuthorize(t *testing.T) {
	z := load(t)
	for _, c := range []struct {
		who, verb, group, resource, namespace string
		allowed                               bool
	}{
		{"alice", "delete", "apps", "deployments", "shop", true},
		{"alice", "get", "", "/anything", "", true},
		{"kubelet", "list", "", "pods", "x", true},
		{"kubelet", "create", "", "pods", "x", false},
		{"bob", "get", "", "pods", "projectCaribou", true},
		{"bob", "get", "", "pods", "other", false},
		{"bob", "get", "apps", "pods", "projectCaribou", false},
		{"bob", "get", "", "/version", "", true},
		{"bob", "get", "", "/version/", "", true},
		{"bob", "get", "", "/metrics", "", false},
		{"system:anonymous", "get", "", "/version", "", false},
		{"dora", "create", "apps", "deployments", "shop", false},
		{"dora,deployers", "create", "apps", "deployments", "shop", true},
		{"eve,deployers", "create", "apps", "deployments", "shop", false},
		{"nobody", "get", "", "pods", "x", false},
		{"old", "get", "anything", "things", "x", true},
		{"old", "get", "", "/metrics", "", true},
		{"old", "update", "", "pods", "x", false},
		{"older", "delete", "anything", "pods", "attic", true},
		{"older", "get", "", "/metrics", "", false},
	} {
		name, group, _ := strings.Cut(c.who, ",")
		groups := []string{user.AllAuthenticated, group}
		if name == user.Anonymous {
			groups = []string{user.AllUnauthenticated}
		}
		a := authorizer.AttributesRecord{User: &user.DefaultInfo{Name: name, Groups: groups}, Verb: c.verb}
		if strings.HasPrefix(c.resource, "/") {
			a.Path = c.resource
		} else {
			a.ResourceRequest, a.APIGroup, a.Resource, a.Namespace = true, c.group, c.resource, c.namespace
		}
		decision, reason, err := z.Authorize(t.Context(), a)
		want, wantReason := authorizer.DecisionNoOpinion, "No policy matched."
		if c.allowed {
			want, wantReason = authorizer.DecisionAllow, ""
		}
		if err != nil || decision != want || reason != wantReason {
			t.Errorf("%+v: %v, %q, %v", c, decision, reason, err)
		}
	}
}

func TestRulesFor(t *testing.T) {
	resources, paths, incomplete, err := load(t).RulesFor(t.Context(), &user.DefaultInfo{Name: "bob", Groups: []string{user.AllAuthenticated}}, "projectCaribou")
	if err != nil || incomplete {
		t.Fatalf("incomplete %v, %v", incomplete, err)
	}
	read := []string{"get", "list", "watch"}
	if diff := cmp.Diff([]authorizer.ResourceRuleInfo{
		&authorizer.DefaultResourceRuleInfo{Verbs: read, APIGroups: []string{""}, Resources: []string{"pods"}},
	}, resources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]authorizer.NonResourceRuleInfo{
		&authorizer.DefaultNonResourceRuleInfo{Verbs: read, NonResourceURLs: []string{"/version*"}},
	}, paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestFaultyLinesAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"\n{":                            "line 2: ",
		`{"kind":"Policy"}`:              `apiVersion "" and kind "Policy" are unknown`,
		`{"apiVersion":"v1","kind":"x"}`: `line 1: apiVersion "v1" and kind "x" are unknown`,
		`{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy"}`:                          "spec is missing",
		`{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"userr":"alice"}}`: `unknown field "userr"`,
	} {
		if _, err := read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
