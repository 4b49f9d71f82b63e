package backbonetest

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
)

// endIn is how long a world may take to end. It is there for the case that it never
// would.
const endIn = 30 * time.Second

// Config says what a World runs. Parts is required.
type Config struct {
	// Parts lists every service of the system. All of them run, in one database.
	Parts []*backbone.Service
	// Start is the time at which the world begins; default Epoch.
	Start time.Time
	// Hold keeps every message back until Settle or Interleave lets it go, one at a
	// time. Without it they go at once, many at a time, as in a program.
	Hold bool
	// Patience is how long, by the clock on the wall, the world may take to come to
	// rest before the test fails; default a minute.
	Patience time.Duration
	// Hooks observe the runtime.
	Hooks backbone.Hooks
	// Logger defaults to the test's own output, from warnings on.
	Logger *slog.Logger
}

// World runs services in process, on a database of the test's own, under a clock
// that stands still until the test turns it. It forgets nothing. It is used by one goroutine, except
// for Runtime, Store, Reader and Clock.
type World struct {
	// Clock is the time of the world.
	Clock *Clock

	config  Config
	path    string
	held    *held // with Config.Hold
	runs    atomic.Pointer[running]
	batches atomic.Int64
	failing atomic.Bool   // some message has failed: parked rows are worth a look
	pulse   chan struct{} // a batch ended
}

// running is what a restart exchanges.
type running struct {
	store   *mortal
	bus     driver.Transport
	runtime *backbone.Runtime
}

// Start runs the services and returns when they take commands. The world ends with
// the test, draining what was begun.
func Start(t testing.TB, config Config) *World {
	t.Helper()
	if config.Start.IsZero() {
		config.Start = Epoch
	}
	if config.Patience <= 0 {
		config.Patience = time.Minute
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	w := &World{
		Clock: &Clock{now: config.Start}, config: config,
		path: filepath.Join(t.TempDir(), "world.db"), pulse: make(chan struct{}, 1),
	}
	if config.Hold {
		w.held = &held{}
	}
	w.Clock.turned = func() {
		if r := w.runs.Load(); r != nil {
			r.runtime.Rouse()
		}
	}
	t.Cleanup(func() { w.end(t) })
	w.begin(t)
	return w
}

func (w *World) begin(t testing.TB) {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: w.path, Clock: w.Clock.Now, Log: w.config.Logger})
	if err != nil {
		t.Fatalf("open the world's database: %v", err)
	}
	r := &running{store: &mortal{Store: store}}
	of := func(string) driver.Store { return r.store }
	if w.held != nil {
		r.bus = w.held
	} else {
		r.bus = logbus.New(logbus.Config{Store: of, Logger: w.config.Logger})
	}
	r.runtime, err = backbone.New(backbone.Config{
		Parts: w.config.Parts, Store: of, Transport: r.bus, Clock: w.Clock, Logger: w.config.Logger, Hooks: w.hooks(),
		// What is old by the world's clock would be removed whenever a minute is over by the one on the wall, so what a test of weeks finds would
		// depend on how fast the machine is.
		Retention: -1,
	})
	if err != nil {
		err = errors.Join(err, store.Close())
		t.Fatalf("start the world: %v", err)
	}
	w.runs.Store(r)
	if err := r.runtime.Start(t.Context()); err != nil {
		t.Fatalf("start the world: %v", err)
	}
}

// hooks adds the world's own to those of the test.
func (w *World) hooks() backbone.Hooks {
	h := w.config.Hooks
	batch, handled := h.Batch, h.Handled
	h.Batch = func(s backbone.BatchStats) {
		w.batches.Add(1)
		select {
		case w.pulse <- struct{}{}:
		default:
		}
		if batch != nil {
			batch(s)
		}
	}
	h.Handled = func(ctx context.Context, s backbone.HandledStats) {
		if s.Err != nil {
			w.failing.Store(true)
		}
		if handled != nil {
			handled(ctx, s)
		}
	}
	return h
}

func (w *World) end(t testing.TB) {
	t.Helper()
	r := w.runs.Swap(nil)
	if r == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), endIn)
	defer cancel()
	if err := errors.Join(r.runtime.Stop(ctx), r.bus.Close(), r.store.Close()); err != nil {
		t.Errorf("end the world: %v", err)
	}
}

// Restart stops the services in good order and starts them again on the same
// database, with other parts if any are given.
func (w *World) Restart(t testing.TB, parts ...*backbone.Service) {
	t.Helper()
	w.end(t)
	if len(parts) > 0 {
		w.config.Parts = parts
	}
	w.begin(t)
}

// Crash ends the services without letting them finish anything: from this moment on
// nothing is committed, and what had been decided or called but not committed is as
// if it never was. Then it starts them again on the same database. Calls that are out
// are waited for, and their outcome is lost.
func (w *World) Crash(t testing.TB) {
	t.Helper()
	w.runs.Load().store.dead.Store(true)
	w.Restart(t)
}

// mortal is a database that stops taking anything when its process has died.
type mortal struct {
	*sqlitestore.Store
	dead atomic.Bool
}

// Begin implements driver.Store.
func (m *mortal) Begin(ctx context.Context) (driver.Tx, error) {
	if m.dead.Load() {
		return nil, driver.ErrUnavailable
	}
	tx, err := m.Store.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return mortalTx{tx, m}, nil
}

// mortalTx is a transaction that comes to nothing when its process has died meanwhile: what it was to do may have joined it since.
type mortalTx struct {
	driver.Tx
	of *mortal
}

// Commit implements driver.Tx.
func (t mortalTx) Commit(ctx context.Context) error {
	if t.of.dead.Load() {
		return driver.ErrUnavailable
	}
	return t.Tx.Commit(ctx)
}

// Seize implements driver.Rebuilder.
func (m *mortal) Seize(ctx context.Context, tx driver.Tx, service string, tables, subscriptions []string) ([]driver.Checkpoint, error) {
	return m.Store.Seize(ctx, own(tx), service, tables, subscriptions)
}

// SwapShadow implements driver.Rebuilder.
func (m *mortal) SwapShadow(ctx context.Context, tx driver.Tx, service string, tables []string) error {
	return m.Store.SwapShadow(ctx, own(tx), service, tables)
}

// own returns the database's own transaction.
func own(tx driver.Tx) driver.Tx {
	if t, ok := tx.(mortalTx); ok {
		return t.Tx
	}
	return tx
}
