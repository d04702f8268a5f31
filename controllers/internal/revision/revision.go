// Package revision keeps the history of pod templates in ControllerRevisions,
// in the form that kubectl rollout history and undo read.
//
// A revision holds a strategic merge patch that turns its owner into what it
// was. The newest revision has the highest number; a template that comes back
// gets its old revision back, renumbered. What is to be done is decided by pure
// functions; Keeper reads and writes.
package revision

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/dump"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TemplateHash is the hash of a pod template by which things made from it are
// labelled and named: the one that Kubernetes computes, so that they keep their
// names when the controller changes. collisions, if there were any, change it.
func TemplateHash(t *corev1.PodTemplateSpec, collisions *int32) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%v", dump.ForHash(*t))
	if collisions != nil {
		b := make([]byte, 8)
		binary.LittleEndian.PutUint32(b, uint32(*collisions))
		h.Write(b)
	}
	return rand.SafeEncodeString(fmt.Sprint(h.Sum32()))
}

// Patch is the data of a template's revision.
func Patch(t *corev1.PodTemplateSpec) ([]byte, error) {
	data, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encoding a pod template: %w", err)
	}
	template := map[string]any{}
	if err := json.Unmarshal(data, &template); err != nil {
		return nil, fmt.Errorf("decoding a pod template: %w", err)
	}
	template["$patch"] = "replace"
	return json.Marshal(map[string]any{"spec": map[string]any{"template": template}})
}

// Template is the pod template that a revision holds.
func Template(r *appsv1.ControllerRevision) (*corev1.PodTemplateSpec, error) {
	var data struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Data.Raw, &data); err != nil {
		return nil, fmt.Errorf("decoding revision %s: %w", r.Name, err)
	}
	return &data.Spec.Template, nil
}

// History is what is to be done to the revisions of an owner.
type History struct {
	// Current is the revision of the present template; it is to be created if
	// Create is set, or updated if Update is.
	Current        *appsv1.ControllerRevision
	Create, Update bool
	// Remove are revisions beyond the limit that nothing uses.
	Remove []*appsv1.ControllerRevision
}

// Owner is whose history it is.
type Owner struct {
	Object     client.Object
	Kind       schema.GroupVersionKind
	Template   *corev1.PodTemplateSpec
	Collisions *int32
	// Limit is how many revisions besides the current one are kept.
	Limit int
}

// Plan finds the revision of the owner's template among the existing ones, or
// makes it. inUse tells whether an old revision is to stay, whatever the limit:
// pods are of it.
func Plan(o Owner, existing []*appsv1.ControllerRevision, inUse func(*appsv1.ControllerRevision) bool) (History, error) {
	data, err := Patch(o.Template)
	if err != nil {
		return History{}, err
	}
	sorted := slices.SortedFunc(slices.Values(existing), func(a, b *appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var h History
	var old []*appsv1.ControllerRevision
	for _, r := range slices.Backward(sorted) {
		if h.Current == nil && bytes.Equal(r.Data.Raw, data) {
			h.Current = r.DeepCopy()
		} else {
			old = append(old, r)
		}
	}
	next := int64(1)
	if len(old) > 0 {
		next = old[0].Revision + 1
	}
	switch {
	case h.Current == nil:
		h.Create = true
		h.Current = o.revision(data, next)
	case h.Current.Revision < next:
		h.Update = true
		h.Current.Revision = next
	}
	// The oldest last in old, first to go.
	for surplus := len(old) - o.Limit; surplus > 0 && len(old) > 0; {
		r := old[len(old)-1]
		old = old[:len(old)-1]
		if !inUse(r) {
			h.Remove = append(h.Remove, r)
			surplus--
		}
	}
	return h, nil
}

// Hash is the hash of a revision's template.
func Hash(r *appsv1.ControllerRevision) string {
	return r.Labels[appsv1.ControllerRevisionHashLabelKey]
}

func (o Owner) revision(data []byte, number int64) *appsv1.ControllerRevision {
	hash := TemplateHash(o.Template, o.Collisions)
	labels := maps.Clone(o.Template.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[appsv1.ControllerRevisionHashLabelKey] = hash
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       o.Object.GetNamespace(),
			Name:            o.Object.GetName() + "-" + hash,
			Labels:          labels,
			Annotations:     maps.Clone(o.Object.GetAnnotations()),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(o.Object, o.Kind)},
		},
		Data:     runtime.RawExtension{Raw: data},
		Revision: number,
	}
}
