package inprocess

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	clientcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// watched are the steps of a watch test in a namespace of its own.
type watched struct {
	clientcorev1.ConfigMapInterface
	t *testing.T
}

func (e *env) watched(t *testing.T) watched {
	t.Helper()
	return watched{e.CoreV1().ConfigMaps(e.namespace(t)), t}
}

func (w watched) create(name, label string) *corev1.ConfigMap {
	w.t.Helper()
	cm := configMap(name)
	cm.Labels = map[string]string{"watch": label}
	return must(w.Create(w.t.Context(), cm, metav1.CreateOptions{}))(w.t)
}

// set writes the data and the label.
func (w watched) set(cm *corev1.ConfigMap, label, value string) *corev1.ConfigMap {
	w.t.Helper()
	cm = cm.DeepCopy()
	cm.Labels = map[string]string{"watch": label}
	cm.Data = map[string]string{"mutation": value}
	return must(w.Update(w.t.Context(), cm, metav1.UpdateOptions{}))(w.t)
}

func (w watched) remove(name string) {
	w.t.Helper()
	if err := w.Delete(w.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w watched) from(selector, version string) watch.Interface {
	w.t.Helper()
	i := must(w.Watch(w.t.Context(), metav1.ListOptions{LabelSelector: selector, ResourceVersion: version}))(w.t)
	w.t.Cleanup(i.Stop)
	return i
}

// sees checks the next events, each written as "TYPE name mutation".
func (w watched) sees(i watch.Interface, want ...string) {
	w.t.Helper()
	for _, want := range want {
		ev := next(w.t, i)
		cm := ev.Object.(*corev1.ConfigMap)
		if got := fmt.Sprintf("%s %s %s", ev.Type, cm.Name, cm.Data["mutation"]); got != want {
			w.t.Fatalf("the watch sees %q, want %q", got, want)
		}
	}
}

func TestWatchers(t *testing.T) {
	e := start(t)
	parallel(t, []subtest{
		{"multiple watchers", e.watchMany},
		{"from resource version", e.watchFromVersion},
		{"closed and restarted", e.watchRestarted},
		{"label changed", e.watchLabel},
		{"consistency", e.watchConsistency},
	})
}

func (e *env) watchMany(t *testing.T) {
	w := e.watched(t)
	a, b, both := w.from("watch=a", ""), w.from("watch=b", ""), w.from("watch in (a,b)", "")
	first := w.set(w.create("first", "a"), "a", "1")
	w.set(first, "a", "2")
	w.remove("first")
	w.create("second", "b")
	w.remove("second")
	w.sees(a, "ADDED first ", "MODIFIED first 1", "MODIFIED first 2", "DELETED first 2")
	w.sees(b, "ADDED second ", "DELETED second ")
	w.sees(both, "ADDED first ", "MODIFIED first 1", "MODIFIED first 2", "DELETED first 2", "ADDED second ", "DELETED second ")
	w.create("third", "a")
	w.sees(a, "ADDED third ") // and nothing of second before
}

func (e *env) watchFromVersion(t *testing.T) {
	w := e.watched(t)
	first := w.set(w.create("first", "a"), "a", "1")
	w.set(first, "a", "2")
	w.remove("first")
	w.sees(w.from("watch=a", first.ResourceVersion), "MODIFIED first 2", "DELETED first 2")
}

func (e *env) watchRestarted(t *testing.T) {
	w := e.watched(t)
	i := w.from("watch=a", "")
	cm := w.create("first", "a")
	cm = w.set(cm, "a", "1")
	w.sees(i, "ADDED first ")
	last := next(t, i).Object.(*corev1.ConfigMap).ResourceVersion
	i.Stop()
	w.set(cm, "a", "2")
	w.remove("first")
	w.sees(w.from("watch=a", last), "MODIFIED first 2", "DELETED first 2")
}

func (e *env) watchLabel(t *testing.T) {
	w := e.watched(t)
	i := w.from("watch=a", "")
	cm := w.create("first", "a")
	cm = w.set(cm, "a", "1")
	cm = w.set(cm, "b", "2")
	cm = w.set(cm, "b", "3")
	cm = w.set(cm, "a", "4")
	w.set(cm, "a", "5")
	w.remove("first")
	ev := next(t, i)
	if ev.Type != watch.Added {
		t.Fatalf("the watch sees %v", ev)
	}
	w.sees(i, "MODIFIED first 1")
	if ev := next(t, i); ev.Type != watch.Deleted {
		t.Fatalf("when the label goes the watch sees %v", ev)
	}
	w.sees(i, "ADDED first 4", "MODIFIED first 5", "DELETED first 5")
}

// watchConsistency opens a watch at each of the events of a first one, and compares what all see.
func (e *env) watchConsistency(t *testing.T) {
	w := e.watched(t)
	const events = 60
	start := must(w.List(t.Context(), metav1.ListOptions{}))(t).ResourceVersion
	written := make(chan error, 1)
	go func() { written <- w.write(t.Context(), events) }()
	watches := []watch.Interface{w.from("", start)}
	for range events {
		version := ""
		for n, i := range watches {
			got := next(t, i).Object.(*corev1.ConfigMap).ResourceVersion
			if n > 0 && got != version {
				t.Fatalf("watch %d sees version %s, the first %s", n, got, version)
			}
			version = got
		}
		watches = append(watches, w.from("", version))
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}

// write makes events by creating, updating and deleting in turn.
func (w watched) write(ctx context.Context, events int) error {
	for n := range events {
		var err error
		name := fmt.Sprint("c", n/3)
		switch n % 3 {
		case 0:
			_, err = w.Create(ctx, configMap(name), metav1.CreateOptions{})
		case 1:
			_, err = w.Update(ctx, configMap(name, "n", fmt.Sprint(n)), metav1.UpdateOptions{})
		case 2:
			err = w.Delete(ctx, name, metav1.DeleteOptions{})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
