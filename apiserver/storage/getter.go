package storage

import (
	"fmt"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	serverstorage "k8s.io/apiserver/pkg/server/storage"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	flowcontrolrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"
	"k8s.io/client-go/tools/cache"
)

// Encoding says how objects of a group are written: their version in etcd, and in which bytes.
type Encoding struct {
	Codec     runtime.Codec
	Versioner runtime.GroupVersioner
}

// Media types of stored objects.
const (
	Protobuf = "application/vnd.kubernetes.protobuf"
	JSON     = "application/json"
)

// NewEncoding makes the encoding that stores objects in a version of their group. Reading accepts
// every media type and version that the serializer knows.
func NewEncoding(s runtime.StorageSerializer, stored schema.GroupVersion, media string) (Encoding, error) {
	codec, versioner, err := serverstorage.NewStorageCodec(serverstorage.StorageCodecConfig{
		StorageMediaType: media, StorageSerializer: s, StorageVersion: stored,
		MemoryVersion: schema.GroupVersion{Group: stored.Group, Version: runtime.APIVersionInternal},
	})
	if err != nil {
		return Encoding{}, fmt.Errorf("making codec of %s: %w", stored, err)
	}
	return Encoding{Codec: untyped{codec}, Versioner: versioner}, nil
}

// untyped clears the kind of decoded objects. Hub objects carry none, but the external types that
// serve as hub have the field, and JSON fills it.
type untyped struct{ runtime.Codec }

// Decode implements runtime.Decoder.
func (u untyped) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	obj, gvk, err := u.Codec.Decode(data, defaults, into)
	if err == nil && obj != nil {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return obj, gvk, err
}

// Getter gives resources their backend.
type Getter struct {
	backend  *Backend
	encoding func(schema.GroupResource) (Encoding, error)
	prefix   func(schema.GroupResource) string
	tracker  flowcontrolrequest.StorageObjectCountTracker
}

var _ generic.RESTOptionsGetter = &Getter{}

// Getter makes a getter. Encoding is asked for each resource; prefix names the directory of a
// resource below the backend's prefix; tracker may be nil.
func (b *Backend) Getter(encoding func(schema.GroupResource) (Encoding, error), prefix func(schema.GroupResource) string, tracker flowcontrolrequest.StorageObjectCountTracker) *Getter {
	return &Getter{backend: b, encoding: encoding, prefix: prefix, tracker: tracker}
}

// BuiltinPrefix is where Kubernetes keeps a built-in resource.
func BuiltinPrefix(gr schema.GroupResource) string {
	if p, ok := historicPrefixes[gr]; ok {
		return p
	}
	return strings.ToLower(gr.Resource)
}

var historicPrefixes = map[schema.GroupResource]string{
	{Resource: "replicationcontrollers"}:                "controllers",
	{Resource: "endpoints"}:                             "services/endpoints",
	{Resource: "services"}:                              "services/specs",
	{Resource: "nodes"}:                                 "minions",
	{Group: "networking.k8s.io", Resource: "ingresses"}: "ingress",
	// Which resources are the same under two names, admission is told by this too.
	{Group: "extensions", Resource: "ingresses"}: "ingress",
}

// GroupPrefix is where Kubernetes keeps custom resources, and those of the extension API servers.
func GroupPrefix(gr schema.GroupResource) string { return gr.Group + "/" + gr.Resource }

// GetRESTOptions implements generic.RESTOptionsGetter.
func (g *Getter) GetRESTOptions(gr schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	encoding, err := g.encoding(gr)
	if err != nil {
		return generic.RESTOptions{}, err
	}
	config := g.backend.forResource(gr, encoding)
	config.StorageObjectCountTracker = g.tracker
	return generic.RESTOptions{
		StorageConfig: config, Decorator: g.backend.decorate,
		EnableGarbageCollection: true, DeleteCollectionWorkers: 4,
		ResourcePrefix:            g.prefix(gr),
		CountMetricPollPeriod:     config.CountMetricPollPeriod,
		StorageObjectCountTracker: g.tracker,
	}, nil
}

func (b *Backend) forResource(gr schema.GroupResource, e Encoding) *storagebackend.ConfigForResource {
	config := b.config.ForResource(gr)
	config.Codec, config.EncodeVersioner = e.Codec, e.Versioner
	if b.encryption.transformers != nil {
		config.Transformer = b.encryption.transformers.TransformerForResource(gr)
	}
	return config
}

// decorate implements generic.StorageDecorator.
func (b *Backend) decorate(c *storagebackend.ConfigForResource, prefix string, key func(runtime.Object) (string, error),
	newFunc, newList func() runtime.Object, attrs storage.AttrFunc, triggers storage.IndexerFuncs, indexers *cache.Indexers,
) (storage.Interface, factory.DestroyFunc, error) {
	raw, destroy, err := b.raw(c, newFunc, newList, prefix)
	if err != nil || !b.cached {
		return raw, destroy, err
	}
	cached, err := cacher.NewCacherFromConfig(cacher.Config{
		Storage: raw, Versioner: storage.APIObjectVersioner{}, GroupResource: c.GroupResource,
		EventsHistoryWindow: c.EventsHistoryWindow, ResourcePrefix: prefix, KeyFunc: key,
		NewFunc: newFunc, NewListFunc: newList, GetAttrsFunc: attrs, IndexerFuncs: triggers, Indexers: indexers, Codec: c.Codec,
	})
	if err != nil {
		destroy()
		return nil, nil, fmt.Errorf("making watch cache of %s: %w", c.GroupResource, err)
	}
	delegator := cacher.NewCacheDelegator(cached, raw)
	return delegator, sync.OnceFunc(func() {
		delegator.Stop()
		cached.Stop()
		destroy()
	}), nil
}

// Raw makes storage without a watch cache for objects that no resource serves.
func (b *Backend) Raw(gr schema.GroupResource, e Encoding, prefix string, newFunc, newList func() runtime.Object) (storage.Interface, error) {
	config := b.forResource(gr, e)
	s, destroy, err := b.raw(config, newFunc, newList, prefix)
	if err == nil {
		b.raws = append(b.raws, destroy)
	}
	return s, err
}

func (b *Backend) raw(c *storagebackend.ConfigForResource, newFunc, newList func() runtime.Object, prefix string) (storage.Interface, factory.DestroyFunc, error) {
	if !strings.HasPrefix(prefix, "/") {
		prefix = "/" + prefix
	}
	s, destroy, err := b.source.raw(c, newFunc, newList, prefix)
	if err != nil {
		return nil, nil, fmt.Errorf("making storage of %s: %w", c.GroupResource, err)
	}
	return s, destroy, nil
}
