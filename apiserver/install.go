package apiserver

import (
	"fmt"
	"maps"
	"path"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	genericapi "k8s.io/apiserver/pkg/endpoints"
	"k8s.io/apiserver/pkg/endpoints/discovery"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

// installer installs the built-in groups on a generic server. The generic server can do that too, but
// it builds the OpenAPI models of all types each time it starts; here they are prebuilt and read when
// the first object is written.
type installer struct {
	server *genericapiserver.GenericAPIServer
	config *genericapiserver.Config
	types  managedfields.TypeConverter
}

// install makes every path of the groups known, with its discovery.
func (i *installer) install(infos []*genericapiserver.APIGroupInfo) error {
	for _, info := range infos {
		group := info.PrioritizedVersions[0].Group
		prefix := genericapiserver.APIGroupPrefix
		if group == "" {
			prefix = genericapiserver.DefaultLegacyAPIPrefix
		}
		for _, gv := range info.PrioritizedVersions {
			if err := i.installVersion(prefix, info, gv); err != nil {
				return fmt.Errorf("installing %s: %w", gv, err)
			}
		}
		i.server.RegisterDestroyFunc(func() { destroy(info) })
		if group == "" {
			i.listLegacy(prefix)
		} else {
			i.list(info)
		}
	}
	return nil
}

func (i *installer) installVersion(prefix string, info *genericapiserver.APIGroupInfo, gv schema.GroupVersion) error {
	storages := info.VersionedResourcesStorageMap[gv.Version]
	if len(storages) == 0 {
		return nil
	}
	everywhere := map[string][]string{}
	for version, m := range info.VersionedResourcesStorageMap {
		for name := range m {
			everywhere[name] = append(everywhere[name], path.Join(gv.Group, version))
		}
	}
	version := &genericapi.APIGroupVersion{
		Root: prefix, GroupVersion: gv, Storage: maps.Clone(storages), AllServedVersionsByResource: everywhere,
		MetaGroupVersion: info.MetaGroupVersion, OptionsExternalVersion: info.OptionsExternalVersion,
		ParameterCodec: info.ParameterCodec, Serializer: info.NegotiatedSerializer,
		Creater: info.Scheme, Convertor: info.Scheme, ConvertabilityChecker: info.Scheme, Defaulter: info.Scheme, Typer: info.Scheme,
		UnsafeConvertor: runtime.UnsafeObjectConvertor(info.Scheme), Namer: runtime.Namer(meta.NewAccessor()),
		TypeConverter: i.types, EquivalentResourceRegistry: i.server.EquivalentResourceRegistry,
		Admit: i.config.AdmissionControl, Authorizer: i.server.Authorizer,
		MinRequestTimeout:   time.Duration(i.config.MinRequestTimeout) * time.Second,
		MaxRequestBodyBytes: i.config.MaxRequestBodyBytes,
	}
	resources, _, err := version.InstallREST(i.server.Handler.GoRestfulContainer)
	if err != nil {
		return err
	}
	manager := i.server.AggregatedDiscoveryGroupManager
	if prefix == genericapiserver.DefaultLegacyAPIPrefix {
		manager = i.server.AggregatedLegacyDiscoveryGroupManager
	}
	manager.AddGroupVersion(gv.Group, apidiscoveryv2.APIVersionDiscovery{
		Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent, Version: gv.Version, Resources: resources,
	})
	return nil
}

// list makes /apis/<group>.
func (i *installer) list(info *genericapiserver.APIGroupInfo) {
	group := metav1.APIGroup{Name: info.PrioritizedVersions[0].Group}
	for _, gv := range info.PrioritizedVersions {
		if len(info.VersionedResourcesStorageMap[gv.Version]) > 0 {
			group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version})
		}
	}
	group.PreferredVersion = group.Versions[0]
	i.server.DiscoveryGroupManager.AddGroup(group)
	i.server.Handler.GoRestfulContainer.Add(discovery.NewAPIGroupHandler(i.server.Serializer, group).WebService())
}

// listLegacy makes /api.
func (i *installer) listLegacy(prefix string) {
	root := discovery.NewLegacyRootAPIHandler(i.config.DiscoveryAddresses, i.server.Serializer, prefix)
	manager := i.server.AggregatedLegacyDiscoveryGroupManager
	handler := aggregated.WrapAggregatedDiscoveryToHandler(root, manager, manager)
	i.server.Handler.GoRestfulContainer.Add(handler.GenerateWebService(prefix, metav1.APIVersions{}))
}

func destroy(info *genericapiserver.APIGroupInfo) {
	for _, m := range info.VersionedResourcesStorageMap {
		for _, s := range m {
			s.Destroy()
		}
	}
}

// readiness collects the checks of all watch caches.
func readiness(r *served) []rest.StorageWithReadiness {
	var out []rest.StorageWithReadiness
	for gr, s := range r.stores {
		if s.Descriptor().StoredAs.Empty() {
			out = append(out, r.stores[gr])
		}
	}
	return out
}
