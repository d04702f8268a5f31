package review

import (
	"context"
	"fmt"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/klog/v2"
)

// storage is a resource of which objects can be created, and that is all.
type storage[T runtime.Object] struct {
	singular   string
	namespaced bool
	new        func() T
	answer     func(ctx context.Context, review T) error
}

var (
	_ rest.Creater              = &storage[runtime.Object]{}
	_ rest.Scoper               = &storage[runtime.Object]{}
	_ rest.SingularNameProvider = &storage[runtime.Object]{}
)

// New implements rest.Storage.
func (s *storage[T]) New() runtime.Object { return s.new() }

// Destroy implements rest.Storage.
func (s *storage[T]) Destroy() {}

// NamespaceScoped implements rest.Scoper.
func (s *storage[T]) NamespaceScoped() bool { return s.namespaced }

// GetSingularName implements rest.SingularNameProvider.
func (s *storage[T]) GetSingularName() string { return s.singular }

// Create implements rest.Creater.
func (s *storage[T]) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	review, ok := obj.(T)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a %s: %T", s.singular, obj))
	}
	if validate != nil {
		if err := validate(ctx, obj.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	if err := s.answer(ctx, review); err != nil {
		return nil, err
	}
	return review, nil
}

// Tokens serves tokenreviews: whose is this token? audiences are those of this server.
func Tokens(a authenticator.Request, audiences authenticator.Audiences) rest.Storage {
	return &storage[*authenticationv1.TokenReview]{
		singular: "tokenreview", new: func() *authenticationv1.TokenReview { return &authenticationv1.TokenReview{} },
		answer: func(ctx context.Context, r *authenticationv1.TokenReview) error {
			if r.Spec.Token == "" {
				return apierrors.NewBadRequest("token is required for TokenReview in authentication")
			}
			return reviewToken(ctx, a, audiences, r)
		},
	}
}

func reviewToken(ctx context.Context, a authenticator.Request, audiences authenticator.Audiences, r *authenticationv1.TokenReview) error {
	// The token is tried as the one credential of a request, which has nothing of the asker's.
	req, err := http.NewRequestWithContext(request.NewContext(), http.MethodGet, "/", nil)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.Spec.Token)
	wanted := authenticator.Audiences(r.Spec.Audiences)
	if len(wanted) == 0 {
		wanted = audiences
	}
	if len(wanted) > 0 {
		req = req.WithContext(authenticator.WithAudiences(req.Context(), wanted))
	}
	response, ok, err := a.AuthenticateRequest(req)
	r.Status = authenticationv1.TokenReviewStatus{Authenticated: ok}
	if err != nil {
		r.Status.Error = err.Error()
	}
	if len(wanted) > 0 && response != nil && len(wanted.Intersect(response.Audiences)) == 0 {
		klog.FromContext(ctx).Error(nil, "Authenticator returned audiences that were not asked for", "wanted", wanted, "got", response.Audiences)
		r.Status = authenticationv1.TokenReviewStatus{}
		return nil
	}
	if response != nil && response.User != nil {
		r.Status.User = userInfo(response.User)
		r.Status.Audiences = response.Audiences
	}
	return nil
}

func userInfo(u user.Info) authenticationv1.UserInfo {
	out := authenticationv1.UserInfo{Username: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups()}
	for k, v := range u.GetExtra() {
		if out.Extra == nil {
			out.Extra = map[string]authenticationv1.ExtraValue{}
		}
		out.Extra[k] = v
	}
	return out
}

// Self serves selfsubjectreviews: who am I?
func Self() rest.Storage {
	return &storage[*authenticationv1.SelfSubjectReview]{
		singular: "selfsubjectreview", new: func() *authenticationv1.SelfSubjectReview { return &authenticationv1.SelfSubjectReview{} },
		answer: func(ctx context.Context, r *authenticationv1.SelfSubjectReview) error {
			u, ok := request.UserFrom(ctx)
			if !ok {
				return apierrors.NewBadRequest("no user present on request")
			}
			r.CreationTimestamp = metav1.Now()
			r.Status.UserInfo = userInfo(u)
			return nil
		},
	}
}
