package access

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, tries := time.Now(), 0
		ok := Wait(t.Context(), func(context.Context) error {
			if tries++; time.Since(start) < 100*time.Millisecond {
				return errors.New("forbidden")
			}
			return nil
		})
		if took := time.Since(start); !ok || took > 200*time.Millisecond || tries > 6 {
			t.Errorf("got %v after %v and %d tries, want true soon after 100ms", ok, took, tries)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if Wait(ctx, func(context.Context) error { return errors.New("forbidden") }) {
			t.Error("got true, want false when the context ends")
		}
	})
}
