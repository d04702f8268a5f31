package e2e

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"
)

// serveRegistry runs a registry on loopback that wants a name and a password, with one image in it,
// and returns the image's name there.
func serveRegistry(t *testing.T, user, password string) string {
	t.Helper()
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="images"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		images.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	ref, err := name.ParseReference(server.Listener.Addr().String()+"/team/workload:v7", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("workload:latest")
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(filepath.Join(suite.images, "workload.tar"), &tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithAuth(&authn.Basic{Username: user, Password: password})); err != nil {
		t.Fatal(err)
	}
	return ref.Name()
}

// TestS44PrivateRegistry pulls with a pod's own secret, with that of its service account, with a wrong
// password and with none.
func TestS44PrivateRegistry(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	image := serveRegistry(t, "reader", "open sesame")
	server, _, _ := strings.Cut(image, "/")
	for secret, password := range map[string]string{"good": "open sesame", "bad": "close sesame"} {
		n.kubectl("create", "secret", "docker-registry", secret, "--docker-server="+server, "--docker-username=reader", "--docker-password="+password)
	}
	run := func(pod, overrides string) {
		n.kubectl("run", pod, "--image="+image, "--image-pull-policy=Always", "--overrides", `{"spec":{"terminationGracePeriodSeconds":1`+overrides+`}}`, "--", "serve")
	}
	refused := func(pod, message string) {
		n.awaitPod(pod, "refused by the registry", func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
				strings.Contains(p.Status.ContainerStatuses[0].State.Waiting.Message, message)
		})
		if e := n.awaitEvent(pod, "Failed"); strings.Contains(e.Message, "sesame") {
			t.Errorf("the event shows the password: %s", e.Message)
		}
	}
	run("with-wrong", `,"imagePullSecrets":[{"name":"bad"}]`)
	refused("with-wrong", "401 Unauthorized")
	run("without", "")
	refused("without", "authorization failed: no basic auth credentials")
	run("with-good", `,"imagePullSecrets":[{"name":"good"}]`)
	n.awaitPod("with-good", "ready", ready)

	n.kubectl("patch", "serviceaccount", "default", "-p", `{"imagePullSecrets":[{"name":"good"}]}`)
	run("by-account", "")
	n.awaitPod("by-account", "ready", ready)
	if e := n.awaitEvent("by-account", "Pulled"); !strings.Contains(e.Message, "Successfully pulled image") {
		t.Errorf("the event says %q", e.Message)
	}
}
