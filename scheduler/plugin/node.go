package plugin

import (
	corev1 "k8s.io/api/core/v1"
	schedulinghelper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// SchedulingGates holds back pods until all their gates are gone.
func SchedulingGates() framework.Plugin {
	return framework.Plugin{
		Name: "SchedulingGates",
		Gate: func(p *snapshot.Pod) string {
			if len(p.Spec.SchedulingGates) == 0 {
				return ""
			}
			return "Scheduling is blocked due to non-empty scheduling gates"
		},
	}
}

// NodeUnschedulable keeps pods off cordoned nodes, unless they tolerate the taint that stands for it.
func NodeUnschedulable() framework.Plugin {
	return framework.Plugin{
		Name: "NodeUnschedulable", Wakes: framework.NodeAdded | framework.NodeTaints, Local: true,
		Filter: func(_ *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
			cordon := corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}
			if tolerates(p.Spec.Tolerations, &cordon) {
				return nil, nil
			}
			return func(n *snapshot.Node) *framework.Status {
				if n.Spec.Unschedulable {
					return framework.Never("node(s) were unschedulable")
				}
				return nil
			}, nil
		},
	}
}

// NodeName keeps a pod that names its node to that node.
func NodeName() framework.Plugin {
	return framework.Plugin{
		Name: "NodeName", Wakes: framework.NodeAdded, Local: true,
		Filter: func(_ *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
			if p.Spec.NodeName == "" {
				return nil, nil
			}
			return func(n *snapshot.Node) *framework.Status {
				if n.Name != p.Spec.NodeName {
					return framework.Never("node(s) didn't match the requested node name")
				}
				return nil
			}, nil
		},
	}
}

// TaintToleration keeps pods off nodes with taints that they do not tolerate, and prefers nodes with fewer taints of
// the soft kind.
func TaintToleration() framework.Plugin {
	return framework.Plugin{
		Name: "TaintToleration", Wakes: framework.NodeAdded | framework.NodeTaints, Local: true, Weight: 3,
		Filter: func(_ *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
			return func(n *snapshot.Node) *framework.Status {
				for i := range n.Spec.Taints {
					t := &n.Spec.Taints[i]
					if t.Effect != corev1.TaintEffectPreferNoSchedule && !tolerates(p.Spec.Tolerations, t) {
						return framework.Never("node(s) had untolerated taint(s)")
					}
				}
				return nil
			}, nil
		},
		Score: func(_ *snapshot.Cluster, p *snapshot.Pod, nodes []*snapshot.Node) []int64 {
			var any bool
			scores := make([]int64, len(nodes))
			for i, n := range nodes {
				for j := range n.Spec.Taints {
					t := &n.Spec.Taints[j]
					if t.Effect == corev1.TaintEffectPreferNoSchedule && !tolerates(p.Spec.Tolerations, t) {
						scores[i]++
						any = true
					}
				}
			}
			if !any {
				return nil
			}
			return normalize(scores, true)
		},
	}
}

func tolerates(tolerations []corev1.Toleration, t *corev1.Taint) bool {
	return schedulinghelper.TolerationsTolerateTaint(klog.Logger{}, tolerations, t, false)
}

// NodePorts keeps pods apart that want the same port of the node.
func NodePorts() framework.Plugin {
	return framework.Plugin{
		Name: "NodePorts", Wakes: framework.NodeAdded | framework.PodRemoved, Local: true,
		Filter: func(_ *snapshot.Cluster, p *snapshot.Pod) (framework.FilterFunc, *framework.Status) {
			if len(p.Ports) == 0 {
				return nil, nil
			}
			return func(n *snapshot.Node) *framework.Status {
				for _, port := range p.Ports {
					if n.PortTaken(port) {
						return framework.Unfit("node(s) didn't have free ports for the requested pod ports")
					}
				}
				return nil
			}, nil
		},
	}
}

// normalize stretches scores so that the highest is MaxScore; reversed, so that it is 0.
func normalize(scores []int64, reverse bool) []int64 {
	var top int64
	for _, s := range scores {
		top = max(top, s)
	}
	for i, s := range scores {
		if top > 0 {
			s = s * framework.MaxScore / top
		}
		if reverse {
			s = framework.MaxScore - s
		}
		scores[i] = s
	}
	return scores
}
