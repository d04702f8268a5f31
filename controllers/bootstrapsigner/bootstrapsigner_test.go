package bootstrapsigner

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"coracle.dev/coracle/controllers/internal/bootstraptoken"
)

// TestSigned compares with what Kubernetes' documentation of discovery tokens describes: the compact
// form of RFC 7515 with HS256, the token as the key, and the content left out.
func TestSigned(t *testing.T) {
	token := bootstraptoken.Token{ID: "joshua", Secret: "Wargames"}
	got, err := signed(map[string]string{"kubeconfig": "Hello from the other side. I must have called a thousand times.", "other": "x", "jws-kubeconfig-gone": "y"}, []bootstraptoken.Token{token})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"kubeconfig": "Hello from the other side. I must have called a thousand times.", "other": "x",
		"jws-kubeconfig-joshua": "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..9ku05wlc51WjPuv8p7cBk2AblrnenPGnbXQzg3SR3F0",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("data (-want +got):\n%s", d)
	}
	if got, err := signed(map[string]string{"jws-kubeconfig-gone": "y"}, []bootstraptoken.Token{token}); err != nil || len(got) != 0 {
		t.Errorf("without content: %v, %v", got, err)
	}
}
