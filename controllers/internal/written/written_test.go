package written

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func at(uid, version string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: types.UID(uid), ResourceVersion: version}}
}

func TestVersions(t *testing.T) {
	v := New()
	v.Note(at("a", "99"))
	for _, tc := range []struct {
		uid, version string
		stale        bool
	}{{"a", "98", true}, {"a", "99", false}, {"a", "100", false}, {"b", "1", false}, {"a", "9", true}} {
		if got := v.Stale(at(tc.uid, tc.version)); got != tc.stale {
			t.Errorf("%s at %s is stale: %v", tc.uid, tc.version, got)
		}
		if err := v.Current(at(tc.uid, tc.version)); apierrors.IsConflict(err) != tc.stale || (err == nil) == tc.stale {
			t.Errorf("%s at %s: %v", tc.uid, tc.version, err)
		}
	}
	v.Forget("a")
	if v.Stale(at("a", "1")) {
		t.Error("what was forgotten is known")
	}
}
