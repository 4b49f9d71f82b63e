package backbone_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/membus"
)

// The controls: each takes one safety step away by a wrapper around the transport or the database, and lets the same thing happen with
// the step and without. What the step is for must hold with it and be broken without, or the attack shows nothing. The control of the
// relay's anchors stands beside its tests (TestF3_ControlWithoutAnchors).

// diary writes each amount into a table in which nothing hinders a second row.
func diary(before func(taken)) *backbone.Service {
	return &backbone.Service{
		Name: "diary",
		Subscribes: []backbone.Subscriber{backbone.On(func(ctx context.Context, tx backbone.Tx, e taken) error {
			before(e)
			return tx.Exec(ctx, `INSERT INTO {line} (amount) VALUES ($1)`, e.Amount)
		}).From(backbone.FromFirst)},
		Migrations: fstest.MapFS{"0001_line.sql": {Data: []byte("-- +goose Up\nCREATE TABLE {line} (amount BIGINT NOT NULL);\n")}},
	}
}

func lines(w *world) []int64 {
	return w.list("diary", `SELECT amount FROM {line} ORDER BY amount`)
}

// unreachable is a broker that cannot be reached for a while.
type unreachable struct {
	driver.Transport
	away  atomic.Bool
	tried atomic.Int64 // records that it was offered meanwhile
}

func (s *unreachable) Publish(ctx context.Context, source string, rs []driver.Record) (driver.Anchor, error) {
	if s.away.Load() {
		s.tried.Add(int64(len(rs)))
		return nil, errors.New("the broker is away")
	}
	return s.Transport.Publish(ctx, source, rs)
}

// overAnAbsence has the first of what is taken written into the diary, and the second offered to a broker that is away. It returns when the broker is
// back. The relay publishes to what over returns of the broker.
func overAnAbsence(t *testing.T, over func(broker driver.Transport) driver.Transport) *world {
	t.Helper()
	bus := membus.New(membus.Config{})
	broker := &unreachable{Transport: bus}
	w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) { c.Transport = over(broker) }, tills(nil), diary(func(taken) {}))
	t.Cleanup(func() { closeAfter(w, bus) })
	w.take("A", 1)
	w.await("the first has come", func() bool { return len(lines(w)) == 1 })
	broker.away.Store(true)
	w.take("A", 2)
	w.await("the second is offered to a broker that is away", func() bool { return broker.tried.Load() > 0 })
	broker.away.Store(false)
	return w
}

// hasty takes for published what was sent, whatever the broker says of it.
type hasty struct{ driver.Transport }

func (h hasty) Publish(ctx context.Context, source string, rs []driver.Record) (driver.Anchor, error) {
	anchor, _ := h.Transport.Publish(ctx, source, rs)
	return anchor, nil
}

// The relay moves its cursor when the broker has confirmed. Where it moves it before, what a broker did not take is lost.
func TestControl_CursorBeforeConfirmation(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"after": false, "before": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := overAnAbsence(t, func(broker driver.Transport) driver.Transport {
				if early {
					return hasty{broker}
				}
				return broker
			})
			w.take("A", 3)
			w.await("the third has come", func() bool { return slices.Contains(lines(w), 3) })
			if got, lost := lines(w), !slices.Contains(lines(w), 2); lost != early {
				t.Errorf("the cursor moves %s the confirmation, and the diary has %v", name, got)
			}
		})
	}
}

// resigned takes nothing any more once the broker was away, as a relay that gives up.
type resigned struct {
	driver.Transport
	over  atomic.Bool
	asked atomic.Int64 // afterwards
}

func (r *resigned) Publish(ctx context.Context, source string, rs []driver.Record) (driver.Anchor, error) {
	if r.over.Load() {
		r.asked.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	anchor, err := r.Transport.Publish(ctx, source, rs)
	r.over.Store(err != nil)
	return anchor, err
}

// F2: the relay goes on trying however often the broker is away, and what came meanwhile comes when it is back. Where it gives up, that never comes: the
// fault that TestF2_AwayForMinutes looks for in the whole mall.
func TestF2_ControlGivingUp(t *testing.T) {
	t.Parallel()
	for name, up := range map[string]bool{"goes on": false, "gives up": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			without := &resigned{}
			w := overAnAbsence(t, func(broker driver.Transport) driver.Transport {
				if without.Transport = broker; up {
					return without
				}
				return broker
			})
			w.await("what came meanwhile comes, or is never offered again", func() bool { return len(lines(w)) == 2 || without.asked.Load() > 0 })
			if got := lines(w); slices.Contains(got, 2) == up {
				t.Errorf("the relay %s, and the diary has %v", name, got)
			}
		})
	}
}

func closeAfter(w *world, bus *membus.Bus) {
	w.end()
	if err := bus.Close(); err != nil {
		w.t.Error(err)
	}
}

// eager acknowledges what it delivers before anything came of it.
type eager struct{ driver.Transport }

func (e eager) Subscribe(ctx context.Context, s driver.Subscription, sink driver.Sink, ready chan<- struct{}) error {
	return e.Transport.Subscribe(ctx, s, eagerSink{sink}, ready)
}

type eagerSink struct{ driver.Sink }

func (e eagerSink) Deliver(ctx context.Context, slice int, ds []driver.Delivery) error {
	for i := range ds {
		ds[i].Ack(nil)
		ds[i].Ack = func(error) {}
	}
	return e.Sink.Deliver(ctx, slice, ds)
}

// A message is acknowledged when its effect is committed. Where it is acknowledged before, one whose process dies in between is lost.
func TestControl_AcknowledgementBeforeCommit(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"after": false, "before": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "test.db")
			bus := membus.New(membus.Config{})
			var store *drivertest.FaultyStore
			over := func(c *backbone.Config) {
				inner := c.Store("diary")
				store = &drivertest.FaultyStore{Store: inner}
				c.Store = func(string) driver.Store { return store }
				if c.Transport = driver.Transport(bus); early {
					c.Transport = eager{bus}
				}
			}
			entered, gate := make(chan struct{}), make(chan struct{})
			first := runWith(t, path, over, tills(nil), diary(func(e taken) {
				if e.Amount == 2 {
					close(entered)
					<-gate
				}
			}))
			first.take("A", 1)
			first.await("the first has come", func() bool { return len(lines(first)) == 1 })
			first.take("A", 2)
			<-entered
			first.await("the relay has noted that it has published it", func() bool {
				rs, err := first.store.Read(t.Context(), "tills", driver.ReadQuery{Kinds: []driver.Kind{driver.KindEvent}})
				cps, noted := first.store.Checkpoints(t.Context(), "tills", backbone.RelayName)
				return errors.Join(err, noted) == nil && len(cps) == 1 && cps[0].Position >= rs[len(rs)-1].Position
			})
			store.Crash()
			close(gate)
			first.end()
			second := runWith(t, path, over, tills(nil), diary(func(taken) {}))
			t.Cleanup(func() { closeAfter(second, bus) })
			second.take("A", 3)
			second.await("the third has come", func() bool { return slices.Contains(lines(second), 3) })
			if got, lost := lines(second), !slices.Contains(lines(second), 2); lost != early {
				t.Errorf("messages are acknowledged %s the commit, and the diary has %v", name, got)
			}
		})
	}
}

// The row of the inbox is what makes a copy of a message have no effect. Where it is not written and not looked up, each copy has one.
func TestControl_InboxOff(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]bool{"on": false, "off": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := membus.New(membus.Config{})
			w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) {
				c.Transport = bus
				if inner := c.Store("diary"); off {
					c.Store = func(string) driver.Store { return drivertest.WithoutInbox{Store: inner} }
				}
			}, tills(nil), diary(func(taken) {}))
			t.Cleanup(func() { closeAfter(w, bus) })
			for amount := range int64(10) {
				w.take("A", amount)
			}
			w.await("all have come", func() bool { return len(lines(w)) >= 10 })
			rs, err := w.store.Read(t.Context(), "tills", driver.ReadQuery{Kinds: []driver.Kind{driver.KindEvent}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := bus.Publish(t.Context(), "tills", rs); err != nil { // as a relay does that is not sure
				t.Fatal(err)
			}
			w.take("A", 100)
			w.await("what follows the copies has come", func() bool { return slices.Contains(lines(w), 100) })
			got := lines(w)
			if doubled := !slices.Equal(slices.Compact(slices.Clone(got)), got); doubled != off {
				t.Errorf("the inbox is %s, and the diary has %v", name, got)
			}
		})
	}
}

// unguarded is a database that does not look whether a slice is still its owner's.
type unguarded struct{ driver.Store }

func (s unguarded) Begin(ctx context.Context) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx)
	return unguardedTx{tx}, err
}

type unguardedTx struct{ driver.Tx }

func (t unguardedTx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	without := *w
	without.Guards = nil
	return t.Tx.Apply(ctx, service, &without)
}

// The epoch of a slice is looked at in the effect's own transaction. Where it is not, a process that has lost the slice still has effects:
// what TestStaleOwnerDoesNotRedrive shows that it has none of.
func TestControl_EpochCheckOff(t *testing.T) {
	t.Parallel()
	if n := staleRedrive(t, func(s driver.Store) driver.Store { return unguarded{s} }); n != 1 {
		t.Errorf("the stale owner has made %d entries without the check of the epoch, so the attack shows nothing", n)
	}
}
