package nodepool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"

	"coracle.dev/coracle/apis/simulation/v1alpha1"
	"coracle.dev/coracle/config/crd"
	"coracle.dev/coracle/nodeagent/simulate"
)

var (
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	pools       = v1alpha1.GroupVersion.WithResource("simulatednodepools")
)

// Run follows the cluster's pools until ctx ends. Options are those of the simulation; their pools are
// there besides those of the cluster.
func Run(ctx context.Context, cfg *rest.Config, o simulate.Options) error {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	if err := install(ctx, client); err != nil {
		return fmt.Errorf("installing the definition of node pools: %w", err)
	}
	changes := make(chan []simulate.Pool)
	f := &follower{client: client, fixed: o.Pools, changes: changes, dirty: make(chan struct{}, 1)}
	o.Changes = changes
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return simulate.Run(ctx, cfg, o) })
	g.Go(func() error { return f.run(ctx) })
	return g.Wait()
}

// install makes the definition, and waits until it is served.
func install(ctx context.Context, client dynamic.Interface) error {
	want := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(crd.SimulatedNodePools, &want.Object); err != nil {
		return err
	}
	api := client.Resource(definitions)
	_, err := api.Create(ctx, want, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := client.Resource(pools).List(ctx, metav1.ListOptions{Limit: 1})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// follower passes the pools on to the simulation.
type follower struct {
	client  dynamic.Interface
	fixed   []simulate.Pool
	changes chan<- []simulate.Pool
	dirty   chan struct{} // holds a token after a change
	known   cache.Store
}

func (f *follower) run(ctx context.Context) error {
	informer := dynamicinformer.NewDynamicSharedInformerFactory(f.client, 0).ForResource(pools).Informer()
	f.known = informer.GetStore()
	changed := func(any) {
		select {
		case f.dirty <- struct{}{}:
		default:
		}
	}
	synced, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed, DeleteFunc: changed, UpdateFunc: func(_, o any) { changed(o) },
	})
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error { informer.RunWithContext(ctx); return nil })
	if cache.WaitForCacheSync(ctx.Done(), synced.HasSynced) {
		f.loop(ctx)
	}
	return g.Wait()
}

func (f *follower) loop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.dirty:
		}
		objects, err := f.list()
		if err != nil {
			klog.FromContext(ctx).Error(err, "Could not read node pools")
			continue
		}
		all := slices.Clone(f.fixed)
		faults := map[string]string{}
		for _, o := range objects {
			p, err := convert(o)
			if slices.ContainsFunc(f.fixed, func(other simulate.Pool) bool { return other.Name == o.Name }) {
				err = fmt.Errorf("there are other simulated nodes of the name %s", o.Name)
			}
			if err != nil {
				faults[o.Name] = err.Error()
				continue
			}
			all = append(all, p)
		}
		select {
		case <-ctx.Done():
			return
		case f.changes <- all:
		}
		for _, o := range objects {
			if err := f.report(ctx, o, faults[o.Name]); err != nil && ctx.Err() == nil {
				klog.FromContext(ctx).Error(err, "Could not write the status of a node pool", "pool", o.Name)
			}
		}
	}
}

// list are the pools in the order of their names, without those that are being deleted.
func (f *follower) list() ([]*v1alpha1.SimulatedNodePool, error) {
	var out []*v1alpha1.SimulatedNodePool
	for _, o := range f.known.List() {
		p := &v1alpha1.SimulatedNodePool{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.(*unstructured.Unstructured).Object, p); err != nil {
			return nil, err
		}
		if p.DeletionTimestamp == nil {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *v1alpha1.SimulatedNodePool) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// convert is the pool of the simulation that an object describes.
func convert(o *v1alpha1.SimulatedNodePool) (simulate.Pool, error) {
	cpu, errCPU := resource.ParseQuantity(o.Spec.CPU)
	memory, errMemory := resource.ParseQuantity(o.Spec.Memory)
	if errCPU != nil {
		errCPU = fmt.Errorf("spec.cpu %q: %w", o.Spec.CPU, errCPU)
	}
	if errMemory != nil {
		errMemory = fmt.Errorf("spec.memory %q: %w", o.Spec.Memory, errMemory)
	}
	s := o.Spec
	return simulate.Pool{
		Name: o.Name, Count: int(s.Count), Capacity: simulate.Capacity(cpu, memory, s.Pods),
		Labels: s.Labels, Taints: append([]corev1.Taint(nil), s.Taints...), Zones: s.Zones,
		Profile: simulate.Profile{
			StartAfter: s.Pace.StartAfter.Duration, ReadyAfter: s.Pace.ReadyAfter.Duration,
			FinishAfter: s.Pace.FinishAfter.Duration, StopAfter: s.Pace.StopAfter.Duration,
		},
	}, errors.Join(errCPU, errMemory)
}

// report writes the status of a pool that has been passed on.
func (f *follower) report(ctx context.Context, o *v1alpha1.SimulatedNodePool, fault string) error {
	want := v1alpha1.SimulatedNodePoolStatus{Count: o.Spec.Count, ObservedGeneration: o.Generation, Message: fault}
	if fault != "" {
		want.Count = 0
	}
	if o.Status == want {
		return nil
	}
	o.Status = want
	o.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "SimulatedNodePool"}
	u, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return err
	}
	_, err = f.client.Resource(pools).UpdateStatus(ctx, &unstructured.Unstructured{Object: u}, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // the newer version is on its way
	}
	return err
}
