package protection

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestKeep(t *testing.T) {
	const finalizer, other = "example.com/protection", "example.com/other"
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		finalizers []string
		deleting   bool
		used       bool
		err        error
		want       []string // nil: it is gone
	}{
		"new":                     {want: []string{finalizer}},
		"protected":               {finalizers: []string{finalizer}, want: []string{finalizer}},
		"deleted, in use":         {finalizers: []string{finalizer}, deleting: true, used: true, want: []string{finalizer}},
		"deleted, nobody knows":   {finalizers: []string{finalizer}, deleting: true, err: boom, want: []string{finalizer}},
		"deleted, out of use":     {finalizers: []string{finalizer}, deleting: true},
		"deleted, held by others": {finalizers: []string{other}, deleting: true, want: []string{other}},
	} {
		t.Run(name, func(t *testing.T) {
			o := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v", Finalizers: tc.finalizers}}
			if tc.deleting {
				o.DeletionTimestamp = new(metav1.Now())
			}
			c := fake.NewClientBuilder().WithObjects(o).Build()
			have := &corev1.PersistentVolume{}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), have); err != nil {
				t.Fatal(err)
			}
			if err := Keep(t.Context(), c, have, finalizer, func() (bool, error) { return tc.used, tc.err }); !errors.Is(err, tc.err) {
				t.Fatalf("error %v, not %v", err, tc.err)
			}
			err := c.Get(t.Context(), client.ObjectKeyFromObject(o), have)
			if tc.want == nil {
				if !apierrors.IsNotFound(err) {
					t.Errorf("it is still there: %v, %v", have.Finalizers, err)
				}
				return
			}
			if err != nil || !slices.Equal(have.Finalizers, tc.want) {
				t.Errorf("finalizers %v, %v; want %v", have.Finalizers, err, tc.want)
			}
		})
	}
}
