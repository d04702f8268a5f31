package volumebinding

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	volumehelper "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
)

// Indexes of the cache.
const (
	volumesByClass = "spec.storageClassName"
	volumesByClaim = "spec.claimRef"
	claimsByVolume = "spec.volumeName"
)

// Reconciler reconciles claims by namespace and name, and volumes by their name
// with an empty namespace.
type Reconciler struct {
	// RecyclerImage runs the pod that empties a volume: it has a shell and the
	// usual tools. Set it before SetupWithManager.
	RecyclerImage string

	client   client.Client
	live     client.Reader
	recorder record.EventRecorder
	now      func() time.Time
	// told is the last event about each claim or volume that exists, by its name.
	told sync.Map
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		RecyclerImage: DefaultRecyclerImage,
		client:        mgr.GetClient(), live: mgr.GetAPIReader(), now: moment.Now(mgr),
		recorder: mgr.GetEventRecorderFor("persistentvolume-controller"), //nolint:staticcheck // events as Kubernetes has them, with a source
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	for _, ensure := range []func() error{
		func() error { return index.Ensure(mgr, &corev1.PersistentVolume{}, volumesByClass, byClass) },
		func() error { return index.Ensure(mgr, &corev1.PersistentVolume{}, volumesByClaim, byClaim) },
		func() error { return index.Ensure(mgr, &corev1.PersistentVolumeClaim{}, claimsByVolume, byVolume) },
		func() error { return index.ByClaim(mgr) },
	} {
		if err := ensure(); err != nil {
			return err
		}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("persistentvolume-binder-controller").
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(r.ofClaim)).
		Watches(&corev1.PersistentVolume{}, handler.EnqueueRequestsFromMapFunc(r.ofVolume)).
		Watches(&storagev1.StorageClass{}, handler.EnqueueRequestsFromMapFunc(r.ofClass)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(ofPod), builder.WithPredicates(predicate.NewPredicateFuncs(isRecycler))).
		WithOptions(outcome.Options(4)).
		Complete(r)
}

func byClass(o client.Object) []string {
	return []string{volumehelper.GetPersistentVolumeClass(o.(*corev1.PersistentVolume))}
}

func byClaim(o client.Object) []string {
	if ref := o.(*corev1.PersistentVolume).Spec.ClaimRef; ref != nil {
		return []string{ref.Namespace + "/" + ref.Name}
	}
	return nil
}

func byVolume(o client.Object) []string {
	if name := o.(*corev1.PersistentVolumeClaim).Spec.VolumeName; name != "" {
		return []string{name}
	}
	return nil
}

// ofClaim names the claim, the volume that it names, and those that name it.
func (r *Reconciler) ofClaim(ctx context.Context, o client.Object) []reconcile.Request {
	out := []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(o)}}
	c := o.(*corev1.PersistentVolumeClaim)
	volumes, err := r.volumes(ctx, volumesByClaim, c.Namespace+"/"+c.Name)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Finding the volumes of a claim", "claim", klog.KObj(c))
	}
	named := c.Spec.VolumeName
	for _, v := range volumes {
		out = append(out, volumeRequest(v.Name))
		if v.Name == named {
			named = ""
		}
	}
	if named != "" {
		out = append(out, volumeRequest(named))
	}
	return out
}

// ofVolume names the volume, the claims that have to do with it, and those that
// could take it if it is free.
func (r *Reconciler) ofVolume(ctx context.Context, o client.Object) []reconcile.Request {
	v := o.(*corev1.PersistentVolume)
	out := []reconcile.Request{volumeRequest(v.Name)}
	if ref := v.Spec.ClaimRef; ref != nil {
		out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}})
	}
	var naming corev1.PersistentVolumeClaimList
	if err := r.client.List(ctx, &naming, client.MatchingFields{claimsByVolume: v.Name}, client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Finding the claims of a volume", "volume", v.Name)
	}
	for i := range naming.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&naming.Items[i])})
	}
	if v.Spec.ClaimRef == nil && v.Status.Phase == corev1.VolumeAvailable {
		class := volumehelper.GetPersistentVolumeClass(v)
		out = append(out, r.unbound(ctx, func(c *corev1.PersistentVolumeClaim) bool {
			return volumehelper.GetPersistentVolumeClaimClass(c) == class
		})...)
	}
	return out
}

// ofClass names the claims that wait for a class, or for a default.
func (r *Reconciler) ofClass(ctx context.Context, o client.Object) []reconcile.Request {
	return r.unbound(ctx, func(c *corev1.PersistentVolumeClaim) bool {
		return !volumehelper.PersistentVolumeClaimHasClass(c) || volumehelper.GetPersistentVolumeClaimClass(c) == o.GetName()
	})
}

// unbound names the claims without a volume that are wanted.
func (r *Reconciler) unbound(ctx context.Context, wanted func(*corev1.PersistentVolumeClaim) bool) (out []reconcile.Request) {
	var all corev1.PersistentVolumeClaimList
	if err := r.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing claims")
		return nil
	}
	for i := range all.Items {
		if c := &all.Items[i]; c.Spec.VolumeName == "" && wanted(c) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(c)})
		}
	}
	return out
}

func volumeRequest(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

// Reconcile looks at one claim or one volume.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if req.Namespace == "" {
		return outcome.Of(ctrl.Result{}, r.volume(ctx, req.Name))
	}
	return outcome.Of(ctrl.Result{}, r.claim(ctx, req.NamespacedName))
}

func (r *Reconciler) claim(ctx context.Context, name types.NamespacedName) error {
	claim := &corev1.PersistentVolumeClaim{}
	if err := r.client.Get(ctx, name, claim); err != nil {
		r.told.Delete(name)
		return client.IgnoreNotFound(err)
	}
	s, err := r.observe(ctx, claim)
	if err != nil {
		return err
	}
	plan := planClaim(s)
	r.tell(claim, plan.note)
	switch {
	case plan.bind != nil:
		return r.bind(ctx, plan.bind, claim)
	case plan.assign != "":
		claim.Spec.StorageClassName = &plan.assign
		if err := r.client.Update(ctx, claim); err != nil {
			return fmt.Errorf("giving claim %s the default storage class: %w", name, err)
		}
		klog.FromContext(ctx).Info("Gave claim the default storage class", "claim", name, "storageClass", plan.assign)
		return nil
	case plan.provisioner != "":
		if err := r.nameProvisioner(ctx, claim, plan.provisioner); err != nil {
			return err
		}
	}
	return r.setPhase(ctx, claim, plan.phase)
}

// observe reads what the decision on a claim depends on.
func (r *Reconciler) observe(ctx context.Context, claim *corev1.PersistentVolumeClaim) (claimState, error) {
	s := claimState{claim: claim}
	if name := claim.Spec.VolumeName; name != "" {
		v := &corev1.PersistentVolume{}
		err := r.client.Get(ctx, types.NamespacedName{Name: name}, v)
		if apierrors.IsNotFound(err) {
			// Provisioners write volume and claim at once: the cache of volumes
			// may be the older one.
			err = r.live.Get(ctx, types.NamespacedName{Name: name}, v)
		}
		if err == nil {
			s.named = v
		}
		return s, client.IgnoreNotFound(err)
	}
	if _, complete := claim.Annotations[volumehelper.AnnBindCompleted]; complete || claim.DeletionTimestamp != nil {
		return s, nil
	}
	class := volumehelper.GetPersistentVolumeClaimClass(claim)
	for field, value := range map[string]string{volumesByClass: class, volumesByClaim: claim.Namespace + "/" + claim.Name} {
		found, err := r.volumes(ctx, field, value)
		if err != nil {
			return s, err
		}
		s.candidates = append(s.candidates, found...)
	}
	var classes storagev1.StorageClassList
	if err := r.client.List(ctx, &classes, client.UnsafeDisableDeepCopy); err != nil {
		return s, fmt.Errorf("listing storage classes: %w", err)
	}
	for i := range classes.Items {
		if classes.Items[i].Name == class {
			s.class = &classes.Items[i]
		}
	}
	s.preset = defaultClass(classes.Items)
	pods, err := index.PodsWithClaim(ctx, r.client, client.ObjectKeyFromObject(claim))
	for _, p := range pods {
		if p.Spec.NodeName == "" && p.DeletionTimestamp == nil && (s.pod == "" || strings.Compare(p.Name, s.pod) < 0) {
			s.pod = p.Name
		}
	}
	return s, err
}

// volumes lists volumes by an index. They belong to the cache.
func (r *Reconciler) volumes(ctx context.Context, field, value string) ([]*corev1.PersistentVolume, error) {
	var list corev1.PersistentVolumeList
	if err := r.client.List(ctx, &list, client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing volumes: %w", err)
	}
	out := make([]*corev1.PersistentVolume, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

func (r *Reconciler) volume(ctx context.Context, name string) error {
	v := &corev1.PersistentVolume{}
	if err := r.client.Get(ctx, types.NamespacedName{Name: name}, v); err != nil {
		r.told.Delete(types.NamespacedName{Name: name})
		return client.IgnoreNotFound(err)
	}
	claim, err := r.claimOf(ctx, v)
	if err != nil {
		return err
	}
	plan := planVolume(v, claim)
	r.tell(v, plan.note)
	if plan.unbind {
		return r.unbind(ctx, v)
	}
	if plan.phase != "" {
		if err := r.setVolumePhase(ctx, v, plan.phase, ""); err != nil {
			return err
		}
	}
	if plan.reclaims {
		return r.reclaim(ctx, v)
	}
	return nil
}

// claimOf finds the claim that a volume is promised to; nil if it is gone, as
// the API server says.
func (r *Reconciler) claimOf(ctx context.Context, v *corev1.PersistentVolume) (*corev1.PersistentVolumeClaim, error) {
	ref := v.Spec.ClaimRef
	if ref == nil || ref.UID == "" {
		return nil, nil
	}
	for _, from := range []client.Reader{r.client, r.live} {
		claim := &corev1.PersistentVolumeClaim{}
		err := from.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, claim)
		if err == nil && claim.UID == ref.UID {
			return claim, nil
		}
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("getting the claim of volume %s: %w", v.Name, err)
		}
	}
	return nil, nil
}

// told is an event that was written.
type told struct {
	uid types.UID
	note
}

// tell writes an event about a claim or volume, unless it was the last one too.
func (r *Reconciler) tell(o client.Object, n *note) {
	key := client.ObjectKeyFromObject(o)
	if n == nil {
		r.told.Delete(key)
		return
	}
	now := told{o.GetUID(), *n}
	if last, known := r.told.Swap(key, now); !known || last != now {
		r.recorder.Event(o, n.kind, n.reason, n.message)
	}
}
