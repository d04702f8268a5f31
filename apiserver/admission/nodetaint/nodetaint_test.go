package nodetaint

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
)

func TestNewNodesAreTainted(t *testing.T) {
	notReady := corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}
	own := corev1.Taint{Key: "sea", Effect: corev1.TaintEffectNoExecute}
	for name, c := range map[string]struct{ has, want []corev1.Taint }{
		"none":       {nil, []corev1.Taint{notReady}},
		"another":    {[]corev1.Taint{own}, []corev1.Taint{own, notReady}},
		"it already": {[]corev1.Taint{notReady, own}, []corev1.Taint{notReady, own}},
	} {
		node := &corev1.Node{Spec: corev1.NodeSpec{Taints: c.has}}
		a := admission.NewAttributesRecord(node, nil, corev1.SchemeGroupVersion.WithKind("Node"), "", "n",
			corev1.SchemeGroupVersion.WithResource("nodes"), "", admission.Create, nil, false, nil)
		if err := New().Admit(t.Context(), a, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, node.Spec.Taints); diff != "" {
			t.Errorf("%s: taints (-want +got):\n%s", name, diff)
		}
	}
	if p := New(); !p.Handles(admission.Create) || p.Handles(admission.Update) {
		t.Error("the plugin is for new nodes alone")
	}
}
