package garbagecollector

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

type resource = schema.GroupVersionResource

// kind is a kind as discovery tells of it.
type kind struct {
	resource   resource
	kind       string
	namespaced bool
}

// kinds are all kinds that are served, in every version.
type kinds map[schema.GroupVersionKind]kind

func (k kinds) find(apiVersion, name string) (kind, bool) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return kind{}, false
	}
	found, known := k[gv.WithKind(name)]
	return found, known
}

// ignored are resources that own nothing and that nobody owns, and that come in
// large numbers.
var ignored = map[schema.GroupResource]bool{
	{Resource: "events"}:                         true,
	{Group: "events.k8s.io", Resource: "events"}: true,
}

// secondView is a group that shows what other groups have, under its old name.
const secondView = "extensions"

// watched picks what to watch: each resource that can be deleted, listed and
// watched, in the first version of its group that has it, the preferred one
// before the others.
func watched(groups []*metav1.APIGroup, lists []*metav1.APIResourceList) (watch []kind, all kinds) {
	byVersion := map[string]*metav1.APIResourceList{}
	for _, l := range lists {
		byVersion[l.GroupVersion] = l
	}
	all = kinds{}
	seen := map[schema.GroupResource]bool{}
	for _, g := range groups {
		for _, version := range versions(g) {
			list := byVersion[version.String()]
			if list == nil {
				continue
			}
			for i := range list.APIResources {
				r := &list.APIResources[i]
				if strings.Contains(r.Name, "/") {
					continue
				}
				k := kind{resource: version.WithResource(r.Name), kind: r.Kind, namespaced: r.Namespaced}
				all[version.WithKind(r.Kind)] = k
				gr := k.resource.GroupResource()
				if seen[gr] || ignored[gr] || gr.Group == secondView || !has(r.Verbs, "delete", "list", "watch") {
					continue
				}
				seen[gr] = true
				watch = append(watch, k)
			}
		}
	}
	return watch, all
}

func versions(g *metav1.APIGroup) []schema.GroupVersion {
	preferred := schema.GroupVersion{Group: g.Name, Version: g.PreferredVersion.Version}
	out := []schema.GroupVersion{preferred}
	for _, v := range g.Versions {
		if gv := (schema.GroupVersion{Group: g.Name, Version: v.Version}); gv != preferred {
			out = append(out, gv)
		}
	}
	return out
}

func has(verbs metav1.Verbs, want ...string) bool {
	return !slices.ContainsFunc(want, func(v string) bool { return !slices.Contains(verbs, v) })
}
