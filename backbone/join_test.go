package backbone_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
)

// chimes counts rings in the table of the books.
func chimes() *backbone.Service {
	svc := books(enter)
	svc.Subscribes = append(svc.Subscribes, backbone.On(func(ctx context.Context, tx backbone.Tx, e rung) error {
		return tx.Exec(ctx, `INSERT INTO {book} (entry, till, amount, n) VALUES ($1, $2, 0, $1)`, tx.Message().Position, "bell "+e.Till)
	}).From(backbone.FromFirst))
	return svc
}

// A type that is asked for from its first event, by a service that has begun already,
// is taken where there was no such event yet: nothing was missed. Red when it is
// refused, and when it is taken after one was missed.
func TestATypeIsAddedFromItsFirstEvent(t *testing.T) {
	t.Parallel()
	ring := func(w *world) {
		if _, err := w.Do(t.Context(), ring{"t1"}); err != nil {
			t.Fatal(err)
		}
		w.settle()
	}
	path := filepath.Join(t.TempDir(), "test.db")
	before := run(t, path, tills(nil), books(enter))
	before.take("t1", 1, 2)
	before.settle()
	before.end()
	with := run(t, path, tills(nil), chimes())
	ring(with)
	if rings := with.book("bell t1"); len(rings) != 1 {
		t.Errorf("%d rings were heard of 1", len(rings))
	}
	with.end()

	path = filepath.Join(t.TempDir(), "test.db")
	before = run(t, path, tills(nil), books(enter))
	ring(before)
	before.end()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	of := func(string) driver.Store { return store }
	bus := logbus.New(logbus.Config{Store: of})
	late, err := backbone.New(backbone.Config{Parts: []*backbone.Service{tills(nil), chimes()}, Store: of, Transport: bus})
	if err != nil {
		t.Fatal(err)
	}
	if err := late.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "has begun already") {
		t.Errorf("started with %v, and a ring was missed", err)
	}
	w := &world{t: t, store: store, bus: bus, Runtime: late}
	w.end()
}

// A clock strikes beside the tills.
type (
	strike struct {
		Clock string `json:"clock"`
	}
	struck struct {
		Clock string `json:"clock"`
	}
)

func (struck) EventType() string   { return "test.clocks.Struck.v1" }
func (strike) CommandType() string { return "test.clocks.Strike.v1" }
func (c strike) Stream() string    { return c.Clock }

func clocks() *backbone.Service {
	clock := &backbone.Aggregate[int]{Name: "clock", Public: []backbone.Event{struck{}}, Evolve: func(n int, _ backbone.Event) int { return n + 1 }}
	return &backbone.Service{Name: "clocks", Handles: []backbone.Handler{
		backbone.Decide(clock, func(_ int, c strike, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{struck(c)}, nil
		}),
	}}
}

// listening counts the strokes of clocks, from the first one on, in the table of the books.
func listening() *backbone.Service {
	svc := books(enter)
	svc.Subscribes = append(svc.Subscribes, backbone.On(func(ctx context.Context, tx backbone.Tx, e struck) error {
		return tx.Exec(ctx, `INSERT INTO {book} (entry, till, amount, n) VALUES ($1, $2, 0, $1)`, tx.Message().Position, e.Clock)
	}).From(backbone.FromFirst))
	return svc
}

// A service that has begun already, and until now heard nothing of another one, hears what that one said from its first event on: its
// subscription has passed none of it. So it is where a process of a newer version first runs a service, while others of that version have run what
// it listens to. Red when it is refused since there were such events, and when it is heard from now on only.
func TestTheFirstEventsOfASourceThatIsNewAreHeard(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	before := run(t, path, tills(nil), books(enter))
	before.take("t1", 1)
	before.settle()
	before.end()
	beside := run(t, path, clocks())
	if _, err := beside.Do(t.Context(), strike{"tower"}); err != nil {
		t.Fatal(err)
	}
	beside.end()
	newer := listening()
	for range 2 {
		after := run(t, path, tills(nil), clocks(), newer)
		after.settle()
		if heard := after.book("tower"); len(heard) != 1 {
			t.Errorf("%d strokes were heard of 1", len(heard))
		}
		after.end()
	}
}

// lagging finds once what a service had noted of its joins before another process of it began.
type lagging struct {
	driver.Store
	joins  []byte
	looked atomic.Bool
}

func (l *lagging) Value(ctx context.Context, service, name string) ([]byte, error) {
	if service == "books" && name == "joins" && !l.looked.Swap(true) {
		return l.joins, nil
	}
	return l.Store.Value(ctx, service, name)
}

// Two processes of a newer version begin at once: the one that finds the other's checkpoints, and not yet what it noted, begins as well. Red when it is
// refused as if the service had missed something.
func TestTwoThatAddATypeAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	before := run(t, path, tills(nil), books(enter))
	before.take("t1", 1)
	before.settle()
	late := &lagging{}
	var err error
	if late.joins, err = before.store.Value(t.Context(), "books", "joins"); err != nil || late.joins == nil {
		t.Fatalf("the service has noted %q: %v", late.joins, err)
	}
	before.end()
	beside := run(t, path, clocks())
	if _, err := beside.Do(t.Context(), strike{"tower"}); err != nil {
		t.Fatal(err)
	}
	beside.end()
	for _, of := range []func(string) driver.Store{nil, func(string) driver.Store { return late }} {
		after := runWith(t, path, func(c *backbone.Config) {
			if of != nil {
				late.Store = c.Store("books")
				c.Store = of
			}
		}, tills(nil), clocks(), listening())
		after.settle()
		if heard := after.book("tower"); len(heard) != 1 {
			t.Errorf("%d strokes were heard of 1", len(heard))
		}
		after.end()
	}
	if !late.looked.Load() {
		t.Error("nobody looked at what was noted")
	}
}
