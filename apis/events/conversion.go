package events

import (
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
)

// AddConversions registers the conversions between the core Event and the one of events.k8s.io, of
// objects and of lists.
func AddConversions(s *runtime.Scheme) error {
	for _, add := range []func() error{
		func() error { return convert(s, fromCore) },
		func() error { return convert(s, toCore) },
		func() error { return convert(s, listFromCore) },
		func() error { return convert(s, listToCore) },
	} {
		if err := add(); err != nil {
			return err
		}
	}
	return nil
}

func convert[A, B any](s *runtime.Scheme, f func(*A, *B)) error {
	return s.AddConversionFunc((*A)(nil), (*B)(nil), func(in, out any, _ conversion.Scope) error {
		f(in.(*A), out.(*B))
		return nil
	})
}

func fromCore(in *corev1.Event, out *eventsv1.Event) {
	*out = eventsv1.Event{
		ObjectMeta:               *in.ObjectMeta.DeepCopy(),
		EventTime:                in.EventTime,
		ReportingController:      in.ReportingController,
		ReportingInstance:        in.ReportingInstance,
		Action:                   in.Action,
		Reason:                   in.Reason,
		Regarding:                in.InvolvedObject,
		Related:                  in.Related.DeepCopy(),
		Note:                     in.Message,
		Type:                     in.Type,
		DeprecatedSource:         in.Source,
		DeprecatedFirstTimestamp: in.FirstTimestamp,
		DeprecatedLastTimestamp:  in.LastTimestamp,
		DeprecatedCount:          in.Count,
	}
	if in.Series != nil {
		out.Series = &eventsv1.EventSeries{Count: in.Series.Count, LastObservedTime: in.Series.LastObservedTime}
	}
}

func toCore(in *eventsv1.Event, out *corev1.Event) {
	*out = corev1.Event{
		ObjectMeta:          *in.ObjectMeta.DeepCopy(),
		InvolvedObject:      in.Regarding,
		Reason:              in.Reason,
		Message:             in.Note,
		Source:              in.DeprecatedSource,
		FirstTimestamp:      in.DeprecatedFirstTimestamp,
		LastTimestamp:       in.DeprecatedLastTimestamp,
		Count:               in.DeprecatedCount,
		Type:                in.Type,
		EventTime:           in.EventTime,
		Action:              in.Action,
		Related:             in.Related.DeepCopy(),
		ReportingController: in.ReportingController,
		ReportingInstance:   in.ReportingInstance,
	}
	if in.Series != nil {
		out.Series = &corev1.EventSeries{Count: in.Series.Count, LastObservedTime: in.Series.LastObservedTime}
	}
}

func listFromCore(in *corev1.EventList, out *eventsv1.EventList) {
	out.ListMeta = *in.ListMeta.DeepCopy()
	out.Items = make([]eventsv1.Event, len(in.Items))
	for i := range in.Items {
		fromCore(&in.Items[i], &out.Items[i])
	}
}

func listToCore(in *eventsv1.EventList, out *corev1.EventList) {
	out.ListMeta = *in.ListMeta.DeepCopy()
	out.Items = make([]corev1.Event, len(in.Items))
	for i := range in.Items {
		toCore(&in.Items[i], &out.Items[i])
	}
}
