package apiserver_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"coracle.dev/coracle/apiserver/apiservertest"
)

// fuzzed is a server that is asked what nobody would ask. Whatever it is, the answer is one of the API:
// no panic, no broken connection, and a refusal that says why. The libraries that merge patches call some
// faults of the client internal errors, as they do in Kubernetes.
type fuzzed struct {
	client *http.Client
	host   string
}

func startFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	config, _ := apiservertest.Start(f)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		f.Fatal(err)
	}
	client.Timeout = 30 * time.Second
	return &fuzzed{client: client, host: config.Host}
}

// ask makes a request, which need not be one that can be sent at all, and returns the status of the answer.
func (z *fuzzed) ask(t *testing.T, method, target string, header http.Header, body []byte) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, z.host+"/", bytes.NewReader(body))
	if err != nil {
		return 0
	}
	if req.URL, err = url.Parse(z.host + target); err != nil {
		return 0
	}
	if header != nil {
		req.Header = header
	}
	resp, err := z.client.Do(req)
	if err != nil {
		t.Fatalf("%s %q: %v", method, target, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatalf("%s %q: reading the answer: %v", method, target, err)
	}
	if resp.StatusCode == http.StatusInternalServerError && bytes.Contains(answer, []byte("panic")) {
		t.Fatalf("%s %q %v with %q: %s", method, target, header, body, answer)
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && resp.StatusCode >= 400 {
		var status metav1.Status
		if err := json.Unmarshal(answer, &status); err != nil || status.Message == "" {
			t.Errorf("%s %q: status %d without a reason: %s", method, target, resp.StatusCode, answer)
		}
	}
	return resp.StatusCode
}

func FuzzSelectors(f *testing.F) {
	z := startFuzzed(f)
	for _, s := range [][2]string{
		{"a=b,c!=d", "spec.nodeName=x"}, {"a in (b, c), d notin (e)", "metadata.name!=y,status.phase==Running"},
		{"!a", ""}, {"a in ()", "="}, {"a>1,b<x", "spec.nodeName"}, {"(", "spec.nodeName=\\,"}, {"a=b=c", "nothing=here"}, {"\x00", "metadata.name=\xff"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, label, fields string) {
		query := url.Values{"labelSelector": {label}, "fieldSelector": {fields}}.Encode()
		for _, resource := range []string{"pods", "events", "secrets"} {
			if status := z.ask(t, http.MethodGet, "/api/v1/"+resource+"?"+query, nil, nil); status != http.StatusOK && status != http.StatusBadRequest {
				t.Errorf("selectors %q, %q of %s: status %d", label, fields, resource, status)
			}
		}
	})
}

func FuzzPatches(f *testing.F) {
	z := startFuzzed(f)
	media := []types.PatchType{types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType, types.ApplyYAMLPatchType, types.ApplyCBORPatchType}
	const object = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},
	 "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"a","ports":[{"containerPort":80}],"env":[{"name":"X","value":"y"}]}]}}}}`
	const collection = "/apis/apps/v1/namespaces/default/deployments"
	if resp, err := z.client.Post(z.host+collection, "application/json", strings.NewReader(object)); err != nil || resp.StatusCode != http.StatusCreated {
		f.Fatalf("creating what is patched: %v, %v", resp, err)
	}
	for i, s := range []string{
		`[{"op":"replace","path":"/spec/replicas","value":3},{"op":"test","path":"/kind","value":"x"}]`,
		`[{"op":"copy","from":"/spec","path":"/spec/template/spec/containers/0/env/-"},{"op":"remove","path":"/spec/template/spec/containers/9"}]`,
		`[{"op":"move","from":"/metadata","path":"/metadata/name"}]`,
		`{"spec":{"template":null,"replicas":"x"}}`, `{"metadata":{"finalizers":[null]},"spec":[]}`, `null`, `[]`, `"`, `{`,
		`{"spec":{"template":{"spec":{"containers":[{"name":"a","$patch":"delete"},{"$retainKeys":["name"],"name":"b"}],"$setElementOrder/containers":[{"name":"c"}]}}}}`,
		`{"spec":{"template":{"spec":{"containers":[{"$patch":"replace"}]}}},"$patch":"nothing"}`,
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 3}\n",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, managedFields: [{manager: x, operation: Apply, fieldsV1: {'f:x': 1}}]}\n",
		"apiVersion: v1\nkind: Pod\n", "&a [*a]", "\xd9\xd9\xf7\xa1",
	} {
		for j := range media {
			f.Add(uint8(j), []byte(s), i%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, body []byte, force bool) {
		m := media[int(kind)%len(media)]
		query := "?dryRun=All&fieldManager=fuzz"
		if force && (m == types.ApplyYAMLPatchType || m == types.ApplyCBORPatchType) {
			query += "&force=true"
		}
		for _, sub := range []string{"", "/status", "/scale"} {
			z.ask(t, http.MethodPatch, collection+"/d"+sub+query, http.Header{"Content-Type": {string(m)}, "Accept": {"application/json"}}, body)
		}
	})
}

func FuzzTableOptions(f *testing.F) {
	z := startFuzzed(f)
	for _, s := range [][2]string{
		{"application/json;as=Table;v=v1;g=meta.k8s.io", "includeObject=Metadata"}, {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "includeObject=None&limit=1"},
		{"application/json;as=Table;v=v2;g=meta.k8s.io", "includeObject=Everything"}, {"application/yaml;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", ""},
		{"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "watch=1&timeoutSeconds=0&limit=-1"}, {"text/html;q=0.1,*/*;q=2", "continue=x"},
		{"application/cbor;as=Table", "resourceVersion=abc&resourceVersionMatch=Exact"}, {";;=,", "sendInitialEvents=true"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, accept, query string) {
		if v, err := url.ParseQuery(query); err == nil && (v.Has("watch") || v.Has("timeout") || v.Has("timeoutSeconds")) {
			return // would wait for events
		}
		if strings.ContainsAny(accept, "\r\n\x00") {
			return // no header
		}
		for _, path := range []string{"/api/v1/namespaces", "/api/v1/namespaces/default", "/apis/apps/v1/deployments"} {
			z.ask(t, http.MethodGet, path+"?"+query, http.Header{"Accept": {accept}}, nil)
		}
	})
}

func FuzzPaths(f *testing.F) {
	z := startFuzzed(f)
	for _, s := range []string{
		"/", "/api", "/api/v1/namespaces/default/pods/x/log?container=%00", "/apis/apps/v1/namespaces//deployments", "/api/v1/watch/namespaces/x/pods/y",
		"/api/v1/namespaces/default/services/https:a:b/proxy/..//", "/apis/%2e%2e/v1", "/api/v1/namespaces/a%2Fb", "/openapi/v3/apis/apps/v1?hash=x", "/readyz/none?verbose&exclude=x",
		"/apis/none.example.com/v1/things", "/api/v1/nodes/n/proxy/%ff", "/apis/apps/v1/deployments?fieldManager=\x00", "/logs/../api",
	} {
		f.Add(uint8(0), s)
		f.Add(uint8(1), s)
		f.Add(uint8(2), s)
	}
	methods := []string{http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodPut, http.MethodPatch, http.MethodHead, http.MethodOptions, "BREW"}
	f.Fuzz(func(t *testing.T, method uint8, path string) {
		if !strings.HasPrefix(path, "/") || strings.Contains(path, "watch") {
			return
		}
		z.ask(t, methods[int(method)%len(methods)], path, http.Header{"Content-Type": {"application/json"}}, []byte(`{"metadata":{"name":"x"}}`))
	})
}
