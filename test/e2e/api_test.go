package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestS01RawPaths(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	for path, wants := range map[string][]string{
		"/":                {`"/api/v1"`, `"/apis/apps/v1"`, `"/healthz"`, `"/metrics"`, `"/openapi/v2"`, `"/readyz"`, `"/version"`},
		"/version":         {`"gitVersion": "v1.37`, `"major": "1"`},
		"/healthz":         {"ok"},
		"/readyz?verbose":  {"[+]ping ok", "[+]etcd ok", "readyz check passed"},
		"/livez?verbose":   {"[+]ping ok", "livez check passed"},
		"/metrics":         {"# TYPE apiserver_request_total counter", "etcd_request_duration_seconds"},
		"/openapi/v2":      {`"swagger":"2.0"`, "io.k8s.api.core.v1.Pod"},
		"/openapi/v3":      {`api/v1`, `apis/apps/v1`},
		"/api/v1":          {`"name":"pods"`},
		"/apis/apps/v1":    {`"name":"deployments"`},
		"/api/v1/pods":     {`"kind":"PodList"`},
		"/api/v1/nodes":    {`"kind":"NodeList"`},
		"/apis/batch/v1":   {`"name":"cronjobs"`},
		"/apis?dir=listed": {`"APIGroupList"`},
	} {
		out := n.kubectl("get", "--raw", path)
		compact := strings.ReplaceAll(out, `": "`, `":"`)
		for _, want := range wants {
			if !strings.Contains(out, want) && !strings.Contains(compact, want) {
				t.Errorf("%s does not contain %s; it begins %.300s", path, want, out)
			}
		}
	}
}

func TestS02ComponentStatuses(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	out := n.kubectl("get", "cs", "--no-headers")
	for _, component := range []string{"etcd-0", "scheduler", "controller-manager"} {
		if !lineWith(out, component, "Healthy") {
			t.Errorf("%s is not Healthy:\n%s", component, out)
		}
	}
}

func TestS03Nodes(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	out := n.kubectl("get", "nodes", "-o", "wide")
	header, row, _ := strings.Cut(out, "\n")
	for _, want := range []string{"STATUS", "ROLES", "VERSION", "INTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"} {
		if !strings.Contains(header, want) {
			t.Errorf("there is no column %s: %s", want, header)
		}
	}
	for _, want := range []string{" Ready ", "control-plane", "v1.37", "containerd://2."} {
		if !strings.Contains(row, want) {
			t.Errorf("the node's row does not contain %q: %s", want, row)
		}
	}
	describe := n.kubectl("describe", "nodes")
	for _, want := range []string{"Allocatable:", "cpu:", "KubeletReady", "PodCIDR:", "Allocated resources:"} {
		if !strings.Contains(describe, want) {
			t.Errorf("kubectl describe nodes does not contain %q:\n%s", want, describe)
		}
	}
}

func TestS14Selectors(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	for i, labels := range []string{"tier=a", "tier=b", "tier=b,canary=yes", "tier=c"} {
		n.kubectl("run", fmt.Sprintf("p%d", i), "--image=busybox", "--image-pull-policy=Never", "--restart=Never", "--labels="+labels,
			"--env=ORDER="+fmt.Sprint(9-i), "--command", "--", "sleep", "3600")
	}
	n.kubectl("wait", "--for=condition=Ready", "pods", "--all", "--timeout=60s")
	names := func(args ...string) []string {
		out := n.kubectl(append([]string{"get", "pods", "-o", "name"}, args...)...)
		return strings.Fields(strings.ReplaceAll(out, "pod/", ""))
	}
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"-l", "tier in (a,b),!canary"}, []string{"p0", "p1"}},
		{[]string{"-l", "tier notin (a,b)"}, []string{"p3"}},
		{[]string{"-l", "canary"}, []string{"p2"}},
		{[]string{"-l", "tier!=b"}, []string{"p0", "p3"}},
		{[]string{"--field-selector", "metadata.name=p1"}, []string{"p1"}},
		{[]string{"--field-selector", "status.phase=Running,metadata.name!=p1"}, []string{"p0", "p2", "p3"}},
		{[]string{"--field-selector", "status.phase=Failed"}, []string{}},
		{[]string{"--sort-by", ".spec.containers[0].env[0].value"}, []string{"p3", "p2", "p1", "p0"}},
		{[]string{"--sort-by", ".metadata.name"}, []string{"p0", "p1", "p2", "p3"}},
	} {
		if diff := cmp.Diff(test.want, names(test.args...)); diff != "" {
			t.Errorf("kubectl get pods %v (-want +got):\n%s", test.args, diff)
		}
	}
	n.refused([]string{"get", "pods", "--field-selector", "spec.nonsense=1"}, "field label not supported")
}

func TestS18Namespaces(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	other := n.name + "-b"
	n.kubectl("create", "ns", other)
	n.kubectl("create", "configmap", "same", "--from-literal=in=one")
	n.kubectl("-n", other, "create", "configmap", "same", "--from-literal=in=two")
	for ns, want := range map[string]string{n.name: "one", other: "two"} {
		if got := n.kubectl("-n", ns, "get", "cm", "same", "-o", "jsonpath={.data.in}"); got != want {
			t.Errorf("in %s: got %s, want %s", ns, got, want)
		}
	}
	n.kubectl("-n", other, "run", "p", "--image=busybox", "--image-pull-policy=Never", "--command", "--", "sleep", "3600")
	n.kubectl("-n", other, "wait", "--for=condition=Ready", "pod/p", "--timeout=60s")
	n.kubectl("delete", "ns", other, "--timeout=80s")
	n.refused([]string{"get", "ns", other}, "not found")
	n.refused([]string{"-n", other, "get", "cm", "same"}, "not found")
	n.refused([]string{"-n", other, "create", "configmap", "late"}, "not found")

	// A context's namespace is the one that commands without --namespace use.
	file := t.TempDir() + "/kubeconfig"
	copyFile(t, suite.kubeconfig, file)
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), suite.project+"/bin/kubectl", append([]string{"--kubeconfig", file}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	run("config", "set-context", "--current", "--namespace", n.name)
	if got := run("get", "cm", "same", "-o", "jsonpath={.data.in}"); got != "one" {
		t.Errorf("in the context's namespace: got %s", got)
	}
}

func TestS19LabelsAndAnnotations(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.kubectl("create", "configmap", "c")
	n.kubectl("label", "cm", "c", "a=1", "example.com/b=two")
	n.kubectl("annotate", "cm", "c", "note=any text, even {}")
	if got := n.kubectl("get", "cm", "c", "-o", `jsonpath={.metadata.labels.a} {.metadata.labels.example\.com/b} {.metadata.annotations.note}`); got != "1 two any text, even {}" {
		t.Errorf("got %q", got)
	}
	n.kubectl("label", "cm", "c", "a-")
	if got := n.kubectl("get", "cm", "c", "-o", "jsonpath={.metadata.labels}"); got != `{"example.com/b":"two"}` {
		t.Errorf("after removing a label: %s", got)
	}
	n.refused([]string{"label", "cm", "c", "a=" + strings.Repeat("x", 64)}, "must be no more than 63")
	n.refused([]string{"patch", "cm", "c", "-p", `{"metadata":{"labels":{"bad key!":"x"}}}`}, "metadata.labels", "Invalid value")
	big := writeFile(t, `{"metadata":{"annotations":{"big":"`+strings.Repeat("x", 256<<10)+`"}}}`)
	n.refused([]string{"patch", "cm", "c", "--patch-file", big}, "metadata.annotations", "Too long")
}
