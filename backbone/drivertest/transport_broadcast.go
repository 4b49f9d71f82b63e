package drivertest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"example.org/souk/backbone/driver"
)

// viewer is a sink that keeps the ids that it sees.
type viewer struct {
	f   *field
	mu  sync.Mutex
	ids []string
	bad bool
}

func (v *viewer) Assign([]driver.Checkpoint) {}
func (v *viewer) Revoke([]int)               {}
func (v *viewer) Deliver(_ context.Context, slice int, ds []driver.Delivery) error {
	v.mu.Lock()
	for _, d := range ds {
		v.ids = append(v.ids, d.ID)
		v.bad = v.bad || slice != 0
	}
	v.mu.Unlock()
	for _, d := range ds {
		if d.Ack != nil {
			d.Ack(nil)
		}
	}
	v.f.signal()
	return nil
}

func (v *viewer) seen() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.ids)
}

// testBroadcast: every subscriber sees everything from now on, and nothing stays
// behind.
func testBroadcast(f *field) {
	in := f.open()
	others := []*instance{in}
	if f.Many {
		others = append(others, f.open())
	}
	s := things("orders")
	s.Broadcast = true
	in.publish("orders", events(0, 5, "s1")...)
	var viewers []*viewer
	var want []string
	for _, o := range others {
		for range 2 {
			v := &viewer{f: f}
			o.subscribe(s, v)
			viewers = append(viewers, v)
		}
	}
	for i := 5; i < 25; i++ {
		rs := events(i, 1, "s1")
		want = append(want, rs[0].ID)
		in.publish("orders", rs...)
	}
	for _, v := range viewers {
		f.await("a broadcast", func() bool { return len(v.seen()) >= len(want) })
		if got := v.seen(); !slices.Equal(got, want) || v.bad {
			f.t.Errorf("a viewer saw %v", got)
		}
	}
	if in.Store != nil {
		cps, err := in.Store.Checkpoints(f.t.Context(), consumer, "")
		must(f.t, err)
		equal(f.t, "checkpoints left behind", len(cps), 0)
	}
}

func testBroadcastRefused(f *field) {
	s := things("orders")
	s.Broadcast = true
	err := f.open().Transport.Subscribe(f.t.Context(), s, &viewer{f: f}, nil)
	if !errors.Is(err, driver.ErrNoPower) {
		f.t.Errorf("broadcast without the power: %v", err)
	}
}
