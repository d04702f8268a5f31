package apiserver

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"coracle.dev/coracle/apis/catalog"
	"coracle.dev/coracle/apiserver/expression"
	"coracle.dev/coracle/apiserver/registry"
	"coracle.dev/coracle/apiserver/storage"
)

// served are the storages of the built-in resources: by resource, and by the version and path at
// which they are installed.
type served struct {
	stores map[schema.GroupResource]*registry.Storage
	groups []string // in discovery order
	paths  map[schema.GroupVersion]map[string]rest.Storage
}

// put installs s at name, such as "pods/log", of one version.
func (r *served) put(gv schema.GroupVersion, name string, s rest.Storage) {
	r.version(gv)[name] = s
}

func (r *served) version(gv schema.GroupVersion) map[string]rest.Storage {
	m, ok := r.paths[gv]
	if !ok {
		if !slices.Contains(r.groups, gv.Group) {
			r.groups = append(r.groups, gv.Group)
		}
		m = map[string]rest.Storage{}
		r.paths[gv] = m
	}
	return m
}

// newServed makes the storages of the catalog.
func (c CompletedConfig) newServed(getter *storage.Getter) (*served, error) {
	r := &served{stores: map[schema.GroupResource]*registry.Storage{}, paths: map[schema.GroupVersion]map[string]rest.Storage{}}
	for _, d := range catalog.Resources() {
		expression.Complete(d)
		var s *registry.Storage
		var err error
		if d.StoredAs.Empty() {
			s, err = registry.New(d, getter, c.storeOptions(d.GroupResource())...)
		} else if of, ok := r.stores[d.StoredAs]; ok {
			s = of.View(d)
		} else {
			err = fmt.Errorf("making storage of %s: %s is not listed before it", d.GroupResource(), d.StoredAs)
		}
		if err != nil {
			return nil, err
		}
		r.stores[d.GroupResource()] = s
		for _, gv := range d.Served() {
			s.AddTo(r.version(gv))
		}
	}
	return r, nil
}

func (c CompletedConfig) storeOptions(gr schema.GroupResource) []registry.Option {
	if gr == (schema.GroupResource{Resource: "events"}) {
		ttl := uint64(c.options.EventTTL.Seconds())
		return []registry.Option{func(s *genericregistry.Store) {
			s.TTLFunc = func(runtime.Object, uint64, bool) (uint64, error) { return ttl, nil }
		}}
	}
	return nil
}

// encodings remembers the encoding of each group: protobuf in the hub version.
func (c CompletedConfig) encodings() func(schema.GroupResource) (storage.Encoding, error) {
	hubs := map[string]schema.GroupVersion{}
	for _, d := range catalog.Resources() {
		hubs[d.Version.Group] = d.Version
	}
	made := map[string]storage.Encoding{}
	return func(gr schema.GroupResource) (storage.Encoding, error) {
		if e, ok := made[gr.Group]; ok {
			return e, nil
		}
		hub, ok := hubs[gr.Group]
		if !ok {
			return storage.Encoding{}, fmt.Errorf("resource %s is not in the catalog", gr)
		}
		e, err := storage.NewEncoding(c.Codecs, hub, storage.Protobuf)
		if err == nil {
			made[gr.Group] = e
		}
		return e, err
	}
}

// groupInfos arranges the storages for installation, the legacy group first.
func (c CompletedConfig) groupInfos(r *served) []*genericapiserver.APIGroupInfo {
	var infos []*genericapiserver.APIGroupInfo
	for _, g := range r.groups {
		info := genericapiserver.NewDefaultAPIGroupInfo(g, c.Scheme, runtime.NewParameterCodec(c.Scheme), c.Codecs)
		for gv, m := range r.paths {
			if gv.Group == g {
				info.VersionedResourcesStorageMap[gv.Version] = m
			}
		}
		infos = append(infos, &info)
	}
	return infos
}
