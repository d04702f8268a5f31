package serviceaccount

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	apiserversa "k8s.io/apiserver/pkg/authentication/serviceaccount"
)

const (
	// legacyIssuer is what tokens of the older kind name.
	legacyIssuer = "kubernetes/serviceaccount"
	// invalidLabel says since when a token that nobody used is no good.
	invalidLabel = "kubernetes.io/legacy-token-invalid-since"
)

// legacyClaims are those of a token of the older kind.
type legacyClaims struct {
	Namespace string    `json:"kubernetes.io/serviceaccount/namespace"`
	Secret    string    `json:"kubernetes.io/serviceaccount/secret.name"`
	Account   string    `json:"kubernetes.io/serviceaccount/service-account.name"`
	UID       types.UID `json:"kubernetes.io/serviceaccount/service-account.uid"`
}

// legacy verifies a token of the older kind, which is for this server, whatever its audiences.
func (v *Verifier) legacy(ctx context.Context, text string, token *jwt.JSONWebToken, wanted authenticator.Audiences) (*apiserversa.ServiceAccountInfo, authenticator.Audiences, error) {
	var standard jwt.Claims
	var c legacyClaims
	if err := v.check(token, &standard, &c); err != nil {
		return nil, nil, err
	}
	audiences := v.Audiences.Intersect(wanted)
	switch {
	case len(audiences) == 0:
		return nil, nil, fmt.Errorf("token audiences %q is invalid for the target audiences %q", v.Audiences, wanted)
	case c.Namespace == "" || c.Secret == "" || c.Account == "" || c.UID == "":
		return nil, nil, errors.New("service account token lacks a claim")
	case standard.Subject != apiserversa.MakeUsername(c.Namespace, c.Account):
		return nil, nil, errors.New("service account token names two subjects")
	}
	if v.Objects != nil {
		if err := v.kept(ctx, text, c); err != nil {
			return nil, nil, err
		}
	}
	audit.AddAuditAnnotation(ctx, "authentication.k8s.io/legacy-token", standard.Subject)
	return &apiserversa.ServiceAccountInfo{Namespace: c.Namespace, Name: c.Account, UID: string(c.UID)}, audiences, nil
}

// kept checks that the token is still in its secret, and its account there.
func (v *Verifier) kept(ctx context.Context, token string, c legacyClaims) error {
	secret, err := v.Objects.Secret(ctx, c.Namespace, c.Secret, "")
	switch {
	case apierrors.IsNotFound(err):
		return errors.New("token has been invalidated")
	case err != nil:
		return fmt.Errorf("looking up secret %s/%s of token: %w", c.Namespace, c.Secret, err)
	case secret.DeletionTimestamp != nil:
		return errors.New("token has been invalidated")
	case subtle.ConstantTimeCompare(secret.Data[corev1.ServiceAccountTokenKey], []byte(token)) != 1:
		return errors.New("token does not match server's copy")
	}
	if since, invalid := secret.Labels[invalidLabel]; invalid {
		return fmt.Errorf("the token in secret %s/%s for service account %s/%s has been marked invalid since %s. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '%s' label from the secret to temporarily allow use of this token",
			c.Namespace, c.Secret, c.Namespace, c.Account, since, invalidLabel)
	}
	account, err := v.Objects.ServiceAccount(ctx, c.Namespace, c.Account, c.UID)
	return alive("service account", c.Namespace, Reference{Name: c.Account, UID: c.UID}, account, err, v.now())
}
