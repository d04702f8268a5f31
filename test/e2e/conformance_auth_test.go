package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const tokenPath = "/var/run/secrets/kubernetes.io/serviceaccount"

// TestTokenMounted: three containers see the token, the authority and the namespace.
func TestTokenMounted(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	var containers []string
	for _, name := range []string{"token", "ca.crt", "namespace"} {
		containers = append(containers, fmt.Sprintf(`{name: %s, image: busybox, imagePullPolicy: Never, command: [cat, %s/%s]}`, strings.TrimSuffix(name, ".crt"), tokenPath, name))
	}
	n.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {restartPolicy: Never, containers: [" + strings.Join(containers, ", ") + "]}\n")
	p := n.awaitPod("p", "succeeded", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	for _, c := range p.Spec.Containers {
		if len(c.VolumeMounts) != 1 || c.VolumeMounts[0].MountPath != tokenPath || !c.VolumeMounts[0].ReadOnly {
			t.Errorf("container %s has mounts %v", c.Name, c.VolumeMounts)
		}
	}
	if out := n.kubectl("logs", "p", "-c", "token"); strings.Count(out, ".") != 2 {
		t.Errorf("the token is %d bytes with %d dots", len(out), strings.Count(out, "."))
	}
	ca := n.kubectl("get", "configmap", "kube-root-ca.crt", "-o", `jsonpath={.data.ca\.crt}`)
	if out := n.kubectl("logs", "p", "-c", "ca"); strings.TrimSpace(out) != strings.TrimSpace(ca) || out == "" {
		t.Errorf("the authority in the pod is %q", out)
	}
	if out := n.kubectl("logs", "p", "-c", "namespace"); out != n.name {
		t.Errorf("the namespace is %q", out)
	}
}

// TestTokenMountedOptionally: a pod's wish counts, and without one its service account's.
func TestTokenMountedOptionally(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	wish := map[string]string{"nil": "", "true": "automountServiceAccountToken: true", "false": "automountServiceAccountToken: false"}
	for account, setting := range wish {
		n.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: mount-" + account + "}\n" + setting + "\n")
	}
	script := "if [ -e " + tokenPath + "/token ]; then echo mounted; else echo absent; fi"
	expected := map[string]string{}
	for pod, setting := range wish {
		for account := range wish {
			name := "pod-" + pod + "-account-" + account
			expected[name] = "mounted"
			if pod == "false" || pod == "nil" && account == "false" {
				expected[name] = "absent"
			}
			n.apply(fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  serviceAccountName: mount-%s\n  restartPolicy: Never\n  %s\n  containers:\n  - {name: c, image: busybox, imagePullPolicy: Never, command: [sh, -c, %q]}\n", name, account, setting, script))
		}
	}
	for name, want := range expected {
		n.awaitPod(name, "succeeded", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
		if got := strings.TrimSpace(n.kubectl("logs", name)); got != want {
			t.Errorf("%s: the token is %s, want %s", name, got, want)
		}
	}
}

// projectedToken is a pod with a token of its own choice beside the usual one.
const projectedToken = `
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: workload, imagePullPolicy: Never, args: [serve], volumeMounts: [{name: token, mountPath: /projected}]}
  volumes:
  - {name: token, projected: {sources: [{serviceAccountToken: {path: token, audience: oidc-discovery-test, expirationSeconds: 7200}}]}}
`

// TestTokenProjected reads a projected token, and verifies it and the pod's own by the documents that
// their issuer publishes.
func TestTokenProjected(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(projectedToken)
	n.awaitPod("p", "ready", ready)
	if out := n.exec("p", "cat", "/projected/token"); strings.Count(out, ".") != 2 {
		t.Errorf("the projected token has %d bytes", len(out))
	}
	subject := "system:serviceaccount:" + n.name + ":default"
	begin := time.Now()
	for _, args := range [][]string{nil, {"/projected/token"}} {
		n.eventually("the token to be verified", func() (bool, string) { // once the role's binding is seen
			out, err := n.try(append([]string{"exec", "p", "--", "/bin/workload", "verify"}, args...)...)
			return err == nil && strings.TrimSpace(out) == subject, fmt.Sprint(out, err)
		})
	}
	t.Logf("verified after %v", time.Since(begin))
}
