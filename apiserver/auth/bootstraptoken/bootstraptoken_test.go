package bootstraptoken

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestAuthenticateToken(t *testing.T) {
	good := map[string]string{"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}
	const token = "abcdef.0123456789abcdef"
	for name, c := range map[string]struct {
		token  string
		change map[string]string
		want   bool
	}{
		"good":              {token, nil, true},
		"lasting":           {token, map[string]string{"expiration": time.Now().Add(time.Hour).Format(time.RFC3339)}, true},
		"expired":           {token, map[string]string{"expiration": time.Now().Add(-time.Hour).Format(time.RFC3339)}, false},
		"badly dated":       {token, map[string]string{"expiration": "tomorrow"}, false},
		"other secret":      {"abcdef.0123456789abcdee", nil, false},
		"other form":        {"ABCDEF.0123456789abcdef", nil, false},
		"other id":          {token, map[string]string{"token-id": "abcdee"}, false},
		"not for this":      {token, map[string]string{"usage-bootstrap-authentication": "false"}, false},
		"in a strong group": {token, map[string]string{"auth-extra-groups": "system:masters"}, false},
	} {
		secret := &corev1.Secret{Type: secretType, Data: map[string][]byte{}}
		for k, v := range good {
			secret.Data[k] = []byte(v)
		}
		for k, v := range c.change {
			secret.Data[k] = []byte(v)
		}
		a := New(func(_ context.Context, namespace, name string) (*corev1.Secret, error) {
			if namespace == "kube-system" && name == "bootstrap-token-abcdef" {
				return secret, nil
			}
			return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name)
		})
		response, ok, err := a.AuthenticateToken(t.Context(), c.token)
		if ok != c.want || err != nil {
			t.Errorf("%s: %v, %v, want %v", name, ok, err, c.want)
		}
		if ok && response.User.GetName() != "system:bootstrap:abcdef" {
			t.Errorf("%s: user %v", name, response.User)
		}
	}
}
