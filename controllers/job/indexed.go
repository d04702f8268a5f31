package job

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

func (p *pass) perIndex() bool { return p.indexed && p.j.Spec.BackoffLimitPerIndex != nil }

// unwanted are active pods whose index is not valid or already succeeded or
// failed, and all but the first of those that share one.
func (p *pass) unwanted() []*corev1.Pod {
	if !p.indexed {
		return nil
	}
	var surplus []*corev1.Pod
	seen := indexSet{}
	for _, pod := range p.active {
		i := indexOf(pod)
		if i == noIndex || i >= p.limit || p.succeeded[i] || p.failedIndexes[i] || seen[i] {
			surplus = append(surplus, pod)
			continue
		}
		seen[i] = true
	}
	return surplus
}

// createIndexes makes pods for the lowest indexes that have none and are not
// done, each after the delay that its failures ask for.
func (p *pass) createIndexes(n int) {
	busy := indexSet{}
	for _, pod := range p.pods {
		if podstatus.Active(pod) || (podstatus.Terminating(pod) && onlyFailed(p.j)) {
			busy[indexOf(pod)] = true
		}
	}
	if !p.perIndex() {
		if wait := delay(p.j, p.pods, p.now); wait > 0 {
			p.again(wait)
			return
		}
	}
	for i := 0; i < p.limit && n > 0; i++ {
		if busy[i] || p.succeeded[i] || p.failedIndexes[i] {
			continue
		}
		c := creation{index: i}
		if p.perIndex() {
			var wait time.Duration
			if c.failures, c.ignored, wait = p.history(i); wait > 0 {
				p.again(wait)
				continue
			}
		}
		p.out.create = append(p.out.create, c)
		n--
	}
}

// history is how often an index failed, and how long it is to wait therefore.
func (p *pass) history(i int) (failures, ignored int32, wait time.Duration) {
	last := p.lastFailure(i)
	if last == nil {
		return 0, 0, 0
	}
	failures = failuresOf(last, batchv1.JobIndexFailureCountAnnotation)
	ignored = failuresOf(last, batchv1.JobIndexIgnoredFailureCountAnnotation)
	if judge(p.j, last).action == batchv1.PodFailurePolicyActionIgnore {
		ignored++
	} else {
		failures++
	}
	backoff := firstDelay
	for n := int32(1); n < failures+ignored && backoff < longestDelay; n++ {
		backoff *= 2
	}
	return failures, ignored, max(0, ended(last).Add(min(backoff, longestDelay)).Sub(p.now))
}

// lastFailure is the failed pod of an index that knows of most failures.
func (p *pass) lastFailure(i int) *corev1.Pod {
	var last *corev1.Pod
	for _, pod := range p.pods {
		if indexOf(pod) == i && failed(p.j, pod) && (last == nil || attempts(pod) > attempts(last)) {
			last = pod
		}
	}
	return last
}

func attempts(pod *corev1.Pod) int32 {
	return failuresOf(pod, batchv1.JobIndexFailureCountAnnotation) + failuresOf(pod, batchv1.JobIndexIgnoredFailureCountAnnotation)
}

// findFailedIndexes are the indexes that are given up: those in the status, and
// those of pods that failed once too often or as the policy gives them up.
func (p *pass) findFailedIndexes() indexSet {
	failedIndexes := indexSet{}
	if p.j.Status.FailedIndexes != nil {
		failedIndexes = parseIndexes(*p.j.Status.FailedIndexes, p.limit)
	}
	for _, pod := range p.pods {
		i := indexOf(pod)
		if !tracked(pod) || !failed(p.j, pod) || i == noIndex || i >= p.limit {
			continue
		}
		switch judge(p.j, pod).action {
		case batchv1.PodFailurePolicyActionIgnore:
		case batchv1.PodFailurePolicyActionFailIndex:
			failedIndexes[i] = true
		default:
			if failuresOf(pod, batchv1.JobIndexFailureCountAnnotation) >= *p.j.Spec.BackoffLimitPerIndex {
				failedIndexes[i] = true
			}
		}
	}
	return failedIndexes
}

// held tells whether a failed pod is kept for what it knows of its index: no
// later pod carries the count of failures on yet, and the index is not done.
func (p *pass) held(pod *corev1.Pod) bool {
	i := indexOf(pod)
	if !p.perIndex() || i == noIndex || i >= p.limit || p.succeeded[i] || p.failedIndexes[i] || p.target() != nil {
		return false
	}
	for _, other := range p.pods {
		if other.UID != pod.UID && indexOf(other) == i && attempts(other) > attempts(pod) {
			return false
		}
	}
	return true
}
