package plugin

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

type nodeOption func(*corev1.Node)

// node has 4 CPUs, 8Gi and room for 10 pods unless told otherwise.
func node(name string, options ...nodeOption) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	n.Status.Allocatable = list("cpu=4", "memory=8Gi", "pods=10")
	for _, o := range options {
		o(n)
	}
	return n
}

func has(resources ...string) nodeOption {
	return func(n *corev1.Node) {
		for name, q := range list(resources...) {
			n.Status.Allocatable[name] = q
		}
	}
}

func labeled(kv ...string) nodeOption {
	return func(n *corev1.Node) {
		for _, s := range kv {
			k, v, _ := strings.Cut(s, "=")
			n.Labels[k] = v
		}
	}
}

func zone(name string) nodeOption { return labeled(corev1.LabelTopologyZone + "=" + name) }

func tainted(key, value string, effect corev1.TaintEffect) nodeOption {
	return func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: effect})
	}
}

func cordoned(n *corev1.Node) { n.Spec.Unschedulable = true }

func list(resources ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for _, s := range resources {
		k, v, _ := strings.Cut(s, "=")
		out[corev1.ResourceName(k)] = resource.MustParse(v)
	}
	return out
}

type podOption func(*corev1.Pod)

func pod(name string, options ...podOption) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), Labels: map[string]string{}}}
	p.Spec.Containers = []corev1.Container{{Name: "c", Image: "img"}}
	for _, o := range options {
		o(p)
	}
	return p
}

func asks(resources ...string) podOption {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests = list(resources...) }
}

func on(node string) podOption { return func(p *corev1.Pod) { p.Spec.NodeName = node } }

func app(name string) podOption { return func(p *corev1.Pod) { p.Labels["app"] = name } }

func priority(n int32) podOption { return func(p *corev1.Pod) { p.Spec.Priority = &n } }

func selects(kv ...string) podOption {
	return func(p *corev1.Pod) {
		p.Spec.NodeSelector = map[string]string{}
		for _, s := range kv {
			k, v, _ := strings.Cut(s, "=")
			p.Spec.NodeSelector[k] = v
		}
	}
}

func toleratesAll(p *corev1.Pod) {
	p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
}

func hostPort(port int32, ip string, protocol corev1.Protocol) podOption {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{HostPort: port, HostIP: ip, Protocol: protocol})
	}
}

func spread(key string, skew int32, action corev1.UnsatisfiableConstraintAction, application string) podOption {
	return func(p *corev1.Pod) {
		p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, corev1.TopologySpreadConstraint{
			TopologyKey: key, MaxSkew: skew, WhenUnsatisfiable: action, LabelSelector: appSelector(application),
		})
	}
}

func appSelector(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
}

func affinity(p *corev1.Pod) *corev1.Affinity {
	if p.Spec.Affinity == nil {
		p.Spec.Affinity = &corev1.Affinity{}
	}
	return p.Spec.Affinity
}

func near(application, key string) podOption {
	return func(p *corev1.Pod) {
		affinity(p).PodAffinity = &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
			{LabelSelector: appSelector(application), TopologyKey: key}}}
	}
}

func away(application, key string) podOption {
	return func(p *corev1.Pod) {
		affinity(p).PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
			{LabelSelector: appSelector(application), TopologyKey: key}}}
	}
}

func rather(application, key string, weight int32) podOption {
	return func(p *corev1.Pod) {
		affinity(p).PodAffinity = &corev1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{
			{Weight: weight, PodAffinityTerm: corev1.PodAffinityTerm{LabelSelector: appSelector(application), TopologyKey: key}}}}
	}
}

// world is a cluster of these nodes and bound pods.
func world(objects ...any) *snapshot.Cluster {
	c := snapshot.NewCluster()
	c.SetNamespace("default", nil)
	for _, o := range objects {
		switch o := o.(type) {
		case *corev1.Node:
			c.SetNode(o)
		case *corev1.Pod:
			c.SetPod(o)
		default:
			panic(fmt.Sprintf("no place for a %T", o))
		}
	}
	return c
}

// decide is the node that a pod goes to, or the message that there is none, preemption included.
func decide(c *snapshot.Cluster, p *corev1.Pod) string {
	pod := snapshot.NewPod(p)
	result := framework.Schedule(Default(), c, pod, framework.Choice{})
	if result.Node != "" {
		return result.Node
	}
	preemption, why := framework.Preempt(Default(), c, pod, result.Failure, 0, framework.Candidates{})
	result.Failure.After = why
	if preemption == nil {
		return result.Failure.Message()
	}
	var names []string
	for _, v := range preemption.Victims {
		names = append(names, v.Name)
	}
	return fmt.Sprintf("%s after %s", preemption.Node, strings.Join(names, ", "))
}
