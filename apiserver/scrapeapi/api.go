package scrapeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/klog/v2"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	external "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	"k8s.io/utils/clock"

	"coracle.dev/coracle/apiserver/subresource/connect"
)

// API serves both groups.
type API struct {
	scraper *scraper
	pods    rest.Lister
	// owner finds the pods that belong to an object of a resource.
	owner func(ctx context.Context, resource, name string) (corev1.ObjectReference, labels.Selector, error)
}

// New makes the groups for pods of a store, which the connector reaches. Stores are those of services and
// of workloads, by resource and group, as in "deployments.apps".
func New(connector *connect.Connector, pods rest.Lister, stores map[string]rest.Getter) *API {
	return &API{
		scraper: newScraper(clock.RealClock{}, connector.Endpoints, connect.CheckEndpoint), pods: pods,
		owner: func(ctx context.Context, resource, name string) (corev1.ObjectReference, labels.Selector, error) {
			return owner(ctx, stores[resource], resource, name)
		},
	}
}

// Install adds the groups to a server.
func (a *API) Install(server *genericapiserver.GenericAPIServer) {
	for gv, h := range map[schema.GroupVersion]http.HandlerFunc{custom.SchemeGroupVersion: a.custom, external.SchemeGroupVersion: a.external} {
		path := "/apis/" + gv.String()
		version := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
		server.DiscoveryGroupManager.AddGroup(metav1.APIGroup{Name: gv.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version})
		server.AggregatedDiscoveryGroupManager.AddGroupVersion(gv.Group, apidiscoveryv2.APIVersionDiscovery{
			Version: gv.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
		})
		server.Handler.NonGoRestfulMux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			write(w, r, http.StatusOK, metav1.APIResourceList{
				TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv.String(), APIResources: []metav1.APIResource{},
			})
		})
		server.Handler.NonGoRestfulMux.HandlePrefix(path+"/", http.StripPrefix(path+"/", h))
	}
}

// custom answers namespaces/NAMESPACE/RESOURCE/NAME/METRIC and namespaces/NAMESPACE/metrics/METRIC.
func (a *API) custom(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if r.Method != http.MethodGet || len(part) < 4 || len(part) > 5 || part[0] != "namespaces" || len(part) == 4 && part[2] != "metrics" {
		refuse(w, r, apierrors.NewNotFound(custom.Resource("metrics"), r.URL.Path))
		return
	}
	chosen, err := selector(r, "labelSelector")
	filter, errFilter := selector(r, "metricLabelSelector")
	if err := errors.Join(err, errFilter); err != nil {
		refuse(w, r, apierrors.NewBadRequest(err.Error()))
		return
	}
	ctx := request.WithNamespace(r.Context(), part[1])
	out := custom.MetricValueList{TypeMeta: metav1.TypeMeta{Kind: "MetricValueList", APIVersion: custom.SchemeGroupVersion.String()}, Items: []custom.MetricValue{}}
	metric := part[len(part)-1]
	switch {
	case len(part) == 4:
		out.Items, err = a.total(ctx, corev1.ObjectReference{Kind: "Namespace", APIVersion: "v1", Name: part[1]}, labels.Everything(), metric, filter)
	case part[2] == "pods":
		out.Items, err = a.each(ctx, part[3], chosen, metric, filter)
	default:
		var about corev1.ObjectReference
		if about, chosen, err = a.owner(ctx, part[2], part[3]); err == nil {
			out.Items, err = a.total(ctx, about, chosen, metric, filter)
		}
	}
	if err == nil && len(out.Items) == 0 {
		err = notFound(metric, part[2])
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	write(w, r, http.StatusOK, out)
}

// notFound says that nothing of a kind publishes a metric.
func notFound(metric, of string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: fmt.Sprintf("the server could not find the metric %s for %s", metric, of),
	}}
}

// list are the pods of the context's namespace that a selector chooses, and a name if it is not "*".
func (a *API) list(ctx context.Context, name string, chosen labels.Selector) ([]*corev1.Pod, error) {
	list, err := a.pods.List(ctx, &internalversion.ListOptions{LabelSelector: chosen, ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	var out []*corev1.Pod
	for i := range list.(*corev1.PodList).Items {
		if p := &list.(*corev1.PodList).Items[i]; name == custom.AllObjects || p.Name == name {
			out = append(out, p)
		}
	}
	return out, nil
}

// each is a metric of pods, one by one.
func (a *API) each(ctx context.Context, name string, chosen labels.Selector, metric string, filter labels.Selector) ([]custom.MetricValue, error) {
	pods, err := a.list(ctx, name, chosen)
	if err != nil {
		return nil, err
	}
	pages := a.scraper.ask(ctx, pods)
	out := []custom.MetricValue{}
	for _, p := range pods {
		page, answered := pages[p.UID]
		if !answered {
			continue
		}
		if found, window, _ := page.find(metric, filter); len(found) > 0 {
			about := corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: p.Namespace, Name: p.Name}
			out = append(out, value(about, metric, sum(found), page.after.at, window))
		}
	}
	return out, nil
}

// total is the metric of an object: the sum of those of its pods.
func (a *API) total(ctx context.Context, about corev1.ObjectReference, chosen labels.Selector, metric string, filter labels.Selector) ([]custom.MetricValue, error) {
	pods, err := a.list(ctx, custom.AllObjects, chosen)
	if err != nil {
		return nil, err
	}
	var all float64
	var at time.Time
	var over time.Duration
	for _, page := range a.scraper.ask(ctx, pods) {
		found, window, _ := page.find(metric, filter)
		if len(found) == 0 {
			continue
		}
		all += sum(found)
		over = max(over, window)
		if at.IsZero() || page.after.at.Before(at) {
			at = page.after.at
		}
	}
	if at.IsZero() {
		return nil, nil
	}
	return []custom.MetricValue{value(about, metric, all, at, over)}, nil
}

func value(about corev1.ObjectReference, metric string, v float64, at time.Time, window time.Duration) custom.MetricValue {
	m := custom.MetricValue{
		DescribedObject: about, Metric: custom.MetricIdentifier{Name: metric}, Timestamp: metav1.NewTime(at), Value: quantity(v),
	}
	if window > 0 {
		m.WindowSeconds = new(int64(math.Max(1, math.Round(window.Seconds()))))
	}
	return m
}

// quantity keeps three digits after the point, as far as numbers are small enough for that.
func quantity(v float64) resource.Quantity {
	const most = math.MaxInt64 / 2048
	if math.Abs(v) < most {
		return *resource.NewMilliQuantity(int64(math.Round(v*1000)), resource.DecimalSI)
	}
	return *resource.NewQuantity(int64(math.Max(-math.MaxInt64/2, math.Min(v, math.MaxInt64/2))), resource.DecimalSI)
}

// external answers namespaces/NAMESPACE/METRIC.
func (a *API) external(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if r.Method != http.MethodGet || len(part) != 3 || part[0] != "namespaces" {
		refuse(w, r, apierrors.NewNotFound(external.Resource("externalmetrics"), r.URL.Path))
		return
	}
	filter, err := selector(r, "labelSelector")
	if err != nil {
		refuse(w, r, apierrors.NewBadRequest(err.Error()))
		return
	}
	ctx, metric := request.WithNamespace(r.Context(), part[1]), part[2]
	pods, err := a.list(ctx, custom.AllObjects, labels.Everything())
	if err != nil {
		refuse(w, r, err)
		return
	}
	out := external.ExternalMetricValueList{
		TypeMeta: metav1.TypeMeta{Kind: "ExternalMetricValueList", APIVersion: external.SchemeGroupVersion.String()}, Items: []external.ExternalMetricValue{},
	}
	pages := a.scraper.ask(ctx, pods)
	for _, p := range pods {
		page, answered := pages[p.UID]
		if !answered {
			continue
		}
		found, window, _ := page.find(metric, filter)
		for _, s := range found {
			v := external.ExternalMetricValue{MetricName: metric, MetricLabels: s.labels, Timestamp: metav1.NewTime(page.after.at), Value: quantity(s.value)}
			if window > 0 {
				v.WindowSeconds = new(int64(math.Max(1, math.Round(window.Seconds()))))
			}
			out.Items = append(out.Items, v)
		}
	}
	write(w, r, http.StatusOK, out)
}

func selector(r *http.Request, name string) (labels.Selector, error) {
	s, err := labels.Parse(r.URL.Query().Get(name))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return s, nil
}

func refuse(w http.ResponseWriter, r *http.Request, err error) {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	write(w, r, int(status.Code), status)
}

func write(w http.ResponseWriter, r *http.Request, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		klog.FromContext(r.Context()).V(2).Info("Could not answer a request", "err", err)
	}
}
