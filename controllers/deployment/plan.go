package deployment

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
)

// observed is what a pass knows. Nothing of it is changed.
type observed struct {
	deployment *appsv1.Deployment
	// sets are the deployment's replica sets.
	sets []*appsv1.ReplicaSet
	// running tells which sets have pods that have not finished, those being
	// deleted included. It is only looked at for the strategy Recreate.
	running map[types.UID]bool
}

// actions are what a pass does, in this order.
type actions struct {
	// create is the replica set to be made for the deployment's template.
	create *appsv1.ReplicaSet
	// update are replica sets as they are to be.
	update []change
	remove []*appsv1.ReplicaSet
	// revision is that of the deployment; empty: as it is.
	revision string
	status   appsv1.DeploymentStatus
	// after is when the deployment is to be looked at again; zero: on events.
	after time.Duration
}

// change is a replica set as it is to be, and its size before.
type change struct {
	set  *appsv1.ReplicaSet
	from int32
}

// rollout is a pass under way: a copy of the world in which decisions take
// effect as they are made, so that later ones build on earlier ones.
type rollout struct {
	d        *appsv1.Deployment
	old      []*appsv1.ReplicaSet // all but the new one, oldest first
	new      *appsv1.ReplicaSet   // that of the template, or nil
	original map[types.UID]*appsv1.ReplicaSet
	running  map[types.UID]bool
	now      time.Time
	out      actions
}

// plan decides what is to be done for a deployment.
func plan(o observed, now time.Time) actions {
	r := newRollout(o, now)
	if r.d.DeletionTimestamp != nil {
		r.out.status = r.currentStatus()
		return r.out
	}
	r.notePause()
	switch {
	case r.d.Spec.Paused, r.scaling():
		r.adoptNew(false)
		r.scale()
		if r.d.Spec.Paused {
			r.cleanup()
		}
		r.out.status = r.currentStatus()
	case r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType:
		r.recreate()
		r.progress()
	default:
		r.rolling()
		r.progress()
	}
	r.out.update = r.changes()
	return r.out
}

func newRollout(o observed, now time.Time) *rollout {
	r := &rollout{
		d:        o.deployment.DeepCopy(),
		original: map[types.UID]*appsv1.ReplicaSet{},
		running:  o.running,
		now:      now,
	}
	var sets []*appsv1.ReplicaSet
	for _, rs := range o.sets {
		r.original[rs.UID] = rs
		sets = append(sets, rs.DeepCopy())
	}
	slices.SortFunc(sets, older)
	for _, rs := range sets {
		if r.new == nil && sameTemplate(&rs.Spec.Template, &r.d.Spec.Template) {
			r.new = rs
		} else {
			r.old = append(r.old, rs)
		}
	}
	return r
}

// all are the replica sets, the new one last.
func (r *rollout) all() []*appsv1.ReplicaSet {
	if r.new == nil {
		return slices.Clone(r.old)
	}
	return append(slices.Clone(r.old), r.new)
}

// changes are the replica sets that differ from what was observed.
func (r *rollout) changes() []change {
	var changes []change
	for _, rs := range r.all() {
		was, existed := r.original[rs.UID]
		if !existed || slices.Contains(r.out.remove, rs) {
			continue
		}
		if !apiequality.Semantic.DeepEqual(was, rs) {
			changes = append(changes, change{set: rs, from: *was.Spec.Replicas})
		}
	}
	return changes
}

// scaling tells whether the deployment was resized since its sets were last
// scaled, which is brought about before any rollout goes on.
func (r *rollout) scaling() bool {
	for _, rs := range active(r.all()) {
		if desired, ok := desiredReplicas(rs); ok && desired != *r.d.Spec.Replicas {
			return true
		}
	}
	return false
}

// recreate removes all old pods before it makes new ones.
func (r *rollout) recreate() {
	r.adoptNew(false)
	scaledDown := false
	for _, rs := range active(r.old) {
		r.resize(rs, 0)
		scaledDown = true
	}
	if scaledDown || r.oldPodsRun() {
		return
	}
	r.adoptNew(true)
	if *r.new.Spec.Replicas != *r.d.Spec.Replicas {
		r.resize(r.new, *r.d.Spec.Replicas)
	}
	if complete(r.d, &r.d.Status) {
		r.cleanup()
	}
}

func (r *rollout) oldPodsRun() bool {
	for _, rs := range r.old {
		if rs.Status.Replicas > 0 || r.running[rs.UID] {
			return true
		}
	}
	return false
}

// rolling takes one step from the old sets to the new one: up if there is room
// for more pods, else down if there are pods to spare.
func (r *rollout) rolling() {
	r.adoptNew(true)
	if r.growNew() {
		return
	}
	if r.shrinkOld() {
		return
	}
	if complete(r.d, &r.d.Status) {
		r.cleanup()
	}
}

func (r *rollout) growNew() bool {
	want := *r.d.Spec.Replicas
	if *r.new.Spec.Replicas < want {
		want = newSize(r.d, r.all(), *r.new.Spec.Replicas)
	}
	if want == *r.new.Spec.Replicas {
		return false
	}
	if want < *r.new.Spec.Replicas || r.observed() {
		r.resize(r.new, want)
	}
	return true
}

// observed tells whether all sets have acted upon their size. One that has not
// may have more pods than its size or its status say: it may have been asked for
// more in between. Its status, when it has, brings the next pass.
func (r *rollout) observed() bool {
	return !slices.ContainsFunc(r.all(), func(rs *appsv1.ReplicaSet) bool {
		was, existed := r.original[rs.UID]
		return existed && was.Status.ObservedGeneration < was.Generation
	})
}

// shrinkOld scales old sets down by as many pods as availability allows: first
// those that do not work anyway, then the oldest.
func (r *rollout) shrinkOld() bool {
	if totalReplicas(active(r.old)) == 0 {
		return false
	}
	minAvailable := *r.d.Spec.Replicas - maxUnavailable(r.d)
	newUnavailable := *r.new.Spec.Replicas - dependable([]*appsv1.ReplicaSet{r.new})
	spare := totalReplicas(r.all()) - minAvailable - newUnavailable
	if spare <= 0 {
		return false
	}
	down := r.dropUnhealthy(spare)
	down += r.dropHealthy(dependable(r.all()) - minAvailable)
	return down > 0
}

func (r *rollout) dropUnhealthy(most int32) int32 {
	dropped := int32(0)
	for _, rs := range active(r.old) {
		n := min(most-dropped, *rs.Spec.Replicas-rs.Status.AvailableReplicas)
		if n > 0 {
			r.resize(rs, *rs.Spec.Replicas-n)
			dropped += n
		}
	}
	return dropped
}

// dropHealthy counts the pods that are available, not those asked for: the
// unavailable ones that were dropped just before are of no concern here.
func (r *rollout) dropHealthy(most int32) int32 {
	dropped := int32(0)
	for _, rs := range active(r.old) {
		if dropped >= most {
			break
		}
		n := min(most-dropped, *rs.Spec.Replicas)
		r.resize(rs, *rs.Spec.Replicas-n)
		dropped += n
	}
	return dropped
}

// cleanup removes the oldest revisions beyond the history limit.
func (r *rollout) cleanup() {
	if r.d.Spec.RevisionHistoryLimit == nil || *r.d.Spec.RevisionHistoryLimit == unlimited {
		return
	}
	var alive []*appsv1.ReplicaSet
	for _, rs := range r.old {
		if rs.DeletionTimestamp == nil {
			alive = append(alive, rs)
		}
	}
	surplus := len(alive) - int(*r.d.Spec.RevisionHistoryLimit)
	if surplus <= 0 {
		return
	}
	slices.SortStableFunc(alive, byRevision)
	for _, rs := range alive[:surplus] {
		if rs.Status.Replicas == 0 && *rs.Spec.Replicas == 0 && rs.Generation <= rs.Status.ObservedGeneration {
			r.out.remove = append(r.out.remove, rs)
		}
	}
}
