package volumebinding

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	volumehelper "k8s.io/component-helpers/storage/volume"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"coracle.dev/coracle/controllers/internal/index"
)

var errCrash = errors.New("the controller crashed")

// model drives the reconciler against an API server whose changes reach the reconciler's cache late, and
// of whose writes some fail, before or after they are done.
type model struct {
	t      *testing.T
	random *rand.Rand
	truth  client.WithWatch
	cached []client.Object // as the reconciler knows them
	cache  client.Reader   // of these
	r      *Reconciler
	// crash is when a write fails: so many writes from now; negative is never.
	crash int
	names int
	// bound is what each complete claim had, by its UID.
	bound map[types.UID]string
	log   []string
}

func objectsIn(objects ...client.Object) *fake.ClientBuilder {
	return fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(objects...).
		WithStatusSubresource(&corev1.PersistentVolume{}, &corev1.PersistentVolumeClaim{}).
		WithIndex(&corev1.PersistentVolume{}, volumesByClass, byClass).
		WithIndex(&corev1.PersistentVolume{}, volumesByClaim, byClaim).
		WithIndex(&corev1.PersistentVolumeClaim{}, claimsByVolume, byVolume).
		WithIndex(&corev1.Pod{}, index.Claim, func(o client.Object) []string { return index.ClaimNames(o.(*corev1.Pod)) })
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, random: rand.New(rand.NewPCG(seed, 0)), crash: -1, bound: map[types.UID]string{}}
	write := func(do func() error) error {
		if m.crash == 0 {
			m.crash = -1
			if m.random.IntN(2) == 0 {
				return errors.Join(errCrash, do())
			}
			return errCrash
		}
		m.crash--
		return do()
	}
	m.truth, m.cache = objectsIn().Build(), objectsIn().Build()
	server := interceptor.NewClient(m.truth, interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return write(func() error { return c.Update(ctx, o, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return write(func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
		Get: func(ctx context.Context, _ client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			return m.cache.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, _ client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			return m.cache.List(ctx, l, opts...)
		},
	})
	m.r = &Reconciler{client: server, live: m.truth, recorder: &record.FakeRecorder{}, now: time.Now}
	return m
}

func (m *model) claims() (out corev1.PersistentVolumeClaimList) {
	if err := m.truth.List(m.t.Context(), &out); err != nil {
		m.t.Fatal(err)
	}
	return out
}

func (m *model) volumes() (out corev1.PersistentVolumeList) {
	if err := m.truth.List(m.t.Context(), &out); err != nil {
		m.t.Fatal(err)
	}
	return out
}

// sync brings the cache up to date with some kinds of objects; with all if everything.
func (m *model) sync(everything bool) {
	claims, volumes := m.claims(), m.volumes()
	keep := []client.Object{}
	fresh := map[bool]bool{true: everything || m.random.IntN(2) == 0, false: everything || m.random.IntN(2) == 0}
	for _, o := range m.cached {
		if _, is := o.(*corev1.PersistentVolume); !fresh[is] {
			keep = append(keep, o)
		}
	}
	if fresh[false] {
		for i := range claims.Items {
			keep = append(keep, &claims.Items[i])
		}
	}
	if fresh[true] {
		for i := range volumes.Items {
			keep = append(keep, &volumes.Items[i])
		}
	}
	m.cached, m.cache = keep, objectsIn(keep...).Build()
}

func (m *model) step() {
	claims, volumes := m.claims().Items, m.volumes().Items
	m.names++
	size := resource.MustParse(fmt.Sprintf("%dGi", 1+m.random.IntN(3)))
	switch op := m.random.IntN(12); {
	case op == 0 && len(claims) < 5:
		c := claim(func(c *corev1.PersistentVolumeClaim) {
			// A name may come again, with another UID.
			c.Name, c.UID = fmt.Sprintf("c%d", m.random.IntN(6)), types.UID(fmt.Sprintf("u%d", m.names))
			c.Spec.Resources.Requests[corev1.ResourceStorage] = size
		})
		_ = m.truth.Create(m.t.Context(), c)
		m.log = append(m.log, fmt.Sprintf("create claim %s (%s) of %s", c.Name, c.UID, size.String()))
	case op == 1 && len(volumes) < 6:
		v := volume(fmt.Sprintf("v%d", m.names), size.String())
		v.UID = types.UID(v.Name)
		_ = m.truth.Create(m.t.Context(), v)
		m.log = append(m.log, fmt.Sprintf("create volume %s of %s", v.Name, size.String()))
	case op == 2 && len(claims) > 0:
		c := claims[m.random.IntN(len(claims))]
		_ = m.truth.Delete(m.t.Context(), &c)
		m.log = append(m.log, "delete claim "+c.Name)
	case op < 5:
		m.sync(false)
		m.log = append(m.log, "sync")
	case op < 9 && len(claims) > 0:
		m.reconcile(client.ObjectKeyFromObject(&claims[m.random.IntN(len(claims))]), true)
	case len(volumes) > 0:
		m.reconcile(client.ObjectKeyFromObject(&volumes[m.random.IntN(len(volumes))]), true)
	}
}

func (m *model) reconcile(key types.NamespacedName, faults bool) {
	if m.crash = -1; faults && m.random.IntN(3) == 0 {
		m.crash = m.random.IntN(4)
	}
	_, err := m.r.Reconcile(m.t.Context(), ctrl.Request{NamespacedName: key})
	m.log = append(m.log, fmt.Sprintf("reconcile %s: %v", key, err))
	if err != nil && !errors.Is(err, errCrash) {
		m.fail("reconciling %s: %v", key, err)
	}
	m.crash = -1
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	for _, line := range m.log {
		m.t.Log(line)
	}
	m.t.Fatalf(format, args...)
}

// check looks at what must hold at any time.
func (m *model) check() {
	m.t.Helper()
	claims, volumes := m.claims(), m.volumes()
	alive, holder := map[types.UID]bool{}, map[string]string{}
	for i := range claims.Items {
		c := &claims.Items[i]
		alive[c.UID] = true
		if c.Annotations[volumehelper.AnnBindCompleted] == "" {
			continue
		}
		if other, taken := holder[c.Spec.VolumeName]; taken {
			m.fail("volume %s is bound to %s and %s", c.Spec.VolumeName, other, c.Name)
		}
		holder[c.Spec.VolumeName] = c.Name
		if had, known := m.bound[c.UID]; known && had != c.Spec.VolumeName {
			m.fail("claim %s went from volume %s to %s", c.Name, had, c.Spec.VolumeName)
		}
		m.bound[c.UID] = c.Spec.VolumeName
		if c.Status.Phase == corev1.ClaimLost {
			m.fail("claim %s is lost", c.Name)
		}
	}
	for i := range volumes.Items {
		v := &volumes.Items[i]
		if v.Status.Phase == corev1.VolumeReleased && alive[v.Spec.ClaimRef.UID] {
			m.fail("volume %s is released though its claim lives", v.Name)
		}
	}
}

// settle lets the reconciler do all that it wants, without faults, and checks that nothing is left undone.
func (m *model) settle() {
	m.t.Helper()
	for range 6 {
		for _, c := range m.claims().Items {
			m.sync(true)
			m.reconcile(client.ObjectKeyFromObject(&c), false)
		}
		for _, v := range m.volumes().Items {
			m.sync(true)
			m.reconcile(client.ObjectKeyFromObject(&v), false)
		}
	}
	m.check()
	byName := map[string]*corev1.PersistentVolume{}
	volumes := m.volumes()
	for i := range volumes.Items {
		byName[volumes.Items[i].Name] = &volumes.Items[i]
	}
	promised := map[string]bool{}
	for _, c := range m.claims().Items {
		if c.Status.Phase == corev1.ClaimBound {
			v := byName[c.Spec.VolumeName]
			if v == nil || v.Spec.ClaimRef == nil || v.Spec.ClaimRef.UID != c.UID || v.Status.Phase != corev1.VolumeBound {
				m.fail("claim %s is bound to %+v", c.Name, v)
			}
			promised[v.Name] = true
			continue
		}
		for _, v := range volumes.Items {
			if size, wants := v.Spec.Capacity[corev1.ResourceStorage], c.Spec.Resources.Requests[corev1.ResourceStorage]; v.Status.Phase == corev1.VolumeAvailable && size.Cmp(wants) >= 0 {
				m.fail("claim %s is %s though volume %s is free", c.Name, c.Status.Phase, v.Name)
			}
		}
	}
	for _, v := range volumes.Items {
		if v.Status.Phase == corev1.VolumeBound && !promised[v.Name] {
			m.fail("volume %s is bound to nothing", v.Name)
		}
	}
}

// TestModel: whatever happens in which order, no volume is bound to two claims, no claim changes its
// volume, none is released under a living claim, and in the end all that can be bound is.
func TestModel(t *testing.T) {
	for seed := range uint64(25) {
		m := newModel(t, seed)
		for range 60 {
			m.step()
			m.check()
		}
		m.settle()
	}
}
