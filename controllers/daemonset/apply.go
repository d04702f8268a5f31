package daemonset

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/batch"
	"coracle.dev/coracle/controllers/internal/podcontrol"
)

// apply writes what was planned.
func (r *Reconciler) apply(ctx context.Context, ds *appsv1.DaemonSet, o observed, a actions) error {
	for _, p := range a.failed {
		r.backoff.failed(ds.UID, nodeOf(p))
		r.pods.Recorder.Eventf(ds, corev1.EventTypeWarning, "FailedDaemonPod",
			"Found failed daemon pod %s/%s on node %s, will try to kill it", p.Namespace, p.Name, nodeOf(p))
	}
	for _, p := range a.succeeded {
		r.pods.Recorder.Eventf(ds, corev1.EventTypeNormal, "SucceededDaemonPod",
			"Found succeeded daemon pod %s/%s on node %s, will try to delete it", p.Namespace, p.Name, nodeOf(p))
	}
	return errors.Join(r.create(ctx, ds, o.hash, a.create), r.remove(ctx, ds, a.remove), r.writeStatus(ctx, ds, a.status))
}

func (r *Reconciler) create(ctx context.Context, ds *appsv1.DaemonSet, hash string, nodes []string) error {
	r.expect.ExpectCreations(ds.UID, len(nodes))
	created, err := batch.SlowStart(len(nodes), func(i int) error {
		return r.pods.Create(ctx, newPod(ds, hash, nodes[i]), ds)
	})
	r.expect.CreationsObserved(ds.UID, len(nodes)-created)
	if podcontrol.NamespaceTerminating(err) {
		return nil
	}
	return err
}

func (r *Reconciler) remove(ctx context.Context, ds *appsv1.DaemonSet, pods []*corev1.Pod) error {
	for _, p := range pods {
		r.expect.ExpectDeletion(ds.UID, p.UID)
	}
	_, err := batch.All(len(pods), func(i int) error {
		err := r.pods.Delete(ctx, pods[i], ds)
		if err != nil {
			r.expect.DeletionObserved(ds.UID, pods[i].UID)
		}
		return client.IgnoreNotFound(err)
	})
	return err
}

func (r *Reconciler) writeStatus(ctx context.Context, ds *appsv1.DaemonSet, st appsv1.DaemonSetStatus) error {
	if err := r.written.Current(ds); err != nil {
		return err
	}
	if apiequality.Semantic.DeepEqual(ds.Status, st) {
		return nil
	}
	ds.Status = st
	if err := r.client.Status().Update(ctx, ds); err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	r.written.Note(ds)
	return nil
}

const (
	firstDelay   = time.Second
	longestDelay = 15 * time.Minute
)

// backoff remembers on which nodes a set's daemons keep failing.
type backoff struct {
	now func() time.Time

	mu    sync.Mutex
	nodes map[types.UID]map[string]*waiting
}

type waiting struct {
	delay time.Duration
	until time.Time
}

func newBackoff(now func() time.Time) *backoff {
	return &backoff{now: now, nodes: map[types.UID]map[string]*waiting{}}
}

// failed notes that a daemon failed on a node: the next to fail there is left
// for twice as long. A node on which none failed for long starts afresh.
func (b *backoff) failed(set types.UID, node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nodes[set] == nil {
		b.nodes[set] = map[string]*waiting{}
	}
	w := b.nodes[set][node]
	if w == nil || b.now().Sub(w.until) > longestDelay {
		w = &waiting{delay: firstDelay / 2}
		b.nodes[set][node] = w
	}
	w.delay = min(2*w.delay, longestDelay)
	w.until = b.now().Add(w.delay)
}

// delays are the nodes that are to wait, and how long.
func (b *backoff) delays(set types.UID) map[string]time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	delays := map[string]time.Duration{}
	for node, w := range b.nodes[set] {
		if d := w.until.Sub(b.now()); d > 0 {
			delays[node] = d
		}
	}
	return delays
}

func (b *backoff) forget(set types.UID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.nodes, set)
}
