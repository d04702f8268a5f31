package extension

import (
	"sync"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsinformers "k8s.io/apiextensions-apiserver/pkg/client/informers/externalversions/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kube-aggregator/pkg/controllers/autoregister"
)

// definitions keeps one APIService for each group version that some custom resource definition serves.
type definitions struct {
	services autoregister.AutoAPIServiceRegistration
	handler  cache.ResourceEventHandlerRegistration

	mu sync.Mutex
	// served has, for each group version, the names of the definitions that serve it.
	served map[schema.GroupVersion]map[string]bool
}

func newDefinitions(services autoregister.AutoAPIServiceRegistration, crds apiextensionsinformers.CustomResourceDefinitionInformer) *definitions {
	d := &definitions{services: services, served: map[schema.GroupVersion]map[string]bool{}}
	handler, err := crds.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { d.put(obj.(*apiextensionsv1.CustomResourceDefinition)) },
		UpdateFunc: func(_, obj any) { d.put(obj.(*apiextensionsv1.CustomResourceDefinition)) },
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if crd, ok := obj.(*apiextensionsv1.CustomResourceDefinition); ok {
				d.set(crd.Name, nil)
			}
		},
	})
	if err == nil { // adding fails on a stopped informer alone, and then nothing is served any more
		d.handler = handler
	}
	return d
}

// registered says whether the definitions that existed at start have been seen.
func (d *definitions) registered() bool { return d.handler != nil && d.handler.HasSynced() }

func (d *definitions) put(crd *apiextensionsv1.CustomResourceDefinition) {
	var serves []schema.GroupVersion
	for _, v := range crd.Spec.Versions {
		if v.Served {
			serves = append(serves, schema.GroupVersion{Group: crd.Spec.Group, Version: v.Name})
		}
	}
	d.set(crd.Name, serves)
}

// set records what the definition serves now, and registers or removes the group versions of which it
// is the first or was the last.
func (d *definitions) set(name string, serves []schema.GroupVersion) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := map[schema.GroupVersion]bool{}
	for _, gv := range serves {
		now[gv] = true
		if d.served[gv] == nil {
			d.served[gv] = map[string]bool{}
			d.services.AddAPIServiceToSync(local(gv))
		}
		d.served[gv][name] = true
	}
	for gv, by := range d.served {
		if !by[name] || now[gv] {
			continue
		}
		delete(by, name)
		if len(by) == 0 {
			delete(d.served, gv)
			d.services.RemoveAPIServiceToSync(gv.Version + "." + gv.Group)
		}
	}
}
