package logbus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
)

// deaf is a store whose Listen is of no use: it ends at once with an error, or
// hears nothing.
type deaf struct {
	*memory
	err     error
	listens int
}

func (d *deaf) Listen(ctx context.Context, _ []string, _ func(string, bool)) error {
	d.mu.Lock()
	d.listens++
	d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	<-ctx.Done()
	return ctx.Err()
}

// To be woken is a hint. Without it, what other processes commit comes with the
// next poll.
func TestWithoutBeingWokenThePollFindsEverything(t *testing.T) {
	for name, err := range map[string]error{"cut off": errors.New("cut off by the test"), "hears nothing": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const poll, records = 200 * time.Millisecond, 100
				d, k := &deaf{memory: newMemory(shared), err: err}, newSink()
				b := logbus.New(logbus.Config{
					Store: func(string) driver.Store { return d }, Owner: "a", Poll: poll, Logger: quiet,
				})
				t.Cleanup(func() { _ = b.Close() })
				stop := subscribe(t, b, driver.Subscription{Service: "points", Name: "main", Interests: things("orders"), Slices: 1}, k)
				for n := range records {
					began := time.Now()
					d.commit("orders", event("o", n))
					select {
					case got := <-k.next:
						if took := time.Since(began); got.Position != int64(n+1) || took > poll {
							t.Fatalf("position %d came after %v, want %d, and the poll is every %v", got.Position, took, n+1, poll)
						}
					case <-time.After(10 * poll):
						t.Fatalf("record %d did not come", n)
					}
				}
				stop()
				if err != nil && d.listens < records/2 {
					t.Errorf("it tried to listen %d times", d.listens)
				}
			})
		})
	}
}
