package drivertest

import (
	"context"
	"errors"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// seen counts how often handlers are given a message.
type seen struct {
	mu    sync.Mutex
	times map[string]int
	gone  map[string]bool // handlers of this instance began after its stop had returned
}

func (s *seen) handler(name string, in *instance) func(ds []driver.Delivery) error {
	return func(ds []driver.Delivery) error {
		s.mu.Lock()
		for _, d := range ds {
			s.times[d.ID]++
		}
		if s.gone[name] {
			in.f.t.Errorf("%s is given %s after its stop", name, ds[0].ID)
		}
		s.mu.Unlock()
		return in.apply(ds)
	}
}

// testStopUnderLoad: two instances are exchanged under load, one after the other, as in a rolling restart: a stop returns when what its
// handlers began is done, what they did not begin is handed back and worked by the other, and no handler is given a message twice.
func testStopUnderLoad(f *field) {
	s := things("orders")
	// One key a slice, and no more slices than partitions: behind a message that was not settled others of its partition may come again, which
	// the inbox keeps from handlers.
	s.Slices = 8
	var keys []string
	taken := map[int]bool{}
	for i := 0; len(keys) < s.Slices; i++ {
		key := streams(i + 1)[i]
		if n := driver.SliceOf(key, s.Slices); !taken[n] {
			taken[n] = true
			keys = append(keys, key)
		}
	}
	counted := &seen{times: map[string]int{}, gone: map[string]bool{}}
	var stops []func()
	join := func(name string) {
		in := f.steady()
		w := watched{newWorker(counted.handler(name, in)), f}
		stop := in.subscribe(s, w)
		stops = append(stops, func() {
			stop()
			counted.mu.Lock()
			counted.gone[name] = true
			counted.mu.Unlock()
		})
		f.await(name+" to have slices", func() bool { return w.slices() > 0 })
	}
	join("the first")
	join("the second")
	const rounds = 150
	reached, done := f.steady().busy(rounds, keys)
	for i, name := range []string{"the third", "the fourth"} {
		reached(30 + 50*i)
		stops[i]()
		join(name)
	}
	done()
	f.awaitEffects(rounds * len(keys))
	f.inOrder(f.audit(), 0, rounds, keys...)
	for _, stop := range stops {
		stop()
	}
	counted.mu.Lock()
	defer counted.mu.Unlock()
	for id, n := range counted.times {
		if n != 1 && !f.Copies {
			f.t.Errorf("handlers were given %s %d times", id, n)
		}
	}
}

// testPublishWhileAway: while the server is away nothing is said to be confirmed, and whoever asks is told so in a while. What was
// committed meanwhile goes out when it is back, in order, to subscriptions that were there all the time.
func testPublishWhileAway(f *field) {
	in := f.open()
	in.subscribe(things("orders"), newWorker(in.apply))
	keys := streams(6)
	first := events(0, 1, keys...)
	in.publish("orders", first...)
	f.awaitEffects(len(keys))
	f.Server.Kill()
	const patience = time.Second
	if !in.Transport.Powers().LogPositions {
		in.publishAway(first, patience)
	}
	const rounds = 20
	committed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(f.t.Context()), 2*transportPatience)
		defer cancel()
		committed <- in.tryPublish(ctx, "orders", events(1, rounds-1, keys...))
	}()
	select {
	case err := <-committed:
		f.t.Errorf("published while the server is away: %v", err)
	case <-time.After(patience):
	}
	f.Server.Restart()
	must(f.t, <-committed)
	f.awaitEffects(rounds * len(keys))
	f.inOrder(f.audit(), 0, rounds, keys...)
}

// publishAway publishes a copy of what has been handled, so that it does no harm if it should come, to a server that is away.
func (in *instance) publishAway(rs []driver.Record, patience time.Duration) {
	const longest = 15 * time.Second
	f := in.f
	f.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	if _, err := in.Transport.Publish(ctx, "orders", rs); err == nil {
		f.t.Error("a server that is away has confirmed a message")
	} else if errors.Is(err, driver.ErrNoPower) {
		f.t.Errorf("publish: %v", err)
	}
	if took := time.Since(began); took > longest {
		f.t.Errorf("it took %v to say that the server is away", took)
	}
}
