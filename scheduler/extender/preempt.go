package extender

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

// preempt asks which of the preemptions found may be, and with which of their victims.
func (e *client) preempt(p *snapshot.Pod, found []*framework.Preemption) ([]*framework.Preemption, error) {
	args := &extenderv1.ExtenderPreemptionArgs{Pod: p.Pod}
	if e.NodeCacheCapable {
		args.NodeNameToMetaVictims = map[string]*extenderv1.MetaVictims{}
	} else {
		args.NodeNameToVictims = map[string]*extenderv1.Victims{}
	}
	for _, f := range found {
		pods := make([]*corev1.Pod, len(f.Victims))
		meta := make([]*extenderv1.MetaPod, len(f.Victims))
		for i, v := range f.Victims {
			pods[i], meta[i] = v.Pod, &extenderv1.MetaPod{UID: string(v.UID)}
		}
		if e.NodeCacheCapable {
			args.NodeNameToMetaVictims[f.Node] = &extenderv1.MetaVictims{Pods: meta, NumPDBViolations: int64(f.Violations)}
		} else {
			args.NodeNameToVictims[f.Node] = &extenderv1.Victims{Pods: pods, NumPDBViolations: int64(f.Violations)}
		}
	}
	var result extenderv1.ExtenderPreemptionResult
	if err := e.post(context.Background(), e.PreemptVerb, args, &result); err != nil {
		return nil, err
	}
	var left []*framework.Preemption
	for _, f := range found {
		if victims := result.NodeNameToMetaVictims[f.Node]; victims != nil {
			left = append(left, chosen(f, victims))
		}
	}
	return left, nil
}

// chosen is a preemption with those of its victims that were named.
func chosen(f *framework.Preemption, victims *extenderv1.MetaVictims) *framework.Preemption {
	named := map[string]bool{}
	for _, v := range victims.Pods {
		named[v.UID] = true
	}
	out := &framework.Preemption{Node: f.Node, Violations: int(victims.NumPDBViolations)}
	for _, v := range f.Victims {
		if named[string(v.UID)] {
			out.Victims = append(out.Victims, v)
		}
	}
	return out
}
