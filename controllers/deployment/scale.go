package deployment

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// unlimited is how a limit or deadline says that there is none.
const unlimited = math.MaxInt32

// bounds resolves maxSurge, rounded up, and maxUnavailable, rounded down. If
// both come to nothing one pod may be unavailable, or nothing could move.
func bounds(d *appsv1.Deployment) (surge, unavailable int32) {
	ru := d.Spec.Strategy.RollingUpdate
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType || ru == nil {
		return 0, 0
	}
	surge = resolve(ru.MaxSurge, *d.Spec.Replicas, true)
	unavailable = resolve(ru.MaxUnavailable, *d.Spec.Replicas, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

// resolve turns a number or percentage into a number; the API server admits
// only valid ones.
func resolve(v *intstr.IntOrString, of int32, roundUp bool) int32 {
	n, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(v, intstr.FromInt32(0)), int(of), roundUp)
	if err != nil {
		return 0
	}
	return int32(n)
}

func maxSurge(d *appsv1.Deployment) int32 {
	surge, _ := bounds(d)
	return surge
}

func maxUnavailable(d *appsv1.Deployment) int32 {
	_, unavailable := bounds(d)
	return min(unavailable, *d.Spec.Replicas)
}

// newSize is how large the new set may be, given its size and that of all sets.
func newSize(d *appsv1.Deployment, all []*appsv1.ReplicaSet, now int32) int32 {
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return *d.Spec.Replicas
	}
	room := *d.Spec.Replicas + maxSurge(d) - present(all)
	if room <= 0 {
		return now
	}
	return now + min(room, *d.Spec.Replicas-now)
}

// resize sets the size of a set, and what it is a part of.
func (r *rollout) resize(rs *appsv1.ReplicaSet, size int32) {
	rs.Spec.Replicas = &size
	setReplicas(rs, *r.d.Spec.Replicas, *r.d.Spec.Replicas+maxSurge(r.d))
}

// scale brings the sets to the deployment's size: one set takes it all; if the
// new set is complete the others go; in the midst of a rolling update each set
// takes its proportion, so that a rollout that fails is not made worse.
func (r *rollout) scale() {
	if rs := activeOrLatest(r.new, r.old); rs != nil {
		if *rs.Spec.Replicas != *r.d.Spec.Replicas {
			r.resize(rs, *r.d.Spec.Replicas)
		}
		return
	}
	if saturated(r.d, r.new) {
		for _, rs := range active(r.old) {
			r.resize(rs, 0)
		}
		return
	}
	if r.d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		r.scaleProportionally()
	}
}

func (r *rollout) scaleProportionally() {
	sets := active(r.all())
	allowed := int32(0)
	if *r.d.Spec.Replicas > 0 {
		allowed = *r.d.Spec.Replicas + maxSurge(r.d)
	}
	toAdd := allowed - totalReplicas(sets)
	// The largest first, which also takes what rounding leaves over; among
	// equals the newer grows first, and the older shrinks first.
	slices.SortStableFunc(sets, func(a, b *appsv1.ReplicaSet) int {
		age := older(a, b)
		if toAdd > 0 {
			age = -age
		}
		return cmp.Or(cmp.Compare(*b.Spec.Replicas, *a.Spec.Replicas), age)
	})
	added := int32(0)
	sizes := make([]int32, len(sets))
	for i, rs := range sets {
		n := proportion(r.d, rs, toAdd, added)
		sizes[i] = *rs.Spec.Replicas + n
		added += n
	}
	for i, rs := range sets {
		if i == 0 {
			sizes[0] = max(0, sizes[0]+toAdd-added)
		}
		r.resize(rs, sizes[i])
	}
}

// proportion is how much of toAdd falls to a set, when others have got added.
func proportion(d *appsv1.Deployment, rs *appsv1.ReplicaSet, toAdd, added int32) int32 {
	if *rs.Spec.Replicas == 0 || toAdd == 0 || toAdd == added {
		return 0
	}
	share := fraction(d, rs)
	if toAdd > 0 {
		return min(share, toAdd-added)
	}
	return max(share, toAdd-added)
}

// fraction is by how much a set would have to change to keep its share.
func fraction(d *appsv1.Deployment, rs *appsv1.ReplicaSet) int32 {
	if *d.Spec.Replicas == 0 {
		return -*rs.Spec.Replicas
	}
	before, ok := annotated(rs, maximumAnnotation)
	if !ok || before == 0 {
		before = d.Status.Replicas
	}
	if before == 0 {
		return 0
	}
	size := float64(*rs.Spec.Replicas) * float64(*d.Spec.Replicas+maxSurge(d)) / float64(before)
	return int32(math.Round(size)) - *rs.Spec.Replicas
}

// activeOrLatest is the one set that has replicas; if none has, the newest; nil
// if several have.
func activeOrLatest(newest *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) *appsv1.ReplicaSet {
	all := slices.Clone(old)
	if newest != nil {
		all = append(all, newest)
	}
	switch a := active(all); {
	case len(a) == 1:
		return a[0]
	case len(a) > 1 || len(all) == 0:
		return nil
	default:
		return all[len(all)-1]
	}
}

func saturated(d *appsv1.Deployment, rs *appsv1.ReplicaSet) bool {
	if rs == nil {
		return false
	}
	desired, ok := desiredReplicas(rs)
	return ok && desired == *d.Spec.Replicas && *rs.Spec.Replicas == desired && rs.Status.AvailableReplicas == desired
}

func setReplicas(rs *appsv1.ReplicaSet, desired, most int32) {
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	rs.Annotations[desiredAnnotation] = strconv.Itoa(int(desired))
	rs.Annotations[maximumAnnotation] = strconv.Itoa(int(most))
}

func desiredReplicas(rs *appsv1.ReplicaSet) (int32, bool) { return annotated(rs, desiredAnnotation) }

func annotated(rs *appsv1.ReplicaSet, key string) (int32, bool) {
	n, err := strconv.ParseInt(rs.Annotations[key], 10, 32)
	return int32(n), err == nil
}

// active are the sets that have replicas, in the given order.
func active(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	var out []*appsv1.ReplicaSet
	for _, rs := range sets {
		if *rs.Spec.Replicas > 0 {
			out = append(out, rs)
		}
	}
	return out
}

func totalReplicas(sets []*appsv1.ReplicaSet) int32 {
	n := int32(0)
	for _, rs := range sets {
		n += *rs.Spec.Replicas
	}
	return n
}

// present counts the pods that there may be: a set that was just scaled down may
// not have got to it. Kubernetes 1.37 counts those asked for, and can for a
// moment be above the maximum by the others.
func present(sets []*appsv1.ReplicaSet) int32 {
	n := int32(0)
	for _, rs := range sets {
		n += max(rs.Status.Replicas, *rs.Spec.Replicas)
	}
	return n
}

// dependable counts the available pods on which there is relying: a set that
// was just scaled down may still report pods that are about to go; one that was
// scaled down and up again, and has yet to observe the latter, may have removed
// any number. Kubernetes 1.37 counts those too, and can fall below the minimum
// by them.
func dependable(sets []*appsv1.ReplicaSet) int32 {
	n := int32(0)
	for _, rs := range sets {
		if rs.Status.ObservedGeneration >= rs.Generation {
			n += min(rs.Status.AvailableReplicas, *rs.Spec.Replicas)
		}
	}
	return n
}

func older(a, b *appsv1.ReplicaSet) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

func byRevision(a, b *appsv1.ReplicaSet) int {
	return cmp.Or(cmp.Compare(number(a.Annotations[revisionAnnotation]), number(b.Annotations[revisionAnnotation])), older(a, b))
}
