package scheduler

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
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
	var waits []cache.InformerSynced
	for what, in := range map[string]struct {
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandlerFuncs
	}{
		"pods":                   {pods, s.podHandler(ctx)},
		"nodes":                  {factory.Core().V1().Nodes().Informer(), s.nodeHandler()},
		"namespaces":             {factory.Core().V1().Namespaces().Informer(), s.namespaceHandler()},
		"services":               {factory.Core().V1().Services().Informer(), s.serviceHandler()},
		"persistentvolumeclaims": {factory.Core().V1().PersistentVolumeClaims().Informer(), s.claimHandler()},
		"persistentvolumes":      {factory.Core().V1().PersistentVolumes().Informer(), s.volumeHandler()},
		"storageclasses":         {factory.Storage().V1().StorageClasses().Informer(), s.classHandler()},
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

// slim drops what no decision looks at, since every pod is kept in memory.
func slim(obj any) (any, error) {
	if o, err := meta.Accessor(obj); err == nil {
		o.SetManagedFields(nil)
	}
	return obj, nil
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

func (s *scheduler) nodeHandler() cache.ResourceEventHandlerFuncs {
	return on(s, func(_, o *corev1.Node) {
		n, old := s.cluster.SetNode(o)
		if event := nodeEvent(old, o); event != 0 {
			s.happened(event, n)
		}
	}, func(o *corev1.Node) { s.cluster.RemoveNode(o.Name) })
}

func (s *scheduler) namespaceHandler() cache.ResourceEventHandlerFuncs {
	return on(s, func(_, o *corev1.Namespace) {
		if s.cluster.SetNamespace(o.Name, o.Labels) {
			s.happened(framework.NamespaceChanged, nil)
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

func (s *scheduler) claimHandler() cache.ResourceEventHandlerFuncs {
	return on(s, func(_, o *corev1.PersistentVolumeClaim) {
		s.cluster.SetClaim(o)
		s.happened(framework.VolumeChanged, nil)
	}, func(o *corev1.PersistentVolumeClaim) { s.cluster.RemoveClaim(o.Namespace, o.Name) })
}

func (s *scheduler) volumeHandler() cache.ResourceEventHandlerFuncs {
	return on(s, func(_, o *corev1.PersistentVolume) {
		s.cluster.SetVolume(o)
		s.happened(framework.VolumeChanged, nil)
	}, func(o *corev1.PersistentVolume) { s.cluster.RemoveVolume(o.Name) })
}

func (s *scheduler) classHandler() cache.ResourceEventHandlerFuncs {
	return on(s, func(_, o *storagev1.StorageClass) {
		s.cluster.SetClass(o)
		s.happened(framework.VolumeChanged, nil)
	}, func(o *storagev1.StorageClass) { s.cluster.RemoveClass(o.Name) })
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
		case p.Spec.SchedulerName == s.SchedulerName:
			s.setPending(ctx, old, p)
		}
	}, s.removePod)
}

func (s *scheduler) removePod(p *corev1.Pod) {
	s.queue.Remove(p.UID)
	if n := s.cluster.RemovePod(p.UID); n != nil {
		s.roomOn(n)
	}
}

// setBound takes in a pod that has its node.
func (s *scheduler) setBound(old, p *corev1.Pod) {
	s.queue.Remove(p.UID)
	before, _ := s.cluster.Placed(p.UID)
	var had *snapshot.Pod
	if before != nil {
		had = before.Pods[p.UID]
	}
	pod := s.cluster.SetPod(p)
	event := podEvent(old, had, pod)
	if n := s.cluster.Node(p.Spec.NodeName); n != nil && event != 0 {
		s.happened(event, n)
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
	gate := s.gate(pod)
	if gate != "" {
		s.writes = append(s.writes, func() { s.setStatus(ctx, p, corev1.PodReasonSchedulingGated, gate, nil) })
	}
	s.cluster.Nominate(pod, p.Status.NominatedNodeName)
	if !s.queue.Update(pod, gate != "", old == nil || podMatters(old, p), s.Clock.Now()) {
		s.queue.Add(pod, gate != "", s.Clock.Now())
	}
	s.signal()
}

func (s *scheduler) gate(p *snapshot.Pod) string {
	for i := range s.Plugins {
		if gate := s.Plugins[i].Gate; gate != nil {
			if reason := gate(p); reason != "" {
				return reason
			}
		}
	}
	return ""
}

// roomOn tells the queue that a pod has left a node.
func (s *scheduler) roomOn(n *snapshot.Node) {
	if n.Node != nil {
		s.happened(framework.PodRemoved, n)
	}
}

// happened retries the pods to which an event gives hope. The node is the one that it is about, if any.
func (s *scheduler) happened(e framework.Event, n *snapshot.Node) {
	moved := s.queue.Move(func(item *queue.Item) bool {
		if item.Rejected == 0 {
			return true
		}
		for i := range s.Plugins {
			pl := &s.Plugins[i]
			if !item.Rejected.Has(i) || pl.Wakes&e == 0 {
				continue
			}
			if n == nil || !pl.Local || pl.Fits(s.cluster, item.Pod, n) {
				return true
			}
		}
		return false
	}, s.Clock.Now())
	if moved > 0 {
		klog.V(4).InfoS("Retrying pods", "event", e, "pods", moved)
		s.signal()
	}
}
