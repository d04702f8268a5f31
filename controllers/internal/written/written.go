// Package written remembers the version of each object that a controller wrote
// last, so that it can tell that its cache has an older one.
//
// A controller whose decisions rest on a status that it wrote itself must not
// make them on an earlier one; and one that writes a status only if it changed
// must not compare with an earlier one, since what it wrote between would stay.
package written

import (
	"errors"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Versions knows the version of each object that was written last.
type Versions struct {
	mu   sync.Mutex
	last map[types.UID]uint64
}

// New makes one that knows of none.
func New() *Versions { return &Versions{last: map[types.UID]uint64{}} }

// Note notes an object as it is after a write.
func (v *Versions) Note(obj client.Object) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last[obj.GetUID()] = version(obj)
}

// Stale tells whether the object is from before the last write. Resource
// versions of one resource are in order, which Kubernetes promises since 1.35.
func (v *Versions) Stale(obj client.Object) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return version(obj) < v.last[obj.GetUID()]
}

// Current returns a conflict if the object is stale: what a write of it would
// meet, without asking.
func (v *Versions) Current(obj client.Object) error {
	if !v.Stale(obj) {
		return nil
	}
	return apierrors.NewConflict(schema.GroupResource{Resource: "objects"}, obj.GetName(), errors.New("the cache has yet to show the last write"))
}

// Forget drops what is known of an object that is gone.
func (v *Versions) Forget(uid types.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.last, uid)
}

func version(obj client.Object) uint64 {
	n, err := strconv.ParseUint(obj.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
