package apiserver

import (
	"fmt"
	"net/http"

	admissionmetrics "k8s.io/apiserver/pkg/admission/metrics"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/component-base/tracing"

	"coracle.dev/coracle/apiserver/admission"
)

// admit decides what may be written. Plugins look at requests of all three servers.
func (c *chain) admit() error {
	if c.Admission != nil {
		return nil
	}
	loopback := rest.CopyConfig(c.Loopback)
	loopback.Wrap(func(next http.RoundTripper) http.RoundTripper { return patient{next, c.up} })
	typed, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return fmt.Errorf("making in-process client: %w", err)
	}
	client, err := dynamic.NewForConfig(loopback)
	if err != nil {
		return fmt.Errorf("making in-process dynamic client: %w", err)
	}
	served, err := discovery.NewDiscoveryClientForConfig(loopback)
	if err != nil {
		return fmt.Errorf("making in-process discovery client: %w", err)
	}
	plugins, err := admission.New(admission.Options{
		Enable: c.options.EnableAdmissionPlugins, Disable: c.options.DisableAdmissionPlugins,
		ConfigFile: c.options.Operation.AdmissionConfigFile,
		Client:     typed, Dynamic: client, Informers: c.Informers, Authorizer: c.Authorizer,
		// What is served changes with custom resources; the mapper asks anew for what it does not know.
		RESTMapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(served)),
		Schemas:    &resolver.ClientDiscoveryResolver{Discovery: served},
		Services:   c.resolver,
		Webhooks:   webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil, c.Loopback, tracing.NewNoopTracerProvider()),
		Audiences:  c.options.Authentication.APIAudiences,
		Drained:    c.drained,
	})
	if err != nil {
		return err
	}
	c.Admission = admissionmetrics.WithStepMetrics(plugins)
	return nil
}

// patient holds requests until the server serves: some plugins ask for what is served when they are
// made, and complain if nobody answers.
type patient struct {
	next http.RoundTripper
	up   <-chan struct{}
}

// RoundTrip implements http.RoundTripper.
func (p patient) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-p.up:
		return p.next.RoundTrip(req)
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}
