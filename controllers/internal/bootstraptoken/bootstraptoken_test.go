package bootstraptoken

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestParse(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	secret := func(name string, data ...string) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: Type, Data: map[string][]byte{}}
		for i := 0; i < len(data); i += 2 {
			s.Data[data[i]] = []byte(data[i+1])
		}
		return s
	}
	const id, key = "abcdef", "0123456789abcdef"
	for name, tc := range map[string]struct {
		secret         *corev1.Secret
		is, signs, ago bool
	}{
		"lasting":             {secret("bootstrap-token-abcdef", "token-id", id, "token-secret", key), true, false, false},
		"signs":               {secret("bootstrap-token-abcdef", "token-id", id, "token-secret", key, "usage-bootstrap-signing", "true"), true, true, false},
		"to expire":           {secret("bootstrap-token-abcdef", "token-id", id, "token-secret", key, "expiration", "2026-01-01T00:00:01Z"), true, false, false},
		"expired":             {secret("bootstrap-token-abcdef", "token-id", id, "token-secret", key, "expiration", "2026-01-01T00:00:00Z"), true, false, true},
		"of unreadable end":   {secret("bootstrap-token-abcdef", "token-id", id, "token-secret", key, "expiration", "soon"), true, false, true},
		"of another name":     {secret("abcdef", "token-id", id, "token-secret", key), false, false, false},
		"of another ID":       {secret("bootstrap-token-abcdef", "token-id", "ghijkl", "token-secret", key), false, false, false},
		"of a secret too few": {secret("bootstrap-token-abcdef", "token-id", id, "token-secret", "short"), false, false, false},
	} {
		token, is := Parse(tc.secret)
		if is != tc.is || token.Signs != tc.signs || token.Expired(now) != tc.ago {
			t.Errorf("%s: %v, signs %v, expires %v", name, is, token.Signs, token.Expires)
		}
	}
}
