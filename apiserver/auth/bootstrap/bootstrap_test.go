package bootstrap

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"coracle.dev/coracle/apiserver/auth/rbac"
)

func load(t *testing.T) *Policy {
	t.Helper()
	p, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryBindingHasItsRole(t *testing.T) {
	p := load(t)
	clusterRoles, roles := map[string]bool{}, map[string]bool{}
	for _, r := range p.ClusterRoles {
		if clusterRoles[r.Name] {
			t.Errorf("cluster role %s is listed twice", r.Name)
		}
		if len(r.Rules) == 0 {
			t.Errorf("cluster role %s is empty", r.Name)
		}
		clusterRoles[r.Name] = true
	}
	for _, r := range p.Roles {
		roles[r.Namespace+"/"+r.Name] = true
	}
	for _, b := range p.ClusterRoleBindings {
		if !clusterRoles[b.RoleRef.Name] {
			t.Errorf("cluster role binding %s refers to unknown role %s", b.Name, b.RoleRef.Name)
		}
	}
	for _, b := range p.RoleBindings {
		if !roles[b.Namespace+"/"+b.RoleRef.Name] {
			t.Errorf("role binding %s refers to unknown role %s", b.Name, b.RoleRef.Name)
		}
	}
}

func TestAggregatedRolesNest(t *testing.T) {
	p := load(t)
	rules := map[string][]rbacv1.PolicyRule{}
	for _, r := range p.ClusterRoles {
		rules[r.Name] = r.Rules
	}
	may := func(role, verb, group, resource, sub string) bool {
		a := authorizer.AttributesRecord{User: &user.DefaultInfo{}, Verb: verb, APIGroup: group, Resource: resource, Subresource: sub, ResourceRequest: true}
		return slices.ContainsFunc(rules[role], func(r rbacv1.PolicyRule) bool { return rbac.Covers(&r, a) })
	}
	for _, c := range []struct {
		verb, group, resource, sub string
		view, edit, admin          bool
	}{
		{"get", "", "pods", "", true, true, true},
		{"get", "", "pods", "log", true, true, true},
		{"list", "apps", "deployments", "", true, true, true},
		{"get", "", "secrets", "", false, true, true},
		{"create", "", "pods", "exec", false, true, true},
		{"delete", "apps", "deployments", "", false, true, true},
		{"create", "", "serviceaccounts", "token", false, true, true},
		{"create", "rbac.authorization.k8s.io", "roles", "", false, false, true},
		{"delete", "", "namespaces", "", false, false, false},
		{"get", "", "nodes", "", false, false, false},
		{"escalate", "rbac.authorization.k8s.io", "roles", "", false, false, false},
	} {
		got := []bool{may("view", c.verb, c.group, c.resource, c.sub), may("edit", c.verb, c.group, c.resource, c.sub), may("admin", c.verb, c.group, c.resource, c.sub)}
		if diff := cmp.Diff([]bool{c.view, c.edit, c.admin}, got); diff != "" {
			t.Errorf("%s %s/%s/%s of view, edit, admin (-want +got):\n%s", c.verb, c.group, c.resource, c.sub, diff)
		}
	}
}

func TestEnsureCreatesThenLeavesAlone(t *testing.T) {
	p := load(t)
	client := fake.NewClientset()
	if err := Ensure(t.Context(), client, p); err != nil {
		t.Fatal(err)
	}
	want := len(p.ClusterRoles) + len(p.ClusterRoleBindings) + len(p.Roles) + len(p.RoleBindings)
	if got := writes(client.Actions(), "rbac.authorization.k8s.io"); got != want {
		t.Errorf("first start: %d writes, want %d", got, want)
	}
	client.ClearActions()
	if err := Ensure(t.Context(), client, p); err != nil {
		t.Fatal(err)
	}
	if got := writes(client.Actions(), "rbac.authorization.k8s.io"); got != 0 {
		t.Errorf("second start: %d writes, want none: %v", got, client.Actions())
	}
}

func TestEnsureKeepsWhatUsersAdded(t *testing.T) {
	p, ctx := load(t), t.Context()
	client := fake.NewClientset()
	if err := Ensure(ctx, client, p); err != nil {
		t.Fatal(err)
	}
	roles, bindings := client.RbacV1().ClusterRoles(), client.RbacV1().ClusterRoleBindings()
	extra := rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{"example.com"}, Resources: []string{"things"}}

	// A rule of ours is lost, one of a user's is added.
	role, _ := roles.Get(ctx, "system:kube-scheduler", metav1.GetOptions{})
	lost := role.Rules[0]
	role.Rules = append(role.Rules[1:], extra)
	mustUpdate(t, func() error { _, err := roles.Update(ctx, role, metav1.UpdateOptions{}); return err })
	// A role that its user wants left alone.
	own, _ := roles.Get(ctx, "system:discovery", metav1.GetOptions{})
	own.Annotations[rbacv1.AutoUpdateAnnotationKey], own.Rules = "false", nil
	mustUpdate(t, func() error { _, err := roles.Update(ctx, own, metav1.UpdateOptions{}); return err })
	// Subjects are changed.
	binding, _ := bindings.Get(ctx, "cluster-admin", metav1.GetOptions{})
	binding.Subjects = []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "alice"}}
	mustUpdate(t, func() error { _, err := bindings.Update(ctx, binding, metav1.UpdateOptions{}); return err })

	if err := Ensure(ctx, client, p); err != nil {
		t.Fatal(err)
	}
	role, _ = roles.Get(ctx, "system:kube-scheduler", metav1.GetOptions{})
	has := func(rule rbacv1.PolicyRule) bool {
		return slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return cmp.Equal(r.Resources, rule.Resources) })
	}
	if !has(lost) || !has(extra) {
		t.Errorf("lost rule restored: %v, extra rule kept: %v; want both", has(lost), has(extra))
	}
	if own, _ = roles.Get(ctx, "system:discovery", metav1.GetOptions{}); len(own.Rules) != 0 {
		t.Errorf("role with autoupdate=false was changed: %v", own.Rules)
	}
	binding, _ = bindings.Get(ctx, "cluster-admin", metav1.GetOptions{})
	var names []string
	for _, s := range binding.Subjects {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"alice", "system:masters"}, names); diff != "" {
		t.Errorf("subjects of cluster-admin (-want +got):\n%s", diff)
	}
}

func mustUpdate(t *testing.T, f func() error) {
	t.Helper()
	if err := f(); err != nil {
		t.Fatal(err)
	}
}

func writes(actions []clienttesting.Action, group string) int {
	n := 0
	for _, a := range actions {
		if a.GetResource().Group == group && (a.GetVerb() == "create" || a.GetVerb() == "update") {
			n++
		}
	}
	return n
}

func TestTablesNameTheirFaults(t *testing.T) {
	for _, text := range []string{"  get core pods", "role a\n  get core", "role a wants b", "role a\n get core pods x y"} {
		if err := (&Policy{}).readRoles(text); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
	for _, text := range []string{"binding a", "role a b", "binding a b tribe=c"} {
		if err := (&Policy{}).readBindings(text); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}
