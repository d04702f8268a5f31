package review

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// asked keeps what it was asked, and answers by the name of the user.
type asked struct{ authorizer.Attributes }

func (z *asked) authorizer() authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		z.Attributes = a
		switch a.GetUser().GetName() {
		case "allowed":
			return authorizer.DecisionAllow, "by right", nil
		case "denied":
			return authorizer.DecisionDeny, "by law", nil
		}
		return authorizer.DecisionNoOpinion, "", errors.New("nobody knows")
	})
}

func create[T runtime.Object](ctx context.Context, s rest.Storage, review T) (T, error) {
	out, err := s.(rest.Creater).Create(ctx, review, rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
	if err != nil {
		return review, err
	}
	return out.(T), nil
}

var podsInShop = &authorizationv1.ResourceAttributes{Namespace: "shop", Verb: "get", Resource: "pods", Name: "p", Subresource: "log"}

func TestAnswers(t *testing.T) {
	for name, want := range map[string]authorizationv1.SubjectAccessReviewStatus{
		"allowed": {Allowed: true, Reason: "by right"},
		"denied":  {Denied: true, Reason: "by law"},
		"other":   {EvaluationError: "nobody knows"},
	} {
		z := &asked{}
		r, err := create(t.Context(), Access(z.authorizer()), &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: name, UID: "7", Groups: []string{"crew"}, Extra: map[string]authorizationv1.ExtraValue{"Scopes": {"a"}}, ResourceAttributes: podsInShop,
		}})
		if diff := cmp.Diff(want, r.Status); err != nil || diff != "" {
			t.Errorf("%s: %v, status (-want +got):\n%s", name, err, diff)
		}
		got := z.Attributes.(authorizer.AttributesRecord)
		if diff := cmp.Diff(authorizer.AttributesRecord{
			User: &user.DefaultInfo{Name: name, UID: "7", Groups: []string{"crew"}, Extra: map[string][]string{"scopes": {"a"}}},
			Verb: "get", Namespace: "shop", APIVersion: "*", Resource: "pods", Subresource: "log", Name: "p", ResourceRequest: true,
		}, got); diff != "" {
			t.Errorf("%s: asked (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnswersToOneself(t *testing.T) {
	z := &asked{}
	spec := authorizationv1.SelfSubjectAccessReviewSpec{NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"}}
	ctx := request.WithUser(t.Context(), &user.DefaultInfo{Name: "allowed"})
	r, err := create(ctx, SelfAccess(z.authorizer()), &authorizationv1.SelfSubjectAccessReview{Spec: spec})
	if err != nil || !r.Status.Allowed || z.GetPath() != "/metrics" || z.IsResourceRequest() {
		t.Errorf("%+v, %v, asked %+v", r.Status, err, z.Attributes)
	}
	if _, err := create(t.Context(), SelfAccess(z.authorizer()), &authorizationv1.SelfSubjectAccessReview{Spec: spec}); !apierrors.IsBadRequest(err) {
		t.Errorf("without a user: %v", err)
	}
}

func TestQuestionsThatAreNone(t *testing.T) {
	both := authorizationv1.SubjectAccessReviewSpec{User: "x", ResourceAttributes: podsInShop, NonResourceAttributes: &authorizationv1.NonResourceAttributes{}}
	twice := &authorizationv1.ResourceAttributes{LabelSelector: &authorizationv1.LabelSelectorAttributes{
		RawSelector: "a=b", Requirements: []metav1.LabelSelectorRequirement{{Key: "a", Operator: metav1.LabelSelectorOpExists}},
	}}
	for want, r := range map[string]*authorizationv1.SubjectAccessReview{
		"exactly one of nonResourceAttributes or resourceAttributes must be specified": {Spec: authorizationv1.SubjectAccessReviewSpec{User: "x"}},
		"cannot be specified in combination with resourceAttributes":                   {Spec: both},
		"at least one of user or group must be specified":                              {Spec: authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: podsInShop}},
		"may not specified at the same time as requirements":                           {Spec: authorizationv1.SubjectAccessReviewSpec{User: "x", ResourceAttributes: twice}},
		"metadata: Invalid value":                                                      {ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: authorizationv1.SubjectAccessReviewSpec{User: "x", ResourceAttributes: podsInShop}},
	} {
		if _, err := create(t.Context(), Access((&asked{}).authorizer()), r); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	local := &authorizationv1.LocalSubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "allowed", ResourceAttributes: podsInShop}}
	for namespace, want := range map[string]string{
		"shop": "", "sea": "spec.resourceAttributes.namespace must match namespace: sea", "": "namespace is required on this type",
	} {
		_, err := create(request.WithNamespace(t.Context(), namespace), LocalAccess((&asked{}).authorizer()), local.DeepCopy())
		if (err != nil) != (want != "") || err != nil && (!apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), want)) {
			t.Errorf("in namespace %q: %v, want %q", namespace, err, want)
		}
	}
}

func TestSelectors(t *testing.T) {
	for name, c := range map[string]struct {
		fields *authorizationv1.FieldSelectorAttributes
		labels *authorizationv1.LabelSelectorAttributes
		want   string
		fault  string
	}{
		"raw": {
			fields: &authorizationv1.FieldSelectorAttributes{RawSelector: "spec.nodeName=n,status.phase!=Failed"},
			labels: &authorizationv1.LabelSelectorAttributes{RawSelector: "a in (b,c),d"},
			want:   "spec.nodeName=n status.phase!=Failed a in (b,c) d",
		},
		"requirements": {
			fields: &authorizationv1.FieldSelectorAttributes{Requirements: []metav1.FieldSelectorRequirement{
				{Key: "spec.nodeName", Operator: metav1.FieldSelectorOpIn, Values: []string{"n"}}, {Key: "x", Operator: metav1.FieldSelectorOpNotIn, Values: []string{"y"}},
			}},
			labels: &authorizationv1.LabelSelectorAttributes{Requirements: []metav1.LabelSelectorRequirement{
				{Key: "a", Operator: metav1.LabelSelectorOpIn, Values: []string{"b"}}, {Key: "d", Operator: metav1.LabelSelectorOpDoesNotExist},
			}},
			want: "spec.nodeName=n x!=y a in (b) !d",
		},
		"some that nobody understands": {
			fields: &authorizationv1.FieldSelectorAttributes{Requirements: []metav1.FieldSelectorRequirement{
				{Key: "x", Operator: "Near", Values: []string{"y"}}, {Key: "spec.nodeName", Operator: metav1.FieldSelectorOpIn, Values: []string{"n"}},
			}},
			labels: &authorizationv1.LabelSelectorAttributes{Requirements: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}, {Key: "d", Operator: metav1.LabelSelectorOpExists}}},
			want:   "spec.nodeName=n d",
		},
		"fields that nobody understands": {
			fields: &authorizationv1.FieldSelectorAttributes{Requirements: []metav1.FieldSelectorRequirement{{Key: "x", Operator: metav1.FieldSelectorOpExists}}},
			fault:  "field selector x Exists [] cannot be evaluated",
		},
		"faulty labels": {labels: &authorizationv1.LabelSelectorAttributes{RawSelector: "a b"}, fault: "found 'b'"},
	} {
		z := &asked{}
		_, err := create(t.Context(), Access(z.authorizer()), &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "allowed", ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "list", Resource: "pods", FieldSelector: c.fields, LabelSelector: c.labels},
		}})
		if err != nil {
			t.Fatal(err)
		}
		fields, fieldErr := z.GetFieldSelector()
		labels, labelErr := z.GetLabelSelector()
		var got []string
		for _, r := range fields {
			got = append(got, r.Field+string(r.Operator)+r.Value)
		}
		for _, r := range labels {
			got = append(got, r.String())
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
		if err := errors.Join(fieldErr, labelErr); (err != nil) != (c.fault != "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %v, want %q", name, err, c.fault)
		}
	}
}
