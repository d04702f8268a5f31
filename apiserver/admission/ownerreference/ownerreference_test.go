package ownerreference

import (
	"context"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// grants are verbs with resource, subresource and name.
type grants []string

func (g grants) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	asked := strings.Join([]string{a.GetVerb(), a.GetNamespace(), a.GetResource(), a.GetSubresource(), a.GetName()}, " ")
	if slices.Contains(g, asked) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "not granted", nil
}

func TestOwners(t *testing.T) {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Node"), meta.RESTScopeRoot)
	yes := true
	ref := func(apiVersion, kind string, block *bool) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: "owner", UID: types.UID(kind), BlockOwnerDeletion: block}
	}
	set, blockingSet := ref("apps/v1", "ReplicaSet", nil), ref("apps/v1", "ReplicaSet", &yes)
	blockingNode, unknown := ref("v1", "Node", &yes), ref("x/v1", "Thing", &yes)
	pod := func(refs ...metav1.OwnerReference) runtime.Object {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: refs}}
	}
	const mayDelete, mayFinalizeSet, mayFinalizeNode = "delete ns pods  p", "update ns replicasets finalizers owner", "update  nodes finalizers owner"
	for name, c := range map[string]struct {
		now, old    runtime.Object
		subresource string
		grants      grants
		want        string
	}{
		"made with an owner":           {now: pod(set)},
		"made with a blocking one":     {now: pod(blockingSet), want: "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: not granted, <nil>"},
		"who may finalize":             {now: pod(blockingSet), grants: grants{mayFinalizeSet}},
		"a node":                       {now: pod(blockingNode), grants: grants{mayFinalizeNode}},
		"a kind that nobody knows":     {now: pod(unknown), want: "cannot find RESTMapping for APIVersion x/v1 Kind Thing"},
		"as it was":                    {now: pod(blockingSet), old: pod(blockingSet)},
		"taken over":                   {now: pod(set), old: pod(), want: "cannot set an ownerRef on a resource you can't delete: not granted, <nil>"},
		"let go":                       {now: pod(), old: pod(set), want: "cannot set an ownerRef"},
		"taken over by who may delete": {now: pod(set), old: pod(), grants: grants{mayDelete}},
		"made to block":                {now: pod(blockingSet), old: pod(set), grants: grants{mayDelete}, want: "set finalizers on"},
		"one more":                     {now: pod(blockingSet, set), old: pod(blockingSet), grants: grants{mayDelete}},
		"the status":                   {now: pod(set), old: pod(), subresource: "status"},
	} {
		p := New()
		if p.ValidateInitialization() == nil {
			t.Error("a plugin without an authorizer is no error")
		}
		p.SetUnconditionalAuthorizer(c.grants)
		p.SetRESTMapper(mapper)
		op := admission.Create
		if c.old != nil {
			op = admission.Update
		}
		a := admission.NewAttributesRecord(c.now, c.old, corev1.SchemeGroupVersion.WithKind("Pod"), "ns", "p",
			corev1.SchemeGroupVersion.WithResource("pods"), c.subresource, op, nil, false, &user.DefaultInfo{Name: "alice"})
		err := p.Validate(t.Context(), a, nil)
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
