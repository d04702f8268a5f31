package inprocess

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// write posts an object, or applies it, with strict validation of its fields.
func (e *env) write(t *testing.T, apply bool, path, name, text string) error {
	t.Helper()
	if apply {
		return e.CoreV1().RESTClient().Patch(types.ApplyPatchType).AbsPath(path, name).Param("fieldManager", "test").Param("fieldValidation", "Strict").Body([]byte(text)).Do(t.Context()).Error()
	}
	return e.CoreV1().RESTClient().Post().AbsPath(path).Param("fieldValidation", "Strict").SetHeader("Content-Type", "application/yaml").Body([]byte(text)).Do(t.Context()).Error()
}

const deploymentYAML = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: d
spec:
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec: {containers: [{name: c, image: "image:1"}]}
`

func TestFieldValidation(t *testing.T) {
	e := start(t)
	parallel(t, []subtest{
		{"typed object", e.typedFields},
		{"typed unknown metadata", e.typedMetadata},
		{"unknown fields CR no validation schema", e.customWithoutSchema},
		{"valid CR with validation schema", e.customValid},
		{"unknown fields CR fails validation", e.customUnknown},
		{"CR duplicates", e.customDuplicates},
		{"unknown metadata", e.customMetadata},
	})
}

func (e *env) typedFields(t *testing.T) {
	path := "/apis/apps/v1/namespaces/" + e.namespace(t) + "/deployments"
	const bad = deploymentYAML + "  unknown1: val1\n  unknownDupe: val1\n  unknownDupe: val2\n  paused: true\n  paused: false\n"
	refused(t, "a typed object", e.write(t, false, path, "d", bad), "strict decoding error", `unknown field "spec.unknown1"`, `unknown field "spec.unknownDupe"`, `key "paused" already set`)
	json := must(yaml.YAMLToJSON([]byte(deploymentYAML + "  unknown1: val1\n")))(t)
	json = append(json[:len(json)-2], `,"paused":true,"paused":false}}`...)
	err := e.CoreV1().RESTClient().Post().AbsPath(path).Param("fieldValidation", "Strict").Body(json).SetHeader("Content-Type", "application/json").Do(t.Context()).Error()
	refused(t, "a typed object as JSON", err, "strict decoding error", `unknown field "spec.unknown1"`, `duplicate field "spec.paused"`)
	refused(t, "applying duplicates", e.write(t, true, path, "d", deploymentYAML+"  paused: true\n  paused: false\n"), `key "paused" already set in map`)
	refused(t, "applying unknown fields", e.write(t, true, path, "d", deploymentYAML+"  unknown1: val1\n"), `.spec.unknown1: field not declared in schema`)
	must(0, e.write(t, false, path, "d", deploymentYAML))(t)
}

func (e *env) typedMetadata(t *testing.T) {
	path := "/apis/apps/v1/namespaces/" + e.namespace(t) + "/deployments"
	bad := strings.Replace(deploymentYAML, "metadata:\n", "metadata:\n  unknownMeta: unknown\n", 1)
	refused(t, "an object with unknown metadata", e.write(t, false, path, "d", bad), "strict decoding error", `unknown field "metadata.unknownMeta"`)
	refused(t, "applying it", e.write(t, true, path, "d", bad), "field not declared in schema")
}

// boatPath is the collection of boats of a group that is defined with a schema.
func (e *env) boatPath(t *testing.T, group string, schema *props) string {
	t.Helper()
	e.defined(t, define(group, schema, "v1"))
	return "/apis/" + group + "/v1/namespaces/" + e.namespace(t) + "/boats"
}

func boatYAML(group, rest string) string {
	return "apiVersion: " + group + "/v1\nkind: Boat\nmetadata:\n  name: b\n  finalizers: [example.com/test]\n" + rest
}

func (e *env) customWithoutSchema(t *testing.T) {
	const group = "noschema.example.com"
	path := e.boatPath(t, group, object(nil))
	must(0, e.write(t, true, path, "b", boatYAML(group, "spec: {foo: a, unknown: [1, {deep: x}]}\n")))(t)
	const other = "rooted.example.com"
	must(0, e.write(t, false, e.boatPath(t, other, object(nil)), "b", boatYAML(other, "spec: {foo: a}\nanything: else\n")))(t)
}

// boatSchema has a field, a list with a minimum in each of its elements, and nothing else.
func boatSchema() *props {
	port := object(definitions{"containerPort": {Type: "integer", Minimum: new(1.0)}})
	return object(definitions{"spec": *object(definitions{
		"foo":   {Type: "string"},
		"ports": {Type: "array", Items: &items{Schema: port}, XListType: new("atomic")},
	})})
}

func (e *env) customValid(t *testing.T) {
	const group = "valid.example.com"
	path := e.boatPath(t, group, boatSchema())
	const valid = "spec: {foo: foo1, ports: [{containerPort: 8080}]}\n"
	must(0, e.write(t, true, path, "b", boatYAML(group, valid)))(t)
	must(0, e.write(t, true, path, "b", boatYAML(group, "spec: {foo: foo2, ports: [{containerPort: 8081}]}\n")))(t)
	refused(t, "an invalid value", e.write(t, true, path, "c", "apiVersion: "+group+"/v1\nkind: Boat\nmetadata: {name: c}\nspec: {ports: [{containerPort: 0}]}\n"), "spec.ports[0].containerPort", "greater than or equal to 1")
}

func (e *env) customUnknown(t *testing.T) {
	const group = "unknown.example.com"
	path := e.boatPath(t, group, boatSchema())
	const bad = "spec: {foo: foo1, extraProperty: x}\n"
	refused(t, "creating", e.write(t, false, path, "b", boatYAML(group, bad)), "strict decoding error", `unknown field "spec.extraProperty"`)
	refused(t, "applying", e.write(t, true, path, "b", boatYAML(group, bad)), ".spec.extraProperty: field not declared in schema")
}

func (e *env) customDuplicates(t *testing.T) {
	const group = "duplicates.example.com"
	path := e.boatPath(t, group, object(nil))
	const bad = "spec:\n  unknown: u\n  foo: a\n  foo: b\n"
	refused(t, "creating", e.write(t, false, path, "b", boatYAML(group, bad)), `key "foo" already set in map`)
	refused(t, "applying", e.write(t, true, path, "b", boatYAML(group, bad)), `key "foo" already set in map`)
}

func (e *env) customMetadata(t *testing.T) {
	const group = "metadata.example.com"
	template := object(nil)
	template.XEmbeddedResource, template.XPreserveUnknownFields = true, new(true)
	path := e.boatPath(t, group, object(definitions{"spec": *object(definitions{"template": *template})}))
	const bad = `apiVersion: ` + group + `/v1
kind: Boat
metadata:
  name: b
  unknownMeta: unknown
spec:
  template:
    apiVersion: foo/v1
    kind: Sub
    metadata:
      unknownSubMeta: unknown
      name: sub
`
	refused(t, "creating", e.write(t, false, path, "b", bad), `unknown field "metadata.unknownMeta"`, `unknown field "spec.template.metadata.unknownSubMeta"`)
}
