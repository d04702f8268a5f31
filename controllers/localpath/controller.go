package localpath

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	volumehelper "k8s.io/component-helpers/storage/volume"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"coracle.dev/coracle/controllers/internal/outcome"
)

// Reconciler reconciles claims by namespace and name, and volumes by their name
// with an empty namespace.
type Reconciler struct {
	client   client.Client
	live     client.Reader
	recorder record.EventRecorder
	folders  folders
}

// New makes the reconciler with the manager's client and connection.
func New(mgr ctrl.Manager) (*Reconciler, error) {
	clientset, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making a client for nodes: %w", err)
	}
	return &Reconciler{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), folders: agents{clientset.CoreV1().RESTClient()},
		recorder: mgr.GetEventRecorderFor(Provisioner), //nolint:staticcheck // events as Kubernetes has them, with a source
	}, nil
}

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	ours := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetAnnotations()[volumehelper.AnnDynamicallyProvisioned] == Provisioner
	})
	asks := predicate.NewPredicateFuncs(func(o client.Object) bool {
		c := o.(*corev1.PersistentVolumeClaim)
		return wanted(c) || grows(c)
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("local-path-provisioner-controller").
		Watches(&corev1.PersistentVolumeClaim{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(asks)).
		Watches(&corev1.PersistentVolume{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(ours)).
		WithOptions(outcome.Options(8)).
		Complete(r)
}

// Reconcile makes or grows the volume of a claim, or deletes a volume.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if req.Namespace == "" {
		return outcome.Of(ctrl.Result{}, r.volume(ctx, req.Name))
	}
	c := &corev1.PersistentVolumeClaim{}
	err := r.client.Get(ctx, req.NamespacedName, c)
	switch {
	case err != nil:
		err = client.IgnoreNotFound(err)
	case wanted(c):
		err = r.provision(ctx, c)
	case grows(c):
		err = r.grow(ctx, c)
	}
	return outcome.Of(ctrl.Result{}, err)
}

// provision makes a claim's volume.
func (r *Reconciler) provision(ctx context.Context, c *corev1.PersistentVolumeClaim) error {
	class := &storagev1.StorageClass{}
	if err := r.client.Get(ctx, types.NamespacedName{Name: volumehelper.GetPersistentVolumeClaimClass(c)}, class); err != nil {
		return client.IgnoreNotFound(err) // the binder tells of it, and asks again
	}
	if c.Spec.VolumeMode != nil && *c.Spec.VolumeMode == corev1.PersistentVolumeBlock {
		r.recorder.Eventf(c, corev1.EventTypeWarning, "ProvisioningFailed", "failed to provision volume with StorageClass %q: %s does not support block volume provisioning", class.Name, Provisioner)
		return nil
	}
	err := r.client.Get(ctx, types.NamespacedName{Name: volumeName(c)}, &corev1.PersistentVolume{})
	if err == nil || !apierrors.IsNotFound(err) {
		return err // it is made, and the binder's turn
	}
	node, err := r.nodeFor(ctx, c, class)
	if err != nil || node == nil {
		return err
	}
	r.recorder.Eventf(c, corev1.EventTypeNormal, "Provisioning", "External provisioner is provisioning volume for claim %q", c.Namespace+"/"+c.Name)
	path, err := r.folders.make(ctx, node.Name, volumeName(c))
	if err != nil {
		r.recorder.Eventf(c, corev1.EventTypeWarning, "ProvisioningFailed", "failed to provision volume with StorageClass %q: %v", class.Name, err)
		return err
	}
	v := volume(c, class, node, path)
	if err := r.client.Create(ctx, v); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return fmt.Errorf("creating volume %s: %w", v.Name, err)
	}
	r.recorder.Eventf(c, corev1.EventTypeNormal, "ProvisioningSucceeded", "Successfully provisioned volume %s", v.Name)
	klog.FromContext(ctx).Info("Provisioned volume", "volume", v.Name, "claim", klog.KObj(c), "node", node.Name)
	return nil
}

// nodeFor finds the node on which a claim's volume shall be; nil while there is
// none. A chosen node that is gone is given up, so that the scheduler chooses
// another.
func (r *Reconciler) nodeFor(ctx context.Context, c *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) (*corev1.Node, error) {
	name, chosen := c.Annotations[volumehelper.AnnSelectedNode]
	if !chosen {
		if waits(class) {
			return nil, nil
		}
		var nodes corev1.NodeList
		if err := r.client.List(ctx, &nodes, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing nodes: %w", err)
		}
		n := choose(nodes.Items, c.UID)
		if n == nil {
			r.recorder.Eventf(c, corev1.EventTypeWarning, "ProvisioningFailed", "failed to provision volume with StorageClass %q: no node is ready", class.Name)
			return nil, fmt.Errorf("provisioning a volume for claim %s/%s: no node is ready", c.Namespace, c.Name)
		}
		return n, nil
	}
	n := &corev1.Node{}
	err := r.live.Get(ctx, types.NamespacedName{Name: name}, n)
	if apierrors.IsNotFound(err) {
		delete(c.Annotations, volumehelper.AnnSelectedNode)
		if err := r.client.Update(ctx, c); err != nil {
			return nil, fmt.Errorf("giving up the node of claim %s/%s: %w", c.Namespace, c.Name, err)
		}
		return nil, nil
	}
	return n, err
}

// volume looks after a volume that this provisioner made.
func (r *Reconciler) volume(ctx context.Context, name string) error {
	v := &corev1.PersistentVolume{}
	if err := r.client.Get(ctx, types.NamespacedName{Name: name}, v); err != nil {
		return client.IgnoreNotFound(err)
	}
	switch decide(v) {
	case guard:
		controllerutil.AddFinalizer(v, volumehelper.PVDeletionProtectionFinalizer)
		return r.client.Update(ctx, v)
	case unguard:
		controllerutil.RemoveFinalizer(v, volumehelper.PVDeletionProtectionFinalizer)
		return r.client.Update(ctx, v)
	case remove:
		return r.remove(ctx, v)
	}
	return nil
}

func (r *Reconciler) remove(ctx context.Context, v *corev1.PersistentVolume) error {
	node := v.Annotations[NodeAnnotation]
	err := r.live.Get(ctx, types.NamespacedName{Name: node}, &corev1.Node{})
	if err == nil {
		err = r.folders.remove(ctx, node, v.Name)
	}
	if client.IgnoreNotFound(err) != nil {
		r.recorder.Eventf(v, corev1.EventTypeWarning, "VolumeFailedDelete", "%v", err)
		return err
	}
	if controllerutil.RemoveFinalizer(v, volumehelper.PVDeletionProtectionFinalizer) {
		if err := r.client.Update(ctx, v); err != nil {
			return fmt.Errorf("letting go of volume %s: %w", v.Name, err)
		}
	}
	if err := r.client.Delete(ctx, v, client.Preconditions{UID: &v.UID}); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting volume %s: %w", v.Name, err)
	}
	klog.FromContext(ctx).Info("Deleted volume", "volume", v.Name, "node", node)
	return nil
}

// grow writes a claim's new size into its volume, and then into its status.
func (r *Reconciler) grow(ctx context.Context, c *corev1.PersistentVolumeClaim) error {
	v := &corev1.PersistentVolume{}
	if err := r.client.Get(ctx, types.NamespacedName{Name: c.Spec.VolumeName}, v); err != nil {
		return client.IgnoreNotFound(err)
	}
	if v.Annotations[volumehelper.AnnDynamicallyProvisioned] != Provisioner || v.Spec.ClaimRef == nil || v.Spec.ClaimRef.UID != c.UID {
		return nil
	}
	size := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if has := v.Spec.Capacity[corev1.ResourceStorage]; has.Cmp(size) < 0 {
		v.Spec.Capacity[corev1.ResourceStorage] = size
		if err := r.client.Update(ctx, v); err != nil {
			return fmt.Errorf("growing volume %s: %w", v.Name, err)
		}
	}
	c.Status.Capacity[corev1.ResourceStorage] = size
	c.Status.Conditions, c.Status.AllocatedResources, c.Status.AllocatedResourceStatuses = nil, nil, nil
	if err := r.client.Status().Update(ctx, c); err != nil {
		return fmt.Errorf("growing claim %s/%s: %w", c.Namespace, c.Name, err)
	}
	r.recorder.Eventf(c, corev1.EventTypeNormal, "VolumeResizeSuccessful", "Resize volume succeeded")
	klog.FromContext(ctx).Info("Grew volume", "volume", v.Name, "size", size.String())
	return nil
}
