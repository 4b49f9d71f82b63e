package backbone_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/membus"
	"example.org/souk/backbone/sqlitestore"
)

// A desk asks for a ring of the till, and for a slip of paper from the outside, for
// every amount that was taken: commands and calls in its log, which the tills and
// nobody read. It says what it sends, unless that is nothing.
func desk(sends ...backbone.Command) *backbone.Service {
	slips := &backbone.Aggregate[int]{
		Name: "slip", Public: []backbone.Event{slipped{}},
		Evolve: func(n int, _ backbone.Event) int { return n + 1 },
	}
	return &backbone.Service{
		Name:  "desk",
		Sends: sends,
		Subscribes: []backbone.Subscriber{backbone.Whenever(func(e taken, m backbone.Meta) []backbone.Effect {
			return []backbone.Effect{
				backbone.Send(ring{e.Till}),
				backbone.MakeCall("printer", "slip-"+m.ID, e.Till, e.Till, m.Time.Add(time.Hour)),
			}
		})},
		Handles: []backbone.Handler{backbone.Decide(slips, func(_ int, c slip, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{slipped(c)}, nil
		})},
		Calls: []backbone.CallType{backbone.CallTo("printer", backbone.Caller[string](printer{}), func(till string, _ backbone.CallOutcome) backbone.Command {
			return slip{till}
		})},
	}
}

// clips keep count of the slips.
func clips() *backbone.Service {
	return &backbone.Service{
		Name: "clips",
		Views: []backbone.View{backbone.ViewOf("slips", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e slipped) error {
			return tx.Exec(ctx, `INSERT INTO {slips} AS s (till, number) VALUES ($1, 1) ON CONFLICT (till) DO UPDATE SET number = s.number + 1`, e.Till)
		}).View},
		Migrations: fstest.MapFS{"0001_clip.sql": {Data: []byte(`-- +goose Up
CREATE TABLE {slips} (till TEXT PRIMARY KEY, number BIGINT NOT NULL);
`)}},
	}
}

type printer struct{}

func (printer) Call(context.Context, backbone.CallRequest, string) (any, error) {
	return "printed", nil
}

type (
	slip    struct{ Till string }
	slipped struct{ Till string }
)

func (slip) CommandType() string  { return "test.desk.Slip.v1" }
func (c slip) Stream() string     { return c.Till }
func (slipped) EventType() string { return "test.desk.Slipped.v1" }

// times is a clock that is turned by hand.
type times struct{ at atomic.Int64 }

func (c *times) Now() time.Time { return time.UnixMicro(c.at.Load()) }

const retained = 24 * time.Hour

// archive is a database on which services run, now these, now those.
type archive struct {
	t     *testing.T
	path  string
	clock times
}

func newArchive(t *testing.T) *archive {
	a := &archive{t: t, path: filepath.Join(t.TempDir(), "test.db")}
	a.clock.at.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
	return a
}

// while runs the parts, or those of them that are named, lets fn do something and
// waits until nothing is in flight. A clean stop leaves every checkpoint of what ran
// at the end of its log.
func (a *archive) while(fn func(*world), parts []*backbone.Service, only ...string) {
	a.t.Helper()
	store, err := sqlitestore.Open(a.t.Context(), sqlitestore.Config{Path: a.path})
	if err != nil {
		a.t.Fatal(err)
	}
	of := func(string) driver.Store { return store }
	w := &world{t: a.t, store: store, bus: logbus.New(logbus.Config{Store: of})}
	if w.Runtime, err = backbone.New(backbone.Config{
		Parts: parts, Run: only, Store: of, Transport: w.bus, Clock: &a.clock, Retention: retained,
	}); err != nil {
		a.t.Fatal(err)
	}
	if err := w.Start(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(w.end)
	fn(w)
	w.settle()
	w.await("calls are made", func() bool {
		waiting, err := store.Calls(a.t.Context(), "desk", 1)
		return err == nil && len(waiting) == 0
	})
	w.settle()
	w.end()
}

// kinds counts the records of a log by their kind.
func (w *world) kinds(service string) map[driver.Kind]int {
	w.t.Helper()
	records, err := w.store.Read(w.t.Context(), service, driver.ReadQuery{Limit: 10_000})
	if err != nil {
		w.t.Fatal(err)
	}
	n := map[driver.Kind]int{}
	for _, r := range records {
		n[r.Kind]++
	}
	return n
}

func (w *world) prune() {
	w.t.Helper()
	if err := w.Prune(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// F6: commands and calls leave the log when they are old and every subscription has
// passed them, not before, and nothing is lost by it; whoever has never run and can
// only be told events does not hold them. Red when the age, a service that does not
// run, or one that has never run is left out of account, and when one that nobody
// will ever run is waited for.
func TestF6_CommandsAndCallsLeaveTheLog(t *testing.T) {
	t.Parallel()
	const amounts = 50
	all := []*backbone.Service{tills(nil), desk()}
	late := append(slices.Clone(all), books(enter), clips())
	said := []*backbone.Service{tills(nil), desk(ring{})}
	clipped := append(slices.Clone(said), books(enter), clips())
	sell := func(w *world) {
		for i := range amounts {
			w.take(fmt.Sprint("t", i%7), int64(i+20))
		}
	}
	for name, test := range map[string]struct {
		before func(*archive) // what happens until the desk looks at what is past its retention
		age    time.Duration  // of all records then
		parts  []*backbone.Service
		only   []string
		kept   bool
	}{
		"old and passed by all": {
			before: func(a *archive) { a.while(sell, all) },
			age:    retained + time.Microsecond, parts: all,
		},
		"young": {
			before: func(a *archive) { a.while(sell, all) },
			age:    retained, parts: all, kept: true,
		},
		"the tills have not run since": {
			before: func(a *archive) {
				a.while(func(*world) {}, all)
				a.while(sell, all, "tills")
				a.while(func(*world) {}, all, "desk") // nobody rings
			},
			age: retained + time.Microsecond, parts: all, only: []string{"desk"}, kept: true,
		},
		"the clips have never run, and nobody sends them anything": {
			before: func(a *archive) { a.while(sell, said) },
			age:    retained + time.Microsecond, parts: clipped, only: []string{"tills", "desk"},
		},
		"the books have never run": {
			before: func(a *archive) { a.while(sell, all) },
			age:    retained + time.Microsecond, parts: late, only: []string{"tills", "desk"}, kept: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArchive(t)
			test.before(a)
			a.while(func(w *world) {
				was := w.kinds("desk")
				if was[driver.KindCommand] < amounts || was[driver.KindCall] != amounts {
					t.Fatalf("the desk's log begins with %v", was)
				}
				a.clock.at.Add(test.age.Microseconds())
				w.prune()
				is := w.kinds("desk")
				if kept := is[driver.KindCommand] == was[driver.KindCommand] && is[driver.KindCall] == amounts; kept != test.kept {
					t.Errorf("there were %v and are %v", was, is)
				}
				if gone := is[driver.KindCommand]+is[driver.KindCall] == 0; gone == test.kept {
					t.Errorf("there were %v and are %v", was, is)
				}
				if is[driver.KindEvent] != was[driver.KindEvent] || is[driver.KindSeal] != was[driver.KindSeal] {
					t.Errorf("events or seals are gone: there were %v and are %v", was, is)
				}
			}, test.parts, test.only...)
			// Whatever was pruned: everybody who runs later, for the first time even, goes on
			// over the holes, and has had everything once.
			a.while(func(w *world) { w.take("t0", 1) }, late)
			a.clock.at.Add(2 * retained.Microseconds())
			a.while(func(w *world) {
				w.prune()
				if n := w.kinds("desk"); n[driver.KindCommand]+n[driver.KindCall] != 0 || n[driver.KindEvent] != amounts+1 {
					t.Errorf("in the end the desk's log has %v", n)
				}
				if n := w.kinds("tills"); n[driver.KindEvent] != 2*(amounts+1) { // taken, and rung once
					t.Errorf("in the end the log of the tills has %v", n)
				}
				if sum := w.list("books", `SELECT SUM(total) FROM {sums}`)[0]; sum != amounts*20+amounts*(amounts-1)/2+1 {
					t.Errorf("the books have %d", sum)
				}
				if sum := w.list("clips", `SELECT SUM(number) FROM {slips}`)[0]; sum != amounts+1 {
					t.Errorf("the clips have %d", sum)
				}
				for _, service := range w.Services() {
					if _, err := w.Reader(service).Verify(t.Context(), backbone.Seal{}); err != nil {
						t.Error(err)
					}
				}
			}, late)
		})
	}
}

// narrow is a broker that does not take what is for one stream, because of its size, until it is wide.
type narrow struct {
	driver.Transport
	stream string
	wide   atomic.Bool
}

func (b *narrow) Publish(ctx context.Context, source string, rs []driver.Record) (driver.Anchor, error) {
	for i := range rs {
		if rs[i].Kind == driver.KindCommand && rs[i].Stream == b.stream && !b.wide.Load() {
			return nil, fmt.Errorf("%s: %w", rs[i].ID, driver.ErrTooLarge)
		}
	}
	return b.Transport.Publish(ctx, source, rs)
}

// F6: what the relay holds back, since the broker does not take it, stays in the log however old it is, and what was published before it may go. Red
// where the cursor alone says what has left the log.
func TestF6_WhatIsHeldBackStaysInTheLog(t *testing.T) {
	t.Parallel()
	clock := &times{}
	clock.at.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
	bus := membus.New(membus.Config{})
	broker := &narrow{Transport: bus, stream: "t1"}
	w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) {
		c.Transport, c.Clock, c.Retention = broker, clock, retained
	}, tills(nil), desk())
	t.Cleanup(func() { closeAfter(w, bus) })
	rings := func() (n int) {
		rs, err := w.store.Read(t.Context(), "tills", driver.ReadQuery{Types: []string{rung{}.EventType()}})
		if err != nil {
			t.Fatal(err)
		}
		return len(rs)
	}
	held := func() []backbone.HeldBack {
		list, err := backbone.HeldByRelay(t.Context(), w.store, "desk")
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	w.take("t0", 20)
	w.await("what fits is done", func() bool { return rings() == 1 })
	w.take("t1", 21)
	w.take("t1", 22)
	w.await("one is held back", func() bool { return len(held()) == 1 })
	w.take("t2", 23)
	w.await("the others go on", func() bool { return rings() == 2 })
	clock.at.Add(2 * retained.Microseconds())
	w.prune()
	for till, want := range map[string]int{"t0": 0, "t1": 2} {
		rs, err := w.store.Read(t.Context(), "desk", driver.ReadQuery{Types: []string{ring{}.CommandType()}, Stream: till})
		if err != nil || len(rs) != want {
			t.Errorf("the desk's log has %d commands to ring %s (%v), want %d", len(rs), till, err, want)
		}
	}
	broker.wide.Store(true)
	w.await("what was held back is done too", func() bool { return rings() == 4 && len(held()) == 0 })
}
