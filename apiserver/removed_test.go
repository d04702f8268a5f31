package apiserver_test

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/apiserver/apiservertest"
)

// oldManifests are of groups that Kubernetes removed, as users still have them.
var oldManifests = []struct{ manifest, created, warning, get, want string }{
	{`apiVersion: extensions/v1beta1
kind: Deployment
metadata: {name: tomcat-deploy}
spec:
  replicas: 1
  template:
    metadata: {labels: {app: app-demo, tier: frontend}}
    spec: {containers: [{name: tomcat-demo, image: "tomcat-app:v1", ports: [{containerPort: 8080}]}]}
`, "deployment.extensions/tomcat-deploy created",
		"Warning: extensions/v1beta1 Deployment is deprecated in v1.8+, unavailable in v1.16+; use apps/v1 Deployment",
		"deployment tomcat-deploy -o jsonpath={.apiVersion},{.spec.selector.matchLabels.app},{.spec.strategy.rollingUpdate.maxSurge},{.spec.progressDeadlineSeconds}",
		"apps/v1,app-demo,1,2147483647"},
	{`apiVersion: extensions/v1beta1
kind: Ingress
metadata: {name: old}
spec: {backend: {serviceName: web, servicePort: 80}}
`, "ingress.extensions/old created",
		"Warning: extensions/v1beta1 Ingress is deprecated in v1.14+, unavailable in v1.22+; use networking.k8s.io/v1 Ingress",
		"ingress old -o jsonpath={.apiVersion},{.spec.defaultBackend.service.port.number}", "networking.k8s.io/v1,80"},
	{`apiVersion: extensions/v1beta1
kind: NetworkPolicy
metadata: {name: old}
spec: {podSelector: {}}
`, "networkpolicy.extensions/old created", "use networking.k8s.io/v1 NetworkPolicy", "netpol old -o jsonpath={.spec.policyTypes[0]}", "Ingress"},
	{`apiVersion: extensions/v1beta1
kind: DaemonSet
metadata: {name: old}
spec: {template: {metadata: {labels: {app: d}}, spec: {containers: [{name: c, image: i}]}}}
`, "daemonset.extensions/old created", "use apps/v1 DaemonSet", "ds old -o jsonpath={.apiVersion},{.spec.updateStrategy.type}", "apps/v1,OnDelete"},
	{`apiVersion: batch/v1beta1
kind: CronJob
metadata: {name: old}
spec: {schedule: "* * * * *", jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: i}], restartPolicy: Never}}}}}
`, "cronjob.batch/old created", "Warning: batch/v1beta1 CronJob is deprecated in v1.21+, unavailable in v1.25+; use batch/v1 CronJob",
		"cronjob old -o jsonpath={.apiVersion}", "batch/v1"},
	{`apiVersion: autoscaling/v2beta2
kind: HorizontalPodAutoscaler
metadata: {name: old}
spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: tomcat-deploy}}
`, "horizontalpodautoscaler.autoscaling/old created",
		"Warning: autoscaling/v2beta2 HorizontalPodAutoscaler is deprecated in v1.23+, unavailable in v1.26+; use autoscaling/v2 HorizontalPodAutoscaler",
		"hpa old -o jsonpath={.apiVersion},{.spec.minReplicas}", "autoscaling/v2,1"},
	{`apiVersion: policy/v1beta1
kind: PodDisruptionBudget
metadata: {name: old}
spec: {minAvailable: 1, selector: {matchLabels: {app: app-demo}}}
`, "poddisruptionbudget.policy/old created", "use policy/v1 PodDisruptionBudget", "pdb old -o jsonpath={.apiVersion}", "policy/v1"},
}

// TestRemovedGroups creates, applies and deletes old manifests as users do; short names and categories
// lead to the current groups.
func TestRemovedGroups(t *testing.T) {
	config, server := apiservertest.Start(t)
	k := newKubectl(t, server)
	for _, m := range oldManifests {
		out := k.run(t, m.manifest, "create", "-f", "-")
		if !strings.Contains(out, m.created) || !strings.Contains(out, m.warning) {
			t.Errorf("creating said %q, want %q and %q", out, m.created, m.warning)
		}
		if got := k.run(t, "", append([]string{"get"}, strings.Split(m.get, " ")...)...); got != m.want {
			t.Errorf("get %s: %q, want %q", m.get, got, m.want)
		}
		k.run(t, m.manifest, "apply", "-f", "-")
		if out := k.run(t, m.manifest, "apply", "-f", "-"); !strings.Contains(out, "unchanged") {
			t.Errorf("applying it twice: %s", out)
		}
	}
	if out := k.run(t, "", "get", "all"); strings.Count(out, "deployment.apps/tomcat-deploy ") != 1 || strings.Contains(out, ".extensions/") || strings.Contains(out, "Warning") {
		t.Errorf("kubectl get all:\n%s", out)
	}
	if out := k.run(t, "", "scale", "deploy", "tomcat-deploy", "--replicas=2"); !strings.Contains(out, "deployment.apps/tomcat-deploy scaled") {
		t.Errorf("kubectl scale: %s", out)
	}
	client := kubernetes.NewForConfigOrDie(config)
	if s, err := client.ExtensionsV1beta1().Deployments("default").Get(t.Context(), "tomcat-deploy", metav1.GetOptions{}); err != nil || *s.Spec.Replicas != 2 {
		t.Errorf("reading it in the old group: %v, %v", s.Spec, err)
	}
	for _, m := range oldManifests {
		k.run(t, m.manifest, "delete", "--wait=false", "-f", "-")
	}
	if left, err := client.AppsV1().Deployments("default").List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) != 0 {
		t.Errorf("after deletion there are %v, %v", left.Items, err)
	}
}

// TestApplyAcrossVersions: one manager writes an old group, another the current one; each owns its fields
// in both.
func TestApplyAcrossVersions(t *testing.T) {
	config, server := apiservertest.Start(t)
	k := newKubectl(t, server)
	old := oldManifests[0].manifest
	current := `apiVersion: apps/v1
kind: Deployment
metadata: {name: tomcat-deploy}
spec:
  selector: {matchLabels: {app: app-demo, tier: frontend}}
  template:
    metadata: {labels: {app: app-demo, tier: frontend}}
    spec: {containers: [{name: tomcat-demo, image: "tomcat-app:v2"}]}
`
	k.run(t, old, "apply", "--server-side", "--field-manager=old", "-f", "-")
	if _, err := k.try(t, current, "apply", "--server-side", "--field-manager=new", "-f", "-"); err == nil || !strings.Contains(err.Error(), `conflict with "old": .spec.template.spec.containers[name="tomcat-demo"].image`) {
		t.Errorf("the image is the other manager's: %v", err)
	}
	k.run(t, current, "apply", "--server-side", "--force-conflicts", "--field-manager=new", "-f", "-")
	// The old manager no longer wants a number of replicas; nobody else has said one.
	k.run(t, strings.Replace(strings.Replace(old, "replicas: 1", "minReadySeconds: 3", 1), "tomcat-app:v1", "tomcat-app:v2", 1), "apply", "--server-side", "--field-manager=old", "-f", "-")
	d, err := kubernetes.NewForConfigOrDie(config).AppsV1().Deployments("default").Get(t.Context(), "tomcat-deploy", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Spec.MinReadySeconds != 3 || d.Spec.Template.Spec.Containers[0].Image != "tomcat-app:v2" || len(d.Spec.Template.Spec.Containers[0].Ports) != 1 {
		t.Errorf("after both applied: %+v", d.Spec)
	}
	versions := map[string]string{}
	for _, m := range d.ManagedFields {
		versions[m.Manager] = m.APIVersion
	}
	if versions["old"] != "extensions/v1beta1" || versions["new"] != "apps/v1" {
		t.Errorf("managers: %v", versions)
	}
}

const policyOfNames = `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: names}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], resources: [deployments], operations: [CREATE]}
    - {apiGroups: [networking.k8s.io], apiVersions: [v1], resources: [ingresses], operations: [CREATE]}
  validations: [{expression: "object.apiVersion != 'extensions/v1beta1' && object.metadata.name == 'allowed'", message: "not this name"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: names}
spec: {policyName: names, validationActions: [Deny]}
`

// TestPoliciesHoldForOldGroups: what is not allowed in the current group is not allowed by its old name.
func TestPoliciesHoldForOldGroups(t *testing.T) {
	_, server := apiservertest.Start(t)
	k := newKubectl(t, server)
	k.run(t, policyOfNames, "create", "-f", "-")
	for _, i := range []int{0, 1} {
		m := oldManifests[i].manifest
		eventually(t, "the policy to hold", func(context.Context) (bool, any) {
			out, err := k.try(t, m, "create", "--dry-run=server", "-f", "-")
			return err != nil && strings.Contains(err.Error(), "not this name"), out
		})
		name := strings.NewReplacer("tomcat-deploy", "allowed", "name: old", "name: allowed")
		if out, err := k.try(t, name.Replace(m), "create", "--dry-run=server", "-f", "-"); err != nil {
			t.Errorf("what the policy allows: %v %s", err, out)
		}
	}
}
