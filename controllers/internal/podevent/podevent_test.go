package podevent

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/expectation"
)

var kind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")

func pod(version, owner string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "pod", ResourceVersion: version}}
	if owner != "" {
		rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: owner, UID: types.UID(owner)}}
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(rs, kind)}
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func deleted(p *corev1.Pod)  { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }
func labelled(p *corev1.Pod) { p.Labels = map[string]string{"app": "web"} }
func ofOther(p *corev1.Pod)  { p.OwnerReferences[0].APIVersion = "example.com/v1" }

func TestHandler(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct {
		name  string
		event func(h *Handler, q queue)
		want  []string
		// met tells whether an expected creation and deletion are met by it.
		created, gone bool
	}{
		{"created", func(h *Handler, q queue) { h.Create(ctx, event.CreateEvent{Object: pod("1", "rs")}, q) }, []string{"rs"}, true, false},
		{"first seen being deleted", func(h *Handler, q queue) { h.Create(ctx, event.CreateEvent{Object: pod("1", "rs", deleted)}, q) }, []string{"rs"}, false, true},
		{"an orphan is created", func(h *Handler, q queue) { h.Create(ctx, event.CreateEvent{Object: pod("1", "")}, q) }, []string{"adopter"}, false, false},
		{"of another kind", func(h *Handler, q queue) { h.Create(ctx, event.CreateEvent{Object: pod("1", "rs", ofOther)}, q) }, nil, false, false},
		{"resync", func(h *Handler, q queue) {
			h.Update(ctx, event.UpdateEvent{ObjectOld: pod("1", "rs"), ObjectNew: pod("1", "rs")}, q)
		}, nil, false, false},
		{"updated", func(h *Handler, q queue) {
			h.Update(ctx, event.UpdateEvent{ObjectOld: pod("1", "rs"), ObjectNew: pod("2", "rs")}, q)
		}, []string{"rs"}, false, false},
		{"begins to be deleted", func(h *Handler, q queue) {
			h.Update(ctx, event.UpdateEvent{ObjectOld: pod("1", "rs"), ObjectNew: pod("2", "rs", deleted)}, q)
		}, []string{"rs"}, false, true},
		{"changes hands", func(h *Handler, q queue) {
			h.Update(ctx, event.UpdateEvent{ObjectOld: pod("1", "rs"), ObjectNew: pod("2", "new")}, q)
		}, []string{"rs", "new"}, false, false},
		{"is released", func(h *Handler, q queue) {
			h.Update(ctx, event.UpdateEvent{ObjectOld: pod("1", "rs"), ObjectNew: pod("2", "")}, q)
		}, []string{"rs", "adopter"}, false, false},
		{"an orphan's labels change", func(h *Handler, q queue) {
			h.Update(ctx, event.UpdateEvent{ObjectOld: pod("1", ""), ObjectNew: pod("2", "", labelled)}, q)
		}, []string{"adopter"}, false, false},
		{"an orphan's status changes", func(h *Handler, q queue) {
			h.Update(ctx, event.UpdateEvent{ObjectOld: pod("1", ""), ObjectNew: pod("2", "")}, q)
		}, nil, false, false},
		{"deleted", func(h *Handler, q queue) { h.Delete(ctx, event.DeleteEvent{Object: pod("2", "rs")}, q) }, []string{"rs"}, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			creation, deletion := expectation.New(time.Now), expectation.New(time.Now)
			creation.ExpectCreations("rs", 1)
			deletion.ExpectDeletion("rs", "pod")
			adopters := func(context.Context, client.Object) []types.NamespacedName {
				return []types.NamespacedName{{Namespace: "ns", Name: "adopter"}}
			}
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			tc.event(&Handler{Kind: kind, Tracker: creation, Adopters: adopters}, q)
			var got []string
			for q.Len() > 0 {
				r, _ := q.Get()
				got = append(got, r.Name)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			tc.event(&Handler{Kind: kind, Tracker: deletion, Adopters: adopters}, q)
			if creation.Satisfied("rs") != tc.created || deletion.Satisfied("rs") != tc.gone {
				t.Errorf("creation met: %v, deletion met: %v", creation.Satisfied("rs"), deletion.Satisfied("rs"))
			}
		})
	}
}
