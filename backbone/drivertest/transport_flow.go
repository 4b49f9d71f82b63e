package drivertest

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"example.org/souk/backbone/driver"
)

// testBackpressure: a subscription that stands still is not handed more than it
// has room for, and gets everything when it goes on.
func testBackpressure(f *field) {
	in := f.open()
	gate := make(chan struct{})
	w := newWorker(func(ds []driver.Delivery) error { <-gate; return in.apply(ds) })
	w.limit = 20
	in.subscribe(things("orders"), w)
	keys := streams(20)
	for i := range 30 {
		in.publish("orders", events(i, 1, keys...)...)
	}
	close(gate)
	f.awaitEffects(600)
	f.inOrder(f.audit(), 0, 30, keys...)
	w.mu.Lock()
	defer w.mu.Unlock()
	const chunk = 1000 // the most that one Deliver may carry beyond the limit
	if w.most > w.limit+chunk {
		f.t.Errorf("%d messages were handed to a subscription with room for %d", w.most, w.limit)
	}
}

// testStopInBatch: a stop waits for what has begun, hands back what has not, and
// no message is worked twice because of it.
func testStopInBatch(f *field) {
	in := f.steady() // what is handed over is counted
	begun, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var worked atomic.Int64
	w := newWorker(func(ds []driver.Delivery) error {
		worked.Add(int64(len(ds)))
		once.Do(func() { close(begun) })
		<-gate
		return in.apply(ds)
	})
	s := things("orders")
	s.Key = func(*driver.Message) string { return "one line" }
	stop := in.subscribe(s, w)
	in.publish("orders", events(0, 1, "s1")...)
	<-begun
	for i := 1; i < 20; i++ {
		in.publish("orders", events(i, 1, "s1")...)
	}
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		f.t.Error("the stop did not wait for the handler")
	case <-time.After(50 * time.Millisecond):
	}
	close(gate)
	<-stopped
	equal(f.t, "messages begun before the stop", int(worked.Load()), len(f.audit()))
	again := newWorker(func(ds []driver.Delivery) error {
		worked.Add(int64(len(ds)))
		return in.apply(ds)
	})
	in.subscribe(s, again)
	f.awaitEffects(20)
	f.inOrder(f.audit(), 0, 20, "s1")
	equal(f.t, "messages handed to handlers", int(worked.Load()), 20)
}

// testKeysAtOnce: sixteen keys are in handlers at the same time.
func testKeysAtOnce(f *field) {
	in := f.steady() // what is handed over is counted
	s := things("orders")
	s.Slices = 64
	var keys []string // sixteen whose slices differ
	taken := map[int]bool{}
	for i := 0; len(keys) < 16; i++ {
		key := "k" + strconv.Itoa(i)
		if n := driver.SliceOf(key, s.Slices); !taken[n] {
			taken[n] = true
			keys = append(keys, key)
		}
	}
	var barrier sync.WaitGroup
	barrier.Add(len(keys))
	in.subscribe(s, newWorker(func(ds []driver.Delivery) error {
		barrier.Done()
		barrier.Wait() // never ends unless all of them are here
		return in.apply(ds)
	}))
	in.publish("orders", events(0, 1, keys...)...)
	f.awaitEffects(16)
}

// tally checks the order of each stream as messages come, without effects.
type tally struct {
	mu    sync.Mutex
	next  map[string]int64
	count int
	wrong int
	want  int

	terms  int // assignments
	copies int
	done   chan struct{}
}

func (c *tally) Assign([]driver.Checkpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.terms++
}

func (c *tally) Revoke([]int) {}
func (c *tally) Deliver(_ context.Context, _ int, ds []driver.Delivery) error {
	c.mu.Lock()
	for _, d := range ds {
		if d.Time < c.next[d.Stream] {
			c.copies++
			continue
		}
		if d.Time != c.next[d.Stream] {
			c.wrong++
		}
		c.next[d.Stream] = d.Time + 1
		if c.count++; c.count == c.want {
			close(c.done)
		}
	}
	c.mu.Unlock()
	for _, d := range ds {
		if d.Ack != nil {
			d.Ack(nil)
		}
	}
	return nil
}

// testBurst: 50,000 messages in one go come once and in order.
func testBurst(f *field) {
	in := f.open()
	keys := streams(100)
	c := &tally{next: map[string]int64{}, want: 50_000, done: make(chan struct{})}
	in.subscribe(things("orders"), c)
	for i := 0; i < 500; i += 10 {
		rs := events(i, 10, keys...)
		if in.Transport.Powers().LogPositions {
			in.publish("orders", rs...)
		} else {
			must(f.t, in.relay(f.t.Context(), "orders", rs))
		}
	}
	select {
	case <-c.done:
	case <-time.After(transportPatience):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	equal(f.t, "messages", c.count, c.want)
	equal(f.t, "messages out of order", c.wrong, 0)
	if c.copies > 0 && c.terms == 1 && in.Transport.Powers().LogPositions { // who loses its leases, on a slow machine, is told again
		f.t.Errorf("%d messages came twice", c.copies)
	}
}
