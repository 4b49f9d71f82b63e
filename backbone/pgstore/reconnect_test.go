package pgstore

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.org/souk/backbone/driver"
)

// A pool that nobody lets in tries now and then, not all the time; one that is let in may try at once. Red when every attempt
// is free.
func TestReconnectIsSpaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &reconnect{most: 3}
		allowed := 0
		for range 20 {
			err := r.before(t.Context(), nil)
			if err == nil {
				allowed++
			} else if !errors.Is(err, driver.ErrUnavailable) {
				t.Fatal(err)
			}
		}
		if allowed != 3 {
			t.Errorf("%d attempts at once, want 3", allowed)
		}
		time.Sleep(retry)
		if err := r.before(t.Context(), nil); err != nil {
			t.Error(err)
		}
		if err := r.before(t.Context(), nil); err == nil {
			t.Error("a second attempt at once")
		}
		if err := r.after(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if err := r.before(t.Context(), nil); err != nil {
			t.Errorf("after one that worked: %v", err)
		}
	})
}
