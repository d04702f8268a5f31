package job

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// count moves pods that ended through the stages of being counted: into the
// status, rid of their finalizer, into the counters.
func (p *pass) count() {
	st := &p.out.status
	uncounted := &batchv1.UncountedTerminatedPods{}
	if st.UncountedTerminatedPods != nil {
		uncounted = st.UncountedTerminatedPods
	}
	still := map[types.UID]bool{}
	for _, pod := range p.pods {
		if tracked(pod) {
			still[pod.UID] = true
		}
	}
	settle := func(uids []types.UID, counter *int32) []types.UID {
		return slices.DeleteFunc(uids, func(uid types.UID) bool {
			if !still[uid] {
				*counter++
			}
			return !still[uid]
		})
	}
	uncounted.Failed = settle(uncounted.Failed, &st.Failed)
	uncounted.Succeeded = settle(uncounted.Succeeded, &st.Succeeded)
	p.succeeded = parseIndexes(st.CompletedIndexes, p.limit)
	p.failedIndexes = indexSet{}
	if p.perIndex() {
		p.failedIndexes = p.findFailedIndexes()
	}
	for _, pod := range p.pods {
		if tracked(pod) && len(p.out.untrack) < burst {
			p.countPod(pod, uncounted)
		}
	}
	st.UncountedTerminatedPods = uncounted
	if p.indexed {
		st.CompletedIndexes = p.succeeded.format(p.limit)
		st.Succeeded = int32(len(p.succeeded))
	}
	if p.perIndex() {
		st.FailedIndexes = new(p.failedIndexes.format(p.limit))
	}
	p.wins = st.Succeeded + int32(len(uncounted.Succeeded))
	p.losses = st.Failed + int32(len(uncounted.Failed))
}

// countPod enters a pod that ended into the status, and has it untracked.
func (p *pass) countPod(pod *corev1.Pod, uncounted *batchv1.UncountedTerminatedPods) {
	index := indexOf(pod)
	counts := !p.indexed || (index != noIndex && index < p.limit)
	switch {
	case slices.Contains(uncounted.Succeeded, pod.UID), slices.Contains(uncounted.Failed, pod.UID):
	case pod.Status.Phase == corev1.PodSucceeded:
		if p.indexed && counts {
			p.succeeded[index] = true
		} else if counts {
			uncounted.Succeeded = append(uncounted.Succeeded, pod.UID)
		}
	case failed(p.j, pod), p.deciding() && pod.DeletionTimestamp != nil:
		if p.held(pod) {
			return
		}
		if counts && judge(p.j, pod).action != batchv1.PodFailurePolicyActionIgnore {
			uncounted.Failed = append(uncounted.Failed, pod.UID)
		}
	default:
		return
	}
	p.out.untrack = append(p.out.untrack, pod)
}

// deciding tells whether the job's end was decided in an earlier pass, when
// whatever is deleted will not be replaced.
func (p *pass) deciding() bool {
	return conditionIs(&p.j.Status, batchv1.JobFailureTarget) || conditionIs(&p.j.Status, batchv1.JobSuccessCriteriaMet)
}
