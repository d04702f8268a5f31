package inprocess

import (
	"context"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/endpoints/request"
	registry "k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/compatibility"
	aggregatoropenapi "k8s.io/kube-aggregator/pkg/generated/openapi"
)

// flunderStore keeps flunders, which have metadata only, in memory.
type flunderStore struct {
	registry.TableConvertor
	mu    sync.Mutex
	items map[string]*metav1.PartialObjectMetadata
}

var _ registry.GracefulDeleter = &flunderStore{}

func (s *flunderStore) New() runtime.Object     { return &metav1.PartialObjectMetadata{} }
func (s *flunderStore) NewList() runtime.Object { return &metav1.PartialObjectMetadataList{} }
func (s *flunderStore) Destroy()                {}
func (s *flunderStore) NamespaceScoped() bool   { return true }
func (s *flunderStore) GetSingularName() string { return "flunder" }

func (s *flunderStore) Create(ctx context.Context, obj runtime.Object, _ registry.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := obj.DeepCopyObject().(*metav1.PartialObjectMetadata)
	registry.FillObjectMetaSystemFields(f)
	user, _ := request.UserFrom(ctx)
	f.Namespace, f.Annotations = request.NamespaceValue(ctx), map[string]string{"creator": user.GetName()}
	s.items[f.Name] = f
	return f.DeepCopy(), nil
}

func (s *flunderStore) Get(_ context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.items[name]; f != nil {
		return f.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(flunders.GroupResource(), name)
}

func (s *flunderStore) List(context.Context, *metainternal.ListOptions) (runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := &metav1.PartialObjectMetadataList{}
	for _, f := range s.items {
		list.Items = append(list.Items, *f.DeepCopy())
	}
	return list, nil
}

func (s *flunderStore) Delete(_ context.Context, name string, _ registry.ValidateObjectFunc, _ *metav1.DeleteOptions) (runtime.Object, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.items[name]
	if f == nil {
		return nil, false, apierrors.NewNotFound(flunders.GroupResource(), name)
	}
	delete(s.items, name)
	return f, true, nil
}

// flunderScheme has the one kind, under its version and as the hub.
func flunderScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, version := range []string{flunders.Version, runtime.APIVersionInternal} {
		gv := schema.GroupVersion{Group: flunders.Group, Version: version}
		scheme.AddKnownTypeWithName(gv.WithKind("Flunder"), &metav1.PartialObjectMetadata{})
		scheme.AddKnownTypeWithName(gv.WithKind("FlunderList"), &metav1.PartialObjectMetadataList{})
	}
	metav1.AddToGroupVersion(scheme, flunders.GroupVersion())
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return scheme
}

// startFlunders runs the server until the test ends; it asks the API server of the kubeconfig about
// users and their rights. It returns its port and the authority of its certificate.
func startFlunders(t *testing.T, kubeconfig string) (port int, ca []byte) {
	t.Helper()
	scheme := flunderScheme()
	codecs := serializer.NewCodecFactory(scheme)
	c := genericapiserver.NewRecommendedConfig(codecs)
	c.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	namer := openapinamer.NewDefinitionNamer(scheme)
	c.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(aggregatoropenapi.GetOpenAPIDefinitions, namer)
	c.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(aggregatoropenapi.GetOpenAPIDefinitions, namer)
	secure := options.NewSecureServingOptions().WithLoopback()
	secure.Listener, port = localhost(t)
	secure.ServerCert.CertDirectory = t.TempDir()
	must(0, secure.MaybeDefaultWithSelfSignedCerts("localhost", []string{"sample-api.default.svc"}, nil))(t)
	must(0, secure.ApplyTo(&c.SecureServing, &c.LoopbackClientConfig))(t)
	authn, authz := options.NewDelegatingAuthenticationOptions(), options.NewDelegatingAuthorizationOptions()
	authn.RemoteKubeConfigFile, authz.RemoteKubeConfigFile = kubeconfig, kubeconfig
	must(0, authn.ApplyTo(&c.Authentication, c.SecureServing, c.OpenAPIConfig))(t)
	must(0, authz.ApplyTo(&c.Authorization))(t)
	server := must(c.Complete().New("flunders", genericapiserver.NewEmptyDelegate()))(t)
	info := genericapiserver.NewDefaultAPIGroupInfo(flunders.Group, scheme, metav1.ParameterCodec, codecs)
	store := &flunderStore{TableConvertor: registry.NewDefaultTableConvertor(flunders.GroupResource()), items: map[string]*metav1.PartialObjectMetadata{}}
	info.VersionedResourcesStorageMap[flunders.Version] = map[string]registry.Storage{flunders.Resource: store}
	must(0, server.InstallAPIGroup(&info))(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.PrepareRun().RunWithContext(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(0, <-done)(t)
	})
	ca, _ = c.SecureServing.Cert.CurrentCertKeyContent()
	return port, ca
}
