package metricsapi

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/metrics/pkg/apis/metrics"
	"k8s.io/metrics/pkg/apis/metrics/install"
	metricsv1 "k8s.io/metrics/pkg/apis/metrics/v1"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"k8s.io/utils/clock"

	"coracle.dev/coracle/apiserver/subresource/connect"
)

// API is the group metrics.k8s.io.
type API struct {
	collector   *collector
	nodes, pods Objects
}

// New makes the group for the nodes and pods of two stores, whose agents the connector reaches.
func New(connector *connect.Connector, nodes, pods Objects) *API {
	names := func(ctx context.Context) ([]string, error) {
		list, err := nodes.List(ctx, current(&internalversion.ListOptions{}))
		if err != nil {
			return nil, fmt.Errorf("listing nodes: %w", err)
		}
		var out []string
		for _, n := range list.(*corev1.NodeList).Items {
			out = append(out, n.Name)
		}
		return out, nil
	}
	c := clock.RealClock{}
	return &API{collector: newCollector(c, asker(connector, c), names), nodes: nodes, pods: pods}
}

// asker asks the agents by the connector.
func asker(connector *connect.Connector, c clock.PassiveClock) ask {
	return func(ctx context.Context, node string) (*sample, error) {
		target, err := connector.Node(ctx, node)
		if err != nil {
			return nil, err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, target.URL("/metrics/resource", nil).String(), nil)
		if err != nil {
			return nil, err
		}
		now := c.Now()
		res, err := target.Transport.RoundTrip(r)
		if err != nil {
			return nil, fmt.Errorf("asking node %s: %w", node, err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("asking node %s: %s", node, res.Status)
		}
		return parse(http.MaxBytesReader(nil, res.Body, mostBytes), now)
	}
}

// mostBytes bounds what an agent may say.
const mostBytes = 64 << 20

// Run measures while somebody wants to know, until ctx ends.
func (a *API) Run(ctx context.Context) { a.collector.run(ctx) }

// Group is what a server installs to serve the API.
func (a *API) Group() *genericapiserver.APIGroupInfo {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	codecs := serializer.NewCodecFactory(scheme)
	info := genericapiserver.NewDefaultAPIGroupInfo(metrics.GroupName, scheme, runtime.NewParameterCodec(scheme), codecs)
	s := storage{collector: a.collector, clock: clock.RealClock{}.Now}
	n, p := &nodes{s}, &pods{s}
	n.objects, p.objects = a.nodes, a.pods
	for _, gv := range []schema.GroupVersion{metricsv1.SchemeGroupVersion, v1beta1.SchemeGroupVersion} {
		info.VersionedResourcesStorageMap[gv.Version] = map[string]rest.Storage{"nodes": n, "pods": p}
	}
	return &info
}
