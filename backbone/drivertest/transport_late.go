package drivertest

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.org/souk/backbone/driver"
)

// testReordered: the broker is given messages of different keys in another order than that of their log, as by a relay that holds some of
// them back, and copies of earlier ones behind later ones, as by a relay that has lost its lease. Those of one key keep their order, and
// nothing takes effect twice.
func testReordered(f *field) {
	in := f.open()
	in.subscribe(things("orders"), newWorker(in.apply))
	keys := streams(24) // several of a partition
	const rounds = 5
	rs := events(0, rounds, keys...)
	if wants := f.number("orders", rs); in.Store != nil {
		must(f.t, in.append(f.t.Context(), "orders", rs, wants))
	}
	of := func(key string) (own []driver.Record) {
		for _, r := range rs {
			if r.Stream == key {
				own = append(own, r)
			}
		}
		return own
	}
	var late []driver.Record // of one key after the other, the last key first
	for i := len(keys) - 1; i >= 0; i-- {
		late = append(late, of(keys[i])...)
	}
	for len(late) > 0 {
		n := min(7, len(late))
		must(f.t, in.relay(f.t.Context(), "orders", late[:n]))
		stale := slices.Clone(late[:n]) // copies, the newest first
		slices.Reverse(stale)
		must(f.t, in.relay(f.t.Context(), "orders", stale))
		late = late[n:]
	}
	f.awaitEffects(rounds * len(keys))
	in.publish("orders", events(rounds, 1, keys...)...)
	f.awaitEffects((rounds + 1) * len(keys))
	f.inOrder(f.audit(), 0, rounds+1, keys...)
}

// testSlowHandler: a handler that takes longer than the leases, and than the server waits for an acknowledgement where it waits for one, is not
// disturbed: its message takes effect once, those behind it wait, and other keys go on.
func testSlowHandler(f *field) {
	const wait = 500 * time.Millisecond
	if f.Server != nil && f.Server.Hurry != nil {
		f.t.Cleanup(f.Server.Hurry(wait))
	}
	in := f.open()
	const slow = 3 * time.Second // above the leases that worlds open with
	var began, ended atomic.Int64
	in.subscribe(things("orders"), newWorker(func(ds []driver.Delivery) error {
		if slices.ContainsFunc(ds, func(d driver.Delivery) bool { return d.ID == "s1-0" }) {
			began.Add(1)
			time.Sleep(slow) //nolint:forbidigo // it is what the test is about
			ended.Add(1)
		}
		return in.apply(ds)
	}))
	in.publish("orders", events(0, 1, "s1")...)
	others := slices.DeleteFunc(streams(12), func(s string) bool { return driver.SliceOf(s, 16) == driver.SliceOf("s1", 16) })
	for i := range 3 {
		in.publish("orders", events(i, 1, others...)...)
	}
	f.await("other keys to go on", func() bool {
		n := 0
		for _, id := range f.done {
			if !strings.HasPrefix(id, "s1-") {
				n++
			}
		}
		return n >= 3*len(others)
	})
	in.publish("orders", events(1, 2, "s1")...)
	f.awaitEffects(3 * (len(others) + 1))
	in.publish("orders", events(3, 1, append(others, "s1")...)...) // to who may have been cut off meanwhile
	f.awaitEffects(4 * (len(others) + 1))
	f.inOrder(f.audit(), 0, 4, append(others, "s1")...)
	f.t.Logf("the slow handler began %d times and ended %d times", began.Load(), ended.Load())
}

// testKeysAtOnceByTwo: sixteen keys are in handlers at the same time, eight in each of two instances.
func testKeysAtOnceByTwo(f *field) {
	s := things("orders")
	s.Slices = 64
	inside, all := map[string]bool{}, make(chan struct{}) // inside is under the field's lock
	enough := sync.OnceFunc(func() { close(all) })
	var by [2]map[string]bool
	handler := func(i int, in *instance) func([]driver.Delivery) error {
		by[i] = map[string]bool{}
		return func(ds []driver.Delivery) error {
			f.mu.Lock()
			by[i][ds[0].Stream], inside[ds[0].Stream] = true, true
			if len(inside) == 16 {
				enough()
			}
			f.mu.Unlock()
			select {
			case <-all: // never, unless all of them are here
			case <-time.After(transportPatience):
			}
			return in.apply(ds)
		}
	}
	a, b := f.open(), f.open()
	wa, wb := newWorker(handler(0, a)), newWorker(handler(1, b))
	a.subscribe(s, watched{wa, f})
	b.subscribe(s, watched{wb, f})
	f.await("both to have slices", func() bool { return wa.slices() == 32 && wb.slices() == 32 })
	var keys []string // whose slices differ, eight of each
	taken := map[int]bool{}
	for _, w := range []*worker{wa, wb} {
		w.mu.Lock()
		for i, n := 0, 0; n < 8; i++ {
			key := "k" + strconv.Itoa(i)
			if slice := driver.SliceOf(key, s.Slices); w.lanes[slice] != nil && !taken[slice] {
				taken[slice] = true
				keys = append(keys, key)
				n++
			}
		}
		w.mu.Unlock()
	}
	a.publish("orders", events(0, 1, keys...)...)
	f.awaitEffects(16)
	f.inOrder(f.audit(), 0, 1, keys...)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(by[0]) < 8 || len(by[1]) < 8 {
		f.t.Errorf("one worked %d keys and the other %d", len(by[0]), len(by[1]))
	}
}
