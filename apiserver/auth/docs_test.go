package auth_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"coracle.dev/coracle/apiserver/auth/chain"
	"coracle.dev/coracle/apiserver/auth/jwt"
)

// TestDocumentedFiles reads the configuration files of the documentation.
func TestDocumentedFiles(t *testing.T) {
	text, err := os.ReadFile("../../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	kubeconfig := write("guard.kubeconfig", "apiVersion: v1\nkind: Config\n")
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d files, want 2", len(blocks))
	}
	for _, b := range blocks {
		file := write("file.yaml", strings.ReplaceAll(b[1], "/etc/coracle/guard.kubeconfig", kubeconfig))
		if strings.Contains(b[1], "kind: AuthenticationConfiguration") {
			_, _, err = jwt.Load(file, nil)
		} else {
			_, _, err = chain.Load(file, []string{"Webhook", "Node", "RBAC"})
		}
		if err != nil {
			t.Errorf("%v\n%s", err, b[1])
		}
	}
}
