// Package bootstraptoken reads the Secrets in kube-system that are bootstrap
// tokens, by which new nodes trust a cluster and the cluster them.
package bootstraptoken

import (
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Type is the type of the Secrets.
const Type = corev1.SecretTypeBootstrapToken

const namePrefix = "bootstrap-token-"

var (
	idPattern     = regexp.MustCompile(`^[a-z0-9]{6}$`)
	secretPattern = regexp.MustCompile(`^[a-z0-9]{16}$`)
)

// Token is what a Secret holds.
type Token struct {
	ID, Secret string
	// Expires is zero where it does not.
	Expires time.Time
	// Signs tells whether the token may sign cluster-info.
	Signs bool
}

// Parse reads a Secret; it tells whether it is a token.
func Parse(s *corev1.Secret) (Token, bool) {
	t := Token{ID: string(s.Data["token-id"]), Secret: string(s.Data["token-secret"]), Signs: string(s.Data["usage-bootstrap-signing"]) == "true"}
	if s.Type != Type || s.Name != namePrefix+t.ID || !idPattern.MatchString(t.ID) || !secretPattern.MatchString(t.Secret) {
		return Token{}, false
	}
	if text := strings.TrimSpace(string(s.Data["expiration"])); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			at = time.Unix(0, 0) // one that cannot be read is over
		}
		t.Expires = at
	}
	return t, true
}

// Expired tells whether the token is over.
func (t Token) Expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }
