// Package events declares events.k8s.io/v1 Event, which is a second view of the core Event.
//
// The core type is the hub of both groups and what is stored; this package owns the conversion. Each
// field of the one has its place in the other, so nothing is lost either way.
package events

import (
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"coracle.dev/coracle/apis/resource"
)

// Resources lists the resources of the group.
func Resources() []*resource.Descriptor {
	return []*resource.Descriptor{events.Describe()}
}

var events = resource.Resource[*corev1.Event]{
	Version: eventsv1.SchemeGroupVersion, Kind: "Event", Plural: "events", ShortNames: []string{"ev"},
	StoredAs: corev1.Resource("events"),
	New:      func() *corev1.Event { return &corev1.Event{} },
	NewList:  func() runtime.Object { return &corev1.EventList{} },
	// The store's fields are those of the core resource; here they have other labels.
	Fields:     func(*corev1.Event) fields.Set { return nil },
	FieldNames: []string{"reason", "type"},
	FieldAliases: map[string]string{
		"regarding.kind":            "involvedObject.kind",
		"regarding.namespace":       "involvedObject.namespace",
		"regarding.name":            "involvedObject.name",
		"regarding.uid":             "involvedObject.uid",
		"regarding.apiVersion":      "involvedObject.apiVersion",
		"regarding.resourceVersion": "involvedObject.resourceVersion",
		"regarding.fieldPath":       "involvedObject.fieldPath",
		"reportingController":       "reportingComponent",
	},
	AllowCreateOnUpdate: true,
	Validate:            validateEvent,
	ValidateUpdate:      validateEventUpdate,
}
