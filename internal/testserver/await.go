package testserver

import (
	"context"
	"time"
)

// Await looks until a condition holds, within a time and while ctx lasts, and reports whether it does. It looks ever more seldom: each
// pause is a sixteenth of what was waited so far, from 2 to 100 ms, so that a long wait leaves the processor to who is waited for.
func Await(ctx context.Context, within time.Duration, holds func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	began := time.Now()
	for !holds() {
		pause := time.NewTimer(min(max(time.Since(began)/16, 2*time.Millisecond), 100*time.Millisecond))
		select {
		case <-ctx.Done():
			pause.Stop()
			return false
		case <-pause.C:
		}
	}
	return true
}
