package scrapeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	external "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	"k8s.io/utils/clock"
)

// podStore lists pods as a store does.
type podStore struct {
	rest.Lister
	pods []corev1.Pod
}

func (s podStore) List(ctx context.Context, o *internalversion.ListOptions) (runtime.Object, error) {
	out := &corev1.PodList{}
	for _, p := range s.pods {
		if p.Namespace == request.NamespaceValue(ctx) && o.LabelSelector.Matches(labels.Set(p.Labels)) {
			out.Items = append(out.Items, p)
		}
	}
	return out, nil
}

// serviceStore has the one service "web".
type serviceStore struct{}

func (serviceStore) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	if name != "web" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "services"}, name)
	}
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: request.NamespaceValue(ctx), Name: name}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}}}, nil
}

// testAPI is an API over three pods, two of which publish metrics: web-0 a queue of 7 and 3, web-1 one of 5.
func testAPI(t *testing.T) *API {
	t.Helper()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		switch r.URL.Path {
		case "/metrics":
			fmt.Fprintf(w, "# TYPE queue_length gauge\nqueue_length{queue=\"a\"} 7\nqueue_length{queue=\"b\"} 3\n# TYPE requests_total counter\nrequests_total %d\n", 100*n)
		case "/own":
			fmt.Fprint(w, "queue_length{queue=\"a\"} 5\n")
		default:
			http.Redirect(w, r, "/metrics", http.StatusFound)
		}
	}))
	t.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	pod := func(name, path, scrape string) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), Labels: map[string]string{"app": "web"},
				Annotations: map[string]string{"prometheus.io/scrape": scrape, "prometheus.io/port": port, "prometheus.io/path": path}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: host},
		}
	}
	store := podStore{pods: []corev1.Pod{pod("web-0", "", "true"), pod("web-1", "/own", "true"), pod("quiet", "/own", "false"), pod("lost", "/redirect", "true")}}
	return &API{
		scraper: newScraper(clock.RealClock{}, http.DefaultTransport, func(string) error { return nil }), pods: store,
		owner: func(ctx context.Context, resource, name string) (corev1.ObjectReference, labels.Selector, error) {
			return owner(ctx, map[string]rest.Getter{"services": serviceStore{}}[resource], resource, name)
		},
	}
}

func get(h http.HandlerFunc, path string, into any) int {
	w := httptest.NewRecorder()
	h(w, httptest.NewRequest(http.MethodGet, path, nil))
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		return -1
	}
	return w.Code
}

func TestCustomMetrics(t *testing.T) {
	a := testAPI(t)
	for path, want := range map[string]string{
		"/namespaces/shop/pods/*/queue_length":                                    "200 Pod/web-0=10 Pod/web-1=5",
		"/namespaces/shop/pods/web-1/queue_length":                                "200 Pod/web-1=5",
		"/namespaces/shop/pods/*/queue_length?metricLabelSelector=queue%3Db":      "200 Pod/web-0=3",
		"/namespaces/shop/pods/*/queue_length?labelSelector=app%3Dother":          "404",
		"/namespaces/shop/services/web/queue_length":                              "200 Service/web=15",
		"/namespaces/shop/services/none/queue_length":                             "404",
		"/namespaces/shop/ingresses.networking.k8s.io/web/queue_length":           "404",
		"/namespaces/shop/metrics/queue_length":                                   "200 Namespace/shop=15",
		"/namespaces/shop/pods/*/unknown":                                         "404",
		"/namespaces/other/pods/*/queue_length":                                   "404",
		"/namespaces/shop/pods/*/queue_length?labelSelector=a%3D%3D%3Db":          "400",
		"/nodes/n/queue_length":                                                   "404",
		"/namespaces/shop/pods/*/queue_length?metricLabelSelector=queue+in+(a,b)": "200 Pod/web-0=10 Pod/web-1=5",
	} {
		var list custom.MetricValueList
		got := fmt.Sprint(get(a.custom, path, &list))
		for _, i := range list.Items {
			got += fmt.Sprintf(" %s/%s=%s", i.DescribedObject.Kind, i.DescribedObject.Name, i.Value.String())
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestCountersAreRates(t *testing.T) {
	a := testAPI(t)
	var list custom.MetricValueList
	if code := get(a.custom, "/namespaces/shop/pods/web-0/requests", &list); code != http.StatusOK || len(list.Items) != 1 {
		t.Fatalf("%d: %+v", code, list)
	}
	// Two questions, a second apart, between which it grew by 100.
	if v := list.Items[0].Value.AsApproximateFloat64(); v < 1 || v > 100 || list.Items[0].WindowSeconds == nil {
		t.Errorf("requests per second are %v over %v s", v, list.Items[0].WindowSeconds)
	}
}

func TestExternalMetrics(t *testing.T) {
	a := testAPI(t)
	var list external.ExternalMetricValueList
	if code := get(a.external, "/namespaces/shop/queue_length?labelSelector=queue%3Da", &list); code != http.StatusOK {
		t.Fatalf("%d: %+v", code, list)
	}
	var got []string
	for _, i := range list.Items {
		got = append(got, i.MetricLabels["queue"]+"="+i.Value.String())
	}
	if diff := cmp.Diff([]string{"a=7", "a=5"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhoIsAsked(t *testing.T) {
	s := newScraper(clock.RealClock{}, nil, func(ip string) error {
		if strings.HasPrefix(ip, "127.") {
			return errors.New("loopback")
		}
		return nil
	})
	base := func() *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"prometheus.io/scrape": "true"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 9090}}}}},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.5"},
		}
	}
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"by default": {func(*corev1.Pod) {}, "http://10.0.0.5:9090/metrics"},
		"port and path": {func(p *corev1.Pod) {
			p.Annotations["prometheus.io/port"], p.Annotations["prometheus.io/path"] = "80", "/m"
		}, "http://10.0.0.5:80/m"},
		"a path that is none":  {func(p *corev1.Pod) { p.Annotations["prometheus.io/path"] = "@evil/" }, "http://10.0.0.5:9090/metrics"},
		"without annotation":   {func(p *corev1.Pod) { p.Annotations = nil }, ""},
		"of the host":          {func(p *corev1.Pod) { p.Spec.HostNetwork = true }, ""},
		"not running":          {func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, ""},
		"at a strange address": {func(p *corev1.Pod) { p.Status.PodIP = "127.0.0.1" }, ""},
		"without any port":     {func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil }, ""},
	} {
		p := base()
		c.change(p)
		got := ""
		if u := s.target(p); u != nil {
			got = u.String()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestCounterThatBeganAnew(t *testing.T) {
	t0 := time.Unix(1700000000, 0)
	at := func(seconds int, value float64) *page {
		return &page{at: t0.Add(time.Duration(seconds) * time.Second), counters: map[string][]series{"n_total": {{labels.Set{}, value}}}}
	}
	found, window, _ := pair{at(0, 1000), at(10, 50)}.find("n", labels.Everything())
	if len(found) != 1 || found[0].value != 5 || window != 10*time.Second {
		t.Errorf("%v over %v", found, window)
	}
}
