package serviceaccount

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	apiserversa "k8s.io/apiserver/pkg/authentication/serviceaccount"
	apijwt "k8s.io/apiserver/pkg/authentication/token/jwt"
)

// deletionLeeway is how long a token outlives the deletion of what it is bound to, so that a pod that is
// being terminated can still say goodbye.
const deletionLeeway = 60 * time.Second

// Objects looks up what tokens name. An error that is NotFound makes the token invalid.
type Objects interface {
	ServiceAccount(ctx context.Context, namespace, name string, uid types.UID) (*corev1.ServiceAccount, error)
	Pod(ctx context.Context, namespace, name string, uid types.UID) (*corev1.Pod, error)
	Secret(ctx context.Context, namespace, name string, uid types.UID) (*corev1.Secret, error)
	Node(ctx context.Context, name string, uid types.UID) (*corev1.Node, error)
}

// VerifierOptions are what a verifier accepts.
type VerifierOptions struct {
	// Issuers are accepted as iss.
	Issuers []string
	Keys    []Key
	// Audiences are those of this server: what a token must be for, unless the request is a
	// TokenReview that says otherwise.
	Audiences authenticator.Audiences
	// Objects is nil where tokens are not checked against what exists.
	Objects Objects
}

// Verifier is the token authenticator of service accounts.
type Verifier struct {
	VerifierOptions
	now func() time.Time
}

var _ authenticator.Token = &Verifier{}

// NewVerifier returns a verifier.
func NewVerifier(o VerifierOptions) *Verifier { return &Verifier{VerifierOptions: o, now: time.Now} }

// AuthenticateToken implements authenticator.Token. Tokens of other issuers are none of its business.
func (v *Verifier) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	issuer := issuerOf(token)
	if issuer != legacyIssuer && !slices.Contains(v.Issuers, issuer) {
		return nil, false, nil
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, false, nil
	}
	wanted, ok := authenticator.AudiencesFrom(ctx)
	if !ok {
		wanted = v.Audiences
	}
	var info *apiserversa.ServiceAccountInfo
	var audiences authenticator.Audiences
	if issuer == legacyIssuer {
		info, audiences, err = v.legacy(ctx, token, parsed, wanted)
	} else {
		info, audiences, err = v.bound(ctx, parsed, wanted)
	}
	if err != nil {
		return nil, false, err
	}
	return &authenticator.Response{User: info.UserInfo(), Audiences: audiences}, true, nil
}

// issuerOf is who the token, which is not verified, says that it is from.
func issuerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

// bound verifies a token that ends with a time, and with what it names.
func (v *Verifier) bound(ctx context.Context, token *jwt.JSONWebToken, wanted authenticator.Audiences) (*apiserversa.ServiceAccountInfo, authenticator.Audiences, error) {
	var standard jwt.Claims
	var own private
	if err := v.check(token, &standard, &own); err != nil {
		return nil, nil, err
	}
	audiences := authenticator.Audiences(standard.Audience).Intersect(wanted)
	if len(audiences) == 0 {
		return nil, nil, fmt.Errorf("token audiences %q is invalid for the target audiences %q", standard.Audience, wanted)
	}
	info, err := v.validate(ctx, &standard, &own)
	return info, audiences, err
}

// check verifies the signature with the key that the token names, or with every key if it names none, and
// reads the claims.
func (v *Verifier) check(token *jwt.JSONWebToken, claims ...any) error {
	id := ""
	if len(token.Headers) > 0 {
		id = token.Headers[0].KeyID
	}
	found := false
	for _, key := range v.Keys {
		if id != "" && key.ID != id {
			continue
		}
		found = true
		if err := token.Claims(key.Public, claims...); err == nil {
			return nil
		}
	}
	if !found {
		return fmt.Errorf("invalid signature, no keys found")
	}
	return errors.New("invalid bearer token")
}

func (v *Verifier) validate(ctx context.Context, standard *jwt.Claims, own *private) (*apiserversa.ServiceAccountInfo, error) {
	now := v.now()
	switch err := standard.ValidateWithLeeway(jwt.Expected{Time: now}, 0); {
	case err == nil:
	case errors.Is(err, jwt.ErrExpired):
		return nil, errors.New("service account token has expired")
	case errors.Is(err, jwt.ErrNotValidYet):
		return nil, errors.New("service account token is not valid yet")
	default:
		return nil, fmt.Errorf("service account token claims could not be validated: %w", err)
	}
	c := own.Cluster
	if standard.Subject != apiserversa.MakeUsername(c.Namespace, c.Account.Name) {
		return nil, errors.New("service account token names two subjects")
	}
	if v.Objects != nil {
		if err := v.lookUp(ctx, c, now); err != nil {
			return nil, err
		}
	}
	if c.WarnAfter != nil && now.After(c.WarnAfter.Time()) {
		audit.AddAuditAnnotation(ctx, "authentication.k8s.io/stale-token",
			fmt.Sprintf("subject: %s, seconds after warning threshold: %.0f", standard.Subject, now.Sub(c.WarnAfter.Time()).Seconds()))
	}
	info := &apiserversa.ServiceAccountInfo{
		Namespace: c.Namespace, Name: c.Account.Name, UID: string(c.Account.UID),
		CredentialID: apijwt.CredentialIDForJTI(standard.ID),
	}
	if c.Pod != nil {
		info.PodName, info.PodUID = c.Pod.Name, string(c.Pod.UID)
	}
	if c.Node != nil {
		info.NodeName, info.NodeUID = c.Node.Name, string(c.Node.UID)
	}
	return info, nil
}

// lookUp checks that everything the token names is there still.
func (v *Verifier) lookUp(ctx context.Context, c cluster, now time.Time) error {
	ref := c.Account
	account, err := v.Objects.ServiceAccount(ctx, c.Namespace, ref.Name, ref.UID)
	if err := alive("service account", c.Namespace, ref, account, err, now); err != nil {
		return err
	}
	if ref := c.Secret; ref != nil {
		secret, err := v.Objects.Secret(ctx, c.Namespace, ref.Name, ref.UID)
		if err := alive("secret", c.Namespace, *ref, secret, err, now); err != nil {
			return err
		}
	}
	if ref := c.Pod; ref != nil {
		pod, err := v.Objects.Pod(ctx, c.Namespace, ref.Name, ref.UID)
		return alive("pod", c.Namespace, *ref, pod, err, now)
	}
	// The node of a pod-bound token only informs; its deletion deletes the pod.
	if ref := c.Node; ref != nil {
		node, err := v.Objects.Node(ctx, ref.Name, ref.UID)
		return alive("node", "", *ref, node, err, now)
	}
	return nil
}

func alive(kind, namespace string, ref Reference, obj metav1.Object, err error, now time.Time) error {
	name := ref.Name
	if namespace != "" {
		name = namespace + "/" + name
	}
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s %s has been deleted", kind, name)
	case err != nil:
		return fmt.Errorf("looking up %s %s of token: %w", kind, name, err)
	case obj.GetUID() != ref.UID:
		return fmt.Errorf("%s UID (%s) does not match claim (%s)", kind, obj.GetUID(), ref.UID)
	}
	if deleted := obj.GetDeletionTimestamp(); deleted != nil && now.After(deleted.Add(deletionLeeway)) {
		return fmt.Errorf("%s %s has been deleted", kind, name)
	}
	return nil
}
