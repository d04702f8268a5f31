package deployment

import (
	"maps"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/controllers/internal/revision"
)

// Annotations of deployments and their replica sets.
const (
	revisionAnnotation  = "deployment.kubernetes.io/revision"
	historyAnnotation   = "deployment.kubernetes.io/revision-history"
	desiredAnnotation   = "deployment.kubernetes.io/desired-replicas"
	maximumAnnotation   = "deployment.kubernetes.io/max-replicas"
	rollbackAnnotation  = "deprecated.deployment.rollback.to"
	historyLimit        = 2000 // characters
	longestObjectName   = 253
	ownAnnotationPrefix = "deployment.kubernetes.io/"
)

// sameTemplate compares templates without the hash, which is in one of them.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	am, bm := a.ObjectMeta, b.ObjectMeta
	am.Labels, bm.Labels = withoutHash(am.Labels), withoutHash(bm.Labels)
	return apiequality.Semantic.DeepEqual(am, bm) && apiequality.Semantic.DeepEqual(a.Spec, b.Spec)
}

func withoutHash(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	delete(out, appsv1.DefaultDeploymentUniqueLabelKey)
	return out
}

// newSet makes the replica set of the deployment's template, without replicas.
func newSet(d *appsv1.Deployment) *appsv1.ReplicaSet {
	template := *d.Spec.Template.DeepCopy()
	hash := revision.TemplateHash(&template, d.Status.CollisionCount)
	if template.Labels == nil {
		template.Labels = map[string]string{}
	}
	template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	selector := d.Spec.Selector.DeepCopy()
	if selector.MatchLabels == nil {
		selector.MatchLabels = map[string]string{}
	}
	selector.MatchLabels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       d.Namespace,
			Name:            setName(d.Name, hash),
			Labels:          maps.Clone(template.Labels),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, kind)},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas:        new(int32(0)),
			MinReadySeconds: d.Spec.MinReadySeconds,
			Selector:        selector,
			Template:        template,
		},
	}
}

func setName(deployment, hash string) string {
	if most := longestObjectName - 1 - len(hash); len(deployment) > most {
		deployment = deployment[:most]
	}
	return deployment + "-" + hash
}

// adoptNew brings the set of the deployment's template up to date: its
// revision, annotations, and minReadySeconds. If there is none it is made, if
// so asked, with as many replicas as may be had at once.
func (r *rollout) adoptNew(create bool) {
	next := strconv.FormatInt(maxRevision(r.old)+1, 10)
	if r.new != nil {
		r.annotate(r.new, next, true)
		r.new.Spec.MinReadySeconds = r.d.Spec.MinReadySeconds
		r.setRevision(r.new.Annotations[revisionAnnotation])
		if r.out.create == nil {
			r.foundNew()
		}
		return
	}
	if !create {
		return
	}
	r.new = newSet(r.d)
	r.annotate(r.new, next, false)
	*r.new.Spec.Replicas = 0
	if r.observed() {
		*r.new.Spec.Replicas = newSize(r.d, r.all(), 0)
	}
	setReplicas(r.new, *r.d.Spec.Replicas, *r.d.Spec.Replicas+maxSurge(r.d))
	r.out.create = r.new
	r.setRevision(next)
	r.createdNew()
}

func (r *rollout) setRevision(revision string) {
	if r.d.Annotations[revisionAnnotation] != revision {
		r.out.revision = revision
	}
}

// annotate copies the deployment's annotations to a set, and raises the set's
// revision, keeping in its history the one that it had.
func (r *rollout) annotate(rs *appsv1.ReplicaSet, next string, exists bool) {
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	for k, v := range r.d.Annotations {
		if !strings.HasPrefix(k, ownAnnotationPrefix) && k != rollbackAnnotation && k != corev1.LastAppliedConfigAnnotation {
			rs.Annotations[k] = v
		}
	}
	before, had := rs.Annotations[revisionAnnotation]
	if had && number(before) >= number(next) {
		return
	}
	rs.Annotations[revisionAnnotation] = next
	if exists && had {
		rs.Annotations[historyAnnotation] = extendHistory(rs.Annotations[historyAnnotation], before)
	}
}

// extendHistory appends a revision, dropping the oldest if there is no room.
func extendHistory(history, revision string) string {
	if history == "" {
		return revision
	}
	revisions := strings.Split(history, ",")
	for len(revisions) > 0 && len(strings.Join(revisions, ","))+1+len(revision) > historyLimit {
		revisions = revisions[1:]
	}
	return strings.Join(append(revisions, revision), ",")
}

// number reads a revision; what is none counts as zero.
func number(revision string) int64 {
	n, err := strconv.ParseInt(revision, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func maxRevision(sets []*appsv1.ReplicaSet) int64 {
	most := int64(0)
	for _, rs := range sets {
		most = max(most, number(rs.Annotations[revisionAnnotation]))
	}
	return most
}
