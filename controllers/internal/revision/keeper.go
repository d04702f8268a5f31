package revision

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/owner"
	"coracle.dev/coracle/controllers/internal/podcontrol"
)

// Keeper reads and writes the revisions of one owner. It needs the index of
// ControllerRevisions by controller (index.ByController).
type Keeper struct {
	Owner
	Client client.Client
	// Live reads past the cache.
	Live     client.Reader
	Selector labels.Selector
	// Collided writes a new count of collisions into the owner's status.
	Collided func(ctx context.Context, count *int32) error
}

// Existing returns the owner's revisions, as copies, after adopting and
// releasing.
func (k Keeper) Existing(ctx context.Context) ([]*appsv1.ControllerRevision, error) {
	var existing []*appsv1.ControllerRevision
	for _, key := range []string{string(k.Object.GetUID()), index.Orphan} {
		var list appsv1.ControllerRevisionList
		if err := k.Client.List(ctx, &list, client.InNamespace(k.Object.GetNamespace()), client.MatchingFields{index.Controller: key}); err != nil {
			return nil, fmt.Errorf("listing revisions: %w", err)
		}
		for i := range list.Items {
			existing = append(existing, &list.Items[i])
		}
	}
	claimer := &owner.Claimer{Client: k.Client, Live: k.Live, Controller: k.Object, Kind: k.Kind, Selector: k.Selector}
	return owner.All(ctx, claimer, existing)
}

// Write does what was planned. A conflict is returned where the cache was
// behind, or a hash collided: the next pass has a better view, or another name.
func (k Keeper) Write(ctx context.Context, h History) error {
	if h.Create {
		err := k.Client.Create(ctx, h.Current)
		switch {
		case apierrors.IsAlreadyExists(err):
			return k.collided(ctx, h.Current, err)
		case podcontrol.NamespaceTerminating(err):
			return nil
		case err != nil:
			return fmt.Errorf("creating revision %s: %w", h.Current.Name, err)
		}
	}
	if h.Update {
		if err := k.Client.Update(ctx, h.Current); err != nil {
			return fmt.Errorf("renumbering revision %s: %w", h.Current.Name, err)
		}
	}
	for _, old := range h.Remove {
		if err := k.Client.Delete(ctx, old, client.Preconditions{UID: &old.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting revision %s: %w", old.Name, err)
		}
	}
	return nil
}

// collided counts a collision of the template's hash, which gives the next
// attempt another name; unless the revision that exists is the one meant, which
// the cache has yet to show.
func (k Keeper) collided(ctx context.Context, meant *appsv1.ControllerRevision, cause error) error {
	conflict := apierrors.NewConflict(appsv1.Resource("controllerrevisions"), meant.Name, cause)
	existing := &appsv1.ControllerRevision{}
	if err := k.Live.Get(ctx, client.ObjectKeyFromObject(meant), existing); err != nil {
		return fmt.Errorf("reading revision %s, which exists: %w", meant.Name, err)
	}
	if string(existing.Data.Raw) == string(meant.Data.Raw) && metav1.IsControlledBy(existing, k.Object) {
		return conflict
	}
	count := int32(1)
	if k.Collisions != nil {
		count = *k.Collisions + 1
	}
	if err := k.Collided(ctx, &count); err != nil {
		return fmt.Errorf("counting a collision: %w", err)
	}
	return conflict
}
