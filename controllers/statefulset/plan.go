package statefulset

import (
	"cmp"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/intstr"

	"coracle.dev/coracle/controllers/internal/podstatus"
)

// observed is what a pass knows. Nothing of it is changed.
type observed struct {
	set *appsv1.StatefulSet
	// pods are the set's members; claims those of its pods and ordinals, by name.
	pods   []*corev1.Pod
	claims map[string]*corev1.PersistentVolumeClaim
	// update is the revision of the present template, current the one before.
	current, update template
	// settled tells that the pods written last are among them.
	settled bool
}

// actions are what a pass does, in this order; what follows a write that fails
// is left for the next pass.
type actions struct {
	createClaims []*corev1.PersistentVolumeClaim
	// updateClaims are claims with new owners.
	updateClaims []*corev1.PersistentVolumeClaim
	create       []*corev1.Pod
	// relabel are pods that have lost a label of their identity.
	relabel []*corev1.Pod
	// failed and succeeded are those removed because they ended.
	remove, failed, succeeded []*corev1.Pod
	status                    appsv1.StatefulSetStatus
	// after is when the set is to be looked at again; zero: on events.
	after time.Duration
}

// slot is an ordinal and its pod, if there is one.
type slot struct {
	ordinal int
	pod     *corev1.Pod
}

type pass struct {
	observed
	now     time.Time
	ordered bool
	// slots are those that are to have pods, the lowest first; condemned those
	// that are not, the highest first.
	slots, condemned []slot
	out              actions
}

// plan decides what is to be done for a stateful set.
func plan(o observed, now time.Time) actions {
	p := &pass{observed: o, now: now, ordered: o.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement}
	p.arrange()
	p.out.status = p.status()
	if o.settled && o.set.DeletionTimestamp == nil && p.fill() && p.shrink() {
		p.roll()
	}
	p.finish()
	return p.out
}

func (p *pass) arrange() {
	first, n := start(p.set), 1
	if p.set.Spec.Replicas != nil {
		n = int(*p.set.Spec.Replicas)
	}
	p.slots = make([]slot, n)
	for i := range p.slots {
		p.slots[i].ordinal = first + i
	}
	for _, pod := range p.pods {
		if o := ordinalOf(p.set, pod.Name); o >= first && o < first+n {
			p.slots[o-first].pod = pod
		} else if o >= 0 {
			p.condemned = append(p.condemned, slot{o, pod})
		}
	}
	slices.SortFunc(p.condemned, func(a, b slot) int { return cmp.Compare(b.ordinal, a.ordinal) })
}

// fill makes the pods that are missing. It tells whether the pass may go on to
// other things: in order, all pods must be available first.
func (p *pass) fill() bool {
	for _, s := range p.slots {
		if waits := p.fillSlot(s); waits && p.ordered {
			return false
		}
	}
	return true
}

// fillSlot tells whether what comes later in the order has to wait for the slot.
func (p *pass) fillSlot(s slot) bool {
	if s.pod == nil {
		if p.makeClaims(s) {
			p.out.create = append(p.out.create, newPod(p.set, s.ordinal, p.templateOf(s.ordinal)))
		}
		return true
	}
	p.tidy(s, false)
	switch {
	case podstatus.Finished(s.pod):
		if s.pod.DeletionTimestamp == nil {
			p.replace(s.pod)
		}
		return true
	case s.pod.DeletionTimestamp != nil:
		return true
	case s.pod.Status.Phase == corev1.PodPending:
		p.makeClaims(s)
	}
	return !p.available(s.pod)
}

// replace removes a pod that ended; its place is filled when it is gone.
func (p *pass) replace(pod *corev1.Pod) {
	if pod.Status.Phase == corev1.PodFailed {
		p.out.failed = append(p.out.failed, pod)
	} else {
		p.out.succeeded = append(p.out.succeeded, pod)
	}
	p.remove(pod)
}

// makeClaims makes the claims that an ordinal lacks, and tells whether its pod
// can be made: none of them is on its way out.
func (p *pass) makeClaims(s slot) bool {
	ok := true
	for i, name := range claimNames(p.set, s.ordinal) {
		existing := p.claims[name]
		if existing == nil {
			c := newClaim(p.set, i, s.ordinal)
			c.OwnerReferences = claimOwners(p.set, nil, false, nil)
			p.out.createClaims = append(p.out.createClaims, c)
		} else if leaving(existing, s.pod, podName(p.set, s.ordinal)) {
			ok = false
		}
	}
	return ok
}

// tidy gives a pod back its identity, and its claims their owners.
func (p *pass) tidy(s slot, condemned bool) {
	for key, want := range identity(p.set, s.ordinal) {
		if s.pod.Labels[key] != want {
			relabelled := s.pod.DeepCopy()
			if relabelled.Labels == nil {
				relabelled.Labels = map[string]string{}
			}
			maps.Copy(relabelled.Labels, identity(p.set, s.ordinal))
			p.out.relabel = append(p.out.relabel, relabelled)
			break
		}
	}
	for _, name := range claimNames(p.set, s.ordinal) {
		c := p.claims[name]
		if c == nil || c.DeletionTimestamp != nil {
			continue
		}
		if owners := claimOwners(p.set, s.pod, condemned, c.OwnerReferences); !apiequality.Semantic.DeepEqual(owners, c.OwnerReferences) {
			changed := c.DeepCopy()
			changed.OwnerReferences = owners
			p.out.updateClaims = append(p.out.updateClaims, changed)
		}
	}
}

// shrink removes the pods that are not wanted, and tells whether the pass may go
// on: in order, none of them is left.
func (p *pass) shrink() bool {
	var lowestUnhealthy *corev1.Pod
	for _, s := range p.condemned {
		p.tidy(s, true)
		if s.pod.DeletionTimestamp != nil || !p.available(s.pod) {
			lowestUnhealthy = s.pod
		}
	}
	for _, s := range p.condemned {
		if p.ordered && (s.pod.DeletionTimestamp != nil || !p.available(s.pod) && s.pod != lowestUnhealthy) {
			return false
		}
		if s.pod.DeletionTimestamp == nil {
			p.remove(s.pod)
		}
		if p.ordered {
			return false
		}
	}
	return true
}

// roll takes the next step of a rolling update: from the highest ordinal down to
// the partition, as many at once as may be unavailable.
func (p *pass) roll() {
	if p.set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return
	}
	partition, most := p.bounds()
	unavailable := 0
	for _, s := range p.slots {
		if s.pod == nil || s.pod.DeletionTimestamp != nil || !p.available(s.pod) {
			unavailable++
		}
	}
	for _, s := range slices.Backward(p.slots[min(partition, len(p.slots)):]) {
		if s.pod == nil || s.pod.DeletionTimestamp != nil || podstatus.Finished(s.pod) || revisionOf(s.pod) == p.update.name {
			continue
		}
		if p.available(s.pod) {
			if unavailable >= most {
				continue
			}
			unavailable++
		}
		p.remove(s.pod)
	}
}

// bounds are the partition, and how many pods may be unavailable.
func (p *pass) bounds() (partition, unavailable int) {
	ru := p.set.Spec.UpdateStrategy.RollingUpdate
	if ru == nil {
		return 0, 1
	}
	if ru.Partition != nil {
		partition = int(*ru.Partition)
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(ru.MaxUnavailable, intstr.FromInt32(1)), len(p.slots), false)
	if err != nil {
		n = 1
	}
	return partition, max(1, n)
}

// templateOf is the template for the pod of an ordinal: in a rolling update,
// those below the partition stay with the current revision.
func (p *pass) templateOf(ordinal int) template {
	s := p.set.Spec.UpdateStrategy
	if s.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return p.update
	}
	kept := p.set.Status.CurrentReplicas
	if s.RollingUpdate != nil {
		kept = 0
		if s.RollingUpdate.Partition != nil {
			kept = *s.RollingUpdate.Partition
		}
	}
	if ordinal < start(p.set)+int(kept) {
		return p.current
	}
	return p.update
}

func revisionOf(pod *corev1.Pod) string { return pod.Labels[appsv1.StatefulSetRevisionLabel] }

func (p *pass) remove(pod *corev1.Pod) {
	p.out.remove = append(p.out.remove, pod)
	p.count(pod, -1)
}

func (p *pass) available(pod *corev1.Pod) bool {
	if pod.Status.Phase != corev1.PodRunning {
		return false
	}
	ok, at := podstatus.Available(pod, p.set.Spec.MinReadySeconds, p.now)
	if wait := at.Sub(p.now); !at.IsZero() && (p.out.after == 0 || wait < p.out.after) {
		p.out.after = max(wait, time.Millisecond)
	}
	return ok
}

func (p *pass) status() appsv1.StatefulSetStatus {
	st := *p.set.Status.DeepCopy()
	st.ObservedGeneration = p.set.Generation
	st.CurrentRevision, st.UpdateRevision = p.current.name, p.update.name
	st.Replicas, st.ReadyReplicas, st.AvailableReplicas, st.CurrentReplicas, st.UpdatedReplicas = 0, 0, 0, 0, 0
	p.out.status = st
	for _, s := range append(slices.Clone(p.slots), p.condemned...) {
		if s.pod == nil {
			continue
		}
		p.out.status.Replicas++
		if s.pod.Status.Phase == corev1.PodRunning && podstatus.Ready(s.pod) {
			p.out.status.ReadyReplicas++
			if p.available(s.pod) {
				p.out.status.AvailableReplicas++
			}
		}
		if s.pod.DeletionTimestamp == nil {
			p.count(s.pod, 1)
		}
	}
	return p.out.status
}

// count counts a pod with those of its revision.
func (p *pass) count(pod *corev1.Pod, by int32) {
	if revisionOf(pod) == p.current.name {
		p.out.status.CurrentReplicas += by
	}
	if revisionOf(pod) == p.update.name {
		p.out.status.UpdatedReplicas += by
	}
}

// finish notes that a rolling update is complete.
func (p *pass) finish() {
	st := &p.out.status
	if p.set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return
	}
	if st.UpdatedReplicas == st.Replicas && st.ReadyReplicas == st.Replicas && int(st.Replicas) == len(p.slots) {
		st.CurrentReplicas, st.CurrentRevision = st.UpdatedReplicas, st.UpdateRevision
	}
}
