package logbus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	exclusive = driver.StorePowers{Exclusive: true}
	shared    = driver.StorePowers{Notify: true}
)

// sink keeps what it is given and commits moves when asked to.
type sink struct {
	mu       sync.Mutex
	assigned map[int]bool
	got      []driver.Delivery
	next     chan driver.Delivery // every delivery, if not nil
	gate     chan struct{}        // Deliver waits for it, if not nil
}

func newSink() *sink {
	return &sink{assigned: map[int]bool{}, next: make(chan driver.Delivery, 1<<16)}
}

func (s *sink) Assign(cs []driver.Checkpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range cs {
		s.assigned[c.Slice] = true
	}
}

func (s *sink) Revoke(is []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range is {
		delete(s.assigned, i)
	}
}

func (s *sink) Deliver(ctx context.Context, _ int, ds []driver.Delivery) error {
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	s.got = append(s.got, ds...)
	s.mu.Unlock()
	for _, d := range ds {
		s.next <- d
	}
	return nil
}

func (s *sink) count() (assigned, got int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.assigned), len(s.got)
}

func event(stream string, n int) driver.Record {
	return driver.Record{Kind: driver.KindEvent, ID: fmt.Sprintf("%s-%d", stream, n), Stream: stream, Type: "thing", Data: []byte("{}")}
}

func things(sources ...string) []driver.Interest {
	var out []driver.Interest
	for _, s := range sources {
		out = append(out, driver.Interest{Source: s, Types: []string{"thing"}})
	}
	return out
}

func open(t testing.TB, m *memory, owner string) *logbus.Bus {
	b := logbus.New(logbus.Config{
		Store: func(service string) driver.Store {
			if service == "nowhere" {
				return nil
			}
			return m
		},
		Owner: owner, Logger: quiet,
	})
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// subscribe runs a subscription until stop is called, which checks its result.
func subscribe(t testing.TB, b *logbus.Bus, s driver.Subscription, k driver.Sink) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- b.Subscribe(ctx, s, k, ready) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("subscribe: %v", err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("subscription ended: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// commit appends as this process's writer does.
func commit(b *logbus.Bus, m *memory, source string, rs ...driver.Record) {
	b.Committed(source, m.commit(source, rs...))
}

func TestWhatIsCommittedHereIsNotReadBack(t *testing.T) {
	m := newMemory(exclusive)
	b, k := open(t, m, "a"), newSink()
	m.commit("orders", event("o0", 0))
	subscribe(t, b, driver.Subscription{Service: "points", Name: "main", Interests: things("orders")}, k)
	for i := 1; i <= 1000; i++ {
		commit(b, m, "orders", event(fmt.Sprint("o", i%7), i))
	}
	for range 1000 {
		<-k.next
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reads != 0 {
		t.Errorf("the log was read %d times", m.reads)
	}
}

func TestGapOfAnotherProcessIsFilledInOrder(t *testing.T) {
	for _, powers := range []driver.StorePowers{shared, {}} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(powers)
			b, k := open(t, m, "a"), newSink()
			stop := subscribe(t, b, driver.Subscription{Service: "points", Name: "main", Interests: things("orders"), Slices: 1}, k)
			for i := 1; i <= 3000; i += 3 {
				own := m.commit("orders", event("o", i))
				m.commit("orders", event("o", i+1)) // another process's
				b.Committed("orders", own)
				commit(b, m, "orders", event("o", i+2))
			}
			for i := int64(1); i <= 3000; i++ {
				if d := <-k.next; d.Position != i || d.Prev != i-1 {
					t.Fatalf("delivery %d is at %d after %d", i, d.Position, d.Prev)
				}
			}
			m.commit("orders", event("o", 3001))
			<-k.next // woken by Listen or by the poll
			stop()
			_ = b.Close()
		})
	}
}

func TestSlowSubscriptionFallsBackToTheStore(t *testing.T) {
	m := newMemory(exclusive)
	b, slow, fast := open(t, m, "a"), newSink(), newSink()
	slow.gate = make(chan struct{})
	subscribe(t, b, driver.Subscription{Service: "points", Name: "slow", Interests: things("orders"), Slices: 1}, slow)
	subscribe(t, b, driver.Subscription{Service: "points", Name: "fast", Interests: things("orders"), Slices: 1}, fast)
	const n = 60_000 // nearly twice the ring
	for i := 0; i < n; i += 100 {
		var rs []driver.Record
		for j := range 100 {
			rs = append(rs, event("o", i+j))
		}
		commit(b, m, "orders", rs...)
		if i%10_000 == 0 {
			for range min(n, 100) {
				<-fast.next
			}
		}
	}
	close(slow.gate)
	for i := int64(1); i <= n; i++ {
		if d := <-slow.next; d.Position != i || d.Prev != i-1 {
			t.Fatalf("delivery %d is at %d after %d", i, d.Position, d.Prev)
		}
	}
}

func TestPrunedPositionsAreHoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(shared)
		b, k := open(t, m, "a"), newSink()
		stop := subscribe(t, b, driver.Subscription{Service: "points", Name: "main", Interests: things("orders")}, k)
		synctest.Wait()
		own := m.commit("orders", event("o", 1), event("o", 2))
		m.mu.Lock()
		m.logs["orders"][0].ID = "pruned"
		m.mu.Unlock()
		b.Committed("orders", own[1:])
		if d := <-k.next; d.Position != 2 || d.Prev != 0 {
			t.Fatalf("got %d after %d", d.Position, d.Prev)
		}
		stop()
		_ = b.Close()
	})
}

func TestIdleSlicesComeToRestAtTheHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(exclusive)
		b, k := open(t, m, "a"), newSink()
		stop := subscribe(t, b, driver.Subscription{Service: "points", Name: "main", Interests: things("orders"), Slices: 16}, k)
		commit(b, m, "orders", event("o", 1), event("p", 2), event("q", 3), event("r", 4), event("s", 5))
		for range 5 {
			<-k.next
		}
		busy := map[int]bool{} // delivered and not yet done: must stay where they are
		for _, d := range k.got {
			busy[d.Slice] = true
		}
		if len(busy) == 16 {
			t.Fatal("no slice is idle, choose other streams")
		}
		time.Sleep(11 * time.Second) // virtual
		cps, _ := m.Checkpoints(t.Context(), "points", "main")
		for _, c := range cps {
			if want := map[bool]int64{true: 0, false: 5}[busy[c.Slice]]; c.Position != want {
				t.Errorf("slice %d is at %d, want %d", c.Slice, c.Position, want)
			}
		}
		// The effects' own moves still fit, then all come to rest.
		for _, d := range k.got {
			tx, _ := m.Begin(t.Context())
			_ = tx.Apply(t.Context(), "points", &driver.Writes{Moves: []driver.Move{{
				Subscription: "main", Source: "orders", Slice: d.Slice, Epoch: d.Epoch, From: d.Prev, To: d.Position,
			}}})
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatalf("move: %v", err)
			}
		}
		stop()
		cps, _ = m.Checkpoints(t.Context(), "points", "main")
		for _, c := range cps {
			if c.Position != 5 || c.Owner != "" {
				t.Errorf("after a clean stop slice %d is at %d with owner %q", c.Slice, c.Position, c.Owner)
			}
		}
		_ = b.Close()
	})
}

func TestOwnersShareFairly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(shared)
		var buses []*logbus.Bus
		var sinks []*sink
		var stops []func()
		s := driver.Subscription{Service: "points", Name: "main", Interests: things("orders", "stock")}
		for i := range 3 {
			b, k := open(t, m, fmt.Sprint("owner", i)), newSink()
			stops = append(stops, subscribe(t, b, s, k))
			buses, sinks = append(buses, b), append(sinks, k)
			time.Sleep(time.Minute)
			total := 0
			for _, k := range sinks {
				n, _ := k.count()
				if share := (64 + i) / (i + 1); n > share || n < 64-share*i {
					t.Errorf("one of %d owners has %d slices", i+1, n)
				}
				total += n
			}
			if total != 64 {
				t.Errorf("%d slices are worked by %d owners", total, i+1)
			}
		}
		stops[0]()
		time.Sleep(time.Minute)
		a, _ := sinks[1].count()
		c, _ := sinks[2].count()
		if a != 32 || c != 32 {
			t.Errorf("after one left the others have %d and %d slices", a, c)
		}
		for i := range buses {
			stops[i]()
			_ = buses[i].Close()
		}
	})
}

func TestOwnerStopsAtTwoThirdsOfItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(shared)
		b, k := open(t, m, "a"), newSink()
		stop := subscribe(t, b, driver.Subscription{Service: "points", Name: "main", Interests: things("orders")}, k)
		synctest.Wait()
		m.fail(fmt.Errorf("%w: unplugged", driver.ErrUnavailable))
		time.Sleep(11 * time.Second) // of 15
		if n, _ := k.count(); n != 0 {
			t.Errorf("%d slices are still worked", n)
		}
		m.fail(nil)
		time.Sleep(11 * time.Second)
		if n, _ := k.count(); n != 64 {
			t.Errorf("%d slices are worked after the database came back", n)
		}
		stop()
		_ = b.Close()
	})
}

func TestRefusals(t *testing.T) {
	m := newMemory(exclusive)
	b := open(t, m, "a")
	good := driver.Subscription{Service: "points", Name: "main", Interests: things("orders")}
	stop := subscribe(t, b, good, newSink())
	if err := b.Subscribe(t.Context(), good, newSink(), nil); err == nil {
		t.Error("the same subscription runs twice")
	}
	stop()
	bad := good
	bad.Interests = things("nowhere")
	if err := b.Subscribe(t.Context(), bad, newSink(), nil); err == nil {
		t.Error("a source without a store is accepted")
	}
	_ = b.Close()
	if err := b.Subscribe(t.Context(), good, newSink(), nil); !errors.Is(err, logbus.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestCloseEndsSubscriptions(t *testing.T) {
	b := open(t, newMemory(exclusive), "a")
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- b.Subscribe(context.Background(), driver.Subscription{Service: "points", Name: "main", Interests: things("orders")}, newSink(), ready)
	}()
	<-ready
	_ = b.Close()
	if err := <-done; !errors.Is(err, logbus.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
}

// counter counts, without keeping anything.
type counter struct {
	want int
	mu   sync.Mutex
	got  int
	done chan struct{}
}

func (c *counter) Assign([]driver.Checkpoint) {}
func (c *counter) Revoke([]int)               {}
func (c *counter) Deliver(_ context.Context, _ int, ds []driver.Delivery) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.got += len(ds); c.got >= c.want {
		select {
		case c.done <- struct{}{}:
		default:
		}
	}
	return nil
}

// BenchmarkLatency measures from Committed to Deliver, one record at a time.
func BenchmarkLatency(b *testing.B) {
	m := newMemory(exclusive)
	bus := open(b, m, "a")
	c := &counter{want: 1, done: make(chan struct{}, 1)}
	subscribe(b, bus, driver.Subscription{Service: "points", Name: "main", Interests: things("orders")}, c)
	rs := []driver.Record{event("o", 1)}
	took := make([]time.Duration, 0, b.N)
	position := int64(0)
	for b.Loop() {
		position++
		rs[0].Position = position
		start := time.Now()
		bus.Committed("orders", rs)
		<-c.done
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-us")
}

// BenchmarkThroughput commits batches of 100 and counts records dispatched to
// each of the subscriptions.
func BenchmarkThroughput(b *testing.B) {
	for _, subscriptions := range []int{1, 4} {
		b.Run(fmt.Sprint("subscriptions=", subscriptions), func(b *testing.B) {
			bus := open(b, newMemory(exclusive), "a")
			const batch = 100
			var counters []*counter
			for i := range subscriptions {
				c := &counter{want: max(b.N/batch, 1) * batch, done: make(chan struct{}, 1)}
				subscribe(b, bus, driver.Subscription{Service: "points", Name: fmt.Sprint("s", i), Interests: things("orders")}, c)
				counters = append(counters, c)
			}
			rs := make([]driver.Record, batch)
			for i := range rs {
				rs[i] = event(fmt.Sprint("order-", i), i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			position := int64(0)
			for i := 0; i < max(b.N/batch, 1); i++ {
				for j := range rs {
					position++
					rs[j].Position = position
				}
				bus.Committed("orders", rs)
				for _, c := range counters {
					for position-int64(c.seen()) > 16<<10 { // the store is empty: stay within the ring
						<-time.After(20 * time.Microsecond)
					}
				}
			}
			for _, c := range counters {
				<-c.done
			}
			b.ReportMetric(float64(position)*float64(subscriptions)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func (c *counter) seen() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got
}
