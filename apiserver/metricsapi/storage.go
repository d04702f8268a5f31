package metricsapi

import (
	"context"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/metrics/pkg/apis/metrics"
)

// Objects are a store of nodes or pods.
type Objects interface {
	rest.Getter
	rest.Lister
}

// storage is what nodes and pods of the group have in common.
type storage struct {
	collector *collector
	objects   Objects
	clock     func() time.Time
}

// Destroy implements rest.Storage.
func (s *storage) Destroy() {}

func resources(u usage) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewScaledQuantity(int64(math.Max(u.cores, 0)*1e9), resource.Nano),
		corev1.ResourceMemory: *resource.NewQuantity(int64(u.memory), resource.BinarySI),
	}
}

// meta is that of the figures of an object: they are as old as the request.
func (s *storage) meta(o *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: o.Name, Namespace: o.Namespace, Labels: o.Labels, CreationTimestamp: metav1.NewTime(s.clock())}
}

// nodes serves NodeMetrics.
type nodes struct{ storage }

var (
	_ rest.Scoper               = &nodes{}
	_ rest.Getter               = &nodes{}
	_ rest.Lister               = &nodes{}
	_ rest.KindProvider         = &nodes{}
	_ rest.SingularNameProvider = &nodes{}
	_ rest.Scoper               = &pods{}
	_ rest.Getter               = &pods{}
	_ rest.Lister               = &pods{}
	_ rest.KindProvider         = &pods{}
	_ rest.SingularNameProvider = &pods{}
)

func (*nodes) New() runtime.Object     { return &metrics.NodeMetrics{} }
func (*nodes) NewList() runtime.Object { return &metrics.NodeMetricsList{} }
func (*nodes) NamespaceScoped() bool   { return false }
func (*nodes) Kind() string            { return "NodeMetrics" }
func (*nodes) GetSingularName() string { return "" }
func (*nodes) ConvertToTable(_ context.Context, o, _ runtime.Object) (*metav1.Table, error) {
	return table(o)
}

func (n *nodes) show(o *corev1.Node, measured map[string]pair) (metrics.NodeMetrics, bool) {
	u, ok := measured[o.Name].node()
	return metrics.NodeMetrics{
		ObjectMeta: n.meta(&o.ObjectMeta), Timestamp: metav1.NewTime(u.at), Window: metav1.Duration{Duration: u.window}, Usage: resources(u),
	}, ok
}

// Get implements rest.Getter.
func (n *nodes) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	o, err := n.objects.Get(ctx, name, &metav1.GetOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) {
		return nil, apierrors.NewNotFound(metrics.Resource("nodemetrics"), name)
	}
	if err != nil {
		return nil, err
	}
	measured, err := n.collector.current(ctx)
	if err != nil {
		return nil, err
	}
	if out, ok := n.show(o.(*corev1.Node), measured); ok {
		return &out, nil
	}
	return nil, apierrors.NewNotFound(metrics.Resource("nodemetrics"), name)
}

// List implements rest.Lister.
func (n *nodes) List(ctx context.Context, options *internalversion.ListOptions) (runtime.Object, error) {
	list, err := n.objects.List(ctx, current(options))
	if err != nil {
		return nil, err
	}
	measured, err := n.collector.current(ctx)
	if err != nil {
		return nil, err
	}
	items := list.(*corev1.NodeList).Items
	out := &metrics.NodeMetricsList{Items: []metrics.NodeMetrics{}}
	for i := range items {
		if m, ok := n.show(&items[i], measured); ok {
			out.Items = append(out.Items, m)
		}
	}
	return out, nil
}

// current asks a store for what it has in memory: its objects are looked at, not handed out.
func current(o *internalversion.ListOptions) *internalversion.ListOptions {
	out := &internalversion.ListOptions{ResourceVersion: "0"}
	if o != nil {
		out.LabelSelector, out.FieldSelector = o.LabelSelector, o.FieldSelector
	}
	return out
}

// pods serves PodMetrics.
type pods struct{ storage }

func (*pods) New() runtime.Object     { return &metrics.PodMetrics{} }
func (*pods) NewList() runtime.Object { return &metrics.PodMetricsList{} }
func (*pods) NamespaceScoped() bool   { return true }
func (*pods) Kind() string            { return "PodMetrics" }
func (*pods) GetSingularName() string { return "" }
func (*pods) ConvertToTable(_ context.Context, o, _ runtime.Object) (*metav1.Table, error) {
	return table(o)
}

// show puts together the figures of a pod's running containers. One that has none yet hides the pod.
func (p *pods) show(o *corev1.Pod, measured map[string]pair) (out metrics.PodMetrics, ok bool) {
	out.ObjectMeta = p.meta(&o.ObjectMeta)
	node := measured[o.Spec.NodeName]
	for _, list := range [][]corev1.ContainerStatus{o.Status.InitContainerStatuses, o.Status.ContainerStatuses} {
		for i := range list {
			if list[i].State.Running == nil {
				continue
			}
			u, measured := node.container(containerID{o.Namespace, o.Name, list[i].Name})
			if !measured {
				return out, false
			}
			out.Containers = append(out.Containers, metrics.ContainerMetrics{Name: list[i].Name, Usage: resources(u)})
			if out.Timestamp.IsZero() || u.at.Before(out.Timestamp.Time) {
				out.Timestamp, out.Window = metav1.NewTime(u.at), metav1.Duration{Duration: u.window}
			}
		}
	}
	return out, len(out.Containers) > 0
}

// Get implements rest.Getter.
func (p *pods) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	o, err := p.objects.Get(ctx, name, &metav1.GetOptions{ResourceVersion: "0"})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if err == nil {
		measured, err := p.collector.current(ctx)
		if err != nil {
			return nil, err
		}
		pod := o.(*corev1.Pod)
		if out, ok := p.show(pod, measured); ok {
			return &out, nil
		}
		name = pod.Namespace + "/" + pod.Name
	}
	return nil, apierrors.NewNotFound(metrics.Resource("podmetrics"), name)
}

// List implements rest.Lister.
func (p *pods) List(ctx context.Context, options *internalversion.ListOptions) (runtime.Object, error) {
	list, err := p.objects.List(ctx, current(options))
	if err != nil {
		return nil, err
	}
	measured, err := p.collector.current(ctx)
	if err != nil {
		return nil, err
	}
	items := list.(*corev1.PodList).Items
	out := &metrics.PodMetricsList{Items: []metrics.PodMetrics{}}
	for i := range items {
		if m, ok := p.show(&items[i], measured); ok {
			out.Items = append(out.Items, m)
		}
	}
	return out, nil
}

var columns = []metav1.TableColumnDefinition{
	{Name: "Name", Type: "string", Format: "name", Description: "Name of the resource"},
	{Name: "CPU", Type: "string", Format: "quantity", Description: "cpu used"},
	{Name: "Memory", Type: "string", Format: "quantity", Description: "memory used"},
	{Name: "Window", Type: "string", Format: "duration", Description: "time over which CPU was measured"},
}

// table shows figures as kubectl get prints them.
func table(o runtime.Object) (*metav1.Table, error) {
	out := &metav1.Table{ColumnDefinitions: columns}
	node := func(m *metrics.NodeMetrics) { out.Rows = append(out.Rows, row(m, m.Name, m.Window, m.Usage)) }
	pod := func(m *metrics.PodMetrics) {
		var cpu, memory resource.Quantity
		for _, c := range m.Containers {
			cpu.Add(*c.Usage.Cpu())
			memory.Add(*c.Usage.Memory())
		}
		out.Rows = append(out.Rows, row(m, m.Name, m.Window, corev1.ResourceList{corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory}))
	}
	switch o := o.(type) {
	case *metrics.NodeMetrics:
		node(o)
	case *metrics.NodeMetricsList:
		for i := range o.Items {
			node(&o.Items[i])
		}
	case *metrics.PodMetrics:
		pod(o)
	case *metrics.PodMetricsList:
		for i := range o.Items {
			pod(&o.Items[i])
		}
	default:
		return nil, fmt.Errorf("printing %T: it is not of metrics.k8s.io", o)
	}
	return out, nil
}

func row(o runtime.Object, name string, window metav1.Duration, use corev1.ResourceList) metav1.TableRow {
	return metav1.TableRow{
		Cells:  []any{name, use.Cpu().String(), use.Memory().String(), window.String()},
		Object: runtime.RawExtension{Object: o},
	}
}
