package inprocess

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

func TestDiscovery(t *testing.T) {
	e := start(t)
	e.defined(t, define("discovered.example.com", object(nil), "v1"))
	for _, test := range []subtest{
		{"aggregated discovery interface", e.aggregatedInterface},
		{"aggregated discovery interface for CRDs", e.aggregatedInterfaceCustom},
		{"aggregated discovery Accept headers", e.aggregatedAccept},
		{"aggregated discovery Accept headers for CRDs", e.aggregatedAcceptCustom},
		{"group version and resource of each group", e.eachGroup},
		{"preferred version of each group", e.preferredVersions},
		{"webhook resources", func(t *testing.T) {
			for _, r := range []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} {
				e.discovered(t, operation{group: "admissionregistration.k8s.io", version: "v1", resource: r})
			}
		}},
		{"server version", e.serverVersion},
		{"table of a backend without metadata", e.tableNotAcceptable},
	} {
		t.Run(test.name, test.run)
	}
}

// builtin are some of the resources that every server has.
var builtin = []schema.GroupVersionResource{
	{Version: "v1", Resource: "pods"}, {Version: "v1", Resource: "namespaces"}, {Version: "v1", Resource: "services"},
	{Group: "apps", Version: "v1", Resource: "deployments"}, {Group: "apps", Version: "v1", Resource: "statefulsets"}, {Group: "batch", Version: "v1", Resource: "jobs"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}, {Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"},
	{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}, {Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
}

var customBoats = schema.GroupVersionResource{Group: "discovered.example.com", Version: "v1", Resource: "boats"}

// hasAggregated looks for a resource through client-go's aggregated interface, which falls back to
// nothing: it fails if a server does not aggregate.
func (e *env) hasAggregated(gvr schema.GroupVersionResource) error {
	_, resources, failed, err := e.disco.GroupsAndMaybeResources()
	if err != nil {
		return err
	}
	if resources == nil || len(failed) > 0 {
		return fmt.Errorf("the server has no aggregated discovery, or not all of it: %v", failed)
	}
	list := resources[gvr.GroupVersion()]
	if list == nil || !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == gvr.Resource }) {
		return fmt.Errorf("there is no %s", gvr)
	}
	return nil
}

func (e *env) aggregatedInterface(t *testing.T) {
	for _, gvr := range builtin {
		if err := e.hasAggregated(gvr); err != nil {
			t.Error(err)
		}
	}
}

func (e *env) aggregatedInterfaceCustom(t *testing.T) {
	eventually(t, "the custom resource is discovered", func(context.Context) error { return e.hasAggregated(customBoats) })
}

// aggregatedAs gets /api or /apis in one of the versions of the aggregated document.
func (e *env) aggregatedAs(ctx context.Context, path, version string) (*apidiscovery.APIGroupDiscoveryList, error) {
	body, contentType, err := e.raw(ctx, path, "application/json;g=apidiscovery.k8s.io;v="+version+";as=APIGroupDiscoveryList")
	if err != nil {
		return nil, err
	}
	if !strings.Contains(contentType, "as=APIGroupDiscoveryList") {
		return nil, fmt.Errorf("%s is served as %s", path, contentType)
	}
	var list apidiscovery.APIGroupDiscoveryList
	return &list, json.Unmarshal(body, &list)
}

// raw gets a path, accepting one content type.
func (e *env) raw(ctx context.Context, path, accept string) (body []byte, contentType string, err error) {
	client, err := rest.HTTPClientFor(e.cfg)
	if err != nil {
		return nil, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.cfg.Host+path, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", accept)
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return body, resp.Header.Get("Content-Type"), err
}

func has(list *apidiscovery.APIGroupDiscoveryList, gvr schema.GroupVersionResource) bool {
	for _, g := range list.Items {
		for _, v := range g.Versions {
			if g.Name == gvr.Group && v.Version == gvr.Version && slices.ContainsFunc(v.Resources, func(r apidiscovery.APIResourceDiscovery) bool { return r.Resource == gvr.Resource }) {
				return true
			}
		}
	}
	return false
}

func (e *env) aggregatedAccept(t *testing.T) {
	core, groups := must(e.aggregatedAs(t.Context(), "/api", "v2"))(t), must(e.aggregatedAs(t.Context(), "/apis", "v2"))(t)
	for _, gvr := range builtin {
		if list := map[bool]*apidiscovery.APIGroupDiscoveryList{true: core, false: groups}[gvr.Group == ""]; !has(list, gvr) {
			t.Errorf("there is no %s", gvr)
		}
	}
	// Who accepts nothing but plain JSON gets the list of groups.
	body, _, err := e.raw(t.Context(), "/apis", "application/json")
	if err != nil || !strings.Contains(string(body), `"APIGroupList"`) {
		t.Errorf("as plain JSON: %v: %.200s", err, body)
	}
}

func (e *env) aggregatedAcceptCustom(t *testing.T) {
	eventually(t, "the custom resource is discovered", func(ctx context.Context) error {
		list, err := e.aggregatedAs(ctx, "/apis", "v2")
		if err == nil && !has(list, customBoats) {
			err = fmt.Errorf("there is no %s", customBoats)
		}
		return err
	})
}

func (e *env) eachGroup(t *testing.T) {
	for _, g := range must(e.disco.ServerGroups())(t).Groups {
		for _, v := range g.Versions {
			list := must(e.disco.ServerResourcesForGroupVersion(v.GroupVersion))(t)
			if strings.HasSuffix(g.Name, ".metrics.k8s.io") && len(list.APIResources) == 0 {
				continue // what metrics there are is not known before somebody asks
			}
			if list.GroupVersion != v.GroupVersion || len(list.APIResources) == 0 || list.APIResources[0].Name == "" || list.APIResources[0].Kind == "" {
				t.Errorf("%s: got %s with %d resources", v.GroupVersion, list.GroupVersion, len(list.APIResources))
			}
		}
	}
}

func (e *env) preferredVersions(t *testing.T) {
	var groups metav1.APIGroupList
	if err := e.disco.RESTClient().Get().AbsPath("/apis").Do(t.Context()).Into(&groups); err != nil {
		t.Fatal(err)
	}
	if len(groups.Groups) < 15 {
		t.Errorf("there are %d groups", len(groups.Groups))
	}
	for _, g := range groups.Groups {
		var group metav1.APIGroup
		if err := e.disco.RESTClient().Get().AbsPath("/apis/" + g.Name).Do(t.Context()).Into(&group); err != nil {
			t.Fatal(err)
		}
		if p := group.PreferredVersion; p.GroupVersion == "" || p != g.PreferredVersion || !slices.Contains(group.Versions, p) {
			t.Errorf("%s prefers %v of %v; in /apis %v", g.Name, p, group.Versions, g.PreferredVersion)
		}
	}
}

func (e *env) serverVersion(t *testing.T) {
	v := must(e.disco.ServerVersion())(t)
	// A build without linker flags has the library's version, which ends in a plus sign.
	if integer := regexp.MustCompile(`^\d+$`); v.GitVersion == "" || !integer.MatchString(v.Major) || !integer.MatchString(v.Minor) {
		t.Errorf("the version is %+v", v)
	}
}

func (e *env) tableNotAcceptable(t *testing.T) {
	review := []byte(`{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"nonResourceAttributes":{"path":"/","verb":"get"}}}`)
	code := 0
	err := e.AuthorizationV1().RESTClient().Post().Resource("selfsubjectaccessreviews").SetHeader("Content-Type", "application/json").
		SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").Body(review).Do(t.Context()).StatusCode(&code).Error()
	if err == nil || code != http.StatusNotAcceptable {
		t.Errorf("asking for a table: status %d, %v", code, err)
	}
}
