//go:build openapi

// Command openapi writes the OpenAPI documents that package apiserver/openapi embeds. It starts an API
// server that has the definitions of all types, which hack/openapi.sh generates, and saves what it
// serves.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/util/keyutil"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/schemaconv"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/openapi"
	"coracle.dev/coracle/hack/openapi/definitions"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: openapi DIRECTORY")
		os.Exit(2)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := write(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(ctx context.Context, dir string) error {
	handler, err := server(ctx)
	if err != nil {
		return err
	}
	index := openapi.Index{V3: map[string]string{}}
	if index.V2, err = save(handler, "/openapi/v2", filepath.Join(dir, "v2.json.gz"), nil); err != nil {
		return err
	}
	var root handler3.OpenAPIV3Discovery
	if err := get(handler, "/openapi/v3", &root); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, "v3")); err != nil {
		return err
	}
	schemas := map[string]*spec.Schema{}
	for _, gv := range slices.Sorted(maps.Keys(root.Paths)) {
		var doc spec3.OpenAPI
		if index.V3[gv], err = save(handler, "/openapi/v3/"+gv, filepath.Join(dir, openapi.V3File(gv)), &doc); err != nil {
			return err
		}
		if doc.Components != nil {
			maps.Copy(schemas, doc.Components.Schemas)
		}
	}
	if err := saveTypes(schemas, filepath.Join(dir, openapi.TypesFile)); err != nil {
		return err
	}
	b, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "index.json"), append(b, '\n'), 0o644)
}

// server makes an API server that builds its documents, and returns the handler of built-in resources.
func server(ctx context.Context) (http.Handler, error) {
	dir, err := os.MkdirTemp("", "openapi-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	o := apiserver.NewOptions()
	o.BindAddress, o.SecurePort = net.IPv4(127, 0, 0, 1), 0
	o.AuthorizationModes = []string{"AlwaysAllow"}
	o.Etcd.DataDir, o.Etcd.UnsafeNoFsync = filepath.Join(dir, "etcd"), true
	key, err := keyutil.MakeEllipticPrivateKeyPEM() // without one, no tokens are served
	if err != nil {
		return nil, err
	}
	o.Authentication.ServiceAccountSigningKeyFile = filepath.Join(dir, "sa.key")
	if err := keyutil.WriteKey(o.Authentication.ServiceAccountSigningKeyFile, key); err != nil {
		return nil, err
	}
	config, err := o.Config(ctx)
	if err != nil {
		return nil, err
	}
	config.OpenAPIDefinitions = definitions.GetOpenAPIDefinitions
	s, err := config.Complete().New(ctx)
	if err != nil {
		return nil, err
	}
	return s.Builtin(), nil
}

func fetch(h http.Handler, path string) ([]byte, error) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return nil, fmt.Errorf("getting %s: status %d", path, w.Code)
	}
	return w.Body.Bytes(), nil
}

func get(h http.Handler, path string, into any) error {
	b, err := fetch(h, path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// save packs what is served at path, and returns its tag. The keys are sorted, so that equal
// documents are equal files.
func save(h http.Handler, path, file string, into any) (string, error) {
	b, err := fetch(h, path)
	if err != nil {
		return "", err
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		return "", fmt.Errorf("parsing %s: %w", path, err)
	}
	if b, err = json.Marshal(tree); err != nil {
		return "", err
	}
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			return "", fmt.Errorf("parsing %s: %w", path, err)
		}
	}
	return fmt.Sprintf("%X", sha512.Sum512(b)), pack(b, file)
}

func saveTypes(schemas map[string]*spec.Schema, file string) error {
	s, err := schemaconv.ToSchemaFromOpenAPI(schemas, false)
	if err != nil {
		return fmt.Errorf("converting types: %w", err)
	}
	slices.SortFunc(s.Types, func(a, b smdschema.TypeDef) int { return strings.Compare(a.Name, b.Name) })
	for _, t := range s.Types {
		if t.Map != nil {
			slices.SortFunc(t.Map.Fields, func(a, b smdschema.StructField) int { return strings.Compare(a.Name, b.Name) })
		}
	}
	b, err := openapi.EncodeTypes(s.Types)
	if err != nil {
		return err
	}
	return pack(b, file)
}

func pack(b []byte, file string) error {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(b); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, packed.Bytes(), 0o644)
}
