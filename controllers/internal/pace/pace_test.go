package pace

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestLimiter(t *testing.T) {
	now := time.Unix(0, 0)
	l := New(func() time.Time { return now })
	small, large, huge := types.NamespacedName{Name: "small"}, types.NamespacedName{Name: "large"}, types.NamespacedName{Name: "huge"}
	l.Done(small, 10)
	l.Done(large, 1000)
	l.Done(huge, 100000)
	for name, want := range map[types.NamespacedName]time.Duration{small: 0, large: 100 * time.Millisecond, huge: longest} {
		if got := l.Wait(name); got != want {
			t.Errorf("%s waits %v, not %v", name.Name, got, want)
		}
	}
	now = now.Add(100 * time.Millisecond)
	if got := l.Wait(large); got != 0 {
		t.Errorf("waits another %v", got)
	}
	l.Forget(huge)
	if len(l.next) != 0 {
		t.Errorf("what is past is kept: %v", l.next)
	}
}
