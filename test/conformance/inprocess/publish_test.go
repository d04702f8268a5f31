package inprocess

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/cmd"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
)

// published returns the schema of a kind that is in the OpenAPI documents of both versions, or nil. A
// version that a definition stops serving stays in the document of version 3, in Kubernetes 1.37 as here.
func (e *env) published(ctx context.Context, group, version, kind string) (map[string]any, error) {
	reversed := strings.Split(group, ".")
	slices.Reverse(reversed)
	name := strings.Join(reversed, ".") + "." + version + "." + kind
	var v3 struct {
		Components struct{ Schemas map[string]map[string]any }
	}
	body, _, err := e.raw(ctx, "/openapi/v3/apis/"+group+"/"+version, "application/json")
	if err != nil {
		if strings.Contains(err.Error(), "status 404") {
			err = nil
		}
		return nil, err
	}
	if err := json.Unmarshal(body, &v3); err != nil || v3.Components.Schemas[name] == nil {
		return nil, err
	}
	var v2 struct{ Definitions map[string]map[string]any }
	if body, _, err = e.raw(ctx, "/openapi/v2", "application/json"); err != nil {
		return nil, err
	}
	err = json.Unmarshal(body, &v2)
	return v2.Definitions[name], err
}

// publishes waits until a kind is in the documents, or is not.
func (e *env) publishes(t *testing.T, group, version, kind string, want bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s/%s %s is published: %v", group, version, kind, want), func(ctx context.Context) error {
		s, err := e.published(ctx, group, version, kind)
		if err == nil && (s != nil) != want {
			err = fmt.Errorf("got %v", s)
		}
		return err
	})
}

// TestPublishedSchemas runs its subtests in turn, as kubectl's library is one for the process.
func TestPublishedSchemas(t *testing.T) {
	e := start(t)
	for _, test := range []subtest{
		{"with validation schema", e.publishValidated},
		{"preserve-unknown-fields in object", e.publishWithoutSchema},
		{"preserve-unknown-fields at root", e.publishRoot},
		{"preserve-unknown-fields in embedded object", e.publishEmbedded},
		{"varying groups", e.publishGroups},
		{"varying versions", e.publishVersions},
		{"varying kinds", e.publishKinds},
		{"version rename", e.publishRename},
		{"stop serving version", e.publishStop},
	} {
		t.Run(test.name, test.run)
	}
}

// kubectl runs a command of the library that kubectl is made of; "-" among the arguments becomes a
// file with the manifest.
func (e *env) kubectl(t *testing.T, manifest string, args ...string) (_ string, err error) {
	t.Helper()
	dir, kubeconfig := t.TempDir(), e.kubeconfig(t)
	cache, in := filepath.Join(dir, "cache"), filepath.Join(dir, "in.yaml")
	must(0, os.WriteFile(in, []byte(manifest), 0o600))(t)
	flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag()
	flags.KubeConfig, flags.CacheDir = &kubeconfig, &cache
	cmdutil.BehaviorOnFatal(func(message string, _ int) { panic(fmt.Errorf("%s", message)) })
	defer cmdutil.DefaultBehaviorOnFatal()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("kubectl %s: %v", strings.Join(args, " "), r)
		}
	}()
	var out bytes.Buffer
	root := cmd.NewKubectlCommand(cmd.KubectlOptions{ConfigFlags: flags, IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out}})
	for i, a := range args {
		if a == "-" {
			args[i] = in
		}
	}
	root.SetArgs(args)
	root.SilenceUsage = true
	err = root.Execute()
	return out.String(), err
}

// explains runs kubectl explain, and looks for texts.
func (e *env) explains(t *testing.T, path, group string, texts ...string) {
	t.Helper()
	out, err := e.kubectl(t, "", "explain", path, "--api-version", group+"/v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("kubectl explain %s has no %q:\n%s", path, text, out)
		}
	}
}

// accepts creates, applies and deletes by kubectl.
func (e *env) accepts(t *testing.T, manifest string) {
	t.Helper()
	for _, command := range []string{"create", "delete", "apply", "delete"} {
		if out, err := e.kubectl(t, manifest, command, "-f", "-"); err != nil {
			t.Errorf("kubectl %s: %v\n%s", command, err, out)
		}
	}
}

func (e *env) publishValidated(t *testing.T) {
	const group = "schema.example.com"
	bar := object(definitions{"name": {Type: "string", Description: "Name of Bar."}, "age": {Type: "string", Description: "Age of Bar."}, "bazs": {Type: "array", Items: &items{Schema: &props{Type: "string"}}}})
	bar.Required = []string{"name"}
	spec := object(definitions{"bars": {Type: "array", Description: "List of Bars and their specs.", Items: &items{Schema: bar}}})
	root := object(definitions{"spec": *spec})
	root.Description = "A boat for tests."
	e.defined(t, define(group, root, "v1"))
	e.publishes(t, group, "v1", "Boat", true)
	manifest := func(spec string) string {
		return "apiVersion: " + group + "/v1\nkind: Boat\nmetadata: {name: b, namespace: default}\nspec: " + spec
	}
	e.accepts(t, manifest("{bars: [{name: test, age: '10'}]}"))
	for _, command := range []string{"create", "apply"} {
		_, err := e.kubectl(t, manifest("{bars: [{name: test, unknown: x}]}"), command, "-f", "-")
		refused(t, command+" with an unknown property", err, `unknown field "spec.bars[0].unknown"`)
		_, err = e.kubectl(t, manifest("{bars: [{age: '10'}]}"), command, "-f", "-")
		refused(t, command+" without a required property", err, "spec.bars[0].name", "Required value")
	}
	e.explains(t, "boats", group, "KIND:       Boat", "A boat for tests.", "metadata", "spec")
	e.explains(t, "boats.spec", group, "List of Bars and their specs.")
	e.explains(t, "boats.spec.bars", group, "age", "Age of Bar.", "bazs", "name", "-required-")
	if out, err := e.kubectl(t, "", "explain", "boats.spec.bars2", "--api-version", group+"/v1"); err == nil || !strings.Contains(err.Error(), `field "bars2" does not exist`) {
		t.Errorf("explaining a property that is not there: %v\n%s", err, out)
	}
}

func (e *env) publishWithoutSchema(t *testing.T) {
	const group = "without.example.com"
	e.defined(t, define(group, object(nil), "v1"))
	e.publishes(t, group, "v1", "Boat", true)
	e.accepts(t, "apiVersion: "+group+"/v1\nkind: Boat\nmetadata: {name: b, namespace: default}\na: {b: [{c: d}]}\n")
	e.explains(t, "boats", group, "DESCRIPTION:\n", "<empty>")
}

func (e *env) publishRoot(t *testing.T) {
	const group = "root.example.com"
	root := object(definitions{"spec": *object(definitions{"known": {Type: "string"}}), "status": *object(definitions{})})
	root.XPreserveUnknownFields = new(true)
	e.defined(t, define(group, root, "v1"))
	e.publishes(t, group, "v1", "Boat", true)
	e.accepts(t, "apiVersion: "+group+"/v1\nkind: Boat\nmetadata: {name: b, namespace: default}\nunknown: {b: [{c: d}]}\n")
	e.explains(t, "boats", group, "KIND:       Boat")
}

func (e *env) publishEmbedded(t *testing.T) {
	const group = "embedded.example.com"
	embedded := object(nil)
	embedded.Description, embedded.XEmbeddedResource = "Embedded object.", true
	e.defined(t, define(group, object(definitions{"spec": *embedded}), "v1"))
	e.publishes(t, group, "v1", "Boat", true)
	if s := must(e.published(t.Context(), group, "v1", "Boat"))(t); !strings.Contains(fmt.Sprint(s["properties"]), "x-kubernetes-preserve-unknown-fields:true") {
		t.Errorf("the published schema is %v", s)
	}
	e.accepts(t, "apiVersion: "+group+"/v1\nkind: Boat\nmetadata: {name: b, namespace: default}\nspec: {apiVersion: v1, kind: X, b: [{c: d}]}\n")
	e.explains(t, "boats", group, "KIND:       Boat", "Embedded object.")
}

func (e *env) publishGroups(t *testing.T) {
	e.defined(t, define("group1.example.com", object(nil), "v1"))
	e.defined(t, define("group2.example.com", object(nil), "v2"))
	e.publishes(t, "group1.example.com", "v1", "Boat", true)
	e.publishes(t, "group2.example.com", "v2", "Boat", true)
}

func (e *env) publishVersions(t *testing.T) {
	e.defined(t, define("versions.example.com", object(nil), "v2", "v3"))
	for _, v := range []string{"v2", "v3"} {
		e.publishes(t, "versions.example.com", v, "Boat", true)
	}
}

func (e *env) publishKinds(t *testing.T) {
	const group = "kinds.example.com"
	e.defined(t, define(group, object(nil), "v1"))
	ships := define(group, object(nil), "v1")
	ships.Name, ships.Spec.Names = "ships."+group, apiextensionsv1.CustomResourceDefinitionNames{Plural: "ships", Kind: "Ship"}
	e.defined(t, ships)
	e.publishes(t, group, "v1", "Boat", true)
	e.publishes(t, group, "v1", "Ship", true)
}

func (e *env) publishRename(t *testing.T) {
	const group = "rename.example.com"
	e.defined(t, define(group, object(nil), "v2", "v3"))
	e.publishes(t, group, "v3", "Boat", true)
	patch := []byte(`[{"op":"test","path":"/spec/versions/1/name","value":"v3"},{"op":"replace","path":"/spec/versions/1/name","value":"v4"}]`)
	must(e.ext.ApiextensionsV1().CustomResourceDefinitions().Patch(t.Context(), "boats."+group, types.JSONPatchType, patch, metav1.PatchOptions{}))(t)
	e.publishes(t, group, "v4", "Boat", true)
	e.publishes(t, group, "v3", "Boat", false)
	e.publishes(t, group, "v2", "Boat", true)
}

func (e *env) publishStop(t *testing.T) {
	const group = "stop.example.com"
	e.defined(t, define(group, object(nil), "v5", "v6"))
	e.publishes(t, group, "v6", "Boat", true)
	patch := []byte(`[{"op":"test","path":"/spec/versions/1/name","value":"v6"},{"op":"replace","path":"/spec/versions/1/served","value":false}]`)
	must(e.ext.ApiextensionsV1().CustomResourceDefinitions().Patch(t.Context(), "boats."+group, types.JSONPatchType, patch, metav1.PatchOptions{}))(t)
	e.publishes(t, group, "v6", "Boat", false)
	e.publishes(t, group, "v5", "Boat", true)
}
