package expression

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/catalog"
	"coracle.dev/coracle/apis/resource"
)

// descriptor returns one whose validation says nothing but what this package adds.
func descriptor(t *testing.T, obj runtime.Object) *resource.Descriptor {
	t.Helper()
	for _, d := range catalog.Resources() {
		if reflect.TypeOf(d.New()) == reflect.TypeOf(obj) {
			d.Validate = func(runtime.Object) field.ErrorList { return nil }
			d.ValidateUpdate = func(runtime.Object, runtime.Object) field.ErrorList { return nil }
			Complete(d)
			return d
		}
	}
	t.Fatalf("no resource of type %T", obj)
	return nil
}

func TestExpressions(t *testing.T) {
	decoder := serializer.NewCodecFactory(catalog.NewScheme()).UniversalDecoder(admissionv1.SchemeGroupVersion, resourcev1.SchemeGroupVersion)
	for _, c := range []struct {
		name, in string
		want     []string // "path: what the message holds"
	}{
		{"right", `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
spec:
  paramKind: {apiVersion: v1, kind: ConfigMap}
  matchConditions: [{name: m, expression: "request.userInfo.username != 'x' && authorizer.group('').resource('pods').check('get').allowed()"}]
  variables: [{name: size, expression: "object.spec.replicas"}, {name: twice, expression: "variables.size * 2"}]
  validations: [{expression: "variables.twice < 10 && params.data.a == 'b'", messageExpression: "'too many: ' + string(variables.size)"}]
  auditAnnotations: [{key: k, valueExpression: "string(variables.size)"}]
`, nil},
		{"faults all at once", `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
spec:
  matchConditions: [{name: m, expression: "object.x =="}]
  variables: [{name: size, expression: "nobody"}]
  validations: [{expression: "1 + 1", messageExpression: "authorizer.group('')"}, {expression: "params.a == 1"}]
  auditAnnotations: [{key: k, valueExpression: "true"}]
`, []string{
			"spec.matchConditions[0].expression: Syntax error",
			"spec.variables[0].expression: undeclared reference to 'nobody'",
			"spec.validations[0].expression: must evaluate to bool but got int",
			"spec.validations[0].messageExpression: undeclared reference to 'authorizer'",
			"spec.validations[1].expression: undeclared reference to 'params'",
			"spec.auditAnnotations[0].valueExpression: must evaluate to one of",
		}},
		{"mutating", `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
spec:
  mutations:
  - {patchType: ApplyConfiguration, applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: {'a': 'b'}}}"}}
  - {patchType: JSONPatch, jsonPatch: {expression: "[JSONPatch{op: 'add', path: '/metadata/labels/a', value: 'b'}]"}}
  - {patchType: JSONPatch, jsonPatch: {expression: "'text'"}}
`, []string{"spec.mutations[2].jsonPatch.expression: must evaluate to"}},
		{"webhook", `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
webhooks: [{name: a.example.com, matchConditions: [{name: ok, expression: "object.metadata.name == 'a'"}, {name: bad, expression: "variables.x"}]}]
`, []string{"webhooks[0].matchConditions[1].expression: undeclared reference to 'variables'"}},
		{"devices", `
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
spec:
  devices:
    requests:
    - {name: a, exactly: {deviceClassName: c, selectors: [{cel: {expression: "device.driver == 'd' && device.attributes['d'].size > 3"}}, {cel: {expression: "device.name == 'x'"}}]}}
    - {name: b, firstAvailable: [{name: s, deviceClassName: c, selectors: [{cel: {expression: "'no'"}}]}]}
`, []string{
			"spec.devices.requests[0].exactly.selectors[1].cel.expression: undefined field 'name'",
			"spec.devices.requests[1].firstAvailable[0].selectors[0].cel.expression: must evaluate to bool",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			obj, _, err := decoder.Decode([]byte(c.in), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, e := range descriptor(t, obj).Validate(obj) {
				text := e.Field + ": " + e.Detail
				if i < len(c.want) {
					at, message, _ := strings.Cut(c.want[i], ": ")
					if e.Field == at && strings.Contains(e.Detail, message) {
						text = c.want[i]
					}
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnchangedExpressions: an update that leaves a broken expression is refused still, for it would
// not run either way; one that mends it is not.
func TestUnchangedExpressions(t *testing.T) {
	class := func(text string) *resourcev1.DeviceClass {
		return &resourcev1.DeviceClass{Spec: resourcev1.DeviceClassSpec{Selectors: []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: text}}}}}
	}
	d := descriptor(t, class(""))
	if errs := d.ValidateUpdate(class("true"), class("nonsense")); len(errs) != 0 {
		t.Errorf("mending: %v", errs)
	}
	if errs := d.ValidateUpdate(class("nonsense"), class("true")); len(errs) != 1 {
		t.Errorf("breaking: %v", errs)
	}
}
