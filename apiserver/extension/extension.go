// Package extension joins the servers of the delegation chain: it makes an APIService for every group
// version that this server has itself, for the built-in ones when it starts and for those of custom
// resource definitions as they come and go, so that the aggregator routes and lists them.
//
// It owns APIServices that carry the automanaged label; those that users create it leaves alone.
package extension

import (
	"context"
	"slices"
	"strings"

	apiextensionsinformers "k8s.io/apiextensions-apiserver/pkg/client/informers/externalversions/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/client-go/tools/cache"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistrationlisters "k8s.io/kube-aggregator/pkg/client/listers/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/controllers/autoregister"
)

// Registrar keeps the APIServices of this server's own groups.
type Registrar struct {
	builtin  []schema.GroupVersion
	services registration
	crds     *definitions
}

// registration is what autoregister's controller offers; its type is not exported.
type registration interface {
	autoregister.AutoAPIServiceRegistration
	Run(workers int, stop <-chan struct{})
}

// NewRegistrar makes a registrar for the paths that the delegates serve, and for what the informer
// knows of custom resource definitions. Controller is what autoregister.NewAutoRegisterController
// returned.
func NewRegistrar(controller registration, paths []string, crds apiextensionsinformers.CustomResourceDefinitionInformer) *Registrar {
	builtin := groupVersions(paths)
	for _, gv := range builtin {
		controller.AddAPIServiceToSyncOnStart(local(gv))
	}
	return &Registrar{builtin: builtin, services: controller, crds: newDefinitions(controller, crds)}
}

// Missing are the built-in group versions that have no APIService yet, without which discovery does not
// list them.
func (r *Registrar) Missing(services apiregistrationlisters.APIServiceLister) []schema.GroupVersion {
	return slices.DeleteFunc(slices.Clone(r.builtin), func(gv schema.GroupVersion) bool {
		_, err := services.Get(local(gv).Name)
		return err == nil
	})
}

// Run keeps them until ctx ends.
func (r *Registrar) Run(ctx context.Context) {
	// Before all definitions are known, their APIServices would look like leftovers and be deleted.
	if cache.WaitForCacheSync(ctx.Done(), r.crds.registered) {
		r.services.Run(5, ctx.Done())
	}
}

// groupVersions finds the group versions among the paths of a server.
func groupVersions(paths []string) []schema.GroupVersion {
	var out []schema.GroupVersion
	for _, p := range paths {
		switch f := strings.Split(strings.Trim(p, "/"), "/"); {
		case p == "/api/v1":
			out = append(out, schema.GroupVersion{Version: "v1"})
		case len(f) == 3 && f[0] == "apis":
			out = append(out, schema.GroupVersion{Group: f[1], Version: f[2]})
		}
	}
	return out
}

// priority orders groups and versions in discovery: clients that look for a kind by its bare name
// find it in the group with the higher number.
type priority struct{ group, version int32 }

// priorities are those of Kubernetes v1.37 for the versions that are served here.
var priorities = map[schema.GroupVersion]priority{
	{Version: "v1"}:                                        {18000, 1},
	{Group: "events.k8s.io", Version: "v1"}:                {17750, 15},
	{Group: "authentication.k8s.io", Version: "v1"}:        {17700, 15},
	{Group: "authorization.k8s.io", Version: "v1"}:         {17600, 15},
	{Group: "apps", Version: "v1"}:                         {17800, 15},
	{Group: "autoscaling", Version: "v1"}:                  {17500, 15},
	{Group: "autoscaling", Version: "v2"}:                  {17500, 30},
	{Group: "batch", Version: "v1"}:                        {17400, 15},
	{Group: "certificates.k8s.io", Version: "v1"}:          {17300, 15},
	{Group: "networking.k8s.io", Version: "v1"}:            {17200, 15},
	{Group: "policy", Version: "v1"}:                       {17100, 15},
	{Group: "rbac.authorization.k8s.io", Version: "v1"}:    {17000, 15},
	{Group: "storage.k8s.io", Version: "v1"}:               {16800, 15},
	{Group: "apiextensions.k8s.io", Version: "v1"}:         {16700, 15},
	{Group: "admissionregistration.k8s.io", Version: "v1"}: {16700, 15},
	{Group: "scheduling.k8s.io", Version: "v1"}:            {16600, 15},
	{Group: "coordination.k8s.io", Version: "v1"}:          {16500, 15},
	{Group: "node.k8s.io", Version: "v1"}:                  {16300, 15},
	{Group: "discovery.k8s.io", Version: "v1"}:             {16200, 15},
	{Group: "flowcontrol.apiserver.k8s.io", Version: "v1"}: {16100, 21},
	{Group: "resource.k8s.io", Version: "v1"}:              {15900, 20},

	// Removed versions, after the ones that took their place.
	{Group: "apps", Version: "v1beta2"}:              {17800, 9},
	{Group: "apps", Version: "v1beta1"}:              {17800, 1},
	{Group: "autoscaling", Version: "v2beta2"}:       {17500, 9},
	{Group: "batch", Version: "v1beta1"}:             {17400, 9},
	{Group: "networking.k8s.io", Version: "v1beta1"}: {17200, 9},
	{Group: "policy", Version: "v1beta1"}:            {17100, 9},
	{Group: "extensions", Version: "v1beta1"}:        {15000, 1},
}

// Order gives the built-in groups their order in aggregated discovery. The aggregator does so for the
// APIServices of other servers alone.
func Order(discovery aggregated.ResourceManager) {
	for gv, p := range priorities {
		if gv.Group != "" { // it has a document of its own
			discovery.SetGroupVersionPriority(metav1.GroupVersion(gv), int(p.group), int(p.version))
		}
	}
}

// custom is the priority of groups made by custom resource definitions.
var custom = priority{1000, 100}

// local makes the APIService of a group version that this server serves itself.
func local(gv schema.GroupVersion) *apiregistrationv1.APIService {
	p, ok := priorities[gv]
	if !ok {
		p = custom
	}
	return &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: gv.Version + "." + gv.Group},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: gv.Group, Version: gv.Version,
			GroupPriorityMinimum: p.group, VersionPriority: p.version,
		},
	}
}
