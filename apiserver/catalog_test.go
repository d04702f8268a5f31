package apiserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"coracle.dev/coracle/apis/catalog"
	"coracle.dev/coracle/apis/resource"
	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

const testNamespace = "catalog"

// sample is one entry of testdata/objects.yaml.
type sample struct {
	Object         map[string]any `json:"object"`
	Name           string         `json:"name"`
	Change, Status map[string]any

	d   *resource.Descriptor
	gvr schema.GroupVersionResource
}

func (s *sample) String() string { return s.gvr.GroupResource().String() + "." + s.gvr.Version }

// samples reads the objects, and fails unless every served version of every resource has one.
func samples(t *testing.T) []*sample {
	t.Helper()
	b, err := os.ReadFile("testdata/objects.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), "$NS", testNamespace)
	text = strings.ReplaceAll(text, "$CSR", signingRequest(t))
	var all []*sample
	if err := yaml.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	byKind := map[schema.GroupVersionKind]*sample{}
	for _, s := range all {
		u := unstructured.Unstructured{Object: s.Object}
		byKind[u.GroupVersionKind()] = s
	}
	var out []*sample
	for _, d := range catalog.Resources() {
		for _, gv := range d.Served() {
			s, ok := byKind[gv.WithKind(d.Kind)]
			if !ok && catalog.Removed(gv) {
				s, ok = inVersion(t, all, d.Kind, gv), true
			}
			if !ok {
				t.Errorf("testdata/objects.yaml has no %s %s", gv, d.Kind)
				continue
			}
			s.d, s.gvr = d, gv.WithResource(d.Plural)
			out = append(out, s)
		}
	}
	return out
}

// inVersion makes a sample of a removed version out of that of the current one.
func inVersion(t *testing.T, all []*sample, kind string, gv schema.GroupVersion) *sample {
	t.Helper()
	scheme := catalog.NewScheme()
	for _, s := range all {
		u := unstructured.Unstructured{Object: s.Object}
		if u.GetKind() != kind || u.GroupVersionKind().Version != "v1" && u.GroupVersionKind().Version != "v2" || u.GroupVersionKind().Group == "" {
			continue
		}
		typed, err := scheme.New(u.GroupVersionKind())
		if err == nil {
			err = runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, typed)
		}
		if err != nil {
			t.Fatal(err)
		}
		old, err := scheme.ConvertToVersion(typed, gv)
		if err != nil {
			continue // of another group
		}
		m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(old)
		if err != nil {
			t.Fatal(err)
		}
		delete(m, "status")
		return &sample{Object: m, Name: s.Name, Change: s.Change, Status: s.Status}
	}
	t.Fatalf("there is no sample of a %s that could be written in %s", kind, gv)
	return nil
}

func signingRequest(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "test"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// named returns a copy of the sample's object with a name, label and namespace.
func (s *sample) named(suffix string) *unstructured.Unstructured {
	u := (&unstructured.Unstructured{Object: s.Object}).DeepCopy()
	name := s.Name
	if name == "" {
		name = "sample" + suffix
	} else {
		name += strings.Trim(suffix, "-")
	}
	u.SetName(name)
	if !s.d.ClusterScoped {
		u.SetNamespace(testNamespace)
	}
	u.SetLabels(map[string]string{"test": "catalog"})
	return u
}

func (s *sample) client(t *testing.T, c dynamic.Interface) dynamic.ResourceInterface {
	t.Helper()
	if s.d.ClusterScoped {
		return c.Resource(s.gvr)
	}
	return c.Resource(s.gvr).Namespace(testNamespace)
}

func dynamicFor(t *testing.T, config *rest.Config) dynamic.Interface {
	t.Helper()
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEveryResource does to an object of every resource what clients do to objects.
func TestEveryResource(t *testing.T) {
	// Priority and fairness would write into the flow schemas that are written here.
	config, _ := apiservertest.Start(t, func(o *apiserver.Options) { o.Operation.PriorityAndFairness = false })
	seen := record(config)
	c := dynamicFor(t, config)
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": testNamespace}}}
	if _, err := c.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range samples(t) {
		t.Run(s.String(), func(t *testing.T) {
			client := s.client(t, c)
			created := s.testCreate(t, client)
			s.testDryRun(t, client, created)
			s.testUpdate(t, client, created)
			s.testPatches(t, client, created)
			s.testTable(t, config, created)
			if s.d.HasStatus {
				s.testStatus(t, client, created)
			}
			if s.d.Scale != nil {
				s.testScale(t, client, created)
			}
			s.testApply(t, config)
			s.testProtobuf(t, config)
			s.testDelete(t, client, created)
		})
	}
	walkOthers(t, config)
	seen.compare(t)
}

// testCreate creates dry, then for good, and compares what is returned with what is read and listed.
func (s *sample) testCreate(t *testing.T, client dynamic.ResourceInterface) *unstructured.Unstructured {
	t.Helper()
	dry, err := client.Create(t.Context(), s.named(""), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: "Strict"})
	if err != nil {
		t.Fatalf("creating dry: %v", err)
	}
	if _, err := client.Get(t.Context(), dry.GetName(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Fatalf("after a dry run the object exists: %v", err)
	}
	w, err := client.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + dry.GetName()})
	if err != nil {
		t.Fatalf("watching: %v", err)
	}
	defer w.Stop()
	created, err := client.Create(t.Context(), s.named(""), metav1.CreateOptions{FieldValidation: "Strict"})
	if err != nil {
		t.Fatalf("creating: %v", err)
	}
	if created.GetUID() == "" || created.GetResourceVersion() == "" || created.GetCreationTimestamp() == (metav1.Time{}) || len(created.GetManagedFields()) == 0 {
		t.Errorf("metadata is not filled in: %v", created.Object["metadata"])
	}
	if want := generation(s.d); want > 0 && created.GetGeneration() != want {
		t.Errorf("generation is %d, want %d", created.GetGeneration(), want)
	}
	event := <-w.ResultChan()
	if event.Type != watch.Added {
		t.Fatalf("the watch saw %v, want ADDED", event)
	}
	got, err := client.Get(t.Context(), created.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatalf("getting: %v", err)
	}
	if diff := cmp.Diff(created.Object, got.Object); diff != "" {
		t.Errorf("read is not what was written:\n%s", diff)
	}
	if diff := cmp.Diff(got.Object, event.Object.(*unstructured.Unstructured).Object); diff != "" {
		t.Errorf("watched is not what was written:\n%s", diff)
	}
	if _, err := client.Create(t.Context(), s.named(""), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("creating it again: %v, want AlreadyExists", err)
	}
	return got
}

func generation(d *resource.Descriptor) int64 {
	if d.Spec == nil || d.NoGeneration {
		return 0
	}
	return 1
}

// testUpdate changes the object by a merge patch, and sees the generation rise and old versions refused.
func (s *sample) testUpdate(t *testing.T, client dynamic.ResourceInterface, created *unstructured.Unstructured) {
	t.Helper()
	changed, err := client.Patch(t.Context(), created.GetName(), types.MergePatchType, s.encode(t, s.Change), metav1.PatchOptions{})
	if err != nil {
		t.Fatalf("patching with %v: %v", s.Change, err)
	}
	if changed.GetResourceVersion() == created.GetResourceVersion() {
		t.Error("the change did not change the resource version")
	}
	_, onlyMetadata := s.Change["metadata"]
	if want := created.GetGeneration() + 1; generation(s.d) > 0 && !onlyMetadata && changed.GetGeneration() != want {
		t.Errorf("generation is %d after a change of spec, want %d", changed.GetGeneration(), want)
	}
	if _, err := client.Update(t.Context(), created, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("updating an old version: %v, want Conflict", err)
	}
	same, err := client.Update(t.Context(), changed, metav1.UpdateOptions{})
	if err != nil {
		t.Fatalf("updating without a change: %v", err)
	}
	if same.GetResourceVersion() != changed.GetResourceVersion() {
		t.Errorf("an update that changes nothing was written:\n%s", cmp.Diff(changed.Object, same.Object))
	}
}

func (s *sample) testPatches(t *testing.T, client dynamic.ResourceInterface, created *unstructured.Unstructured) {
	t.Helper()
	apply := (&unstructured.Unstructured{Object: map[string]any{}})
	apply.SetGroupVersionKind(s.gvr.GroupVersion().WithKind(s.d.Kind))
	apply.SetName(created.GetName())
	apply.SetNamespace(created.GetNamespace())
	apply.SetAnnotations(map[string]string{"by": "apply"})
	force := true
	for _, p := range []struct {
		kind  types.PatchType
		body  []byte
		want  string
		force *bool
	}{
		{types.JSONPatchType, []byte(`[{"op":"add","path":"/metadata/annotations","value":{"by":"json"}}]`), "json", nil},
		{types.StrategicMergePatchType, []byte(`{"metadata":{"annotations":{"by":"strategic"}}}`), "strategic", nil},
		{types.ApplyPatchType, s.encode(t, apply.Object), "apply", &force},
	} {
		got, err := client.Patch(t.Context(), created.GetName(), p.kind, p.body, metav1.PatchOptions{FieldManager: "test", Force: p.force})
		if err != nil {
			t.Errorf("patching by %s: %v", p.kind, err)
			continue
		}
		if got.GetAnnotations()["by"] != p.want {
			t.Errorf("after %s the annotation is %q", p.kind, got.GetAnnotations()["by"])
		}
	}
}

// testStatus writes spec and status through both endpoints, and sees that each keeps the other.
func (s *sample) testStatus(t *testing.T, client dynamic.ResourceInterface, created *unstructured.Unstructured) {
	t.Helper()
	if s.Status == nil {
		return
	}
	before, err := client.Get(t.Context(), created.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	both := map[string]any{"status": s.Status["status"]}
	if spec, ok := s.Change["spec"]; ok {
		both["spec"] = spec
	}
	after, err := client.Patch(t.Context(), created.GetName(), types.MergePatchType, s.encode(t, both), metav1.PatchOptions{})
	if err != nil {
		t.Fatalf("patching spec and status: %v", err)
	}
	if diff := cmp.Diff(before.Object["status"], after.Object["status"]); diff != "" {
		t.Errorf("a write to the main endpoint changed status:\n%s", diff)
	}
	after, err = client.Patch(t.Context(), created.GetName(), types.MergePatchType, s.encode(t, s.Status), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatalf("patching status: %v", err)
	}
	if diff := cmp.Diff(before.Object["spec"], after.Object["spec"]); diff != "" {
		t.Errorf("a write to /status changed spec:\n%s", diff)
	}
	if after.GetGeneration() != before.GetGeneration() {
		t.Errorf("a write to /status changed the generation from %d to %d", before.GetGeneration(), after.GetGeneration())
	}
	for k, want := range s.Status["status"].(map[string]any) {
		got, _, _ := unstructured.NestedFieldNoCopy(after.Object, "status", k)
		if _, scalar := want.(string); scalar && got != want {
			t.Errorf("status.%s is %v after writing %v", k, got, want)
		}
	}
}

func (s *sample) testScale(t *testing.T, client dynamic.ResourceInterface, created *unstructured.Unstructured) {
	t.Helper()
	scale, err := client.Get(t.Context(), created.GetName(), metav1.GetOptions{}, "scale")
	if err != nil {
		t.Fatalf("getting scale: %v", err)
	}
	if err := unstructured.SetNestedField(scale.Object, int64(5), "spec", "replicas"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Update(t.Context(), scale, metav1.UpdateOptions{}, "scale"); err != nil {
		t.Fatalf("updating scale: %v", err)
	}
	got, err := client.Get(t.Context(), created.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n, _, _ := unstructured.NestedInt64(got.Object, "spec", "replicas"); n != 5 {
		t.Errorf("spec.replicas is %d after scaling to 5", n)
	}
	scaled, err := client.Patch(t.Context(), created.GetName(), types.MergePatchType, []byte(`{"spec":{"replicas":4}}`), metav1.PatchOptions{}, "scale")
	if err != nil {
		t.Fatalf("patching scale: %v", err)
	}
	if n, _, _ := unstructured.NestedInt64(scaled.Object, "spec", "replicas"); n != 4 || scaled.GetKind() != "Scale" {
		t.Errorf("patching scale to 4 answers %v", scaled.Object)
	}
	_, err = client.Patch(t.Context(), created.GetName(), types.MergePatchType, []byte(`{"spec":{"replicas":-1}}`), metav1.PatchOptions{}, "scale")
	if !apierrors.IsInvalid(err) {
		t.Errorf("scaling to -1: %v, want Invalid", err)
	}
}

// testTable asks for a list as kubectl does.
func (s *sample) testTable(t *testing.T, config *rest.Config, created *unstructured.Unstructured) {
	t.Helper()
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, config.Host+s.path()+"?includeObject=Metadata", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	resp, err := httpClient.Do(req)
	if err != nil {
		t.Fatalf("listing as table: %v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("listing as table: status %d, %v: %s", resp.StatusCode, err, b)
	}
	var table metav1.Table
	if err := json.Unmarshal(b, &table); err != nil {
		t.Fatal(err)
	}
	if len(table.ColumnDefinitions) == 0 || table.ColumnDefinitions[0].Name == "" {
		t.Fatalf("the table has no columns: %s", b)
	}
	for _, r := range table.Rows {
		if len(r.Cells) != len(table.ColumnDefinitions) {
			t.Errorf("a row has %d cells, want %d", len(r.Cells), len(table.ColumnDefinitions))
		}
		var m metav1.PartialObjectMetadata
		if err := json.Unmarshal(r.Object.Raw, &m); err != nil || m.Kind != "PartialObjectMetadata" {
			t.Errorf("a row's object is a %s, %v", m.Kind, err)
		}
		if m.Name == created.GetName() {
			return
		}
	}
	t.Errorf("the table does not have %s: %s", created.GetName(), b)
}

// testDelete pages through a list of several, and deletes them all.
func (s *sample) testDelete(t *testing.T, client dynamic.ResourceInterface, created *unstructured.Unstructured) {
	t.Helper()
	for i := range 2 {
		if _, err := client.Create(t.Context(), s.named(fmt.Sprintf("-%d", i)), metav1.CreateOptions{}); err != nil {
			t.Fatalf("creating another: %v", err)
		}
	}
	seen, token := 0, ""
	for {
		page, err := client.List(t.Context(), metav1.ListOptions{Limit: 1, Continue: token, LabelSelector: "test=catalog"})
		if err != nil {
			t.Fatalf("listing a page: %v", err)
		}
		if len(page.Items) > 1 {
			t.Errorf("a page of 1 has %d items", len(page.Items))
		}
		seen += len(page.Items)
		if token = page.GetContinue(); token == "" {
			break
		}
	}
	if want := 3; seen != want {
		t.Errorf("the pages have %d objects, want %d", seen, want)
	}
	if s.d.Kind == "Namespace" { // has no deletecollection, and goes only when it is empty
		if err := client.Delete(t.Context(), created.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Errorf("deleting: %v", err)
		}
		return
	}
	if err := client.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "test=catalog"}); err != nil {
		t.Fatalf("deleting all: %v", err)
	}
	left, err := client.List(t.Context(), metav1.ListOptions{LabelSelector: "test=catalog"})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left.Items {
		if len(l.GetFinalizers()) == 0 {
			t.Errorf("%s is left after all were deleted", l.GetName())
		}
	}
}

func (s *sample) encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
