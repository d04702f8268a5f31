// Package object keeps the config maps and secrets that pods of this node
// refer to.
//
// Contract: an object is watched, by name, from the first reference to it
// until the last one goes, so that the node holds no more than it needs and
// learns of changes at once. Get waits for the first answer of the API server
// and then always answers from what the watch delivered, also while the
// server is away. Values are shared and must not be changed.
package object

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// syncTimeout bounds the wait for the first answer; the pod's worker tries
// again later.
const syncTimeout = 5 * time.Second

// Kind says which of the two an object is.
type Kind string

// The kinds, written as messages about missing objects name them.
const (
	ConfigMap Kind = "configmap"
	Secret    Kind = "secret"
)

// Ref names an object.
type Ref struct {
	Kind            Kind
	Namespace, Name string
}

// Store watches the referenced objects.
type Store struct {
	ctx      context.Context //nolint:containedctx // the watches live as long as the store, not as long as a call
	client   kubernetes.Interface
	onChange func(pod types.UID)

	mu      sync.Mutex // guards entries and the referrers in them
	entries map[Ref]*entry
	byPod   map[types.UID]map[Ref]bool
}

type entry struct {
	store     cache.Store
	informer  cache.Controller
	stop      context.CancelFunc
	referrers map[types.UID]bool
}

// New makes a store whose watches end with ctx. onChange is called, without
// locks held, for every pod that refers to an object that changed.
func New(ctx context.Context, client kubernetes.Interface, onChange func(types.UID)) *Store {
	return &Store{ctx: ctx, client: client, onChange: onChange, entries: map[Ref]*entry{}, byPod: map[types.UID]map[Ref]bool{}}
}

// Track watches what the pod refers to.
func (s *Store) Track(pod *corev1.Pod) { s.SetRefs(pod.UID, Refs(pod)) }

// Forget drops the pod's references.
func (s *Store) Forget(pod types.UID) { s.SetRefs(pod, nil) }

// SetRefs replaces what the pod refers to; an empty list forgets the pod.
func (s *Store) SetRefs(pod types.UID, refs []Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := make(map[Ref]bool, len(refs))
	for _, r := range refs {
		want[r] = true
		s.addLocked(pod, r)
	}
	for r := range s.byPod[pod] {
		if !want[r] {
			s.dropLocked(pod, r)
		}
	}
	if len(want) == 0 {
		delete(s.byPod, pod)
		return
	}
	s.byPod[pod] = want
}

func (s *Store) addLocked(pod types.UID, r Ref) {
	e := s.entries[r]
	if e == nil {
		e = s.watch(r)
		s.entries[r] = e
	}
	e.referrers[pod] = true
}

func (s *Store) dropLocked(pod types.UID, r Ref) {
	e := s.entries[r]
	if e == nil {
		return
	}
	delete(e.referrers, pod)
	if len(e.referrers) == 0 {
		e.stop()
		delete(s.entries, r)
	}
}

func (s *Store) watch(r Ref) *entry {
	ctx, stop := context.WithCancel(s.ctx)
	changed := func() { s.changed(r) }
	store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: s.listWatch(r),
		ObjectType:    objectType(r.Kind),
		Handler: cache.ResourceEventHandlerDetailedFuncs{
			AddFunc: func(_ any, initial bool) {
				if !initial {
					changed()
				}
			},
			UpdateFunc: func(before, now any) {
				if version(before) != version(now) {
					changed()
				}
			},
			DeleteFunc: func(any) { changed() },
		},
		Transform: dropManagedFields,
	})
	go informer.RunWithContext(ctx)
	return &entry{store: store, informer: informer, stop: stop, referrers: map[types.UID]bool{}}
}

func (s *Store) changed(r Ref) {
	s.mu.Lock()
	var pods []types.UID
	if e := s.entries[r]; e != nil {
		for uid := range e.referrers {
			pods = append(pods, uid)
		}
	}
	s.mu.Unlock()
	for _, uid := range pods {
		s.onChange(uid)
	}
}

func (s *Store) listWatch(r Ref) cache.ListerWatcher {
	selector := fields.OneTermEqualSelector("metadata.name", r.Name).String()
	lw := &cache.ListWatch{}
	set := func(o *metav1.ListOptions) { o.FieldSelector = selector }
	if r.Kind == Secret {
		c := s.client.CoreV1().Secrets(r.Namespace)
		lw.ListWithContextFunc = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			set(&o)
			return c.List(ctx, o)
		}
		lw.WatchFuncWithContext = func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			set(&o)
			return c.Watch(ctx, o)
		}
	} else {
		c := s.client.CoreV1().ConfigMaps(r.Namespace)
		lw.ListWithContextFunc = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			set(&o)
			return c.List(ctx, o)
		}
		lw.WatchFuncWithContext = func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			set(&o)
			return c.Watch(ctx, o)
		}
	}
	return cache.ToListWatcherWithWatchListSemantics(lw, s.client)
}

func objectType(k Kind) runtime.Object {
	if k == Secret {
		return &corev1.Secret{}
	}
	return &corev1.ConfigMap{}
}

func version(o any) string {
	if m, ok := o.(metav1.Object); ok {
		return m.GetResourceVersion()
	}
	return ""
}

func dropManagedFields(o any) (any, error) {
	if m, ok := o.(metav1.Object); ok {
		m.SetManagedFields(nil)
	}
	return o, nil
}

// ConfigMap implements the lookup of the spec package.
func (s *Store) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	o, err := s.get(ctx, Ref{ConfigMap, namespace, name})
	if err != nil {
		return nil, err
	}
	return o.(*corev1.ConfigMap), nil
}

// Secret implements the lookup of the spec package.
func (s *Store) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	o, err := s.get(ctx, Ref{Secret, namespace, name})
	if err != nil {
		return nil, err
	}
	return o.(*corev1.Secret), nil
}

func (s *Store) get(ctx context.Context, r Ref) (any, error) {
	s.mu.Lock()
	e := s.entries[r]
	s.mu.Unlock()
	if e == nil {
		return nil, fmt.Errorf("object %q/%q not registered", r.Namespace, r.Name)
	}
	// The checker tells at once, where WaitForCacheSync would poll.
	select {
	case <-e.informer.HasSyncedChecker().Done():
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(syncTimeout):
		return nil, fmt.Errorf("failed to sync %s cache: timed out waiting for the condition", r.Kind)
	}
	o, ok, err := e.store.GetByKey(r.Namespace + "/" + r.Name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, apierrors.NewNotFound(corev1.Resource(string(r.Kind)), r.Name)
	}
	return o, nil
}
