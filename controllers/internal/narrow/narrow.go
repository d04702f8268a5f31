// Package narrow makes caches of some objects of a kind, for kinds of which all
// would be too many to hold: ConfigMaps and Secrets.
package narrow

import (
	"fmt"

	"k8s.io/apimachinery/pkg/fields"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Cache makes a cache of the objects of obj's kind whose field has a value, in
// the given namespaces or, if there are none, in all. The manager runs it.
func Cache(mgr ctrl.Manager, obj client.Object, field, value string, namespaces ...string) (cache.Cache, error) {
	o := cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject:         map[client.Object]cache.ByObject{obj: {Field: fields.OneTermEqualSelector(field, value)}},
	}
	for _, n := range namespaces {
		if o.DefaultNamespaces == nil {
			o.DefaultNamespaces = map[string]cache.Config{}
		}
		o.DefaultNamespaces[n] = cache.Config{}
	}
	c, err := cache.New(mgr.GetConfig(), o)
	if err != nil {
		return nil, fmt.Errorf("making the cache of %T with %s %s: %w", obj, field, value, err)
	}
	if err := mgr.Add(c); err != nil {
		return nil, fmt.Errorf("adding the cache of %T with %s %s: %w", obj, field, value, err)
	}
	return c, nil
}
