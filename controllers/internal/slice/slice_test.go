package slice

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	endpointsliceutil "k8s.io/endpointslice/util"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func slice(manager, service string, generation int64) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "s", UID: "s", Generation: generation,
		Labels: map[string]string{discoveryv1.LabelManagedBy: manager, discoveryv1.LabelServiceName: service},
	}}
}

func TestHandler(t *testing.T) {
	for _, tc := range []struct {
		name string
		// written is the generation that the manager wrote itself; -1 if it
		// deleted the slice.
		written int64
		event   func(Handler, queue)
		want    []string
	}{
		{"its own creation", 1, func(h Handler, q queue) { h.Create(t.Context(), event.CreateEvent{Object: slice("me", "web", 1)}, q) }, nil},
		{"another's creation", 1, func(h Handler, q queue) { h.Create(t.Context(), event.CreateEvent{Object: slice("you", "web", 9)}, q) }, nil},
		{"its own update", 2, func(h Handler, q queue) {
			h.Update(t.Context(), event.UpdateEvent{ObjectOld: slice("me", "web", 1), ObjectNew: slice("me", "web", 2)}, q)
		}, nil},
		{"an update by another", 2, func(h Handler, q queue) {
			h.Update(t.Context(), event.UpdateEvent{ObjectOld: slice("me", "web", 2), ObjectNew: slice("me", "web", 3)}, q)
		}, []string{"web"}},
		{"given to another service", 2, func(h Handler, q queue) {
			h.Update(t.Context(), event.UpdateEvent{ObjectOld: slice("me", "web", 2), ObjectNew: slice("me", "db", 2)}, q)
		}, []string{"web", "db"}},
		{"taken by another manager", 2, func(h Handler, q queue) {
			h.Update(t.Context(), event.UpdateEvent{ObjectOld: slice("me", "web", 2), ObjectNew: slice("you", "web", 2)}, q)
		}, []string{"web"}},
		{"its own deletion", -1, func(h Handler, q queue) { h.Delete(t.Context(), event.DeleteEvent{Object: slice("me", "web", 1)}, q) }, nil},
		{"a deletion by another", 1, func(h Handler, q queue) { h.Delete(t.Context(), event.DeleteEvent{Object: slice("me", "web", 1)}, q) }, []string{"web"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tracker := endpointsliceutil.NewEndpointSliceTracker()
			if tc.written < 0 {
				tracker.ExpectDeletion(slice("me", "web", 1))
			} else {
				tracker.Update(slice("me", "web", tc.written))
			}
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			tc.event(Handler{Manager: "me", Tracker: tracker}, q)
			var got []string
			for q.Len() > 0 {
				r, _ := q.Get()
				got = append(got, r.Name)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("services (-want +got):\n%s", diff)
			}
		})
	}
}
