package backbone_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/membus"
)

// broker is a world whose messages are carried by a transport that knows no positions and delivers everything three times.
type broker struct {
	*world
	bus *membus.Bus
	at  int64 // carried up to here
}

func overBroker(t *testing.T, change func(*backbone.Config), parts ...*backbone.Service) *broker {
	t.Helper()
	bus := membus.New(membus.Config{Copies: func(driver.Message) int { return 2 }})
	b := &broker{bus: bus}
	b.world = runWith(t, t.TempDir()+"/test.db", func(c *backbone.Config) {
		c.Transport = bus
		change(c)
	}, parts...)
	t.Cleanup(func() {
		b.end()
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// carry publishes what the tills' log holds beyond what was carried; from 0 it carries everything again.
func (b *broker) carry(from int64) {
	b.t.Helper()
	rs, err := b.store.Read(b.t.Context(), "tills", driver.ReadQuery{After: from, Kinds: []driver.Kind{driver.KindEvent}})
	if err != nil {
		b.t.Fatal(err)
	}
	if len(rs) > 0 {
		b.at = rs[len(rs)-1].Position
	}
	if _, err := b.bus.Publish(b.t.Context(), "tills", rs); err != nil {
		b.t.Fatal(err)
	}
}

// F4: the row that remembers a message commits with its effect, and a copy is acknowledged without one: copies in one
// batch, copies after a failed batch, copies of what is parked, and all of the log once more. Red when the inbox is not
// looked up.
func TestF4_CopiesHaveNoEffect(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(context.Context, backbone.Tx, taken) error{
		"writes": func(ctx context.Context, tx backbone.Tx, e taken) error {
			return tx.Exec(ctx, `INSERT INTO {book} (entry, till, amount, n) VALUES ($1, $2, $3, (SELECT COUNT(*) FROM {book}))`, tx.Message().Position, e.Till, e.Amount)
		},
		"queries": enter,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var runs, duplicates atomic.Int64
			var healed atomic.Bool
			svc := books(func(ctx context.Context, tx backbone.Tx, e taken) error {
				switch n := runs.Add(1); {
				case e.Amount == 9 && !healed.Load():
					return backbone.Permanent(errors.New("nine is not wanted"))
				case n%7 == 0:
					return backbone.Transient(errors.New("not this time"))
				}
				return handler(ctx, tx, e)
			})
			svc.Retry.Attempts = 100
			w := overBroker(t, func(c *backbone.Config) {
				c.Hooks.Handled = func(_ context.Context, h backbone.HandledStats) {
					if h.Duplicate {
						duplicates.Add(1)
					}
				}
			}, tills(nil), svc)
			const keys, each = 6, 20
			for i := range each {
				for key := range keys {
					w.take(fmt.Sprintf("T%d", key), 1)
				}
				if i == 5 {
					w.take("T0", 9)
				}
				w.carry(w.at)
			}
			w.carry(0)
			entries := func() []int64 { return w.list("books", `SELECT entry FROM {book} ORDER BY entry`) }
			w.await("all keys but the one with the nine are handled", func() bool {
				return len(w.list("books", `SELECT n FROM {book} WHERE till <> 'T0'`)) == (keys-1)*each
			})
			parked := func() []driver.Parked {
				rows, err := w.store.ParkedRows(t.Context(), "books", "books", "till/T0", 100)
				if err != nil {
					t.Fatal(err)
				}
				return rows
			}
			w.await("what follows the nine stands behind it, once", func() bool { return len(parked()) == each-6+1 })
			healed.Store(true)
			if _, err := w.store.PutRequest(t.Context(), "books", driver.Request{
				Subject: "parked", Action: "redrive", Subscription: "books", Key: "till/T0", Actor: "test", Why: "nine is fine", Time: time.Now().UnixMicro(),
			}); err != nil {
				t.Fatal(err)
			}
			w.await("everything is handled", func() bool { return len(entries()) == keys*each+1 })
			w.carry(0)
			w.await("every copy is acknowledged", func() bool { return duplicates.Load() >= 2*(keys*each+1)*3 })
			if got := entries(); len(got) != keys*each+1 || !slices.Equal(slices.Compact(slices.Clone(got)), got) {
				t.Errorf("%d entries for %d messages", len(got), keys*each+1)
			}
			if rows := parked(); len(rows) > 0 {
				t.Errorf("still parked: %v", rows)
			}
		})
	}
}

// flagging is a transport that says of all messages, as long as it is on, that they may have been handed over before.
type flagging struct {
	*membus.Bus
	on atomic.Bool
}

type flaggingSink struct {
	driver.Sink
	from *flagging
}

func (f *flagging) Subscribe(ctx context.Context, s driver.Subscription, sink driver.Sink, ready chan<- struct{}) error {
	return f.Bus.Subscribe(ctx, s, &flaggingSink{sink, f}, ready)
}

func (s *flaggingSink) Deliver(ctx context.Context, slice int, ds []driver.Delivery) error {
	for i := range ds {
		ds[i].Redelivered = s.from.on.Load()
	}
	return s.Sink.Deliver(ctx, slice, ds)
}

// F12: of a message that its broker delivers again, and says so, the handler does not see more than once, if it was handled: it is looked up
// before. One of another body under the same id is no copy. The control is a copy of which the broker says nothing: the handler runs, and its effect
// is dropped. Red where only the transaction knows copies.
func TestF12_RedeliveredIsNotSeenAgain(t *testing.T) {
	t.Parallel()
	f := &flagging{}
	var runs atomic.Int64
	w := overBroker(t, func(c *backbone.Config) {
		f.Bus = c.Transport.(*membus.Bus)
		c.Transport = f
	}, tills(nil), books(func(ctx context.Context, tx backbone.Tx, e taken) error {
		runs.Add(1)
		return enter(ctx, tx, e)
	}))
	idle := func() {
		t.Helper()
		w.await("all are handled, and their copies settled", func() bool {
			idle, err := w.Idle(t.Context())
			return idle && err == nil
		})
	}
	for i := range 30 {
		w.take(fmt.Sprintf("T%d", i%5), 1)
	}
	idle()
	again := func() int64 {
		before := runs.Load()
		w.carry(0)
		idle()
		return runs.Load() - before
	}
	f.on.Store(true)
	if n := again(); n > 0 {
		t.Errorf("the handler saw %d messages again", n)
	}
	rs, err := w.store.Read(t.Context(), "tills", driver.ReadQuery{Kinds: []driver.Kind{driver.KindEvent}, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	rs[0].Data = []byte(`{"till":"T0","amount":2}`)
	if _, err := w.bus.Publish(t.Context(), "tills", rs); err != nil {
		t.Fatal(err)
	}
	w.await("another body is parked", func() bool {
		rows, err := w.store.ParkedRows(t.Context(), "books", "books", "", 10)
		return err == nil && len(rows) > 0 && rows[0].State == "dead"
	})
	f.on.Store(false)
	if n := again(); n == 0 {
		t.Error("the control: copies that nothing is said of are known before they are handled")
	}
}

// A message under an id that was handled with another body is no copy: it is parked with its cause.
func TestF4_AnotherBodyIsParked(t *testing.T) {
	t.Parallel()
	w := overBroker(t, func(*backbone.Config) {}, tills(nil), books(enter))
	w.take("A", 1)
	w.carry(0)
	w.await("handled", func() bool { return len(w.list("books", `SELECT n FROM {book}`)) == 1 })
	rs, err := w.store.Read(t.Context(), "tills", driver.ReadQuery{Kinds: []driver.Kind{driver.KindEvent}})
	if err != nil {
		t.Fatal(err)
	}
	rs[0].Data = []byte(`{"till":"A","amount":2}`)
	if _, err := w.bus.Publish(t.Context(), "tills", rs); err != nil {
		t.Fatal(err)
	}
	w.await("it is parked", func() bool {
		rows, err := w.store.ParkedRows(t.Context(), "books", "books", "", 10)
		return err == nil && len(rows) > 0 && rows[0].State == "dead" && rows[0].Cause != ""
	})
	if got := w.list("books", `SELECT amount FROM {book}`); !slices.Equal(got, []int64{1}) {
		t.Errorf("the book holds %v", got)
	}
}

// What comes behind a later one of its stream, and was not handled, is handled then: once, and nothing is parked. Red where a lower sequence is taken
// for a copy.
func TestALateOriginalIsNoCopy(t *testing.T) {
	t.Parallel()
	w := overBroker(t, func(*backbone.Config) {}, tills(nil), books(enter))
	w.take("t0", 1)
	w.await("it is handled", func() bool { return len(w.book("t0")) == 1 })
	rs, err := w.store.Read(t.Context(), "tills", driver.ReadQuery{Kinds: []driver.Kind{driver.KindEvent}})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(sequence int64) {
		t.Helper()
		r := rs[0]
		r.ID, r.Stream, r.Sequence, r.Version, r.Position = fmt.Sprint("late-", sequence), r.Stream+"-late", sequence, sequence, r.Position+sequence
		if r.Data, err = json.Marshal(taken{Till: "late", Amount: sequence}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.bus.Publish(t.Context(), "tills", []driver.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	for _, sequence := range []int64{4, 2, 3, 1, 2, 4} {
		publish(sequence)
	}
	w.await("all are handled", func() bool { return len(w.book("late")) == 4 })
	w.settle()
	if got := w.book("late"); !slices.Equal(got, []int64{4, 2, 3, 1}) {
		t.Errorf("they were handled as %v", got)
	}
	if parked := w.parked(); len(parked) > 0 {
		t.Errorf("parked: %+v", parked)
	}
}
