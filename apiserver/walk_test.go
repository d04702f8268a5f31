package apiserver_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"coracle.dev/coracle/apis/catalog"
	"coracle.dev/coracle/apiserver/apiservertest"
)

// row is one line of the list of what Kubernetes' discovery gives.
type row struct{ groupVersion, resource, kind, scope, verbs, shortNames, categories string }

func (r row) key() string { return r.groupVersion + " " + r.resource }

func rows(t *testing.T) []row {
	t.Helper()
	f, err := os.Open("../apis/catalog/testdata/resources.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []row
	for scan := bufio.NewScanner(f); scan.Scan(); {
		c := append(strings.Split(scan.Text(), "\t"), "", "", "")
		if strings.HasPrefix(c[0], "#") || c[0] == "group" {
			continue
		}
		gv := strings.TrimPrefix(c[0]+"/"+c[1], "/")
		out = append(out, row{gv, c[2], c[3], c[4], c[5], c[6], c[7]})
	}
	return out
}

// TestDiscoveryIsThatOfKubernetes compares each row with the aggregated discovery and with the other.
func TestDiscoveryIsThatOfKubernetes(t *testing.T) {
	config, _ := apiservertest.Start(t)
	for _, legacy := range []bool{false, true} {
		client := discovery.NewDiscoveryClientForConfigOrDie(config)
		client.UseLegacyDiscovery = legacy
		_, lists, err := client.ServerGroupsAndResources()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]row{}
		for _, l := range lists {
			for i := range l.APIResources {
				r := describeRow(l.GroupVersion, &l.APIResources[i])
				got[r.key()] = r
			}
		}
		for _, want := range rows(t) {
			if diff := cmp.Diff(want, got[want.key()], cmp.AllowUnexported(row{})); diff != "" {
				t.Errorf("legacy %v, %s (-Kubernetes +got):\n%s", legacy, want.key(), diff)
			}
			delete(got, want.key())
		}
		for _, r := range got {
			// Metrics are served by a server of their own there.
			if gv, _, _ := strings.Cut(r.key(), " "); !strings.Contains(gv, "beta") && !strings.HasPrefix(gv, "metrics.k8s.io/") {
				t.Errorf("legacy %v: Kubernetes has no %s", legacy, r.key())
			}
		}
	}
}

func describeRow(gv string, r *metav1.APIResource) row {
	scope, kind := "Cluster", r.Kind
	if r.Namespaced {
		scope = "Namespaced"
	}
	if strings.Contains(r.Name, "/") {
		group := r.Group
		if own, _, ok := strings.Cut(gv, "/"); ok && own == group {
			group = ""
		}
		kind = group + "/" + r.Kind
	}
	verbs := slices.Clone(r.Verbs)
	slices.Sort(verbs)
	return row{gv, r.Name, kind, scope, strings.Join(verbs, ","), strings.Join(r.ShortNames, ","), strings.Join(r.Categories, ",")}
}

// recorder notes which verbs of which resources were served.
type recorder struct {
	info *request.RequestInfoFactory
	mu   sync.Mutex
	seen map[string]sets.Set[string]
}

// record makes a recorder of what clients of the configuration do from now on.
func record(config *rest.Config) *recorder {
	r := &recorder{
		info: &request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")},
		seen: map[string]sets.Set[string]{},
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(req *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if err == nil {
				r.note(req, resp.StatusCode)
			}
			return resp, err
		})
	})
	return r
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// note counts answers that say the request was done. What leads to a node is done when the node, which
// is not there, was asked for.
func (r *recorder) note(req *http.Request, status int) {
	info, err := r.info.NewRequestInfo(req)
	if err != nil || !info.IsResourceRequest {
		return
	}
	toNode := slices.Contains([]string{"exec", "attach", "portforward", "proxy", "log"}, info.Subresource)
	if status >= 300 && (!toNode || status == http.StatusNotFound || status == http.StatusMethodNotAllowed) {
		return
	}
	key := strings.TrimPrefix(info.APIGroup+"/"+info.APIVersion, "/") + " " + info.Resource
	if info.Subresource != "" {
		key += "/" + info.Subresource
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[key] == nil {
		r.seen[key] = sets.New[string]()
	}
	r.seen[key].Insert(info.Verb)
}

// compare fails for each verb that discovery lists and nobody has used.
func (r *recorder) compare(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range rows(t) {
		if missing := sets.New(strings.Split(row.verbs, ",")...).Difference(r.seen[row.key()]); missing.Len() > 0 {
			t.Errorf("%s: no request for %v succeeded", row.key(), sets.List(missing))
		}
	}
}

// path is that of the collection.
func (s *sample) path() string {
	path := "/apis/" + s.gvr.GroupVersion().String()
	if s.gvr.Group == "" {
		path = "/api/" + s.gvr.Version
	}
	if !s.d.ClusterScoped {
		path += "/namespaces/" + testNamespace
	}
	return path + "/" + s.gvr.Resource
}

// call makes one request with a body, and returns the answer's.
func call(t *testing.T, config *rest.Config, method, path, media, accept string, body []byte) (int, []byte) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, config.Host+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	req.Header.Set("Accept", accept)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, b
}

// testApply creates an object by server-side apply, has two managers dispute a label, and applies to
// the subresources that have objects.
func (s *sample) testApply(t *testing.T, config *rest.Config) {
	t.Helper()
	obj := s.named("-7")
	apply := func(manager, force, sub string, change func(*unstructured.Unstructured)) (int, *unstructured.Unstructured) {
		t.Helper()
		u := obj.DeepCopy()
		change(u)
		b, err := yaml.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}
		path := fmt.Sprintf("%s/%s%s?fieldManager=%s&force=%s", s.path(), obj.GetName(), sub, manager, force)
		status, answer := call(t, config, http.MethodPatch, path, string(types.ApplyPatchType), runtime.ContentTypeJSON, b)
		out := &unstructured.Unstructured{}
		if err := json.Unmarshal(answer, &out.Object); err != nil {
			t.Fatalf("applying as %s: %v: %s", manager, err, answer)
		}
		return status, out
	}
	label := func(value string) func(*unstructured.Unstructured) {
		return func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"test": "walk", "disputed": value}) }
	}
	if status, got := apply("one", "false", "", label("1")); status != http.StatusCreated {
		t.Fatalf("creating by apply: status %d: %v", status, got.Object)
	}
	if status, got := apply("one", "false", "", label("1")); status != http.StatusOK {
		t.Errorf("applying again: status %d: %v", status, got.Object)
	}
	status, got := apply("two", "false", "", label("2"))
	if message, _, _ := unstructured.NestedString(got.Object, "message"); status != http.StatusConflict || !strings.Contains(message, `"one"`) || !strings.Contains(message, ".metadata.labels.disputed") {
		t.Errorf("applying another value: status %d, %q, want a conflict", status, message)
	}
	if status, got := apply("two", "true", "", label("2")); status != http.StatusOK || got.GetLabels()["disputed"] != "2" {
		t.Errorf("forcing the other value: status %d: %v", status, got.Object)
	}
	status, got = apply("two", "false", "", func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"test": "walk"}) })
	if _, has := got.GetLabels()["disputed"]; status != http.StatusOK || has {
		t.Errorf("after its owner left the label out: status %d, labels %v", status, got.GetLabels())
	}
	if s.d.HasStatus && s.Status != nil {
		status, got := apply("one", "true", "/status", func(u *unstructured.Unstructured) {
			delete(u.Object, "spec")
			u.Object["status"] = s.Status["status"]
		})
		if status != http.StatusOK {
			t.Errorf("applying status: status %d: %v", status, got.Object)
		}
	}
	s.delete(t, config, obj.GetName(), runtime.ContentTypeJSON)
}

// testProtobuf does by protobuf what the other tests do by JSON.
func (s *sample) testProtobuf(t *testing.T, config *rest.Config) {
	t.Helper()
	const media = runtime.ContentTypeProtobuf
	scheme := catalog.NewScheme()
	codecs := serializer.NewCodecFactory(scheme)
	info, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), media)
	obj := s.named("-8")
	obj.SetLabels(map[string]string{"test": "walk"})
	do := func(method, path string, body []byte, want int) runtime.Object {
		t.Helper()
		status, answer := call(t, config, method, path, media, media, body)
		if status != want {
			t.Fatalf("%s by protobuf: status %d: %s", method, status, answer)
		}
		obj, err := runtime.Decode(codecs.UniversalDeserializer(), answer)
		if err != nil {
			t.Fatalf("%s by protobuf: reading the answer: %v", method, err)
		}
		return obj
	}
	encode := func(obj runtime.Object) []byte {
		t.Helper()
		b, err := runtime.Encode(info.Serializer, obj)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	typed, err := scheme.New(s.gvr.GroupVersion().WithKind(s.d.Kind))
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, typed)
	}
	if err != nil {
		t.Fatal(err)
	}
	one := s.path() + "/" + obj.GetName()
	created := do(http.MethodPost, s.path(), encode(typed), http.StatusCreated)
	got := do(http.MethodGet, one, nil, http.StatusOK)
	if diff := cmp.Diff(withoutStatus(t, created), withoutStatus(t, got)); diff != "" {
		t.Errorf("read by protobuf is not what was written:\n%s", diff)
	}
	m := got.(metav1.Object)
	m.SetAnnotations(map[string]string{"by": "protobuf"})
	if updated := do(http.MethodPut, one, encode(got), http.StatusOK).(metav1.Object); updated.GetAnnotations()["by"] != "protobuf" {
		t.Errorf("after an update by protobuf the annotations are %v", updated.GetAnnotations())
	}
	if list := do(http.MethodGet, s.path()+"?labelSelector=test%3Dwalk", nil, http.StatusOK); fmt.Sprintf("%T", list) != fmt.Sprintf("%T", got)+"List" {
		t.Errorf("the list is a %T", list)
	}
	for _, sub := range s.written() {
		obj := do(http.MethodGet, one+sub, nil, http.StatusOK)
		do(http.MethodPut, one+sub, encode(obj), http.StatusOK)
	}
	s.delete(t, config, obj.GetName(), media)
}

func (s *sample) delete(t *testing.T, config *rest.Config, name, media string) {
	t.Helper()
	status, answer := call(t, config, http.MethodDelete, s.path()+"/"+name+"?propagationPolicy=Background", "", media, nil)
	if status != http.StatusOK && status != http.StatusAccepted {
		t.Errorf("deleting: status %d: %s", status, answer)
	}
}

// testDryRun does all that changes objects dry, and sees nothing changed.
func (s *sample) testDryRun(t *testing.T, client dynamic.ResourceInterface, created *unstructured.Unstructured) {
	t.Helper()
	dry, name := []string{metav1.DryRunAll}, created.GetName()
	patched, err := client.Patch(t.Context(), name, types.MergePatchType, s.encode(t, s.Change), metav1.PatchOptions{DryRun: dry})
	if err != nil {
		t.Fatalf("patching dry: %v", err)
	}
	if cmp.Equal(patched.Object, created.Object) {
		t.Error("a dry patch does not show what would be")
	}
	if _, err := client.Update(t.Context(), created, metav1.UpdateOptions{DryRun: dry}); err != nil {
		t.Errorf("updating dry: %v", err)
	}
	if s.d.HasStatus && s.Status != nil {
		if _, err := client.Patch(t.Context(), name, types.MergePatchType, s.encode(t, s.Status), metav1.PatchOptions{DryRun: dry}, "status"); err != nil {
			t.Errorf("patching status dry: %v", err)
		}
	}
	if s.d.Scale != nil {
		if _, err := client.Patch(t.Context(), name, types.MergePatchType, []byte(`{"spec":{"replicas":9}}`), metav1.PatchOptions{DryRun: dry}, "scale"); err != nil {
			t.Errorf("scaling dry: %v", err)
		}
	}
	if err := client.Delete(t.Context(), name, metav1.DeleteOptions{DryRun: dry}); err != nil {
		t.Errorf("deleting dry: %v", err)
	}
	if s.d.Kind != "Namespace" {
		if err := client.DeleteCollection(t.Context(), metav1.DeleteOptions{DryRun: dry}, metav1.ListOptions{LabelSelector: "test=catalog"}); err != nil {
			t.Errorf("deleting all dry: %v", err)
		}
	}
	got, err := client.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatalf("after dry runs: %v", err)
	}
	if diff := cmp.Diff(created.Object, got.Object); diff != "" {
		t.Errorf("dry runs changed it:\n%s", diff)
	}
}

// written are the subresources that are read and written back.
func (s *sample) written() []string {
	var out []string
	if s.d.HasStatus {
		out = append(out, "/status")
	}
	return out
}

// withoutStatus is an object as a map, without what others may write as soon as it is there.
func withoutStatus(t *testing.T, obj runtime.Object) map[string]any {
	t.Helper()
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		t.Fatal(err)
	}
	out := maps.Clone(m)
	delete(out, "status")
	delete(out["metadata"].(map[string]any), "resourceVersion")
	delete(out["metadata"].(map[string]any), "managedFields")
	return out
}
