package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apiextensionsopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericfilters "k8s.io/apiserver/pkg/server/filters"
	"k8s.io/apiserver/pkg/server/healthz"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorserver "k8s.io/kube-aggregator/pkg/apiserver"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	"k8s.io/kube-aggregator/pkg/controllers/autoregister"
	aggregatoropenapi "k8s.io/kube-aggregator/pkg/generated/openapi"
	"k8s.io/kube-openapi/pkg/common"

	"coracle.dev/coracle/apiserver/extension"
	"coracle.dev/coracle/apiserver/metricsapi"
	"coracle.dev/coracle/apiserver/openapi"
	"coracle.dev/coracle/apiserver/scrapeapi"
	"coracle.dev/coracle/apiserver/storage"
)

// chain makes the generic configurations of the three servers and joins them.
type chain struct {
	CompletedConfig
	backend   *storage.Backend
	serving   *genericapiserver.SecureServingInfo
	discovery aggregated.ResourceManager
	resolver  *extension.Resolver
	operation *operation
	// drained is closed when the last request has been answered.
	drained chan struct{}
	metrics *metricsapi.API
	scrape  *scrapeapi.API
	// allocate is the post-start hook of service allocation.
	allocate genericapiserver.PostStartHookFunc
}

func (c CompletedConfig) newChain(backend *storage.Backend, listener net.Listener) (*chain, error) {
	operation, err := c.newOperation()
	if err != nil {
		return nil, err
	}
	self := &url.URL{Scheme: "https", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))}
	return &chain{
		CompletedConfig: c, backend: backend,
		serving: &genericapiserver.SecureServingInfo{
			Listener: listener, Cert: c.ServingCert, ClientCA: c.clientCAs(), HTTP2MaxStreamsPerConnection: 1000,
		},
		discovery: aggregated.NewResourceManager("apis"),
		resolver:  extension.NewResolver(c.Informers, self),
		operation: operation,
		drained:   make(chan struct{}),
	}, nil
}

// port is the one that is served, which may have been left to the system to choose.
func (c *chain) port() int { return c.serving.Listener.Addr().(*net.TCPAddr).Port }

// generic is what the three servers have in common.
func (c *chain) generic(codecs serializer.CodecFactory, getter *storage.Getter, enabled *serverstorage.ResourceConfig) *genericapiserver.RecommendedConfig {
	g := genericapiserver.NewRecommendedConfig(codecs)
	g.SecureServing = c.serving
	host := c.options.ExternalHostname
	if host == "" {
		host = c.Advertise.String()
	}
	g.ExternalAddress = net.JoinHostPort(host, strconv.Itoa(c.port()))
	g.PublicAddress = c.Advertise
	g.LoopbackClientConfig = rest.CopyConfig(c.Loopback)
	g.Authentication.Authenticator = c.Authenticator
	g.Authentication.RequestHeaderConfig = c.RequestHeader
	g.Authentication.APIAudiences = c.options.Authentication.APIAudiences
	g.Authorization.Authorizer = c.Authorizer
	g.RuleResolver = c.RuleResolver
	g.AdmissionControl = c.Admission
	g.RESTOptionsGetter = getter
	g.MergedResourceConfig = enabled
	g.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	g.SharedInformerFactory = c.Informers
	g.AggregatedDiscoveryGroupManager = c.discovery
	g.LongRunningFunc = genericfilters.BasicLongRunningRequestCheck(
		sets.NewString("watch", "proxy"), sets.NewString("attach", "exec", "proxy", "log", "portforward"))
	g.MaxRequestsInFlight, g.MaxMutatingRequestsInFlight = c.options.MaxRequestsInFlight, c.options.MaxMutatingRequestsInFlight
	g.RequestTimeout, g.MinRequestTimeout = c.options.RequestTimeout, c.options.MinRequestTimeout
	g.ShutdownDelayDuration = c.options.ShutdownDelay
	g.EnableProfiling = c.options.Profiling
	c.operation.apply(&g.Config, c.options.Operation)
	g.AddHealthChecks(c.etcdCheck("etcd"))
	ready := append([]healthz.HealthChecker{c.etcdCheck("etcd-readiness")}, c.backend.EncryptionChecks()...)
	g.ReadyzChecks = append(g.ReadyzChecks, ready...)
	g.HealthzChecks = append(g.HealthzChecks, c.backend.EncryptionChecks()...)
	namer := openapinamer.NewDefinitionNamer(c.Scheme, apiextensionsserver.Scheme, aggregatorscheme.Scheme)
	g.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(extensionDefinitions, namer)
	g.OpenAPIConfig.Info.Title = "Kubernetes"
	g.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(extensionDefinitions, namer)
	g.OpenAPIV3Config.Info.Title = "Kubernetes"
	return g
}

// etcdCheck says whether etcd answers in time.
func (c *chain) etcdCheck(name string) healthz.HealthChecker {
	return healthz.NamedCheck(name, func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		return c.backend.Check(ctx)
	})
}

// extensionDefinitions are the OpenAPI definitions of custom resource definitions and APIServices;
// those of the built-in types are prebuilt.
func extensionDefinitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	m := apiextensionsopenapi.GetOpenAPIDefinitions(ref)
	for k, v := range aggregatoropenapi.GetOpenAPIDefinitions(ref) {
		m[k] = v
	}
	return m
}

// jsonGetter stores the extension servers' own resources, as Kubernetes does, in JSON.
func (c *chain) jsonGetter(codecs runtime.StorageSerializer, gv schema.GroupVersion) (*storage.Getter, error) {
	e, err := storage.NewEncoding(codecs, gv, storage.JSON)
	if err != nil {
		return nil, err
	}
	return c.backend.Getter(func(schema.GroupResource) (storage.Encoding, error) { return e, nil }, storage.GroupPrefix, c.operation.counts), nil
}

// extensions makes the server of custom resource definitions and of custom resources.
func (c *chain) extensions() (*apiextensionsserver.CustomResourceDefinitions, error) {
	getter, err := c.jsonGetter(apiextensionsserver.Codecs, apiextensionsv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	g := c.generic(apiextensionsserver.Codecs, getter, apiextensionsserver.DefaultAPIResourceConfigSource())
	custom := c.backend.Getter(func(schema.GroupResource) (storage.Encoding, error) {
		return storage.Encoding{Codec: unstructured.UnstructuredJSONScheme}, nil
	}, storage.GroupPrefix, c.operation.counts)
	config := &apiextensionsserver.Config{
		GenericConfig: g,
		ExtraConfig: apiextensionsserver.ExtraConfig{
			CRDRESTOptionsGetter: custom, MasterCount: 1, ServiceResolver: c.resolver,
			AuthResolverWrapper: webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil, c.Loopback, g.TracerProvider),
		},
	}
	notFound := genericapiserver.NewEmptyDelegateWithCustomHandler(http.HandlerFunc(http.NotFound))
	server, err := config.Complete().New(notFound)
	if err != nil {
		return nil, fmt.Errorf("making server of custom resources: %w", err)
	}
	return server, nil
}

// builtin makes the server of the catalog.
func (c *chain) builtin(next genericapiserver.DelegationTarget) (*genericapiserver.GenericAPIServer, *served, error) {
	g := c.generic(c.Codecs, nil, serverstorage.NewResourceConfig())
	getter := c.backend.Getter(c.encodings(), storage.BuiltinPrefix, c.operation.counts)
	g.RESTOptionsGetter = getter
	g.SkipOpenAPIInstallation = c.OpenAPIDefinitions == nil
	if c.OpenAPIDefinitions != nil {
		namer := openapinamer.NewDefinitionNamer(c.Scheme)
		g.OpenAPIConfig.GetDefinitions, g.OpenAPIConfig.GetDefinitionName = c.OpenAPIDefinitions, namer.GetDefinitionName
		g.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(c.OpenAPIDefinitions, namer)
		g.OpenAPIV3Config.Info.Title = "Kubernetes"
	}
	server, err := g.Complete().New("kube-apiserver", next)
	if err != nil {
		return nil, nil, fmt.Errorf("making server of built-in resources: %w", err)
	}
	storages, err := c.newServed(getter)
	if err != nil {
		return nil, nil, err
	}
	if err := c.customize(storages); err != nil {
		return nil, nil, err
	}
	i := &installer{server: server, config: &g.Config, types: openapi.Types(c.Scheme)}
	if err := i.install(append(c.groupInfos(storages), c.metrics.Group())); err != nil {
		return nil, nil, err
	}
	c.scrape.Install(server)
	if c.OpenAPIDefinitions == nil {
		err = openapi.Install(server.Handler.NonGoRestfulMux)
	}
	return server, storages, err
}

// aggregator makes the server at the head of the chain.
func (c *chain) aggregator(next genericapiserver.DelegationTarget, crds *apiextensionsserver.CustomResourceDefinitions) (*aggregatorserver.APIAggregator, error) {
	getter, err := c.jsonGetter(aggregatorscheme.Codecs, apiregistrationv1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	g := c.generic(aggregatorscheme.Codecs, getter, aggregatorserver.DefaultAPIResourceConfigSource())
	g.SkipOpenAPIInstallation = true // it aggregates those of its delegates instead
	config := &aggregatorserver.Config{
		GenericConfig: g,
		ExtraConfig: aggregatorserver.ExtraConfig{
			ProxyClientCertFile: c.options.ProxyClientCertFile, ProxyClientKeyFile: c.options.ProxyClientKeyFile,
			ServiceResolver: c.resolver, RejectForwardingRedirects: true,
		},
	}
	server, err := config.Complete().NewWithDelegate(next)
	if err != nil {
		return nil, fmt.Errorf("making aggregator: %w", err)
	}
	extension.Order(c.discovery)
	client, err := aggregatorclient.NewForConfig(c.Loopback)
	if err != nil {
		return nil, fmt.Errorf("making client of APIServices: %w", err)
	}
	services := server.APIRegistrationInformers.Apiregistration().V1().APIServices()
	controller := autoregister.NewAutoRegisterController(services, client.ApiregistrationV1())
	registrar := extension.NewRegistrar(controller, next.ListedPaths(), crds.Informers.Apiextensions().V1().CustomResourceDefinitions())
	err = server.GenericAPIServer.AddPostStartHook("kube-apiserver-autoregistration", func(hook genericapiserver.PostStartHookContext) error {
		go registrar.Run(hook)
		return nil
	})
	complete := healthz.NamedCheck("autoregister-completion", func(*http.Request) error {
		if missing := registrar.Missing(services.Lister()); len(missing) > 0 {
			return fmt.Errorf("missing APIServices: %v", missing)
		}
		return nil
	})
	return server, errors.Join(err, server.GenericAPIServer.AddReadyzChecks(complete))
}
