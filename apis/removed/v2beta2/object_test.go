package v2beta2

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestProtobuf(t *testing.T) {
	sent := &HorizontalPodAutoscalerList{
		ListMeta: metav1.ListMeta{ResourceVersion: "3"},
		Items:    []HorizontalPodAutoscaler{{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 4}}},
	}
	b, err := sent.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != sent.Size() {
		t.Errorf("the size is %d, want %d", sent.Size(), len(b))
	}
	var got HorizontalPodAutoscalerList
	if err := got.Unmarshal(b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, &got); diff != "" {
		t.Errorf("-sent +got:\n%s", diff)
	}
	copied := sent.DeepCopyObject().(*HorizontalPodAutoscalerList)
	copied.Items[0].Name = "b"
	if sent.Items[0].Name != "a" {
		t.Error("a copy shares its items")
	}
}
