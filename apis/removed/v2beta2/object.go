package v2beta2

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/runtime"
)

func (h *HorizontalPodAutoscaler) current() *autoscalingv2.HorizontalPodAutoscaler {
	return (*autoscalingv2.HorizontalPodAutoscaler)(h)
}

func (l *HorizontalPodAutoscalerList) current() *autoscalingv2.HorizontalPodAutoscalerList {
	out := &autoscalingv2.HorizontalPodAutoscalerList{TypeMeta: l.TypeMeta, ListMeta: l.ListMeta}
	for i := range l.Items {
		out.Items = append(out.Items, *l.Items[i].current())
	}
	return out
}

// DeepCopyObject implements runtime.Object.
func (h *HorizontalPodAutoscaler) DeepCopyObject() runtime.Object {
	return (*HorizontalPodAutoscaler)(h.current().DeepCopy())
}

// DeepCopyObject implements runtime.Object.
func (l *HorizontalPodAutoscalerList) DeepCopyObject() runtime.Object {
	out := &HorizontalPodAutoscalerList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}
	for i := range l.Items {
		out.Items = append(out.Items, HorizontalPodAutoscaler(*l.Items[i].current().DeepCopy()))
	}
	return out
}

// Reset, Marshal and Unmarshal, with those below, are what the protobuf serializer asks of a type.
func (h *HorizontalPodAutoscaler) Reset() { *h = HorizontalPodAutoscaler{} }

// Marshal encodes the object.
func (h *HorizontalPodAutoscaler) Marshal() ([]byte, error) { return h.current().Marshal() }

// MarshalTo encodes the object into a buffer that is large enough.
func (h *HorizontalPodAutoscaler) MarshalTo(b []byte) (int, error) { return h.current().MarshalTo(b) }

// MarshalToSizedBuffer encodes the object at the end of a buffer.
func (h *HorizontalPodAutoscaler) MarshalToSizedBuffer(b []byte) (int, error) {
	return h.current().MarshalToSizedBuffer(b)
}

// Size is that of the encoded object.
func (h *HorizontalPodAutoscaler) Size() int { return h.current().Size() }

// Unmarshal decodes the object.
func (h *HorizontalPodAutoscaler) Unmarshal(b []byte) error { return h.current().Unmarshal(b) }

// Reset empties the list.
func (l *HorizontalPodAutoscalerList) Reset() { *l = HorizontalPodAutoscalerList{} }

// Marshal encodes the list.
func (l *HorizontalPodAutoscalerList) Marshal() ([]byte, error) { return l.current().Marshal() }

// MarshalTo encodes the list into a buffer that is large enough.
func (l *HorizontalPodAutoscalerList) MarshalTo(b []byte) (int, error) {
	return l.current().MarshalTo(b)
}

// MarshalToSizedBuffer encodes the list at the end of a buffer.
func (l *HorizontalPodAutoscalerList) MarshalToSizedBuffer(b []byte) (int, error) {
	return l.current().MarshalToSizedBuffer(b)
}

// Size is that of the encoded list.
func (l *HorizontalPodAutoscalerList) Size() int { return l.current().Size() }

// Unmarshal decodes the list.
func (l *HorizontalPodAutoscalerList) Unmarshal(b []byte) error {
	var now autoscalingv2.HorizontalPodAutoscalerList
	if err := now.Unmarshal(b); err != nil {
		return err
	}
	*l = HorizontalPodAutoscalerList{TypeMeta: now.TypeMeta, ListMeta: now.ListMeta}
	for i := range now.Items {
		l.Items = append(l.Items, HorizontalPodAutoscaler(now.Items[i]))
	}
	return nil
}
