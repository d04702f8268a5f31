package rbac

import (
	"context"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

// guarding returns a guard where dave reads pods, and a role "strong" does everything. Verbs of dave's are
// as given: "escalate clusterroles/strong".
func guarding(t *testing.T, granted ...string) guard {
	t.Helper()
	f := informers.NewSharedInformerFactory(fake.NewClientset(), 0)
	r := NewResolver(f)
	v1 := f.Rbac().V1()
	add := func(store interface{ Add(any) error }, obj any) {
		t.Helper()
		if err := store.Add(obj); err != nil {
			t.Fatal(err)
		}
	}
	add(v1.ClusterRoles().Informer().GetStore(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reader"}, Rules: readPods})
	add(v1.ClusterRoles().Informer().GetStore(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "strong"}, Rules: everything})
	add(v1.ClusterRoleBindings().Informer().GetStore(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "dave"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "reader"},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "dave"}},
	})
	return guard{r, authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if slices.Contains(granted, a.GetVerb()+" "+a.GetResource()+"/"+a.GetName()) {
			return authorizer.DecisionAllow, "", nil
		}
		return authorizer.DecisionNoOpinion, "", nil
	})}
}

var readPods = []rbacv1.PolicyRule{{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"pods"}}}

func clusterRole(rules []rbacv1.PolicyRule, change ...func(*rbacv1.ClusterRole)) *rbacv1.ClusterRole {
	r := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "r", UID: "1"}, Rules: rules}
	for _, f := range change {
		f(r)
	}
	return r
}

func binding(role string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: "ns", UID: "1"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}}
}

func TestGuard(t *testing.T) {
	labelled := func(r *rbacv1.ClusterRole) { r.Labels = map[string]string{"aggregate-to": "edit"} }
	owned := func(r *rbacv1.ClusterRole) { r.OwnerReferences, r.Finalizers = nil, []string{"example.com/x"} }
	aggregating := func(r *rbacv1.ClusterRole) { r.AggregationRule = &rbacv1.AggregationRule{} }
	const notHeld = "not currently held"
	for name, c := range map[string]struct {
		obj, old runtime.Object
		granted  []string
		groups   []string
		want     string
	}{
		"what one has":                  {obj: clusterRole(readPods)},
		"more":                          {obj: clusterRole(everything), want: notHeld},
		"more, who may escalate":        {obj: clusterRole(everything), granted: []string{"escalate clusterroles/r"}},
		"more, a master":                {obj: clusterRole(everything), groups: []string{user.SystemPrivilegedGroup}},
		"whatever may come":             {obj: clusterRole(nil, aggregating), want: notHeld},
		"less of more":                  {obj: clusterRole(readPods), old: clusterRole(everything)},
		"a label on more":               {obj: clusterRole(everything, labelled), old: clusterRole(everything), want: notHeld},
		"what the collector writes":     {obj: clusterRole(everything, owned), old: clusterRole(everything)},
		"made by an update":             {obj: clusterRole(everything), old: &rbacv1.ClusterRole{}, want: notHeld},
		"binding what one has":          {obj: binding("reader")},
		"binding more":                  {obj: binding("strong"), want: notHeld},
		"binding more, who may bind it": {obj: binding("strong"), granted: []string{"bind clusterroles/strong"}},
		"binding nothing":               {obj: binding("missing"), want: "not found"},
	} {
		ctx := request.WithUser(t.Context(), &user.DefaultInfo{Name: "dave", Groups: c.groups})
		g := guarding(t, c.granted...)
		check := g.role
		if _, ok := c.obj.(*rbacv1.RoleBinding); ok {
			check = g.binding
		}
		err := check(ctx, c.obj, c.old)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if c.want == notHeld && !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v is not forbidden", name, err)
		}
	}
}
