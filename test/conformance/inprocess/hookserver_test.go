package inprocess

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// slowness is how long the webhook /slow takes; timeouts in tests are a second, or far longer.
const slowness = 3 * time.Second

// review decides about one request: a JSON patch that may be empty, or why it is refused.
type review func(r *admissionv1.AdmissionRequest, object map[string]any) (patch, refusal string)

var reviews = map[string]review{
	// /deny refuses what has "bad" in its data or labels, and whatever has no object.
	"/deny": func(r *admissionv1.AdmissionRequest, object map[string]any) (string, string) {
		label, _, _ := unstructured.NestedString(object, "metadata", "labels", "bad")
		data, _, _ := unstructured.NestedString(object, "data", "bad")
		if label == "" && data == "" && r.Operation != admissionv1.Delete {
			return "", ""
		}
		return "", "this is bad"
	},
	"/deny-all": func(*admissionv1.AdmissionRequest, map[string]any) (string, string) { return "", "nothing is allowed" },
	"/slow": func(*admissionv1.AdmissionRequest, map[string]any) (string, string) {
		time.Sleep(slowness)
		return "", ""
	},
	"/stage-1": stage("start", "stage-1"),
	"/stage-2": stage("stage-1", "stage-2"),
	"/init-container": func(*admissionv1.AdmissionRequest, map[string]any) (string, string) {
		return `[{"op":"add","path":"/spec/initContainers","value":[{"name":"added","image":"image:1"}]}]`, ""
	},
	"/label": func(*admissionv1.AdmissionRequest, map[string]any) (string, string) {
		return `[{"op":"add","path":"/metadata/labels/mutated","value":"yes"}]`, ""
	},
}

// stage adds a key to data that has another.
func stage(has, adds string) review {
	return func(_ *admissionv1.AdmissionRequest, object map[string]any) (string, string) {
		if v, _, _ := unstructured.NestedString(object, "data", has); v == "" {
			return "", ""
		}
		return `[{"op":"add","path":"/data/` + adds + `","value":"yes"}]`, ""
	}
}

// hookServer serves webhooks over TLS.
type hookServer struct {
	url string
	ca  []byte
}

func serveHooks(t *testing.T) *hookServer {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/convert" {
			answerConversion(w, body)
			return
		}
		answerReview(w, reviews[r.URL.Path], body)
	}))
	t.Cleanup(s.Close)
	return &hookServer{s.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}
}

func answerReview(w http.ResponseWriter, f review, body []byte) {
	var ar admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &ar); err != nil || f == nil || ar.Request == nil {
		http.Error(w, "no such webhook, or no review", http.StatusBadRequest)
		return
	}
	var object map[string]any
	_ = json.Unmarshal(ar.Request.Object.Raw, &object) // without an object it is nil
	patch, refusal := f(ar.Request, object)
	ar.Response = &admissionv1.AdmissionResponse{UID: ar.Request.UID, Allowed: refusal == ""}
	if refusal != "" {
		ar.Response.Result = &metav1.Status{Message: refusal}
	}
	if patch != "" {
		ar.Response.Patch, ar.Response.PatchType = []byte(patch), new(admissionv1.PatchTypeJSONPatch)
	}
	ar.Request = nil
	_ = json.NewEncoder(w).Encode(ar)
}

// answerConversion converts between v1, which has hostPort, and v2, which has host and port.
func answerConversion(w http.ResponseWriter, body []byte) {
	var cr apiextensionsv1.ConversionReview
	if err := json.Unmarshal(body, &cr); err != nil || cr.Request == nil {
		http.Error(w, "no conversion review", http.StatusBadRequest)
		return
	}
	cr.Response = &apiextensionsv1.ConversionResponse{UID: cr.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
	for _, o := range cr.Request.Objects {
		var u unstructured.Unstructured
		if err := u.UnmarshalJSON(o.Raw); err != nil {
			cr.Response.Result = metav1.Status{Status: metav1.StatusFailure, Message: err.Error()}
			break
		}
		u.SetAPIVersion(cr.Request.DesiredAPIVersion)
		if strings.HasSuffix(cr.Request.DesiredAPIVersion, "/v2") {
			hostPort, _ := u.Object["hostPort"].(string)
			u.Object["host"], u.Object["port"], _ = strings.Cut(hostPort, ":")
			delete(u.Object, "hostPort")
		} else {
			host, _ := u.Object["host"].(string)
			port, _ := u.Object["port"].(string)
			u.Object["hostPort"] = host + ":" + port
			delete(u.Object, "host")
			delete(u.Object, "port")
		}
		cr.Response.ConvertedObjects = append(cr.Response.ConvertedObjects, runtime.RawExtension{Object: &u})
	}
	cr.Request = nil
	_ = json.NewEncoder(w).Encode(cr)
}

func (s *hookServer) client(path string) admissionregistrationv1.WebhookClientConfig {
	return admissionregistrationv1.WebhookClientConfig{URL: new(s.url + path), CABundle: s.ca}
}

// validating is a webhook for requests in one namespace, or for objects of a label named so.
func (s *hookServer) validating(ns, path string, rules ...admissionregistrationv1.RuleWithOperations) admissionregistrationv1.ValidatingWebhook {
	h := admissionregistrationv1.ValidatingWebhook{
		Name: strings.Trim(path, "/") + ".example.com", ClientConfig: s.client(path), Rules: rules,
		SideEffects: new(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
	}
	h.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{corev1MetadataName: ns}}
	return h
}

// mutating is the same for webhooks that may change objects.
func (s *hookServer) mutating(ns, path string, rules ...admissionregistrationv1.RuleWithOperations) admissionregistrationv1.MutatingWebhook {
	v := s.validating(ns, path, rules...)
	return admissionregistrationv1.MutatingWebhook{
		Name: v.Name, ClientConfig: v.ClientConfig, Rules: v.Rules, SideEffects: v.SideEffects,
		AdmissionReviewVersions: v.AdmissionReviewVersions, NamespaceSelector: v.NamespaceSelector,
	}
}

// corev1MetadataName is the label by which a namespace is selected by its name.
const corev1MetadataName = "kubernetes.io/metadata.name"

// on is a rule for operations, separated by spaces, on a resource of a group and version.
func on(operations, group, version, resource string) admissionregistrationv1.RuleWithOperations {
	var ops []admissionregistrationv1.OperationType
	for _, op := range strings.Fields(operations) {
		ops = append(ops, admissionregistrationv1.OperationType(op))
	}
	return admissionregistrationv1.RuleWithOperations{Operations: ops, Rule: admissionregistrationv1.Rule{
		APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource},
	}}
}
