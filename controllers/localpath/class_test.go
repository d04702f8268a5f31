package localpath

import (
	"testing"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestEnsureClass(t *testing.T) {
	other := func(isDefault string) *storagev1.StorageClass {
		return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "other", Annotations: map[string]string{defaultClass: isDefault}}}
	}
	for name, tc := range map[string]struct {
		other *storagev1.StorageClass
		want  string
	}{
		"alone":                    {nil, "true"},
		"beside another":           {other("false"), "true"},
		"beside another's default": {other("true"), "false"},
	} {
		client := fake.NewClientset()
		if tc.other != nil {
			client = fake.NewClientset(tc.other)
		}
		for range 2 {
			if err := EnsureClass(t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
		class, err := client.StorageV1().StorageClasses().Get(t.Context(), ClassName, metav1.GetOptions{})
		if err != nil || class.Annotations[defaultClass] != tc.want {
			t.Errorf("%s: %+v, %v", name, class, err)
		}
	}
}
