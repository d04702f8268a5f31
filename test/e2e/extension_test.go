package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	certutil "k8s.io/client-go/util/cert"
)

// extensions are a pod that serves webhooks and an aggregated API, and what makes the API server call
// it through its service: %[1]s is the namespace, %[2]s the authority of its certificate.
const extensions = `
apiVersion: v1
kind: Pod
metadata: {name: hooks, labels: {app: hooks}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: workload
    imagePullPolicy: IfNotPresent
    args: [hooks, /tls]
    readinessProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}
    volumeMounts: [{name: tls, mountPath: /tls}]
  volumes: [{name: tls, secret: {secretName: hooks}}]
---
apiVersion: v1
kind: Service
metadata: {name: hooks}
spec: {selector: {app: hooks}, ports: [{port: 443, targetPort: 8443}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.%[1]s.example.com}
spec:
  group: %[1]s.example.com
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bt]}
  conversion:
    strategy: Webhook
    webhook:
      conversionReviewVersions: [v1]
      clientConfig: {service: {namespace: %[1]s, name: hooks, path: /convert}, caBundle: %[2]s}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns: [{name: Where, type: string, jsonPath: .hostPort}]
    selectableFields: [{jsonPath: .hostPort}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          hostPort: {type: string}
          spec:
            type: object
            properties: {replicas: {type: integer, default: 1}}
            x-kubernetes-validations: [{rule: self.replicas <= 9, message: a boat has at most 9}]
          status: {type: object, properties: {replicas: {type: integer}}}
  - name: v2
    served: true
    storage: false
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    schema:
      openAPIV3Schema:
        type: object
        properties: {host: {type: string}, port: {type: string}, spec: {type: object, x-kubernetes-preserve-unknown-fields: true}, status: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: %[1]s}
webhooks:
- name: deny.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  clientConfig: {service: {namespace: %[1]s, name: hooks, path: /deny}, caBundle: %[2]s}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: %[1]s}
webhooks:
- name: annotate.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
  rules: [{apiGroups: ["%[1]s.example.com"], apiVersions: ["*"], operations: [CREATE], resources: [boats]}]
  clientConfig: {service: {namespace: %[1]s, name: hooks, path: /annotate}, caBundle: %[2]s}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.winds.example.com}
spec: {group: winds.example.com, version: v1, groupPriorityMinimum: 100, versionPriority: 100, service: {namespace: %[1]s, name: hooks}, caBundle: %[2]s}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [secrets]}]
  validations: [{expression: "object.metadata.name.startsWith('ok-')", message: a secret's name begins with ok-}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s, validationActions: [Deny]}
`

// TestS45Extensions has a pod extend the API: by converting custom resources, by webhooks, and by an
// aggregated API, each called through its service.
func TestS45Extensions(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	cert, key, err := certutil.GenerateSelfSignedCertKey("hooks."+n.name+".svc", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.kubectl("create", "secret", "generic", "hooks", "--from-file", dir)
	manifest := writeFile(t, fmt.Sprintf(extensions, n.name, base64.StdEncoding.EncodeToString(cert)))
	t.Cleanup(func() { // what is in no namespace goes by name
		if out, err := n.command(context.Background(), "delete", "-f", manifest, "--ignore-not-found", "--wait=false").CombinedOutput(); err != nil {
			t.Errorf("removing the extensions: %v: %s", err, out)
		}
	})
	n.kubectl("apply", "-f", manifest)
	n.awaitPod("hooks", "ready", ready)
	group := n.name + ".example.com"
	n.kubectl("wait", "--for=condition=Established", "crd/boats."+group, "--timeout=60s")
	n.kubectl("wait", "--for=condition=Available", "apiservice/v1.winds.example.com", "--timeout=80s")

	boat := writeFile(t, "apiVersion: "+group+"/v1\nkind: Boat\nmetadata: {name: b}\nhostPort: quay:7\nspec: {}\n")
	n.eventually("a boat to be created, once the service leads to the pod", func() (bool, string) {
		out, err := n.try("apply", "-f", boat)
		return err == nil, fmt.Sprint(out, err)
	})
	if got := n.kubectl("get", "boats.v2."+group, "b", "-o", "jsonpath={.host} {.port} {.metadata.annotations.by}"); !strings.HasPrefix(got, "quay 7") {
		t.Errorf("as v2 the boat is %q", got)
	}
	n.contains(n.kubectl("get", "boats.v1."+group, "--field-selector", "hostPort=quay:7"), "WHERE", "quay:7")
	n.kubectl("scale", "boats."+group+"/b", "--replicas=4")
	if got := n.kubectl("get", "bt", "b", "-o", "jsonpath={.spec.replicas}"); got != "4" {
		t.Errorf("scaled to 4 the boat has %s", got)
	}
	n.refused([]string{"patch", "boats.v1." + group, "b", "--type=merge", "-p", `{"spec":{"replicas":10}}`}, "a boat has at most 9")
	n.eventually("the mutating webhook to be called", func() (bool, string) {
		out, err := n.try("create", "--dry-run=server", "-o", "jsonpath={.metadata.annotations.by}", "-f", writeFile(t, "apiVersion: "+group+"/v1\nkind: Boat\nmetadata: {name: c}\nspec: {}\n"))
		return out == "webhook", fmt.Sprint(out, err)
	})
	n.eventually("the validating webhook to be called", func() (bool, string) {
		out, err := n.try("create", "--dry-run=server", "-f", writeFile(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {bad: really}}\n"))
		return err != nil && strings.Contains(err.Error(), `admission webhook "deny.example.com" denied the request: this is bad`), fmt.Sprint(out, err)
	})
	n.eventually("the policy to apply", func() (bool, string) {
		out, err := n.try("create", "secret", "generic", "bad", "--dry-run=server")
		return err != nil && strings.Contains(err.Error(), "a secret's name begins with ok-"), fmt.Sprint(out, err)
	})
	n.kubectl("create", "secret", "generic", "ok-good")
	n.contains(n.kubectl("get", "--raw", "/apis/winds.example.com/v1/winds"), `"mistral"`)
	n.contains(n.kubectl("get", "winds", "-o", "name"), "wind.winds.example.com/mistral")
}
