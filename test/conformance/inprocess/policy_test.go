package inprocess

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// simpleDeployment is a Deployment with a number of replicas.
func simpleDeployment(name string, replicas int32) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}}
	d.Spec.Replicas = &replicas
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
	d.Spec.Template = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}}, Spec: pod("p").Spec}
	return d
}

func TestAdmissionPolicies(t *testing.T) {
	e := start(t)
	parallel(t, []subtest{
		{"validate a Deployment", e.validateDeployment},
		{"refer to variables", e.referVariables},
		{"mutate a Deployment", e.mutateDeployment},
		{"mutate a Deployment with annotations", e.mutateAnnotations},
	})
}

const onDeployments = `
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]
`

// policy makes a policy of a kind, Validating or Mutating, and its binding.
func (e *env) policy(t *testing.T, kind, ns, spec, binding string) {
	t.Helper()
	for resource, text := range map[string]string{
		"admissionpolicies":       "kind: " + kind + "AdmissionPolicy\nspec:" + strings.ReplaceAll(onDeployments, "NS", ns) + spec,
		"admissionpolicybindings": "kind: " + kind + "AdmissionPolicyBinding\nspec:\n  policyName: " + ns + "\n" + binding,
	} {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		u.SetAPIVersion("admissionregistration.k8s.io/v1")
		u.SetName(ns)
		gvr := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: strings.ToLower(kind) + resource}
		must(e.dyn.Resource(gvr).Create(t.Context(), u, metav1.CreateOptions{FieldValidation: "Strict"}))(t)
	}
}

func (e *env) deploy(ctx context.Context, ns string, replicas int32) (*appsv1.Deployment, error) {
	return e.AppsV1().Deployments(ns).Create(ctx, simpleDeployment("dry", replicas), dry)
}

func (e *env) validateDeployment(t *testing.T) {
	ns := e.namespace(t)
	e.policy(t, "Validating", ns, "  validations: [{expression: 'object.spec.replicas > 1', messageExpression: \"'wants more than 1 replica, but has ' + string(object.spec.replicas)\"}]\n", "  validationActions: [Deny]\n")
	eventually(t, "one replica is denied", func(ctx context.Context) error {
		_, err := e.deploy(ctx, ns, 1)
		return lacks(err, fmt.Sprintf("ValidatingAdmissionPolicy '%s' with binding '%s' denied request: wants more than 1 replica, but has 1", ns, ns))
	})
	must(e.deploy(t.Context(), ns, 2))(t)
}

func (e *env) referVariables(t *testing.T) {
	ns := e.namespace(t)
	e.policy(t, "Validating", ns, `
  variables:
  - {name: replicas, expression: object.spec.replicas}
  - {name: oddReplicas, expression: variables.replicas % 2 == 1}
  validations:
  - {expression: variables.replicas > 1}
  - {expression: variables.oddReplicas}
`, "  validationActions: [Deny]\n")
	eventually(t, "one replica is denied", func(ctx context.Context) error {
		_, err := e.deploy(ctx, ns, 1)
		return lacks(err, "denied request: failed expression: variables.replicas > 1")
	})
	_, err := e.deploy(t.Context(), ns, 2)
	refused(t, "two replicas", err, "failed expression: variables.oddReplicas")
	must(e.deploy(t.Context(), ns, 3))(t)
}

func (e *env) mutateDeployment(t *testing.T) {
	ns := e.namespace(t)
	e.policy(t, "Mutating", ns, `
  reinvocationPolicy: Never
  mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: 'Object{spec: Object.spec{replicas: object.spec.replicas + 1}}'}}]
`, "")
	eventually(t, "a deployment is mutated", func(ctx context.Context) error {
		d, err := e.deploy(ctx, ns, 4)
		if err == nil && *d.Spec.Replicas != 5 {
			err = fmt.Errorf("it has %d replicas", *d.Spec.Replicas)
		}
		return err
	})
}

func (e *env) mutateAnnotations(t *testing.T) {
	ns := e.namespace(t)
	e.policy(t, "Mutating", ns, `
  reinvocationPolicy: IfNeeded
  variables: [{name: replicas, expression: 'string(object.spec.replicas)'}]
  mutations:
  - {patchType: ApplyConfiguration, applyConfiguration: {expression: 'Object{metadata: Object.metadata{annotations: {"first": variables.replicas}}}'}}
  - patchType: JSONPatch
    jsonPatch: {expression: '[JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("example.com/second"), value: "yes"}]'}
`, "")
	eventually(t, "a deployment is annotated", func(ctx context.Context) error {
		d, err := e.deploy(ctx, ns, 4)
		if err == nil && (d.Annotations["first"] != "4" || d.Annotations["example.com/second"] != "yes") {
			err = fmt.Errorf("its annotations are %v", d.Annotations)
		}
		return err
	})
}
