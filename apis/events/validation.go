package events

import (
	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"coracle.dev/coracle/apis/resource"
)

// validateEvent adds to what holds of all events: one of this group has a time, and says who reports
// it. Events of the old style, without a time, come from the core group alone.
func validateEvent(e *corev1.Event) field.ErrorList {
	var errs field.ErrorList
	if e.EventTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	at := field.NewPath("reportingController")
	if e.ReportingController == "" {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, resource.Messages(at, e.ReportingController, utilvalidation.IsQualifiedName(e.ReportingController))...)
	}
	for _, f := range []struct {
		name, value string
		limit       int
		optional    bool
	}{
		{"reportingInstance", e.ReportingInstance, 128, false}, {"action", e.Action, 128, false},
		{"reason", e.Reason, 128, false}, {"message", e.Message, 1024, true},
	} {
		switch at := field.NewPath(f.name); {
		case f.value == "" && !f.optional:
			errs = append(errs, field.Required(at, ""))
		case len(f.value) > f.limit:
			errs = append(errs, field.TooLong(at, "", f.limit))
		}
	}
	if e.Type != corev1.EventTypeNormal && e.Type != corev1.EventTypeWarning {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", "has invalid value: "+e.Type))
	}
	return errs
}

// validateEventUpdate: of an event only the series goes on. The deprecated counterparts of its fields
// belong to the old style.
func validateEventUpdate(e, old *corev1.Event) field.ErrorList {
	if old.EventTime.IsZero() {
		return nil
	}
	errs := validateEvent(e)
	for _, f := range []struct {
		name     string
		now, was any
	}{
		{"involvedObject", e.InvolvedObject, old.InvolvedObject}, {"reason", e.Reason, old.Reason}, {"message", e.Message, old.Message},
		{"type", e.Type, old.Type}, {"action", e.Action, old.Action}, {"related", e.Related, old.Related},
		{"reportingController", e.ReportingController, old.ReportingController}, {"reportingInstance", e.ReportingInstance, old.ReportingInstance},
	} {
		errs = append(errs, resource.Unchanged(field.NewPath(f.name), f.now, f.was)...)
	}
	return errs
}
