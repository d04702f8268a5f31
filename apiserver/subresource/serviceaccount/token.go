// Package serviceaccount is the token subresource of service accounts.
//
// A token is made for an account, for audiences and a time, and may be bound to a pod, a secret or a node
// of which it must be the account's (or, for secrets and nodes, merely exist). Nothing is stored: what the
// request says comes back with the token in its status.
//
// Tokens that node agents ask for in the form in which every pod has one, for 3607 seconds and this
// server, last for a year, for the sake of clients that never read them again; the agent is told of 3607
// seconds, and renews them in time.
package serviceaccount

import (
	"context"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/audit"
	apiserversa "k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/warning"

	"coracle.dev/coracle/apiserver/auth/serviceaccount"
)

const (
	// podTokenSeconds marks the tokens of pods that nobody asked for in particular.
	podTokenSeconds = 3607
	stretched       = 365 * 24 * time.Hour
	defaultSeconds  = 3600
	minSeconds      = 600
	maxSeconds      = 1 << 32
)

// TokenOptions are how tokens are made.
type TokenOptions struct {
	Issuer    *serviceaccount.Issuer
	Audiences []string
	// MaxLifetime, if set, shortens what is asked for.
	MaxLifetime time.Duration
	// Stretch makes the tokens of pods last for a year; see the package.
	Stretch bool
}

// Token serves serviceaccounts/token.
type Token struct {
	TokenOptions
	accounts, pods, secrets, nodes rest.Getter
}

var (
	_ rest.NamedCreater             = &Token{}
	_ rest.GroupVersionKindProvider = &Token{}
)

// NewToken makes the storage of serviceaccounts/token over the stores of what tokens name.
func NewToken(accounts, pods, secrets, nodes rest.Getter, o TokenOptions) *Token {
	return &Token{TokenOptions: o, accounts: accounts, pods: pods, secrets: secrets, nodes: nodes}
}

// New implements rest.Storage.
func (t *Token) New() runtime.Object { return &authenticationv1.TokenRequest{} }

// Destroy implements rest.Storage.
func (t *Token) Destroy() {}

// NamespaceScoped implements rest.Scoper.
func (t *Token) NamespaceScoped() bool { return true }

// GroupVersionKind implements rest.GroupVersionKindProvider.
func (t *Token) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return authenticationv1.SchemeGroupVersion.WithKind("TokenRequest")
}

// Create implements rest.NamedCreater.
func (t *Token) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	req, ok := obj.(*authenticationv1.TokenRequest)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a TokenRequest object: %T", obj))
	}
	out, err := t.complete(ctx, name, req)
	if err != nil {
		return nil, err
	}
	if validate != nil {
		if err := validate(ctx, out.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	got, err := t.accounts.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	grant, err := t.grant(ctx, got.(*corev1.ServiceAccount), out)
	if err != nil {
		return nil, err
	}
	t.limit(ctx, out, &grant)
	now := time.Now()
	token, credential, err := t.Issuer.Issue(grant)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	audit.AddAuditAnnotation(ctx, apiserversa.IssuedCredentialIDAuditAnnotationKey, credential)
	out.Status = authenticationv1.TokenRequestStatus{
		Token:               token,
		ExpirationTimestamp: metav1.Time{Time: now.Add(time.Duration(*out.Spec.ExpirationSeconds) * time.Second)},
	}
	return out, nil
}

// complete checks the request and fills in what it leaves open.
func (t *Token) complete(ctx context.Context, name string, req *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	namespace := request.NamespaceValue(ctx)
	if req.Name == "" {
		req.Name = name
	}
	if req.Namespace == "" {
		req.Namespace = namespace
	}
	switch {
	case req.Name != name:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("mismatch between name %q in TokenRequest and name %q in request", req.Name, name))
	case req.Namespace != namespace:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("mismatch between namespace %q in TokenRequest and namespace %q in request", req.Namespace, namespace))
	}
	out := req.DeepCopy()
	if out.CreationTimestamp.IsZero() {
		out.CreationTimestamp = metav1.Now()
	}
	if len(out.Spec.Audiences) == 0 {
		out.Spec.Audiences = t.Audiences
	}
	if out.Spec.ExpirationSeconds == nil {
		seconds := int64(defaultSeconds)
		out.Spec.ExpirationSeconds = &seconds
	}
	path := field.NewPath("spec", "expirationSeconds")
	var errs field.ErrorList
	switch seconds := *out.Spec.ExpirationSeconds; {
	case seconds < minSeconds:
		errs = append(errs, field.Invalid(path, seconds, "may not specify a duration less than 10 minutes"))
	case seconds > maxSeconds:
		errs = append(errs, field.Invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"))
	}
	if len(errs) > 0 {
		return nil, apierrors.NewInvalid(authenticationv1.SchemeGroupVersion.WithKind("TokenRequest").GroupKind(), "", errs)
	}
	return out, nil
}

// grant finds what the token shall be bound to.
func (t *Token) grant(ctx context.Context, account *corev1.ServiceAccount, req *authenticationv1.TokenRequest) (serviceaccount.Grant, error) {
	grant := serviceaccount.Grant{Account: account, Audiences: req.Spec.Audiences}
	bound := req.Spec.BoundObjectRef
	if bound == nil {
		return grant, nil
	}
	var err error
	var ref *serviceaccount.Reference
	switch gvk := schema.FromAPIVersionAndKind(bound.APIVersion, bound.Kind); {
	case gvk.Group == "" && gvk.Kind == "Pod":
		ref, err = t.bindPod(ctx, account.Name, bound.Name, &grant)
	case gvk.Group == "" && gvk.Kind == "Secret":
		ref, err = reference(t.secrets.Get(ctx, bound.Name, &metav1.GetOptions{}))
		grant.Secret = ref
	case gvk.Group == "" && gvk.Kind == "Node":
		ref, err = reference(t.nodes.Get(clusterScope(ctx, "nodes"), bound.Name, &metav1.GetOptions{}))
		grant.Node = ref
	default:
		return grant, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to object of type %s", account.Name, gvk.String()))
	}
	if err != nil {
		return grant, err
	}
	if bound.UID != "" && bound.UID != ref.UID {
		return grant, apierrors.NewConflict(schema.GroupResource{Group: authenticationv1.GroupName, Resource: "tokenrequests"}, req.Name,
			fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", bound.UID))
	}
	return grant, nil
}

func (t *Token) bindPod(ctx context.Context, account, name string, grant *serviceaccount.Grant) (*serviceaccount.Reference, error) {
	obj, err := t.pods.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	pod := obj.(*corev1.Pod)
	if pod.Spec.ServiceAccountName != account {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", account))
	}
	grant.Pod = &serviceaccount.Reference{Name: pod.Name, UID: pod.UID}
	if pod.Spec.NodeName != "" {
		// The node informs the token's readers; where it is gone its name says enough.
		grant.Node = &serviceaccount.Reference{Name: pod.Spec.NodeName}
		node, err := reference(t.nodes.Get(clusterScope(ctx, "nodes"), pod.Spec.NodeName, &metav1.GetOptions{ResourceVersion: "0"}))
		switch {
		case err == nil:
			grant.Node = node
		case !apierrors.IsNotFound(err):
			return nil, err
		}
	}
	return grant.Pod, nil
}

func clusterScope(ctx context.Context, resource string) context.Context {
	ctx = request.WithNamespace(ctx, "")
	return request.WithRequestInfo(ctx, &request.RequestInfo{IsResourceRequest: true, APIVersion: "v1", Resource: resource})
}

func reference(obj runtime.Object, err error) (*serviceaccount.Reference, error) {
	if err != nil {
		return nil, err
	}
	m, ok := obj.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("binding token: unexpected %T", obj)
	}
	return &serviceaccount.Reference{Name: m.GetName(), UID: types.UID(m.GetUID())}, nil
}

// limit settles how long the token lasts.
func (t *Token) limit(ctx context.Context, req *authenticationv1.TokenRequest, grant *serviceaccount.Grant) {
	seconds := req.Spec.ExpirationSeconds
	if t.MaxLifetime > 0 && *seconds > int64(t.MaxLifetime.Seconds()) {
		most := int64(t.MaxLifetime.Seconds())
		warning.AddWarning(ctx, "", fmt.Sprintf("requested expiration of %d seconds shortened to %d seconds", *seconds, most))
		*seconds = most
	}
	grant.Lifetime = time.Duration(*seconds) * time.Second
	if t.Stretch && *seconds == podTokenSeconds && grant.Pod != nil && slices.Equal(req.Spec.Audiences, t.Audiences) {
		grant.WarnAfter, grant.Lifetime = grant.Lifetime, stretched
		if t.MaxLifetime > 0 {
			grant.Lifetime = min(grant.Lifetime, t.MaxLifetime)
		}
	}
}
