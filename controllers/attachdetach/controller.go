package attachdetach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/index"
	"coracle.dev/coracle/controllers/internal/moment"
	"coracle.dev/coracle/controllers/internal/outcome"
	"coracle.dev/coracle/controllers/internal/podstatus"
)

// Reconciler reconciles nodes.
type Reconciler struct {
	client   client.Client
	recorder record.EventRecorder
	now      func() time.Time
	// unneeded is since when attachments have been for nobody, by node. There is
	// one worker, so nobody else touches it.
	unneeded map[string]map[string]time.Time
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler {
	return &Reconciler{
		client: mgr.GetClient(), now: moment.Now(mgr), unneeded: map[string]map[string]time.Time{},
		recorder: mgr.GetEventRecorderFor("attachdetach-controller"), //nolint:staticcheck // events as Kubernetes has them, with a source
	}
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := errors.Join(index.ByNode(mgr), index.ByClaim(mgr)); err != nil {
		return err
	}
	nodes := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, is := e.ObjectOld.(*corev1.Node), e.ObjectNew.(*corev1.Node)
		return ready(was) != ready(is) || !apiequality.Semantic.DeepEqual(was.Spec.Taints, is.Spec.Taints) ||
			!apiequality.Semantic.DeepEqual(was.Status.VolumesInUse, is.Status.VolumesInUse) ||
			!apiequality.Semantic.DeepEqual(was.Status.VolumesAttached, is.Status.VolumesAttached)
	}}
	pods := predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return usesClaims(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*corev1.Pod), e.ObjectNew.(*corev1.Pod)
			return usesClaims(is) && (was.Spec.NodeName != is.Spec.NodeName || podstatus.Finished(was) != podstatus.Finished(is))
		},
		DeleteFunc: func(e event.DeleteEvent) bool { return usesClaims(e.Object) },
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("persistentvolume-attach-detach-controller").
		For(&corev1.Node{}, builder.WithPredicates(nodes)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(ofPod), builder.WithPredicates(pods)).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(r.ofClaim)).
		Watches(&storagev1.VolumeAttachment{}, handler.EnqueueRequestsFromMapFunc(r.ofAttachment)).
		WithOptions(outcome.Options(1, mgr)).
		Complete(r)
}

func usesClaims(o client.Object) bool {
	p, is := o.(*corev1.Pod)
	return is && len(index.ClaimNames(p)) > 0
}

func nodeRequest(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

func ofPod(_ context.Context, o client.Object) []reconcile.Request {
	if p, is := o.(*corev1.Pod); is && p.Spec.NodeName != "" {
		return []reconcile.Request{nodeRequest(p.Spec.NodeName)}
	}
	return nil
}

// ofClaim names the nodes whose pods use a claim.
func (r *Reconciler) ofClaim(ctx context.Context, o client.Object) (out []reconcile.Request) {
	pods, err := index.PodsWithClaim(ctx, r.client, client.ObjectKeyFromObject(o))
	if err != nil {
		klog.FromContext(ctx).Error(err, "Finding the pods of a claim", "claim", klog.KObj(o))
	}
	for _, p := range pods {
		out = append(out, ofPod(ctx, p)...)
	}
	return out
}

// ofAttachment names the attachment's node, and those that may wait for the
// volume.
func (r *Reconciler) ofAttachment(ctx context.Context, o client.Object) []reconcile.Request {
	a := o.(*storagev1.VolumeAttachment)
	out := []reconcile.Request{nodeRequest(a.Spec.NodeName)}
	if a.Spec.Source.PersistentVolumeName == nil {
		return out
	}
	v := &corev1.PersistentVolume{}
	if err := r.client.Get(ctx, types.NamespacedName{Name: *a.Spec.Source.PersistentVolumeName}, v); err != nil || v.Spec.ClaimRef == nil {
		return out
	}
	claim := &corev1.PersistentVolumeClaim{}
	claim.Namespace, claim.Name = v.Spec.ClaimRef.Namespace, v.Spec.ClaimRef.Name
	return append(out, r.ofClaim(ctx, claim)...)
}

// Reconcile attaches and detaches the volumes of one node.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o, pods, err := r.observe(ctx, req.Name)
	if err != nil {
		return outcome.Of(ctrl.Result{}, err)
	}
	p := decide(o, r.now())
	if r.unneeded[req.Name] = p.unneeded; len(p.unneeded) == 0 {
		delete(r.unneeded, req.Name)
	}
	var errs []error
	for _, a := range p.detach {
		if err := r.client.Delete(ctx, a, client.Preconditions{UID: &a.UID}); client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("detaching volume %s from node %s: %w", *a.Spec.Source.PersistentVolumeName, req.Name, err))
			continue
		}
		klog.FromContext(ctx).Info("Detached volume", "volume", *a.Spec.Source.PersistentVolumeName, "node", req.Name)
	}
	for _, a := range p.attach {
		if err := r.client.Create(ctx, a); err != nil && !apierrors.IsAlreadyExists(err) {
			errs = append(errs, fmt.Errorf("attaching volume %s to node %s: %w", *a.Spec.Source.PersistentVolumeName, req.Name, err))
			continue
		}
		klog.FromContext(ctx).Info("Asked for a volume to be attached", "volume", *a.Spec.Source.PersistentVolumeName, "node", req.Name)
	}
	r.tell(o, p, pods)
	errs = append(errs, r.writeStatus(ctx, o.node, p.attached))
	result := ctrl.Result{}
	if !p.again.IsZero() {
		result.RequeueAfter = p.again.Sub(r.now())
	}
	return outcome.Of(result, errors.Join(errs...))
}

// observe reads what the decision on a node depends on, and the pods that need
// each volume, by its name.
func (r *Reconciler) observe(ctx context.Context, name string) (observed, map[string][]*corev1.Pod, error) {
	o := observed{name: name, volumes: map[string]*corev1.PersistentVolume{}, unneeded: r.unneeded[name]}
	users := map[string][]*corev1.Pod{}
	n := &corev1.Node{}
	err := r.client.Get(ctx, types.NamespacedName{Name: name}, n)
	if err == nil {
		o.node = n
	} else if !apierrors.IsNotFound(err) {
		return o, nil, err
	}
	var attachments storagev1.VolumeAttachmentList
	if err := r.client.List(ctx, &attachments); err != nil {
		return o, nil, fmt.Errorf("listing volume attachments: %w", err)
	}
	o.attachments = attachments.Items
	pods, err := index.PodsOn(ctx, r.client, name)
	if err != nil {
		return o, nil, err
	}
	for _, p := range pods {
		if podstatus.Finished(p) {
			continue
		}
		for _, claim := range index.ClaimNames(p) {
			v, err := r.volume(ctx, types.NamespacedName{Namespace: p.Namespace, Name: claim})
			if err != nil {
				return o, nil, err
			}
			if v == nil {
				continue
			}
			if users[v.Name] == nil {
				o.needed = append(o.needed, v)
			}
			users[v.Name] = append(users[v.Name], p)
		}
	}
	for i := range o.attachments {
		source := o.attachments[i].Spec.Source.PersistentVolumeName
		if o.attachments[i].Spec.NodeName != name || source == nil {
			continue
		}
		v := &corev1.PersistentVolume{}
		if err := r.client.Get(ctx, types.NamespacedName{Name: *source}, v); err == nil {
			o.volumes[v.Name] = v
		} else if !apierrors.IsNotFound(err) {
			return o, nil, err
		}
	}
	return o, users, nil
}

// volume finds the volume of a claim, if it is one that needs attaching.
func (r *Reconciler) volume(ctx context.Context, claim types.NamespacedName) (*corev1.PersistentVolume, error) {
	c, v, d := &corev1.PersistentVolumeClaim{}, &corev1.PersistentVolume{}, &storagev1.CSIDriver{}
	if err := r.client.Get(ctx, claim, c); err != nil || c.Status.Phase != corev1.ClaimBound || c.Spec.VolumeName == "" {
		return nil, client.IgnoreNotFound(err)
	}
	if err := r.client.Get(ctx, types.NamespacedName{Name: c.Spec.VolumeName}, v); err != nil || v.Spec.CSI == nil {
		return nil, client.IgnoreNotFound(err)
	}
	err := r.client.Get(ctx, types.NamespacedName{Name: v.Spec.CSI.Driver}, d)
	if err == nil && d.Spec.AttachRequired != nil && !*d.Spec.AttachRequired {
		return nil, nil
	}
	return v, client.IgnoreNotFound(err)
}

// tell tells pods that wait for a volume how it is.
func (r *Reconciler) tell(o observed, p plan, pods map[string][]*corev1.Pod) {
	event := func(volume, kind, reason, format string, args ...any) {
		for _, pod := range pods[volume] {
			if pod.Status.Phase == corev1.PodPending || pod.Status.Phase == "" {
				r.recorder.Eventf(pod, kind, reason, format, args...)
			}
		}
	}
	for _, v := range p.blocked {
		event(v.Name, corev1.EventTypeWarning, "FailedAttachVolume",
			"Multi-Attach error for volume %q Volume is already exclusively attached to one node and can't be attached to another", v.Name)
	}
	for i := range o.attachments {
		a := &o.attachments[i]
		if a.Spec.NodeName != o.name || a.Spec.Source.PersistentVolumeName == nil {
			continue
		}
		name := *a.Spec.Source.PersistentVolumeName
		switch {
		case a.Status.Attached:
			event(name, corev1.EventTypeNormal, "SuccessfulAttachVolume", "AttachVolume.Attach succeeded for volume %q ", name)
		case a.Status.AttachError != nil:
			event(name, corev1.EventTypeWarning, "FailedAttachVolume", "AttachVolume.Attach failed for volume %q : %s", name, a.Status.AttachError.Message)
		}
	}
}

// writeStatus says in the node's status what is attached to it.
func (r *Reconciler) writeStatus(ctx context.Context, n *corev1.Node, attached []corev1.AttachedVolume) error {
	if n == nil || apiequality.Semantic.DeepEqual(n.Status.VolumesAttached, attached) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"volumesAttached": attached}})
	if err != nil {
		return err
	}
	if err := r.client.Status().Patch(ctx, n, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("writing the volumes of node %s: %w", n.Name, err)
	}
	return nil
}
