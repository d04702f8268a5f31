package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestS11TwoTier runs the web application of examples/two-tier as its script does, and then takes
// its pods and processes away one by one.
func TestS11TwoTier(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	example := filepath.Join(suite.project, "examples", "two-tier")
	run := exec.CommandContext(ctx, filepath.Join(example, "run.sh"))
	run.Env = append(os.Environ(), "CORACLE_NAME="+suite.name, "KUBECONFIG="+suite.kubeconfig)
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n := &namespace{t, "default"} // where the manifests, unchanged, put it
	t.Cleanup(func() {
		if t.Failed() {
			n.dump()
		}
		for _, part := range []string{"mysql-rc", "mysql-svc", "myweb-rc", "myweb-svc"} {
			out, err := n.command(context.Background(), "delete", "-f", filepath.Join(example, "manifests", part+".yaml")).CombinedOutput()
			if err != nil {
				t.Errorf("removing %s: %v: %s", part, err, out)
			}
		}
	})
	_, page, found := strings.Cut(string(out), "The page is at ")
	if page = strings.TrimSpace(page); !found {
		t.Fatalf("no address was printed:\n%s", out)
	}
	shows := func(what, text string) {
		t.Helper()
		n.eventually(what, func() (bool, string) {
			out := fetch(t, page)
			return strings.Contains(out, text), out
		})
	}
	shows("rows of the database", "<td>google</td><td>100</td>")

	name := fmt.Sprintf("row-%d", time.Now().UnixNano())
	resp, err := (&http.Client{Timeout: 10 * time.Second}).PostForm(page, url.Values{"name": {name}, "level": {"7"}})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	shows("the added row", "<td>"+name+"</td><td>7</td>")

	web := n.awaitReady("app=myweb", 3)
	n.kubectl("delete", "pod", web[0].Name, "--wait=false")
	shows("rows while a web pod is replaced", name)
	n.awaitReady("app=myweb", 3)

	database := n.awaitReady("app=mysql", 1)[0]
	before := restarts(&database, "mysql")
	killMain(n, database.Name, "mysql")
	n.awaitPod(database.Name, "restarted", func(p *corev1.Pod) bool { return restarts(p, "mysql") == before+1 && ready(p) })
	shows("rows after the database's process was killed", "<td>google</td>")

	uid := database.UID
	n.kubectl("delete", "pod", database.Name)
	n.awaitPods("app=mysql", "replaced", func(all []corev1.Pod) bool {
		return len(all) == 1 && all[0].UID != uid && ready(&all[0])
	})
	shows("rows after the database's pod was replaced", "<td>google</td>")
	if services, err := suite.client.CoreV1().Services("default").List(t.Context(), metav1.ListOptions{}); err != nil || len(services.Items) != 3 {
		t.Errorf("services in default: %d, %v; want kubernetes, mysql and myweb", len(services.Items), err)
	}
}
