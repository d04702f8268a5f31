package resilience

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// request is a request that a server must refuse, or survive.
type request struct {
	name, method, path string
	header             map[string]string
	body               []byte
	// status is what it is answered with; says are texts of the answer.
	status int
	says   []string
}

const (
	configMaps = "/api/v1/namespaces/default/configmaps"
	jsonType   = "application/json"
	yamlType   = "application/yaml"
)

func typed(contentType string) map[string]string {
	return map[string]string{"Content-Type": contentType}
}

// configMap is a ConfigMap in JSON with a value that is given as it stands.
func configMap(value string) []byte {
	return []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"bad"},"data":{"k":` + value + `}}`)
}

// aliases is a YAML text that grows tenfold with each of its lines.
func aliases() []byte {
	b := []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 12; i++ {
		b = fmt.Appendf(b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	return b
}

// bomb is a gigabyte of zeros, packed into a megabyte.
func bomb(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	block := make([]byte, 1<<20)
	for range 1 << 10 {
		if _, err := z.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// copies is a JSON patch that doubles a value with each of its operations.
func copies() []byte {
	ops := []string{`{"op":"add","path":"/data","value":{"a":"` + strings.Repeat("x", 1<<16) + `"}}`, `{"op":"add","path":"/x","value":{}}`}
	for i := range 40 {
		ops = append(ops, fmt.Sprintf(`{"op":"copy","from":"/data","path":"/data/c%d"}`, i))
	}
	return []byte("[" + strings.Join(ops, ",") + "]")
}

func requests(t *testing.T) []request {
	deep := strings.Repeat(`{"a":`, 200_000) + "1" + strings.Repeat("}", 200_000)
	return []request{
		{"body over the limit", "POST", configMaps, typed(jsonType), configMap(`"` + strings.Repeat("x", 4<<20) + `"`), 413, []string{"limit is 3145728"}},
		{"value over the limit of a ConfigMap", "POST", configMaps, typed(jsonType), configMap(`"` + strings.Repeat("x", 1<<20+1) + `"`), 422, []string{"Too long", "1048576"}},
		{"patch over the limit", "PATCH", configMaps + "/kept", typed("application/merge-patch+json"), configMap(`"` + strings.Repeat("x", 4<<20) + `"`), 413, []string{"limit is 3145728"}},
		{"deep JSON", "POST", configMaps, typed(jsonType), []byte(deep), 400, []string{"exceeded max depth"}},
		{"deep JSON in a field", "POST", configMaps, typed(jsonType), configMap(deep), 400, nil},
		{"deep lists", "POST", configMaps, typed(jsonType), []byte(strings.Repeat("[", 1_000_000)), 400, nil},
		{"deep YAML", "POST", configMaps, typed(yamlType), []byte(strings.Repeat("{a: ", 100_000) + strings.Repeat("}", 100_000)), 400, []string{"depth"}},
		{"deep merge patch", "PATCH", configMaps + "/kept", typed("application/merge-patch+json"), []byte(deep), 400, nil},
		{"deep strategic patch", "PATCH", configMaps + "/kept", typed("application/strategic-merge-patch+json"), []byte(deep), 400, nil},
		{"deep apply", "PATCH", configMaps + "/kept?fieldManager=t", typed("application/apply-patch+yaml"), []byte(deep), 400, nil},
		{"YAML aliases", "POST", configMaps, typed(yamlType), aliases(), 400, []string{"excessive aliasing"}},
		{"YAML aliases applied", "PATCH", configMaps + "/kept?fieldManager=t", typed("application/apply-patch+yaml"), aliases(), 400, []string{"excessive aliasing"}},
		{"packed bomb", "POST", configMaps, map[string]string{"Content-Type": jsonType, "Content-Encoding": "gzip"}, bomb(t), 400, nil},
		{"JSON patch that copies", "PATCH", configMaps + "/kept", typed("application/json-patch+json"), copies(), 422, nil},
		{"JSON patch of many operations", "PATCH", configMaps + "/kept", typed("application/json-patch+json"), []byte("[" + strings.TrimSuffix(strings.Repeat(`{"op":"remove","path":"/data"},`, 10_001), ",") + "]"), 413, []string{"maximum operations in a JSON patch is 10000"}},
		{"JSON patch out of range", "PATCH", configMaps + "/kept", typed("application/json-patch+json"), []byte(`[{"op":"add","path":"/metadata/finalizers/99999999999","value":"x"}]`), 422, nil},
		{"cut protocol buffer", "POST", configMaps, typed("application/vnd.kubernetes.protobuf"), append([]byte("k8s\x00"), 0x0a, 0xff, 0xff, 0xff, 0x7f), 400, nil},
		{"protocol buffer without its mark", "POST", configMaps, typed("application/vnd.kubernetes.protobuf"), []byte("nonsense"), 400, []string{"protobuf"}},
		{"CBOR that is none", "POST", configMaps, typed("application/cbor"), []byte{0x9f, 0x9f, 0x9f, 0xff}, 0, nil},
		{"unknown content type", "POST", configMaps, typed("application/x-tar"), configMap(`"v"`), 415, []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}},
		{"malformed content type", "POST", configMaps, typed(`application/json; charset="`), configMap(`"v"`), 415, nil},
		{"unknown accepted type", "GET", configMaps, map[string]string{"Accept": "image/png"}, nil, 406, []string{"application/json"}},
		{"unknown patch type", "PATCH", configMaps + "/kept", typed("text/plain"), configMap(`"v"`), 415, nil},
		{"empty body", "POST", configMaps, typed(jsonType), nil, 400, nil},
		{"body that is no object", "POST", configMaps, typed(jsonType), []byte(`[1,2]`), 400, nil},
		{"another kind", "POST", configMaps, typed(jsonType), []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}`), 400, []string{"Pod", "ConfigMap"}},
		{"number for a text", "POST", configMaps, typed(jsonType), configMap(`5`), 400, []string{"ConfigMap.data"}},
		{"number out of range", "POST", "/api/v1/namespaces/default/pods", typed(jsonType), []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"terminationGracePeriodSeconds":1e400,"containers":[]}}`), 400, nil},
		{"quantity of many digits", "POST", "/api/v1/namespaces/default/pods", typed(jsonType), []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":"` + strings.Repeat("9", 100<<10) + `E"}}}]}}`), 0, nil},
		{"selector that is none", "GET", configMaps + "?labelSelector=a==%3D%3D", nil, nil, 400, []string{"unable to parse requirement"}},
		{"selector of many parts", "GET", configMaps + "?labelSelector=" + strings.Repeat("a%2C", 10_000), nil, nil, 0, nil},
		{"field that is not selected on", "GET", configMaps + "?fieldSelector=data.k%3Dv", nil, nil, 400, []string{"field label not supported"}},
		{"continue token that is none", "GET", configMaps + "?limit=1&continue=nonsense", nil, nil, 400, []string{"continue key is not valid"}},
		// Kubernetes 1.37 answers this with 500 as well, of k8s.io/apiserver's making.
		{"version that is none", "GET", configMaps + "?watch=1&resourceVersion=abc", nil, nil, 500, []string{"resourceVersion: Invalid value"}},
		{"negative limit", "GET", configMaps + "?limit=-1", nil, nil, 0, nil},
		{"name with a path", "GET", configMaps + "/..%2F..%2Fsecrets", nil, nil, 404, nil},
		{"name of a megabyte", "GET", configMaps + "/" + strings.Repeat("x", 900_000), nil, nil, 0, nil},
		{"header of two megabytes", "GET", configMaps, map[string]string{"X-Large": strings.Repeat("x", 2<<20)}, nil, 431, nil},
		{"method that is none", "BREW", configMaps, nil, nil, 405, nil},
	}
}

func client() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// TestBadInput sends what no client should, and looks after each whether the server still answers
// others, and after all whether it holds on to memory.
func TestBadInput(t *testing.T) {
	server, _ := serverFor(t)
	c := client()
	send := func(t *testing.T, r request) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), r.method, "https://"+server.address+r.path, bytes.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		for k, v := range r.header {
			req.Header.Set(k, v)
		}
		resp, err := c.Do(req)
		if err != nil {
			return 0, err.Error() // the server ended the connection
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	kept := request{method: "POST", path: configMaps, header: typed(jsonType), body: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept"},"data":{"k":"v"}}`)}
	if code, body := send(t, kept); code != 201 {
		t.Fatalf("status %d: %s", code, body)
	}
	before := server.resident(t)
	for _, r := range requests(t) {
		t.Run(r.name, func(t *testing.T) {
			code, body := send(t, r)
			if r.status != 0 && code != r.status || r.status == 0 && code >= 500 {
				t.Errorf("status %d, want %d: %.300s", code, r.status, body)
			}
			if !utf8.ValidString(body) {
				t.Error("the answer is not UTF-8")
			}
			for _, text := range r.says {
				if !strings.Contains(body, text) {
					t.Errorf("the answer does not say %q: %.500s", text, body)
				}
			}
			if code, body := send(t, request{method: "GET", path: configMaps + "/kept"}); code != 200 || !strings.Contains(body, `"k":"v"`) {
				t.Errorf("after it another request gets %d: %.300s", code, body)
			}
		})
	}
	if after := server.resident(t); after > before+600 {
		t.Errorf("the server has %d MiB, had %d", after, before)
	}
}

// TestLargeObject: an object is kept whole up to the limit of a request, and refused by that limit alone.
func TestLargeObject(t *testing.T) {
	server, cs := serverFor(t)
	var sets []appsv1.Deployment
	for i, size := range []int{1 << 20, 2 << 20, 2900 << 10} {
		env := make([]corev1.EnvVar, size>>10)
		for j := range env {
			env[j] = corev1.EnvVar{Name: fmt.Sprint("E", j), Value: strings.Repeat("x", 960)}
		}
		labels := map[string]string{"app": "large"}
		d := appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("large-", i)}}
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		d.Spec.Template = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Env: env}}}}
		created, err := cs.AppsV1().Deployments("default").Create(t.Context(), &d, metav1.CreateOptions{})
		if err != nil {
			t.Errorf("an object of %d bytes: %v", size, err)
			continue
		}
		sets = append(sets, *created)
	}
	list, err := cs.AppsV1().Deployments("default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 3 {
		t.Fatalf("%d large objects are listed, want 3: %v", len(list.Items), err)
	}
	for i, d := range list.Items {
		if got, want := len(d.Spec.Template.Spec.Containers[0].Env), len(sets[i].Spec.Template.Spec.Containers[0].Env); got != want {
			t.Errorf("%s has %d values, want %d", d.Name, got, want)
		}
	}
	if mib := server.resident(t); mib > 1500 {
		t.Errorf("the server has %d MiB", mib)
	}
}

// TestInvalidUTF8: what is not UTF-8 is refused, or made so before it is stored.
func TestInvalidUTF8(t *testing.T) {
	server, _ := serverFor(t)
	c := client()
	for i, text := range []string{"\xff\xfe", "\xc0\xaf", "\xed\xa0\x80", `\ud800`, "a\x00b"} {
		body := []byte(fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"utf-%d"},"data":{"k":"%s"}}`, i, text))
		for _, r := range []struct{ method, path string }{{"POST", configMaps}, {"GET", fmt.Sprintf("%s/utf-%d", configMaps, i)}, {"GET", configMaps}} {
			req, err := http.NewRequestWithContext(t.Context(), r.method, "https://"+server.address+r.path, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Content-Type", jsonType)
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode >= 500 || !utf8.Valid(answer) {
				t.Errorf("%q: %s %s: status %d, %v: %q", text, r.method, r.path, resp.StatusCode, err, answer)
			}
		}
	}
}
