package owner

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

var kind = corev1.SchemeGroupVersion.WithKind("ReplicationController")

func controller(uid string) *corev1.ReplicationController {
	return &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rc", UID: types.UID(uid)}}
}

func pod(app string, of *corev1.ReplicationController) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "pod", Labels: map[string]string{"app": app}}}
	if of != nil {
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(of, kind)}
	}
	return p
}

func deleting[T client.Object](obj T) T {
	obj.SetDeletionTimestamp(&metav1.Time{})
	obj.SetFinalizers([]string{"example.com/hold"})
	return obj
}

func TestClaim(t *testing.T) {
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		rc   *corev1.ReplicationController
		live *corev1.ReplicationController
		// mine is the answer, owned what the server has afterwards.
		mine, owned, fails bool
	}{
		{"is mine", pod("web", controller("rc")), controller("rc"), controller("rc"), true, true, false},
		{"is another's", pod("web", controller("other")), controller("rc"), controller("rc"), false, false, false},
		{"adopts what matches", pod("web", nil), controller("rc"), controller("rc"), true, true, false},
		{"leaves what does not match", pod("db", nil), controller("rc"), controller("rc"), false, false, false},
		{"releases what matches no longer", pod("db", controller("rc")), controller("rc"), controller("rc"), false, false, false},
		{"does not adopt when itself deleted", pod("web", nil), deleting(controller("rc")), controller("rc"), false, false, false},
		{"does not release when itself deleted", pod("db", controller("rc")), deleting(controller("rc")), controller("rc"), false, true, false},
		{"does not adopt for one made anew", pod("web", nil), controller("rc"), controller("anew"), false, false, true},
		{"does not adopt what is being deleted", deleting(pod("web", nil)), controller("rc"), controller("rc"), false, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			seed := tc.pod.DeepCopy()
			if seed.DeletionTimestamp != nil {
				now := metav1.Now()
				seed.DeletionTimestamp = &now
			}
			c := fake.NewClientBuilder().WithObjects(seed, tc.live).Build()
			observed := &corev1.Pod{}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(tc.pod), observed); err != nil {
				t.Fatal(err)
			}
			claimer := &Claimer{Client: c, Live: c, Controller: tc.rc, Kind: kind, Selector: labels.SelectorFromSet(labels.Set{"app": "web"})}
			mine, err := claimer.Claim(t.Context(), observed)
			if mine != tc.mine || (err != nil) != tc.fails {
				t.Errorf("mine is %v, error %v", mine, err)
			}
			after := &corev1.Pod{}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(tc.pod), after); err != nil {
				t.Fatal(err)
			}
			if owned := metav1.IsControlledBy(after, controller("rc")); owned != tc.owned {
				t.Errorf("owners are %v", after.OwnerReferences)
			}
		})
	}
}

// An object that changed since it was observed is not adopted.
func TestClaimStale(t *testing.T) {
	c := fake.NewClientBuilder().WithObjects(pod("web", nil), controller("rc")).Build()
	stale := &corev1.Pod{}
	key := types.NamespacedName{Namespace: "ns", Name: "p"}
	if err := c.Get(t.Context(), key, stale); err != nil {
		t.Fatal(err)
	}
	fresh := stale.DeepCopy()
	fresh.Annotations = map[string]string{"changed": "yes"}
	if err := c.Update(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	claimer := &Claimer{Client: c, Live: c, Controller: controller("rc"), Kind: kind, Selector: labels.Everything()}
	if mine, err := claimer.Claim(t.Context(), stale); mine || err != nil {
		t.Errorf("mine is %v, error %v", mine, err)
	}
}

// The controller is read once, however many objects there are to be adopted.
func TestAllReadsOnce(t *testing.T) {
	var pods []*corev1.Pod
	b := fake.NewClientBuilder().WithObjects(controller("rc"))
	for _, name := range []string{"a", "b", "c"} {
		p := pod("web", nil)
		p.Name, p.UID = name, types.UID(name)
		b = b.WithObjects(p)
	}
	c := b.Build()
	var list corev1.PodList
	if err := c.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		pods = append(pods, &list.Items[i])
	}
	live := &counter{Reader: c}
	claimer := &Claimer{Client: c, Live: live, Controller: controller("rc"), Kind: kind, Selector: labels.Everything()}
	mine, err := claimer.Pods(t.Context(), pods)
	if len(mine) != 3 || err != nil || live.reads != 1 {
		t.Errorf("%d adopted with %d reads, error %v", len(mine), live.reads, err)
	}
}

type counter struct {
	client.Reader
	reads int
}

func (c *counter) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	c.reads++
	return c.Reader.Get(ctx, key, obj, opts...)
}
