package drivertest

import (
	"context"
	"os"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// testCopyInFlight: a copy of what is being handled has no effect, and both are settled.
func testCopyInFlight(f *field) {
	in := f.open()
	begun, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	in.subscribe(things("orders"), newWorker(func(ds []driver.Delivery) error {
		once.Do(func() { close(begun) })
		<-gate
		return in.apply(ds)
	}))
	rs := events(0, 1, "s1", "s2", "s3")
	in.publish("orders", rs...)
	<-begun
	for range 3 {
		must(f.t, in.relay(f.t.Context(), "orders", rs))
	}
	in.publish("orders", events(1, 1, "s1", "s2", "s3")...)
	close(gate)
	f.awaitEffects(6)
	in.nothingWaits()
	f.inOrder(f.audit(), 0, 2, "s1", "s2", "s3")
}

// testCopies: what is published again, as a relay does that does not know what was confirmed, has no second effect and
// does not spoil the order.
func testCopies(f *field) {
	in := f.open()
	in.subscribe(things("orders"), newWorker(in.apply))
	keys := streams(5)
	first, second := events(0, 10, keys...), events(10, 10, keys...)
	in.publish("orders", first...)
	must(f.t, in.relay(f.t.Context(), "orders", first))
	must(f.t, in.relay(f.t.Context(), "orders", first[25:]))
	in.publish("orders", second...)
	must(f.t, in.relay(f.t.Context(), "orders", first))
	in.publish("orders", events(20, 1, keys...)...)
	f.awaitEffects(105)
	f.inOrder(f.audit(), 0, 21, keys...)
}

// busy publishes rounds of one event for each key in the background, and tells how far it is.
func (in *instance) busy(rounds int, keys []string) (reached func(round int), done func()) {
	f := in.f
	var mu sync.Mutex
	round, changed := 0, make(chan struct{}, rounds+1)
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(f.t.Context()), 2*transportPatience)
		defer cancel()
		for i := range rounds {
			if err := in.tryPublish(ctx, "orders", events(i, 1, keys...)); err != nil {
				ended <- err
				return
			}
			mu.Lock()
			round = i + 1
			mu.Unlock()
			changed <- struct{}{}
		}
		ended <- nil
	}()
	reached = func(want int) {
		f.t.Helper()
		late := time.After(transportPatience)
		for {
			mu.Lock()
			now := round
			mu.Unlock()
			if now >= want {
				return
			}
			select {
			case <-changed:
			case err := <-ended:
				f.t.Fatalf("publishing ended: %v", err)
			case <-late:
				f.t.Fatalf("only %d of %d rounds are published", now, want)
			}
		}
	}
	return reached, func() {
		f.t.Helper()
		select {
		case err := <-ended:
			must(f.t, err)
		case <-time.After(2 * transportPatience):
			f.t.Fatal("publishing does not come to its end")
		}
	}
}

// testServerKilled: the server is killed under load and started again; what was published takes effect once, in order,
// and nobody has to do anything. A database, which takes longer to begin again, is killed once where SOUK_PROVE asks for no more.
func testServerKilled(f *field) {
	in, other := f.open(), f.open()
	in.subscribe(things("orders"), newWorker(in.apply))
	if f.Many {
		other.subscribe(things("orders"), newWorker(other.apply))
	}
	keys := streams(12)
	const rounds = 200
	reached, done := in.busy(rounds, keys)
	reached(20)
	f.Server.Kill()
	f.Server.Restart()
	reached(120)
	if !in.Transport.Powers().LogPositions || os.Getenv("SOUK_PROVE") != "" {
		f.Server.Kill()
		f.Server.Restart()
	}
	done()
	f.awaitEffects(rounds * len(keys))
	f.inOrder(f.audit(), 0, rounds, keys...)
}

// testServerPaused: a server that stands still for a while loses and doubles nothing.
func testServerPaused(f *field) {
	in := f.open()
	in.subscribe(things("orders"), newWorker(in.apply))
	keys := streams(12)
	const rounds = 60
	reached, done := in.busy(rounds, keys)
	reached(20)
	f.Server.Pause()
	time.AfterFunc(3*time.Second, f.Server.Resume)
	done()
	f.awaitEffects(rounds * len(keys))
	f.inOrder(f.audit(), 0, rounds, keys...)
}

// prepare makes a subscription exist at the broker, as a relay does before it publishes.
func (in *instance) prepare(s driver.Subscription) {
	f := in.f
	f.t.Helper()
	p, ok := in.Transport.(driver.Preparer)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), transportPatience)
	defer cancel()
	for {
		err := p.Prepare(ctx, []driver.Subscription{s})
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			f.t.Fatalf("prepare: %v", err)
		}
	}
}

// testServerForgets: a server that has lost what it confirmed is found out by its anchors, also by one of long ago, and a
// server that was only started again is not.
func testServerForgets(f *field) {
	in := f.open()
	holds := func(i int) bool {
		f.t.Helper()
		ctx, cancel := context.WithTimeout(f.t.Context(), transportPatience)
		defer cancel()
		for {
			ok, err := in.Transport.(driver.Anchored).Holds(ctx, f.anchors[i])
			if err == nil {
				return ok
			}
			if ctx.Err() != nil {
				f.t.Fatalf("anchor: %v", err)
			}
		}
	}
	in.subscribe(things("orders"), newWorker(in.apply))
	for i := range 10 {
		in.publish("orders", events(i, 1, "s1", "s2")...)
	}
	f.awaitEffects(20)
	equal(f.t, "the last anchor holds", holds(9), true)
	f.Server.Kill()
	f.Server.Restart()
	equal(f.t, "it holds after a restart", holds(9), true)
	equal(f.t, "and the first one", holds(0), true)
	f.Server.Forget()
	equal(f.t, "the last anchor holds of an empty server", holds(9), false)
	equal(f.t, "the first one holds", holds(0), false)
	// What is published now comes, and what was handled before is not handled again.
	in.prepare(things("orders"))
	rs := events(5, 5, "s1", "s2")
	must(f.t, in.relay(f.t.Context(), "orders", rs))
	in.publish("orders", events(10, 5, "s1", "s2")...)
	f.awaitEffects(30)
	f.inOrder(f.audit(), 0, 15, "s1", "s2")
}
