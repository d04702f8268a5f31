// Package bootstraptoken authenticates the short-lived tokens by which new nodes introduce themselves.
//
// A token reads id.secret. It is good if kube-system holds a secret named bootstrap-token-<id>, of type
// bootstrap.kubernetes.io/token, with that id and secret, not expired, and meant for authentication.
package bootstraptoken

import (
	"context"
	"crypto/subtle"
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/klog/v2"
)

const (
	secretType   = corev1.SecretType("bootstrap.kubernetes.io/token")
	secretPrefix = "bootstrap-token-"
	userPrefix   = "system:bootstrap:"
	defaultGroup = "system:bootstrappers"
	namespace    = "kube-system"
)

var (
	form      = regexp.MustCompile(`^([a-z0-9]{6})\.([a-z0-9]{16})$`)
	groupForm = regexp.MustCompile(`^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$`)
)

// Secrets gets a secret.
type Secrets func(ctx context.Context, namespace, name string) (*corev1.Secret, error)

// Authenticator implements authenticator.Token.
type Authenticator struct {
	secrets Secrets
	now     func() time.Time
}

// New returns an authenticator that looks tokens up with secrets.
func New(secrets Secrets) *Authenticator { return &Authenticator{secrets: secrets, now: time.Now} }

// AuthenticateToken implements authenticator.Token. A token that is not good is not an error: it may be
// of another kind.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	m := form.FindStringSubmatch(token)
	if m == nil {
		return nil, false, nil
	}
	id, secret := m[1], m[2]
	found, err := a.secrets(ctx, namespace, secretPrefix+id)
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("looking up bootstrap token: %w", err)
	}
	groups, err := a.check(found, id, secret)
	if err != nil {
		klog.FromContext(ctx).V(3).Info("Refused bootstrap token", "secret", klog.KObj(found), "reason", err.Error())
		return nil, false, nil
	}
	return &authenticator.Response{User: &user.DefaultInfo{Name: userPrefix + id, Groups: groups}}, true, nil
}

func (a *Authenticator) check(s *corev1.Secret, id, secret string) ([]string, error) {
	get := func(key string) string { return string(s.Data[key]) }
	switch {
	case s.DeletionTimestamp != nil:
		return nil, fmt.Errorf("it is being deleted")
	case s.Type != secretType || s.Data == nil:
		return nil, fmt.Errorf("the secret is not of type %s", secretType)
	case subtle.ConstantTimeCompare(s.Data["token-secret"], []byte(secret)) != 1:
		return nil, fmt.Errorf("the secret part is another")
	case get("token-id") != id:
		return nil, fmt.Errorf("token-id is %q", get("token-id"))
	case get("usage-bootstrap-authentication") != "true":
		return nil, fmt.Errorf("it is not for authentication")
	}
	if text := get("expiration"); text != "" {
		end, err := time.Parse(time.RFC3339, text)
		if err != nil || !a.now().Before(end) {
			return nil, fmt.Errorf("it expired at %q", text)
		}
	}
	groups := []string{defaultGroup}
	for _, g := range strings.Split(get("auth-extra-groups"), ",") {
		if g == "" {
			continue
		}
		if !groupForm.MatchString(g) {
			return nil, fmt.Errorf("group %q does not begin with system:bootstrappers:", g)
		}
		groups = append(groups, g)
	}
	return groups, nil
}
