package imagepolicy

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/api/imagepolicy/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// reviewer allows images that begin with good, fails for broken, and refuses others.
type reviewer struct {
	kubeconfig string
	asked      atomic.Int32
	last       atomic.Pointer[v1alpha1.ImageReview]
}

func start(t *testing.T) *reviewer {
	t.Helper()
	r := &reviewer{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	server := httptest.NewTLSServer(r)
	t.Cleanup(server.Close)
	c := clientcmdapi.NewConfig()
	c.Clusters["x"] = &clientcmdapi.Cluster{
		Server: server.URL, CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "x"}
	c.CurrentContext = "x"
	if err := clientcmd.WriteToFile(*c, r.kubeconfig); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reviewer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asked.Add(1)
	var review v1alpha1.ImageReview
	if err := json.NewDecoder(req.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.last.Store(review.DeepCopy())
	review.Status.Allowed = true
	for _, c := range review.Spec.Containers {
		switch {
		case strings.HasPrefix(c.Image, "broken"):
			http.Error(w, "out of order", http.StatusForbidden)
			return
		case strings.HasPrefix(c.Image, "bad"):
			review.Status = v1alpha1.ImageReviewStatus{Reason: c.Image + " is not signed", AuditAnnotations: map[string]string{"denied": c.Image}}
		case !strings.HasPrefix(c.Image, "good"):
			review.Status.Allowed = false
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(review) //nolint:errcheck // the client is gone
}

func pod(images ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"break.image-policy.k8s.io/ticket": "7", "other": "x"}}}
	p.Spec.InitContainers = []corev1.Container{{Image: "good-init"}}
	for _, i := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Image: i})
	}
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Image: "good-debugger"}}}
	return p
}

func setUp(t *testing.T, r *reviewer, more string) *plugin {
	t.Helper()
	s, err := read(strings.NewReader(fmt.Sprintf("imagePolicy: {kubeConfigFile: %s, retryBackoff: 1%s}", r.kubeconfig, more)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlugin(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func attributes(p *corev1.Pod, subresource string) admission.Attributes {
	return admission.NewAttributesRecord(p, nil, corev1.SchemeGroupVersion.WithKind("Pod"), "shop", "p",
		corev1.SchemeGroupVersion.WithResource("pods"), subresource, admission.Create, nil, false, nil)
}

func TestReviews(t *testing.T) {
	r := start(t)
	closed, open := setUp(t, r, ""), setUp(t, r, ", defaultAllow: true, denyTTL: -1")
	for name, c := range map[string]struct {
		plugin      *plugin
		pod         *corev1.Pod
		subresource string
		asked       int32
		want        string
	}{
		"good":                       {closed, pod("good:1"), "", 1, ""},
		"bad":                        {closed, pod("good:1", "bad:1"), "", 1, "image policy webhook backend denied one or more images: bad:1 is not signed"},
		"without a reason":           {closed, pod("unknown"), "", 1, "one or more images rejected by webhook backend"},
		"no answer":                  {closed, pod("broken"), "", 2, "asking about images"},
		"no answer, by default open": {open, pod("broken"), "", 2, ""},
		"not remembered":             {open, pod("bad:2"), "", 2, "bad:2 is not signed"},
		"the status":                 {closed, pod("bad:1"), "status", 0, ""},
		"a debugger":                 {closed, pod("bad:1"), "ephemeralcontainers", 1, ""},
	} {
		before := r.asked.Load()
		for range 2 {
			err := c.plugin.Validate(t.Context(), attributes(c.pod, c.subresource), nil)
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
		}
		if n := r.asked.Load() - before; n != c.asked {
			t.Errorf("%s: asked %d times for two pods, want %d", name, n, c.asked)
		}
	}
	if err := closed.Validate(t.Context(), attributes(pod("good:3"), ""), nil); err != nil {
		t.Error(err)
	}
	want := v1alpha1.ImageReviewSpec{
		Containers: []v1alpha1.ImageReviewContainerSpec{{Image: "good:3"}, {Image: "good-init"}},
		Namespace:  "shop", Annotations: map[string]string{"break.image-policy.k8s.io/ticket": "7"},
	}
	if diff := cmp.Diff(want, r.last.Load().Spec); diff != "" {
		t.Errorf("the review (-want +got):\n%s", diff)
	}
}

func TestConfiguration(t *testing.T) {
	s, err := read(strings.NewReader("imagePolicy: {kubeConfigFile: x, allowTTL: 50, denyTTL: -1}"))
	if err != nil || s.allowTTL != 50*time.Second || s.denyTTL != 0 || s.backoff != 500*time.Millisecond || s.defaultAllow {
		t.Errorf("%+v, %v", s, err)
	}
	for text, want := range map[string]string{
		"imagePolicy: {}": "kubeConfigFile is empty",
		"imagePolicy: {kubeConfigFile: x, allowTTL: 1801}":       "allowTTL is 1801: use 1 to 1800, in units of 1s",
		"imagePolicy: {kubeConfigFile: x, retryBackoff: 300001}": "retryBackoff is 300001",
		"imagePolicy: {kubeConfigFile: x, colour: red}":          "unknown field",
	} {
		if _, err := read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := read(nil); err == nil {
		t.Error("no configuration is no error")
	}
}
