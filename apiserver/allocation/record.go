package allocation

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
)

// PortsKey is where the record of node ports is kept.
const PortsKey = "/ranges/servicenodeports"

// Record is the PortStore of all servers of a cluster.
type Record struct {
	Storage storage.Interface

	mu sync.Mutex
	// last is the record as this server wrote it last, which spares reading it; guarded by mu.
	last *corev1.RangeAllocation
}

// Update implements PortStore. Updates of one server wait for each other, rather than to try again.
func (r *Record) Update(ctx context.Context, change func(*corev1.RangeAllocation) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &corev1.RangeAllocation{}
	var cached runtime.Object
	if r.last != nil {
		cached = r.last.DeepCopy()
	}
	var refused error
	err := r.Storage.GuaranteedUpdate(ctx, PortsKey, out, true, nil, func(obj runtime.Object, _ storage.ResponseMeta) (runtime.Object, *uint64, error) {
		record := obj.(*corev1.RangeAllocation)
		refused = change(record)
		return record, nil, refused
	}, cached)
	switch {
	case err == nil:
		r.last = out
	case err == refused: // the record is as it was
	case storage.IsConflict(err):
		return apierrors.NewConflict(corev1.Resource("serviceipallocations"), "node ports", err)
	default:
		r.last = nil
	}
	return err
}
