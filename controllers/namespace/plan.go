package namespace

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is a kind of objects that can be in a namespace.
type kind struct {
	resource   schema.GroupVersionResource
	collection bool // can be deleted all at once
	list       bool
}

// kinds are those among what discovery lists that can be deleted, and the
// group versions that are not valid.
func kinds(lists []*metav1.APIResourceList) (out []kind, invalid []string) {
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			invalid = append(invalid, list.GroupVersion)
			continue
		}
		for i := range list.APIResources {
			r := &list.APIResources[i]
			if !r.Namespaced || strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "delete") {
				continue
			}
			k := kind{
				resource:   gv.WithResource(r.Name),
				collection: slices.Contains(r.Verbs, "deletecollection"),
				list:       slices.Contains(r.Verbs, "list"),
			}
			if k.collection || k.list {
				out = append(out, k)
			}
		}
	}
	return out, invalid
}

// podsFirst splits kinds into those to be deleted before the others, and the
// others: while a pod runs, what it uses shall be there.
func podsFirst(all []kind) (first, then []kind) {
	for _, k := range all {
		if k.resource.Group == "" && k.resource.Resource == "pods" {
			first = append(first, k)
		} else {
			then = append(then, k)
		}
	}
	return first, then
}

// remains is what a pass left in a namespace.
type remains struct {
	discovery  error          // part of discovery failed
	invalid    []string       // group versions
	deletion   []error        // failures to delete or to list
	objects    map[string]int // by resource
	finalizers map[string]int // by finalizer
}

func (r *remains) add(resource schema.GroupVersionResource, items []metav1.PartialObjectMetadata) {
	if len(items) == 0 {
		return
	}
	if r.objects == nil {
		r.objects, r.finalizers = map[string]int{}, map[string]int{}
	}
	r.objects[resource.GroupResource().String()] += len(items)
	for i := range items {
		for _, f := range items[i].Finalizers {
			r.finalizers[f]++
		}
	}
}

// empty tells whether the namespace can go.
func (r *remains) empty() bool {
	return r.discovery == nil && len(r.invalid) == 0 && len(r.deletion) == 0 && len(r.objects) == 0
}

// conditions are what the namespace's status shall say. Their times are set
// where they are merged.
func (r *remains) conditions() []corev1.NamespaceCondition {
	discovery := no(corev1.NamespaceDeletionDiscoveryFailure, "ResourcesDiscovered", "All resources successfully discovered")
	if r.discovery != nil {
		discovery = yes(discovery.Type, "DiscoveryFailed", "Discovery failed for some groups: "+r.discovery.Error())
	}
	parsing := no(corev1.NamespaceDeletionGVParsingFailure, "ParsedGroupVersions", "All legacy kube types successfully parsed")
	if len(r.invalid) > 0 {
		parsing = yes(parsing.Type, "GroupVersionParsingFailed", "Not valid group versions: "+strings.Join(r.invalid, ", "))
	}
	content := no(corev1.NamespaceDeletionContentFailure, "ContentDeleted", "All content successfully deleted, may be waiting on finalization")
	if len(r.deletion) > 0 {
		var texts []string
		for _, err := range r.deletion {
			texts = append(texts, err.Error())
		}
		slices.Sort(texts)
		content = yes(content.Type, "ContentDeletionFailed",
			fmt.Sprintf("Failed to delete all resource types, %d remaining: %s", len(texts), strings.Join(texts, ", ")))
	}
	remaining := no(corev1.NamespaceContentRemaining, "ContentRemoved", "All content successfully removed")
	if len(r.objects) > 0 {
		remaining = yes(remaining.Type, "SomeResourcesRemain", "Some resources are remaining: "+counts(r.objects, "%s has %d resource instances"))
	}
	finalizers := no(corev1.NamespaceFinalizersRemaining, "ContentHasNoFinalizers", "All content-preserving finalizers finished")
	if len(r.finalizers) > 0 {
		finalizers = yes(finalizers.Type, "SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "+counts(r.finalizers, "%s in %d resource instances"))
	}
	return []corev1.NamespaceCondition{discovery, parsing, content, remaining, finalizers}
}

func yes(t corev1.NamespaceConditionType, reason, message string) corev1.NamespaceCondition {
	return corev1.NamespaceCondition{Type: t, Status: corev1.ConditionTrue, Reason: reason, Message: message}
}

func no(t corev1.NamespaceConditionType, reason, message string) corev1.NamespaceCondition {
	return corev1.NamespaceCondition{Type: t, Status: corev1.ConditionFalse, Reason: reason, Message: message}
}

func counts(of map[string]int, format string) string {
	var lines []string
	for name, n := range of {
		lines = append(lines, fmt.Sprintf(format, name, n))
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// merge puts conditions into a status and tells whether it changed. The time of
// a condition changes with its status alone.
func merge(status *corev1.NamespaceStatus, conditions []corev1.NamespaceCondition, now metav1.Time) (changed bool) {
	if status.Phase != corev1.NamespaceTerminating {
		status.Phase, changed = corev1.NamespaceTerminating, true
	}
	for _, c := range conditions {
		i := slices.IndexFunc(status.Conditions, func(have corev1.NamespaceCondition) bool { return have.Type == c.Type })
		c.LastTransitionTime = now
		if i < 0 {
			status.Conditions, changed = append(status.Conditions, c), true
			continue
		}
		if have := status.Conditions[i]; have.Status == c.Status {
			c.LastTransitionTime = have.LastTransitionTime
		}
		if status.Conditions[i] != c {
			status.Conditions[i], changed = c, true
		}
	}
	return changed
}

// Bounds of the time until what remains is looked at again.
const (
	soonest = 50 * time.Millisecond
	latest  = 15 * time.Second
)

// again is when to look again at a namespace whose deletion began so long ago.
func again(elapsed time.Duration) time.Duration { return min(max(elapsed/10, soonest), latest) }
