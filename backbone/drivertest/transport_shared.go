package drivertest

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"example.org/souk/backbone/driver"
)

// watched is a worker that tells the field of its assignments.
type watched struct {
	*worker
	f *field
}

func (w watched) Assign(cs []driver.Checkpoint) { w.worker.Assign(cs); w.f.signal() }
func (w watched) Revoke(ns []int)               { w.worker.Revoke(ns); w.f.signal() }

// testSharedWork: two instances divide a subscription; each message is worked
// once and both get work.
func testSharedWork(f *field) {
	a, b := f.open(), f.open()
	wa, wb := newWorker(a.apply), newWorker(b.apply)
	a.subscribe(things("orders"), watched{wa, f})
	b.subscribe(things("orders"), watched{wb, f})
	f.await("both to have slices", func() bool { return wa.slices() == 8 && wb.slices() == 8 })
	keys := streams(50)
	for i := range 6 {
		[]*instance{a, b}[i%2].publish("orders", events(i, 1, keys...)...)
	}
	f.awaitEffects(300)
	f.inOrder(f.audit(), 0, 6, keys...)
	wa.mu.Lock()
	wb.mu.Lock()
	defer wa.mu.Unlock()
	defer wb.mu.Unlock()
	if wa.worked == 0 || wb.worked == 0 {
		f.t.Errorf("one worked %d messages, the other %d", wa.worked, wb.worked)
	}
}

// testMovingSlices: instances come, leave and crash while messages flow; nothing
// is lost, doubled or out of order.
func testMovingSlices(f *field) {
	seed := uint64(time.Now().UnixNano())
	f.t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	type member struct {
		*instance
		stop func()
	}
	s := things("orders")
	join := func() *member {
		in := f.open()
		return &member{in, in.subscribe(s, newWorker(in.apply))}
	}
	members := []*member{join()}
	publisher := f.open()
	keys := streams(12)
	const rounds = 40
	for i := range rounds {
		publisher.publish("orders", events(i, 1, keys...)...)
		switch pick := random.IntN(12); {
		case pick < 3 && len(members) < 3:
			members = append(members, join())
		case pick < 6 && len(members) > 1:
			n := random.IntN(len(members))
			m := members[n]
			if pick == 5 && m.Crash != nil {
				m.Crash()
			}
			m.stop()
			members = append(members[:n], members[n+1:]...)
		}
	}
	f.awaitEffects(rounds * len(keys))
	for _, m := range members {
		m.stop()
	}
	f.instances[0], f.instances[1] = f.instances[1], f.instances[0] // the publisher's store is whole
	f.inOrder(f.audit(), 0, rounds, keys...)
}

// testCrash: what an instance had not committed is worked by the next, after its
// lease where there is one.
func testCrash(f *field) {
	a := f.open()
	var left atomic.Int64
	left.Store(10)
	dead := errors.New("crashed")
	stop := a.subscribe(things("orders"), newWorker(func(ds []driver.Delivery) error {
		if left.Add(-1) < 0 {
			return dead
		}
		return a.apply(ds)
	}))
	keys := streams(12)
	for i := range 5 {
		a.publish("orders", events(i, 1, keys...)...)
	}
	f.awaitEffects(10)
	a.Crash()
	stop()
	if !f.Many {
		must(f.t, a.Transport.Close())
		must(f.t, a.Store.Close())
		f.instances = nil
	}
	b := f.open()
	b.subscribe(things("orders"), newWorker(b.apply))
	f.awaitEffects(60)
	f.instances = append([]*instance{b}, f.instances[:len(f.instances)-1]...)
	f.inOrder(f.audit(), 0, 5, keys...)
}

// testStaleOwner: an owner that lost its leases while it was at work is refused
// by the guard, and the control shows that nothing else would have.
func testStaleOwner(f *field) {
	a := f.open()
	started, release := make(chan struct{}), make(chan struct{})
	guarded, control := make(chan error, 1), make(chan error, 1)
	var first atomic.Bool
	stop := a.subscribe(things("orders"), newWorker(func(ds []driver.Delivery) error {
		if !first.CompareAndSwap(false, true) {
			return errHandedBack
		}
		close(started)
		<-release
		err := a.apply(ds)
		guarded <- err
		control <- a.commit(ds, nil)
		return err
	}))
	a.publish("orders", events(0, 1, "s1")...)
	<-started
	a.Isolate() // as a process that is stopped for longer than its lease
	b := f.open()
	b.subscribe(things("orders"), newWorker(b.apply))
	f.awaitEffects(1) // the successor's
	close(release)
	if err := <-guarded; !errors.Is(err, driver.ErrConflict) {
		f.t.Errorf("the stale owner's commit: %v", err)
	}
	must(f.t, <-control)
	if got := f.audit(); len(got) != 2 || got[0] != got[1] {
		f.t.Errorf("effects %v: the control should have doubled one", got)
	}
	stop()
}

// testStaleMove: a claim of before, as of a process that was killed and is not
// quite dead, cannot commit once the subscription was taken over.
func testStaleMove(f *field) {
	in := f.open()
	n, err := in.Store.InitSubscription(f.t.Context(), consumer, "main", 16, map[string]int64{"orders": 0})
	must(f.t, err)
	old, err := in.Store.Claim(f.t.Context(), consumer, "main", "ghost", n, 0)
	must(f.t, err)
	s := things("orders")
	in.subscribe(s, newWorker(in.apply))
	rs := events(0, 1, "s1")
	in.publish("orders", rs...)
	f.awaitEffects(1)
	slice := driver.SliceOf("s1", n)
	d := driver.Delivery{Message: driver.Message{Source: "orders", Record: rs[0]}, Slice: slice, Epoch: old[slice].Epoch}
	d.Position = 1
	want(f.t, in.apply([]driver.Delivery{d}), driver.ErrConflict)
	f.inOrder(f.audit(), 0, 1, "s1")
}
