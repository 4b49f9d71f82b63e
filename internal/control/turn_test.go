package control

import (
	"context"
	"errors"
	"testing"
)

// Who is told what it waits for may end the wait, and what was in the way is the error then. Red when it is tried once more, with nothing to be tried with.
func TestWhoIsToldMayEndTheWait(t *testing.T) {
	t.Parallel()
	inUse := errors.New("in use")
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		tries := 0
		err := turn(ctx, func(error) { cancel() }, func() (bool, error) {
			tries++
			return true, inUse
		})
		if !errors.Is(err, inUse) || tries != 1 {
			t.Fatalf("%d tries, %v", tries, err)
		}
	}
}
