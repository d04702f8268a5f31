package resilience

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	clientcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

const (
	// kills is how often each of the two servers is killed.
	kills   = 100
	writers = 4
)

// TestKilledAgainAndAgain kills two servers at random points of a write load: one whose watches are
// served from memory, where a client that was away must list again, and one whose watches go on from
// where they were.
func TestKilledAgainAndAgain(t *testing.T) {
	for name, flags := range map[string][]string{"watch cache": nil, "no watch cache": {"--watch-cache=false"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &crash{t: t, server: newProcess(t, flags...), acknowledged: map[string]uint64{}, last: map[string]int{}}
			c.run()
		})
	}
}

// crash is a server that is killed, and what its clients know.
type crash struct {
	t      *testing.T
	server *process

	mu sync.Mutex
	// acknowledged has the version of each write by its name: "object" or "object=value".
	acknowledged map[string]uint64
	// last has the value that was acknowledged last, of each object that is changed.
	last map[string]int
}

func (c *crash) client() clientcorev1.ConfigMapInterface {
	config := rest.CopyConfig(c.server.config())
	config.Timeout = 10 * time.Second
	return kubernetes.NewForConfigOrDie(config).CoreV1().ConfigMaps("default")
}

func (c *crash) run() {
	if err := c.server.start(); err != nil {
		c.t.Fatal(err)
	}
	for w := range writers {
		if _, err := c.client().Create(c.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: counter(w)}}, metav1.CreateOptions{}); err != nil {
			c.t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(c.t.Context())
	var load, watching sync.WaitGroup
	for w := range writers {
		load.Go(func() { c.write(ctx, w) })
	}
	seen := &observer{events: map[uint64]string{}}
	watchCtx, stopWatching := context.WithCancel(c.t.Context())
	defer stopWatching()
	watching.Go(func() { seen.watch(watchCtx, c.server.config()) })
	for i := range kills {
		if err := c.strike(i%2 == 1); err != nil {
			c.t.Fatalf("kill %d: %v", i+1, err)
		}
	}
	if err := c.server.start(); err != nil {
		c.t.Fatal(err)
	}
	stop()
	load.Wait()
	list, err := c.client().List(c.t.Context(), metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.checkStored(list)
	end, err := c.client().Create(c.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "end"}}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	seen.await(c.t, end.ResourceVersion)
	stopWatching()
	watching.Wait()
	c.checkSeen(seen)
}

// strike kills the server while it starts, or else, started again if it was away, under load.
func (c *crash) strike(starting bool) error {
	if starting {
		if _, err := c.server.begin(); err != nil {
			return err
		}
		time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
		return c.server.kill()
	}
	if c.server.cmd == nil {
		if err := c.server.start(); err != nil {
			return err
		}
	}
	time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond) // a random point of the load
	return c.server.kill()
}

// write creates an object after the other, and counts one of its own up, until ctx ends. What fails is
// tried again under another name: it may or may not have been written.
func (c *crash) write(ctx context.Context, writer int) {
	client := c.client()
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("w%d-%d", writer, i)
		cm, err := client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err == nil {
			c.acknowledge(name, cm, -1)
			patch := fmt.Sprintf(`{"data":{"n":"%d"}}`, i)
			cm, err = client.Patch(ctx, counter(writer), types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			if err == nil {
				c.acknowledge(counter(writer), cm, i)
			}
		}
		if err != nil {
			if apierrors.IsInvalid(err) || apierrors.IsAlreadyExists(err) || apierrors.IsForbidden(err) {
				c.t.Errorf("writing %s: %v", name, err)
			}
			time.Sleep(2 * time.Millisecond) // the server is away; its start needs the processor
		}
	}
}

func counter(writer int) string { return fmt.Sprint("counter-", writer) }

func (c *crash) acknowledge(name string, cm *corev1.ConfigMap, value int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := name
	if value >= 0 {
		key, c.last[name] = fmt.Sprintf("%s=%d", name, value), value
	}
	c.acknowledged[key] = version(cm.ResourceVersion)
}

func version(s string) uint64 {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(err) // the server makes them
	}
	return v
}

// checkStored looks for every acknowledged write among the objects.
func (c *crash) checkStored(list *corev1.ConfigMapList) {
	stored := map[string]corev1.ConfigMap{}
	for _, cm := range list.Items {
		stored[cm.Name] = cm
	}
	for key, v := range c.acknowledged {
		if cm, ok := stored[key]; ok && version(cm.ResourceVersion) != v {
			c.t.Errorf("%s was acknowledged at version %d and is stored at %s", key, v, cm.ResourceVersion)
		}
	}
	created := 0
	for key := range c.acknowledged {
		if _, ok := stored[key]; ok {
			created++
		}
	}
	changed := len(c.acknowledged) - created
	c.t.Logf("%d creations and %d changes were acknowledged", created, changed)
	if created < kills/2 || changed < kills/2 {
		c.t.Errorf("only %d writes were acknowledged", len(c.acknowledged))
	}
	for name, value := range c.last {
		if n, err := strconv.Atoi(stored[name].Data["n"]); err != nil || n < value {
			c.t.Errorf("%s was acknowledged at %d and is %q", name, value, stored[name].Data["n"])
		}
	}
	for key := range c.acknowledged {
		if _, ok := stored[key]; !ok && key[0] == 'w' {
			c.t.Errorf("%s was acknowledged and is lost", key)
		}
	}
}

// observer is a client that watches, and resumes from the last version that it saw. Where that is no
// longer known it lists, as informers do.
type observer struct {
	mu     sync.Mutex
	events map[uint64]string
	// lists are the gaps that a list closed: versions after from, up to the list's.
	lists []gap
	// at is the last version that was seen; behind says that it is no longer known.
	at     string
	behind bool
	fault  string
}

// gap is what a list told instead of events.
type gap struct {
	from, to uint64
	stored   map[string]uint64
}

func (o *observer) watch(ctx context.Context, config *rest.Config) {
	client := kubernetes.NewForConfigOrDie(config).CoreV1().ConfigMaps("default")
	for ctx.Err() == nil {
		if o.at == "" || o.behind {
			o.list(ctx, client)
		} else if w, err := client.Watch(ctx, metav1.ListOptions{ResourceVersion: o.at, AllowWatchBookmarks: true}); err == nil {
			o.receive(w)
		} else if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			o.list(ctx, client)
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Millisecond): // the server is away
		}
	}
}

func (o *observer) list(ctx context.Context, client clientcorev1.ConfigMapInterface) {
	list, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	g := gap{to: version(list.ResourceVersion), stored: map[string]uint64{}}
	if o.at != "" {
		g.from = version(o.at)
	}
	for _, cm := range list.Items {
		g.stored[cm.Name] = version(cm.ResourceVersion)
	}
	if g.to < g.from {
		o.fault = fmt.Sprintf("a list is of version %d, after version %d was seen", g.to, g.from)
	}
	o.lists, o.at, o.behind = append(o.lists, g), list.ResourceVersion, false
}

func (o *observer) receive(w watch.Interface) {
	defer w.Stop()
	for ev := range w.ResultChan() {
		cm, ok := ev.Object.(*corev1.ConfigMap)
		o.mu.Lock()
		switch {
		case !ok && ev.Type == watch.Error:
			err := apierrors.FromObject(ev.Object)
			o.behind = apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
		case ok && ev.Type != watch.Bookmark:
			v := version(cm.ResourceVersion)
			if o.events[v] != "" || o.at != "" && v <= version(o.at) {
				o.fault = fmt.Sprintf("version %d of %s comes after %s", v, cm.Name, o.at)
			}
			o.events[v], o.at = cm.Name, cm.ResourceVersion
		case ok:
			o.at = cm.ResourceVersion
		}
		o.mu.Unlock()
		if !ok {
			return
		}
	}
}

// await waits until the observer has seen a version.
func (o *observer) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		o.mu.Lock()
		at := o.at
		o.mu.Unlock()
		if at != "" && version(at) >= version(want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the watch is at %s, and does not come to %s", at, want)
		}
	}
}

// checkSeen looks for every acknowledged write among the events, or in the list that closed a gap.
func (c *crash) checkSeen(o *observer) {
	if o.fault != "" {
		c.t.Error(o.fault)
	}
	for key, v := range c.acknowledged {
		if o.events[v] != "" {
			continue
		}
		closed := false
		for _, g := range o.lists {
			closed = closed || v > g.from && v <= g.to && (key[0] != 'w' || g.stored[key] == v)
		}
		if !closed {
			c.t.Errorf("%s of version %d was never seen", key, v)
		}
	}
	c.t.Logf("%d events were seen, %d gaps were closed by a list", len(o.events), len(o.lists))
}
