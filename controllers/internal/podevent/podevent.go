// Package podevent turns events of pods into requests for the objects that
// control them, and tells a controller's expectations what the cache shows.
package podevent

import (
	"context"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/expectation"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Handler enqueues the controllers of pods, or of other objects that have one.
type Handler struct {
	// Kind is the kind of the controllers.
	Kind schema.GroupVersionKind
	// Tracker is told of creations and deletions; it may be nil.
	Tracker *expectation.Tracker
	// Adopters names the controllers whose selector matches an object that
	// nothing controls; nil where nothing is adopted.
	Adopters func(ctx context.Context, orphan client.Object) []types.NamespacedName
}

// Create implements handler.EventHandler.
func (h *Handler) Create(ctx context.Context, e event.CreateEvent, q queue) {
	if e.Object.GetDeletionTimestamp() != nil {
		// First seen, after a restart perhaps, when it was being deleted.
		h.deleted(e.Object, q)
		return
	}
	if ref := h.ref(e.Object); ref != nil {
		if h.Tracker != nil {
			h.Tracker.CreationObserved(ref.UID)
		}
		enqueue(q, e.Object, ref)
		return
	}
	h.orphan(ctx, e.Object, q)
}

// Update implements handler.EventHandler.
func (h *Handler) Update(ctx context.Context, e event.UpdateEvent, q queue) {
	if e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion() {
		return
	}
	if e.ObjectNew.GetDeletionTimestamp() != nil && h.Tracker != nil {
		if ref := h.ref(e.ObjectNew); ref != nil {
			h.Tracker.DeletionObserved(ref.UID, e.ObjectNew.GetUID())
		}
	}
	before, after := h.ref(e.ObjectOld), h.ref(e.ObjectNew)
	if before != nil && (after == nil || before.UID != after.UID) {
		enqueue(q, e.ObjectOld, before)
	}
	if after != nil {
		enqueue(q, e.ObjectNew, after)
		return
	}
	if before != nil || !reflect.DeepEqual(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels()) {
		h.orphan(ctx, e.ObjectNew, q)
	}
}

// Delete implements handler.EventHandler.
func (h *Handler) Delete(_ context.Context, e event.DeleteEvent, q queue) { h.deleted(e.Object, q) }

// Generic implements handler.EventHandler; there are no such events.
func (h *Handler) Generic(context.Context, event.GenericEvent, queue) {}

func (h *Handler) deleted(obj client.Object, q queue) {
	ref := h.ref(obj)
	if ref == nil {
		return
	}
	if h.Tracker != nil {
		h.Tracker.DeletionObserved(ref.UID, obj.GetUID())
	}
	enqueue(q, obj, ref)
}

func (h *Handler) orphan(ctx context.Context, obj client.Object, q queue) {
	if h.Adopters == nil || metav1.GetControllerOfNoCopy(obj) != nil {
		return
	}
	for _, name := range h.Adopters(ctx, obj) {
		q.Add(reconcile.Request{NamespacedName: name})
	}
}

// ref is the object's controller, if that is of the handler's kind.
func (h *Handler) ref(obj client.Object) *metav1.OwnerReference {
	ref := metav1.GetControllerOfNoCopy(obj)
	if ref == nil || ref.Kind != h.Kind.Kind {
		return nil
	}
	if gv, err := schema.ParseGroupVersion(ref.APIVersion); err != nil || gv.Group != h.Kind.Group {
		return nil
	}
	return ref
}

func enqueue(q queue, obj client.Object, ref *metav1.OwnerReference) {
	q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: obj.GetNamespace(), Name: ref.Name}})
}
