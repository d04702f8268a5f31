package controllers_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/apiserver/apiservertest"
	"coracle.dev/coracle/controllers"
)

// patience is how long what is to happen may take; far longer than it does,
// save on a machine that has much else to do.
const patience = time.Minute

// env is an API server with controllers running against it.
type env struct {
	client.WithWatch
	t   *testing.T
	cfg *rest.Config
	ns  string
}

// start starts a server, the named controllers or "none", and a namespace.
func start(t *testing.T, names ...string) *env {
	t.Helper()
	cfg, _ := apiservertest.Start(t)
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: clientgoscheme.Scheme})
	if err != nil {
		t.Fatalf("making a client: %v", err)
	}
	e := &env{WithWatch: c, t: t, cfg: cfg, ns: "test"}
	e.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.ns}})
	e.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "default"}})
	e.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}})
	if !slices.Equal(names, []string{"none"}) {
		e.run(names...)
	}
	return e
}

// run runs controllers until the test ends or stop is called.
func (e *env) run(names ...string) (stop func()) {
	e.t.Helper()
	return e.runWith(controllers.Options{Controllers: names})
}

// runWith runs controllers with other options than the default ones.
func (e *env) runWith(o controllers.Options) (stop func()) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- controllers.Run(ctx, e.cfg, o) }()
	var stopped atomic.Bool
	stop = func() {
		if stopped.Swap(true) {
			return
		}
		cancel()
		select {
		case err := <-done:
			if err != nil {
				e.t.Errorf("running controllers: %v", err)
			}
		case <-time.After(patience):
			e.t.Error("the controllers did not stop")
		}
	}
	e.t.Cleanup(stop)
	return stop
}

func (e *env) create(obj client.Object) {
	e.t.Helper()
	if err := e.Create(e.t.Context(), obj); err != nil {
		e.t.Fatalf("creating %T %s: %v", obj, obj.GetName(), err)
	}
}

func (e *env) get(name string, obj client.Object) {
	e.t.Helper()
	if err := e.Get(e.t.Context(), types.NamespacedName{Namespace: e.ns, Name: name}, obj); err != nil {
		e.t.Fatalf("getting %T %s: %v", obj, name, err)
	}
}

func (e *env) patch(obj client.Object, merge string) {
	e.t.Helper()
	if err := e.Patch(e.t.Context(), obj, client.RawPatch(types.MergePatchType, []byte(merge))); err != nil {
		e.t.Fatalf("patching %T %s: %v", obj, obj.GetName(), err)
	}
}

func (e *env) delete(obj client.Object, opts ...client.DeleteOption) {
	e.t.Helper()
	if err := e.Delete(e.t.Context(), obj, opts...); err != nil {
		e.t.Fatalf("deleting %T %s: %v", obj, obj.GetName(), err)
	}
}

// pods lists the pods of the namespace with the given labels.
func (e *env) pods(labels ...string) []corev1.Pod {
	e.t.Helper()
	var list corev1.PodList
	match := client.MatchingLabels{}
	for i := 0; i+1 < len(labels); i += 2 {
		match[labels[i]] = labels[i+1]
	}
	if err := e.List(context.Background(), &list, client.InNamespace(e.ns), match); err != nil {
		e.t.Fatalf("listing pods: %v", err)
	}
	return list.Items
}

// eventually waits until check finds nothing amiss, looking again at every
// change of the given kinds of objects.
func (e *env) eventually(what string, check func() error, lists ...client.ObjectList) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	changed := make(chan struct{}, 1)
	for _, list := range lists {
		e.onChange(ctx, list, func(watch.Event) {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			e.t.Fatalf("waiting until %s: %v\n%s", what, err, e.events())
		}
	}
}

// onChange calls f for every event of the namespace's objects, the existing
// ones first, until ctx ends. A watch that the server ends, as it does with
// those who do not keep up, is taken up where it ended.
func (e *env) onChange(ctx context.Context, list client.ObjectList, f func(watch.Event)) {
	e.t.Helper()
	list = list.DeepCopyObject().(client.ObjectList)
	if err := e.List(ctx, list, client.InNamespace(e.ns)); err != nil {
		e.t.Fatalf("listing what is to be watched: %v", err)
	}
	existing, err := meta.ExtractList(list)
	if err != nil {
		e.t.Fatal(err)
	}
	w, err := watchtools.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), watcher{e, list})
	if err != nil {
		e.t.Fatalf("watching: %v", err)
	}
	go func() {
		for _, obj := range existing {
			f(watch.Event{Type: watch.Added, Object: obj})
		}
		for ev := range w.ResultChan() {
			f(ev)
		}
	}()
}

// watcher watches the objects of a list for a retrying watch.
type watcher struct {
	e    *env
	list client.ObjectList
}

func (w watcher) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return w.e.Watch(ctx, w.list, client.InNamespace(w.e.ns), &client.ListOptions{Raw: &o})
}

func (e *env) events() string {
	var list corev1.EventList
	if err := e.List(context.Background(), &list, client.InNamespace(e.ns)); err != nil {
		return err.Error()
	}
	out := "events:\n"
	for _, ev := range list.Items {
		out += fmt.Sprintf("  %s %s/%s %s: %s\n", ev.Type, ev.InvolvedObject.Kind, ev.InvolvedObject.Name, ev.Reason, ev.Message)
	}
	return out
}

// kubelet marks pods running and ready, unless their label "broken" is set, and
// ends those that are deleted. Pods with a label "end" end at once, in the phase
// that it names.
func (e *env) kubelet() {
	var n atomic.Int32
	pods := make(chan *corev1.Pod, 10000) // so that the watch is never kept waiting
	for range 8 {
		go func() {
			for p := range pods {
				if p.DeletionTimestamp != nil {
					_ = e.Delete(e.t.Context(), p, client.GracePeriodSeconds(0))
				} else {
					e.markReady(p, n.Add(1))
				}
			}
		}()
	}
	e.onChange(e.t.Context(), &corev1.PodList{}, func(ev watch.Event) {
		p, ok := ev.Object.(*corev1.Pod)
		starts := ok && p.Labels["broken"] == "" && p.Status.Phase == corev1.PodPending
		if ok && ev.Type != watch.Deleted && (starts || p.DeletionTimestamp != nil) {
			pods <- p
		}
	})
}

func (e *env) markReady(p *corev1.Pod, i int32) {
	phase := corev1.PodRunning
	if end := p.Labels["end"]; end != "" {
		phase = corev1.PodPhase(end)
	}
	status := fmt.Sprintf(`{"status":{"phase":%q,"podIP":"10.1.%d.%d","podIPs":[{"ip":"10.1.%d.%d"}],
		"conditions":[{"type":"Ready","status":"True","lastTransitionTime":%q}]}}`,
		phase, i/250, i%250+1, i/250, i%250+1, time.Now().UTC().Format(time.RFC3339))
	err := e.Status().Patch(e.t.Context(), p, client.RawPatch(types.MergePatchType, []byte(status)))
	if client.IgnoreNotFound(err) != nil && e.t.Context().Err() == nil {
		e.t.Errorf("marking pod %s ready: %v", p.Name, err)
	}
}

func template(labels ...string) corev1.PodTemplateSpec {
	l := map[string]string{}
	for i := 0; i+1 < len(labels); i += 2 {
		l[labels[i]] = labels[i+1]
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: l},
		Spec:       corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{Name: "c", Image: "image:1"}}},
	}
}

func expect(what string, got, want any) error {
	if got != want {
		return fmt.Errorf("%s is %v, not %v", what, got, want)
	}
	return nil
}
