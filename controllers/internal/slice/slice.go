// Package slice is what the controllers that write endpoint slices share: how
// they find the slices that are theirs, and how changes to them are noticed.
package slice

import (
	"context"
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	endpointsliceutil "k8s.io/endpointslice/util"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/index"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// serviceIndex is the index of slices by manager and service.
const serviceIndex = "managedByAndService"

// Index makes the index that List needs.
func Index(mgr manager.Manager) error {
	return index.Ensure(mgr, &discoveryv1.EndpointSlice{}, serviceIndex, Keys)
}

// Keys is what the index has a slice under.
func Keys(obj client.Object) []string {
	l := obj.GetLabels()
	return []string{l[discoveryv1.LabelManagedBy] + "/" + l[discoveryv1.LabelServiceName]}
}

// IndexName is the name of the index, for those who make it themselves.
func IndexName() string { return serviceIndex }

// List lists the slices of a service that a controller manages, as copies.
func List(ctx context.Context, r client.Reader, manager string, service types.NamespacedName) ([]*discoveryv1.EndpointSlice, error) {
	var list discoveryv1.EndpointSliceList
	err := r.List(ctx, &list, client.InNamespace(service.Namespace), client.MatchingFields{serviceIndex: manager + "/" + service.Name})
	if err != nil {
		return nil, fmt.Errorf("listing the endpoint slices of %s: %w", service, err)
	}
	slices := make([]*discoveryv1.EndpointSlice, len(list.Items))
	for i := range list.Items {
		slices[i] = &list.Items[i]
	}
	return slices, nil
}

// Handler enqueues the services of slices that someone else than their manager
// changed. What the manager wrote itself is in Tracker.
type Handler struct {
	Manager string
	Tracker *endpointsliceutil.EndpointSliceTracker
}

// Create implements handler.EventHandler.
func (h Handler) Create(_ context.Context, e event.CreateEvent, q queue) {
	if s := e.Object.(*discoveryv1.EndpointSlice); h.ours(s) && h.Tracker.ShouldSync(s) {
		enqueue(s, q)
	}
}

// Update implements handler.EventHandler.
func (h Handler) Update(_ context.Context, e event.UpdateEvent, q queue) {
	was, is := e.ObjectOld.(*discoveryv1.EndpointSlice), e.ObjectNew.(*discoveryv1.EndpointSlice)
	moved := was.Labels[discoveryv1.LabelServiceName] != is.Labels[discoveryv1.LabelServiceName] || h.ours(was) != h.ours(is)
	switch {
	case moved && (h.ours(was) || h.ours(is)):
		// Taken from one service or manager, or given to one.
		enqueue(was, q)
		enqueue(is, q)
	case h.ours(is) && h.Tracker.ShouldSync(is):
		enqueue(is, q)
	}
}

// Delete implements handler.EventHandler.
func (h Handler) Delete(_ context.Context, e event.DeleteEvent, q queue) {
	s := e.Object.(*discoveryv1.EndpointSlice)
	if h.ours(s) && h.Tracker.Has(s) && !h.Tracker.HandleDeletion(s) {
		enqueue(s, q)
	}
}

// Generic implements handler.EventHandler; there are no such events.
func (h Handler) Generic(context.Context, event.GenericEvent, queue) {}

func (h Handler) ours(s *discoveryv1.EndpointSlice) bool {
	return s.Labels[discoveryv1.LabelManagedBy] == h.Manager
}

func enqueue(s *discoveryv1.EndpointSlice, q queue) {
	if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
		q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: s.Namespace, Name: name}})
	}
}
