package expectation

import (
	"testing"
	"time"
)

func TestTracker(t *testing.T) {
	now := time.Unix(0, 0)
	tr := New(func() time.Time { return now })
	check := func(what string, want bool) {
		t.Helper()
		if got := tr.Satisfied("owner"); got != want {
			t.Errorf("%s: satisfied is %v", what, got)
		}
	}
	check("at first", true)
	tr.ExpectCreations("owner", 2)
	tr.ExpectDeletion("owner", "pod")
	check("all outstanding", false)
	if !tr.Satisfied("another") {
		t.Error("another owner is held back")
	}
	tr.CreationObserved("owner")
	tr.CreationObserved("owner")
	check("a deletion outstanding", false)
	tr.DeletionObserved("owner", "unknown")
	check("an unknown deletion seen", false)
	tr.DeletionObserved("owner", "pod")
	check("all seen", true)
	if len(tr.pending) != 0 {
		t.Errorf("what is done is kept: %v", tr.pending)
	}

	// More is seen than was announced: someone else creates pods too.
	tr.ExpectCreations("owner", 1)
	tr.CreationsObserved("owner", 5)
	tr.ExpectCreations("owner", 1)
	check("announced after a surplus", false)
	now = now.Add(Timeout + time.Second)
	check("timed out", true)

	tr.ExpectCreations("owner", 1)
	tr.Forget("owner")
	check("forgotten", true)
	tr.ExpectCreations("owner", 0)
	check("none announced", true)
}
