package scheduler

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/queue"
	"coracle.dev/coracle/scheduler/snapshot"
)

// watch starts the watches. synced waits until all that exists has been handled, or ctx ends; stop waits until the
// watches have ended.
func (s *scheduler) watch(ctx context.Context) (synced func() bool, stop func(), _ error) {
	factory := informers.NewSharedInformerFactoryWithOptions(s.client, 0, informers.WithTransform(slim))
	pods := factory.InformerFor(&corev1.Pod{}, livePods)
	s.pods = pods.GetStore()
	var waits []cache.InformerSynced
	for what, in := range map[string]struct {
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandlerFuncs
	}{
		"pods":                   {pods, s.podHandler(ctx)},
		"nodes":                  {factory.Core().V1().Nodes().Informer(), s.nodeHandler(ctx)},
		"namespaces":             {factory.Core().V1().Namespaces().Informer(), s.namespaceHandler()},
		"services":               {factory.Core().V1().Services().Informer(), s.serviceHandler()},
		"persistentvolumeclaims": {factory.Core().V1().PersistentVolumeClaims().Informer(), s.claimHandler(ctx)},
		"persistentvolumes":      {factory.Core().V1().PersistentVolumes().Informer(), s.volumeHandler(ctx)},
		"storageclasses":         {factory.Storage().V1().StorageClasses().Informer(), rule(s, framework.VolumeChanged, s.cluster.SetClass, func(o *storagev1.StorageClass) { s.cluster.RemoveClass(o.Name) })},
		"csidrivers":             {factory.Storage().V1().CSIDrivers().Informer(), rule(s, framework.VolumeChanged, s.cluster.SetDriver, func(o *storagev1.CSIDriver) { s.cluster.RemoveDriver(o.Name) })},
		"csinodes":               {factory.Storage().V1().CSINodes().Informer(), rule(s, framework.VolumeChanged, s.cluster.SetCSINode, func(o *storagev1.CSINode) { s.cluster.RemoveCSINode(o.Name) })},
		"csistoragecapacities":   {factory.Storage().V1().CSIStorageCapacities().Informer(), rule(s, framework.VolumeChanged, s.cluster.SetCapacity, func(o *storagev1.CSIStorageCapacity) { s.cluster.RemoveCapacity(o.Namespace, o.Name) })},
		"volumeattachments":      {factory.Storage().V1().VolumeAttachments().Informer(), rule(s, framework.VolumeChanged, s.cluster.SetAttachment, s.cluster.RemoveAttachment)},
		"resourceclaims":         {factory.Resource().V1().ResourceClaims().Informer(), s.deviceClaimHandler(ctx)},
		"resourceslices":         {factory.Resource().V1().ResourceSlices().Informer(), rule(s, framework.DevicesChanged, s.cluster.SetSlice, func(o *resourcev1.ResourceSlice) { s.cluster.RemoveSlice(o.Name) })},
		"deviceclasses":          {factory.Resource().V1().DeviceClasses().Informer(), rule(s, framework.DevicesChanged, s.cluster.SetDeviceClass, func(o *resourcev1.DeviceClass) { s.cluster.RemoveDeviceClass(o.Name) })},
		"poddisruptionbudgets":   {factory.Policy().V1().PodDisruptionBudgets().Informer(), s.budgetHandler()},
		"replicationcontrollers": {factory.Core().V1().ReplicationControllers().Informer(), s.ownerHandler("ReplicationController")},
		"replicasets":            {factory.Apps().V1().ReplicaSets().Informer(), s.ownerHandler("ReplicaSet")},
		"statefulsets":           {factory.Apps().V1().StatefulSets().Informer(), s.ownerHandler("StatefulSet")},
	} {
		registration, err := in.informer.AddEventHandler(in.handler)
		if err != nil {
			return nil, nil, fmt.Errorf("watching %s: %w", what, err)
		}
		waits = append(waits, registration.HasSynced)
	}
	factory.StartWithContext(ctx)
	return func() bool { return cache.WaitForCacheSync(ctx.Done(), waits...) }, factory.Shutdown, nil
}

// livePods watches the pods that hold or want resources.
func livePods(client kubernetes.Interface, _ time.Duration) cache.SharedIndexInformer {
	live := fields.AndSelectors(
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
	).String()
	return coreinformers.NewFilteredPodInformer(client, metav1.NamespaceAll, 0, nil, func(o *metav1.ListOptions) { o.FieldSelector = live })
}

// object is what an event is about, also if it is of an object whose last state was missed.
func object[T any](obj any) (T, bool) {
	if gone, missed := obj.(cache.DeletedFinalStateUnknown); missed {
		obj = gone.Obj
	}
	o, ok := obj.(T)
	return o, ok
}

// on makes a handler that holds the lock.
func on[T any](s *scheduler, set func(old, o T), remove func(T)) cache.ResourceEventHandlerFuncs {
	locked := func(f func()) {
		s.mu.Lock()
		defer s.mu.Unlock()
		f()
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			if o, ok := object[T](obj); ok {
				var none T
				locked(func() { set(none, o) })
			}
		},
		UpdateFunc: func(before, obj any) {
			old, _ := object[T](before)
			if o, ok := object[T](obj); ok {
				locked(func() { set(old, o) })
			}
		},
		DeleteFunc: func(obj any) {
			if o, ok := object[T](obj); ok {
				locked(func() { remove(o) })
			}
		},
	}
}

func (s *scheduler) nodeHandler(ctx context.Context) cache.ResourceEventHandlerFuncs {
	return on(s, func(_, o *corev1.Node) {
		n, old := s.cluster.SetNode(o)
		if event := nodeEvent(old, o); event != 0 {
			s.happened(framework.Change{Event: event, Node: n})
		}
	}, func(o *corev1.Node) {
		s.cluster.RemoveNode(o.Name)
		s.review(ctx)
	})
}

func (s *scheduler) namespaceHandler() cache.ResourceEventHandlerFuncs {
	return on(s, func(_, o *corev1.Namespace) {
		if s.cluster.SetNamespace(o.Name, o.Labels) {
			s.happened(framework.Change{Event: framework.NamespaceChanged})
		}
	}, func(o *corev1.Namespace) { s.cluster.RemoveNamespace(o.Name) })
}

func (s *scheduler) serviceHandler() cache.ResourceEventHandlerFuncs {
	return on(s,
		func(_, o *corev1.Service) { s.cluster.SetService(o.Namespace, o.Name, o.Spec.Selector) },
		func(o *corev1.Service) { s.cluster.SetService(o.Namespace, o.Name, nil) })
}

func (s *scheduler) budgetHandler() cache.ResourceEventHandlerFuncs {
	return on(s,
		func(_, o *policyv1.PodDisruptionBudget) { s.cluster.SetBudget(budget(o)) },
		func(o *policyv1.PodDisruptionBudget) { s.cluster.RemoveBudget(o.Namespace, o.Name) })
}

func (s *scheduler) ownerHandler(kind string) cache.ResourceEventHandlerFuncs {
	name := func(o metav1.Object) snapshot.Owner {
		return snapshot.Owner{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
	}
	return on(s,
		func(_, o metav1.Object) { s.cluster.SetOwner(name(o), ownerSelector(o)) },
		func(o metav1.Object) { s.cluster.SetOwner(name(o), nil) })
}

func (s *scheduler) podHandler(ctx context.Context) cache.ResourceEventHandlerFuncs {
	return on(s, func(old, p *corev1.Pod) {
		switch {
		case p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed:
			s.removePod(p)
		case p.Spec.NodeName != "":
			s.setBound(old, p)
		case s.of(p) != nil:
			s.setPending(ctx, old, p)
		}
	}, s.removePod)
}

func (s *scheduler) removePod(p *corev1.Pod) {
	s.queue.Remove(p.UID)
	s.release(p.UID)
	if n, pod := s.take(p.UID); n != nil {
		s.roomOn(n, pod)
	}
}

// take takes a pod off its node.
func (s *scheduler) take(uid types.UID) (*snapshot.Node, *snapshot.Pod) {
	n, _ := s.cluster.Placed(uid)
	if n == nil {
		return nil, nil
	}
	pod := n.Pods[uid]
	s.cluster.RemovePod(uid)
	return n, pod
}

// setBound takes in a pod that has its node.
func (s *scheduler) setBound(old, p *corev1.Pod) {
	s.queue.Remove(p.UID)
	before, _ := s.cluster.Placed(p.UID)
	var had *snapshot.Pod
	if before != nil {
		had = before.Pods[p.UID]
	}
	delete(s.takers, p.UID) // what it took is as it was assumed
	pod := s.cluster.SetPod(p)
	event := podEvent(old, had, pod)
	if n := s.cluster.Node(p.Spec.NodeName); n != nil && event != 0 {
		s.happened(framework.Change{Event: event, Node: n, Pod: pod, Was: had})
	}
}

// setPending takes in a pod that waits for a node.
func (s *scheduler) setPending(ctx context.Context, old, p *corev1.Pod) {
	if n, _ := s.cluster.Placed(p.UID); n != nil {
		return // its binding is being written; this is from before that
	}
	if p.DeletionTimestamp != nil {
		s.queue.Remove(p.UID)
		return
	}
	pod := snapshot.NewPod(p)
	gate := gate(s.of(p).Plugins, pod)
	if gate != "" {
		s.writes = append(s.writes, func() { s.setStatus(ctx, p, corev1.PodReasonSchedulingGated, gate, nil) })
	}
	s.cluster.Nominate(pod, p.Status.NominatedNodeName)
	if !s.queue.Update(pod, gate != "", old == nil || podMatters(old, p), s.Clock.Now()) {
		s.queue.Add(pod, gate != "", s.Clock.Now())
	}
	s.signal()
}

func gate(plugins []framework.Plugin, p *snapshot.Pod) string {
	for i := range plugins {
		if gate := plugins[i].Gate; gate != nil {
			if reason := gate(p); reason != "" {
				return reason
			}
		}
	}
	return ""
}

// roomOn tells the queue that a pod has left a node.
func (s *scheduler) roomOn(n *snapshot.Node, p *snapshot.Pod) {
	if n.Node != nil {
		s.happened(framework.Change{Event: framework.PodRemoved, Node: n, Pod: p, Was: p})
	}
}

// happened retries the pods to which a change gives hope.
func (s *scheduler) happened(change framework.Change) {
	moved := s.queue.Move(func(item *queue.Item) bool {
		if item.Rejected == 0 || item.Rejected&framework.Outside != 0 {
			return true
		}
		plugins := s.of(item.Pod.Pod).Plugins
		for i := range plugins {
			if item.Rejected.Has(i) && plugins[i].Worth(s.cluster, item.Pod, change) {
				return true
			}
		}
		return false
	}, s.Clock.Now())
	if moved > 0 {
		klog.V(4).InfoS("Retrying pods", "event", change.Event, "pods", moved)
		s.signal()
	}
}
