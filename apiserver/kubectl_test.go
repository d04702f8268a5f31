package apiserver_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/kubectl/pkg/cmd"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

// kubectl runs commands of the library that kubectl is made of.
type kubectl struct{ kubeconfig string }

func newKubectl(t *testing.T, s *apiserver.Server) *kubectl {
	t.Helper()
	tls := apiservertest.TLS(s)
	c := clientcmdapi.NewConfig()
	c.Clusters["test"] = &clientcmdapi.Cluster{Server: tls.Host, CertificateAuthorityData: tls.CAData}
	c.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Token: tls.BearerToken}
	c.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "admin"}
	c.CurrentContext = "test"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return &kubectl{kubeconfig: path}
}

// run returns what the command printed; it is a failure of the test if the command fails. The argument
// "-" becomes a file with the content of in.
func (k *kubectl) run(t *testing.T, in string, args ...string) string {
	t.Helper()
	out, err := k.try(t, in, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (k *kubectl) try(t *testing.T, in string, args ...string) (_ string, err error) {
	t.Helper()
	var out bytes.Buffer
	flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag()
	flags.KubeConfig = &k.kubeconfig
	cache := filepath.Join(filepath.Dir(k.kubeconfig), "cache")
	flags.CacheDir = &cache
	cmdutil.BehaviorOnFatal(func(message string, _ int) { panic(fmt.Errorf("%s", message)) })
	defer cmdutil.DefaultBehaviorOnFatal()
	defer func() {
		if r := recover(); r != nil {
			err = r.(error)
		}
	}()
	root := cmd.NewKubectlCommand(cmd.KubectlOptions{
		ConfigFlags: flags,
		IOStreams:   genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out},
	})
	if in != "" {
		manifest := filepath.Join(t.TempDir(), "in.yaml")
		if err := os.WriteFile(manifest, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		args = slices.Clone(args)
		args[slices.Index(args, "-")] = manifest
	}
	root.SetArgs(args)
	root.SilenceUsage = true
	err = root.Execute()
	return out.String(), err
}

// exec runs kubectl as a process of its own, and returns its exit code with what it printed.
func (k *kubectl) exec(t *testing.T, args ...string) (string, int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), asKubectl+"=1", "KUBECONFIG="+k.kubeconfig, "KUBECACHEDIR="+filepath.Join(filepath.Dir(k.kubeconfig), "cache"))
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running kubectl: %v", err)
	}
	return string(out), c.ProcessState.ExitCode()
}

const deploymentManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web:1, ports: [{containerPort: 80}]}]}
`

func TestKubectl(t *testing.T) {
	_, server := apiservertest.Start(t)
	k := newKubectl(t, server)
	for _, step := range []struct {
		args string
		in   string
		want []string
	}{
		{args: "apply -f -", in: deploymentManifest, want: []string{"deployment.apps/web created"}},
		{args: "apply -f -", in: deploymentManifest, want: []string{"deployment.apps/web unchanged"}},
		{args: "apply -f -", in: strings.Replace(deploymentManifest, "web:1", "web:2", 1), want: []string{"deployment.apps/web configured"}},
		{args: "apply --server-side --force-conflicts -f -", in: strings.Replace(deploymentManifest, "web:1", "web:3", 1), want: []string{"deployment.apps/web serverside-applied"}},
		{args: "get deploy web -o wide", want: []string{"NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "web:3", "app=web", "0/2"}},
		{args: "scale deploy web --replicas=5", want: []string{"deployment.apps/web scaled"}},
		{args: "get deploy web -o jsonpath={.spec.replicas}/{.metadata.generation}", want: []string{"5/4"}},
		{args: "label deploy web tier=front", want: []string{"labeled"}},
		{args: "get deploy -l tier=front -o name", want: []string{"deployment.apps/web"}},
		{args: "set image deploy web web=web:4", want: []string{"image updated"}},
		{args: "patch deploy web --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":1}]", want: []string{"patched"}},
		{args: "explain deployment.spec.strategy.rollingUpdate.maxSurge", want: []string{"GROUP:      apps", "KIND:       Deployment", "maximum number of pods"}},
		{args: "explain pods.spec.containers --recursive", want: []string{"livenessProbe", "imagePullPolicy"}},
		{args: "describe deploy web", want: []string{"Name:", "web:4", "RollingUpdateStrategy:"}},
		{args: "create configmap settings --from-literal=a=b", want: []string{"configmap/settings created"}},
		{args: "get cm settings -o yaml", want: []string{"a: b", "kind: ConfigMap"}},
		{args: "get all", want: []string{"deployment.apps/web", "service/kubernetes"}},
		{args: "get cs", want: []string{"etcd-0", "Healthy"}},
		{args: "get ns", want: []string{"default", "kube-system", "kube-public", "kube-node-lease", "Active"}},
		{args: "get endpointslices kubernetes", want: []string{"192.0.2.1"}},
		{args: "api-resources --namespaced=true", want: []string{"deployments", "configmaps", "po ", "endpointslices"}},
		{args: "delete deploy web --wait=false", want: []string{"deployment.apps \"web\" deleted"}},
	} {
		out := k.run(t, step.in, strings.Split(step.args, " ")...)
		for _, want := range step.want {
			if !strings.Contains(out, want) {
				t.Errorf("kubectl %s: no %q in\n%s", step.args, want, out)
			}
		}
	}
	if out, err := k.try(t, "", "get", "pod", "none"); err == nil || !strings.Contains(err.Error(), `pods "none" not found`) {
		t.Errorf("kubectl get pod none: %v %s", err, out)
	}
	if out, err := k.try(t, strings.Replace(deploymentManifest, "replicas:", "replicass:", 1), "apply", "-f", "-"); err == nil || !strings.Contains(err.Error(), `unknown field "spec.replicass"`) {
		t.Errorf("applying a misspelt field: %v %s", err, out)
	}
}

// TestKubectlEdit saves an object through an editor that is a script.
func TestKubectlEdit(t *testing.T) {
	_, server := apiservertest.Start(t)
	k := newKubectl(t, server)
	k.run(t, "", "create", "configmap", "settings", "--from-literal=a=before")
	script := filepath.Join(t.TempDir(), "editor")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nsed -i s/before/after/ \"$1\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBE_EDITOR", script)
	k.run(t, "", "edit", "configmap", "settings")
	if out := k.run(t, "", "get", "cm", "settings", "-o", "jsonpath={.data.a}"); out != "after" {
		t.Errorf("after the edit it is %q", out)
	}
}
