package inprocess

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"coracle.dev/coracle/apiserver"
	"coracle.dev/coracle/apiserver/apiservertest"
	"coracle.dev/coracle/cluster/clustertest"
)

// patience is how long what is to happen may take; far longer than it does, save on a machine that
// has much else to do.
const patience = time.Minute

// env is a server with the clients of its tests.
type env struct {
	kubernetes.Interface
	cfg    *rest.Config
	server *apiserver.Server
	dyn    dynamic.Interface
	ext    apiextensions.Interface
	agg    aggregator.Interface
	disco  *discovery.DiscoveryClient
	count  atomic.Int32
}

// start starts a server.
func start(t *testing.T, change ...func(*apiserver.Options)) *env {
	t.Helper()
	cfg, server := apiservertest.Start(t, change...)
	return newEnv(cfg, server)
}

func newEnv(cfg *rest.Config, server *apiserver.Server) *env {
	return &env{
		Interface: kubernetes.NewForConfigOrDie(cfg), cfg: cfg, server: server,
		dyn: dynamic.NewForConfigOrDie(cfg), ext: apiextensions.NewForConfigOrDie(cfg), agg: aggregator.NewForConfigOrDie(cfg),
		disco: discovery.NewDiscoveryClientForConfigOrDie(cfg),
	}
}

// cluster starts a whole cluster, with simulated nodes.
func cluster(t *testing.T, opts ...clustertest.Option) *env {
	t.Helper()
	return newEnv(clustertest.Start(t, opts...), nil)
}

// namespace makes a namespace for a test.
func (e *env) namespace(t *testing.T, labels ...string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("conformance-%d", e.count.Add(1)), Labels: pairs(labels)}}
	must(e.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}))(t)
	return ns.Name
}

// settled makes a namespace of a cluster, and waits for what the controllers put there.
func (e *env) settled(t *testing.T, labels ...string) string {
	t.Helper()
	ns := e.namespace(t, labels...)
	eventually(t, "the namespace has a service account and the authority's certificate", func(ctx context.Context) error {
		_, account := e.CoreV1().ServiceAccounts(ns).Get(ctx, "default", metav1.GetOptions{})
		_, ca := e.CoreV1().ConfigMaps(ns).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return errors.Join(account, ca)
	})
	return ns
}

// pairs makes a map of keys and values in turn.
func pairs(kv []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

// must returns a function that fails the test if there was an error, and else returns the value.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// eventually fails the test if check goes on to return an error.
func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waiting until %s: %v", what, last)
		}
	}
}

// refused checks that a request failed with a message that has all the texts.
func refused(t *testing.T, what string, err error, texts ...string) {
	t.Helper()
	if why := lacks(err, texts...); why != nil {
		t.Errorf("%s: %v", what, why)
	}
}

// lacks returns an error unless err is one that has all the texts.
func lacks(err error, texts ...string) error {
	if err == nil {
		return fmt.Errorf("it was accepted, want refusal: %s", strings.Join(texts, ", "))
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			return fmt.Errorf("refused by %q, want %q", err, text)
		}
	}
	return nil
}

// next returns the next event of a watch that is no bookmark.
func next(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case ev, open := <-w.ResultChan():
			if !open {
				t.Fatal("the watch ended")
			}
			if ev.Type != watch.Bookmark {
				return ev
			}
		case <-timeout.C:
			t.Fatal("the watch sees nothing")
		}
	}
}

// expectEvent waits for an event of the type, on an object of the name.
func expectEvent(t *testing.T, w watch.Interface, kind watch.EventType, name string) watch.Event {
	t.Helper()
	for {
		ev := next(t, w)
		m, ok := ev.Object.(metav1.Object)
		if !ok {
			t.Fatalf("the watch sees %v", ev)
		}
		if ev.Type == kind && m.GetName() == name {
			return ev
		}
	}
}

// subtest is one requirement's check.
type subtest struct {
	name string
	run  func(*testing.T)
}

// parallel runs subtests at the same time.
func parallel(t *testing.T, tests []subtest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
}

func configMap(name string, data ...string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: pairs(data)}
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "image:1"}}}}
}
