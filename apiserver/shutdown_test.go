package apiserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
)

// stoppable is a server that the test ends by itself.
type stoppable struct {
	*apiserver.Server
	stop func()
	done chan error
}

func startOn(t *testing.T, dir string) *stoppable {
	t.Helper()
	o := apiserver.NewOptions()
	o.BindAddress, o.SecurePort, o.AdvertiseAddress = net.IPv4(127, 0, 0, 1), 0, net.IPv4(192, 0, 2, 1)
	o.Etcd.DataDir, o.Etcd.UnsafeNoFsync = dir, true
	o.AuthorizationModes = []string{"AlwaysAllow"}
	o.Authentication.TokenAuthFile = writeFile(t, "tokens.csv", "secret,writer,1\n")
	o.DisableAdmissionPlugins = []string{"ServiceAccount"}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c, err := o.Config(ctx)
	if err != nil {
		t.Fatal(err)
	}
	server, err := c.Complete().New(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := &stoppable{Server: server, stop: cancel, done: make(chan error, 1)}
	go func() { s.done <- server.Run(ctx) }()
	select {
	case <-server.Ready():
	case err := <-s.done:
		t.Fatal(err)
	}
	return s
}

// writer creates config maps until it fails, and notes what it was told.
type writer struct {
	name         string
	acknowledged int
	err          error
}

func (w *writer) run(ctx context.Context, c *rest.RESTClient, total *atomic.Int64) {
	for {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", w.name, w.acknowledged)}}
		w.err = c.Post().Namespace("default").Resource("configmaps").MaxRetries(0).Body(cm).Do(ctx).Error()
		if w.err != nil {
			return
		}
		w.acknowledged++
		total.Add(1)
	}
}

// clean says that an error means that nothing was done: nobody listened any more, a new connection was
// closed before somebody took it, or the server said that it is about to end.
func clean(err error) bool {
	var dial *net.OpError
	return apierrors.IsServiceUnavailable(err) || errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, syscall.ECONNRESET) ||
		strings.Contains(err.Error(), "shutting down") || strings.Contains(err.Error(), "not running")
}

// TestShutdownDropsNothing ends a server under load. What it had acknowledged is there, what it refused
// is not, and a request that had begun is answered.
func TestShutdownDropsNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	s := startOn(t, dir)
	config := func(c *rest.Config) *rest.RESTClient {
		c = rest.CopyConfig(c)
		c.APIPath, c.GroupVersion, c.NegotiatedSerializer = "/api", &corev1.SchemeGroupVersion, scheme.Codecs.WithoutConversion()
		client, err := rest.RESTClientFor(c)
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	tls := &rest.Config{Host: "https://" + s.Addr(), QPS: -1, BearerToken: "secret", TLSClientConfig: rest.TLSClientConfig{CAData: s.ServingCertificate()}}
	var wg sync.WaitGroup
	var total atomic.Int64
	var writers []*writer
	for i := range 8 {
		c, w := tls, &writer{name: fmt.Sprintf("writer-%d", i)}
		if i%2 == 0 {
			c = s.ClientConfig(apiservertest.Admin)
		}
		writers = append(writers, w)
		client := config(c)
		wg.Go(func() { w.run(context.WithoutCancel(t.Context()), client, &total) })
	}
	slow := beginSlow(t, tls)
	eventually(t, "a thousand writes", func(context.Context) (bool, any) { return total.Load() > 1000, total.Load() })
	s.stop()
	slow.finish(t)
	wg.Wait()
	if err := <-s.done; err != nil {
		t.Errorf("ending: %v", err)
	}
	again := startOn(t, dir)
	maps := clientFor(t, again.ClientConfig(apiservertest.Admin)).CoreV1().ConfigMaps("default")
	list, err := maps.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, cm := range list.Items {
		there[cm.Name] = true
	}
	for _, w := range writers {
		for n := range w.acknowledged {
			if name := fmt.Sprintf("%s-%d", w.name, n); !there[name] {
				t.Errorf("%s was acknowledged and is lost", name)
			}
		}
		if !clean(w.err) {
			t.Errorf("%s was not refused but dropped: %v", w.name, w.err)
		}
		if name := fmt.Sprintf("%s-%d", w.name, w.acknowledged); there[name] {
			t.Errorf("%s was refused and is there: %v", name, w.err)
		}
	}
	if !there["slow"] {
		t.Error("the request that was in flight is lost")
	}
	again.stop()
	if err := <-again.done; err != nil {
		t.Error(err)
	}
}

// slowRequest is one whose body comes late.
type slowRequest struct {
	body *io.PipeWriter
	done chan error
}

func beginSlow(t *testing.T, c *rest.Config) *slowRequest {
	t.Helper()
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, c.Host+"/api/v1/namespaces/default/configmaps", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	s := &slowRequest{body: w, done: make(chan error, 1)}
	go func() {
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				err = fmt.Errorf("answered %s", resp.Status)
			}
		}
		s.done <- err
	}()
	if _, err := io.WriteString(w, `{"kind":"ConfigMap","apiVersion":"v1",`); err != nil { // read by now
		t.Fatal(err)
	}
	return s
}

func (s *slowRequest) finish(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(s.body, `"metadata":{"name":"slow"}}`); err != nil {
		t.Errorf("sending the rest of the request in flight: %v", err)
	}
	s.body.Close()
	if err := <-s.done; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
}
