package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"))
}

// A till takes amounts; a book keeps them; an alarm clock is set by them.
type (
	taken struct {
		Till   string `json:"till"`
		Amount int64  `json:"amount"`
	}
	take struct {
		Till   string `json:"till"`
		Amount int64  `json:"amount"`
	}
	ring struct {
		Till string `json:"till"`
	}
	rung struct {
		Till string `json:"till"`
	}
)

func (taken) EventType() string  { return "test.tills.Taken.v1" }
func (rung) EventType() string   { return "test.tills.Rung.v1" }
func (take) CommandType() string { return "test.tills.Take.v1" }
func (c take) Stream() string    { return c.Till }
func (ring) CommandType() string { return "test.tills.Ring.v1" }
func (c ring) Stream() string    { return c.Till }

var till = &backbone.Aggregate[int64]{
	Name: "till", Public: []backbone.Event{taken{}, rung{}},
	Evolve: func(s int64, e backbone.Event) int64 {
		if e, ok := e.(taken); ok {
			if e.Amount == 666 {
				panic("evolve does not like 666")
			}
			return s + e.Amount
		}
		return s
	},
}

func tills(due func() time.Time) *backbone.Service {
	s := &backbone.Service{Name: "tills", Handles: []backbone.Handler{
		backbone.Decide(till, func(sum int64, c take, _ backbone.Meta) ([]backbone.Event, error) {
			switch {
			case c.Amount == 13:
				panic("decide does not like 13")
			case c.Amount < 0:
				return nil, backbone.Refuse("negative", "%d is negative", c.Amount)
			}
			return []backbone.Event{taken(c)}, nil
		}),
		backbone.Decide(till, func(_ int64, c ring, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{rung(c)}, nil
		}),
	}}
	if due != nil {
		s.Reacts = []backbone.Subscriber{backbone.Whenever(func(e taken, _ backbone.Meta) []backbone.Effect {
			if e.Amount == 2 {
				return []backbone.Effect{backbone.CancelTimer("ring-" + e.Till)}
			}
			return []backbone.Effect{backbone.SetTimer("ring-"+e.Till, due(), ring{e.Till})}
		})}
	}
	return s
}

const bookTables = `-- +goose Up
CREATE TABLE {book} (entry BIGINT NOT NULL, till TEXT NOT NULL, amount BIGINT NOT NULL CHECK (amount <> 7), n BIGINT NOT NULL, PRIMARY KEY (till, n));
CREATE TABLE {sums} (till TEXT PRIMARY KEY, total BIGINT NOT NULL);
-- +goose Down
DROP TABLE {book};
DROP TABLE {sums};
`

// books writes each amount into a table, numbered per till by a query, as fn says.
func books(fn func(context.Context, backbone.Tx, taken) error) *backbone.Service {
	return &backbone.Service{
		Name:       "books",
		Subscribes: []backbone.Subscriber{backbone.On(fn).From(backbone.FromFirst)},
		Views: []backbone.View{backbone.ViewOf("sums", backbone.FromFirst, func(ctx context.Context, tx backbone.ViewTx, e taken) error {
			return tx.Exec(ctx, `INSERT INTO {sums} AS s (till, total) VALUES ($1, $2) ON CONFLICT (till) DO UPDATE SET total = s.total + excluded.total`, e.Till, e.Amount)
		}).View},
		Migrations:     fstest.MapFS{"0001_book.sql": {Data: []byte(bookTables)}},
		Retry:          backbone.RetryPolicy{Attempts: 3, First: time.Millisecond, Max: 2 * time.Millisecond},
		HandlerTimeout: 300 * time.Millisecond,
	}
}

// enter is a handler that numbers its rows by a query.
func enter(ctx context.Context, tx backbone.Tx, e taken) error {
	rows, err := tx.Query(ctx, `SELECT COALESCE(MAX(n), 0) FROM {book} WHERE till = $1`, e.Till)
	if err != nil {
		return err
	}
	var n int64
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	if err := rows.Close(); err != nil {
		return err
	}
	return tx.Exec(ctx, `INSERT INTO {book} (entry, till, amount, n) VALUES ($1, $2, $3, $4)`, tx.Message().Position, e.Till, e.Amount, n+1)
}

type world struct {
	t     *testing.T
	store *sqlitestore.Store
	bus   *logbus.Bus
	*backbone.Runtime
}

func run(t *testing.T, path string, parts ...*backbone.Service) *world {
	t.Helper()
	return runWith(t, path, func(*backbone.Config) {}, parts...)
}

func runWith(t *testing.T, path string, change func(*backbone.Config), parts ...*backbone.Service) *world {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	of := func(string) driver.Store { return store }
	w := &world{t: t, store: store, bus: logbus.New(logbus.Config{Store: of})}
	config := backbone.Config{Parts: parts, Store: of, Transport: w.bus}
	change(&config)
	if w.Runtime, err = backbone.New(config); err != nil {
		t.Fatal(err)
	}
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.end)
	return w
}

func (w *world) end() {
	if w.store == nil {
		return
	}
	if err := errors.Join(w.Stop(context.Background()), w.bus.Close(), w.store.Close()); err != nil {
		w.t.Error(err)
	}
	w.store = nil
}

func fresh(t *testing.T, parts ...*backbone.Service) *world {
	t.Helper()
	return run(t, filepath.Join(t.TempDir(), "test.db"), parts...)
}

func (w *world) await(what string, condition func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			w.t.Fatalf("%s: not within a minute", what)
		case <-tick.C:
		}
	}
}

func (w *world) settle() {
	w.t.Helper()
	w.await("idle", func() bool {
		idle, err := w.Idle(w.t.Context())
		return err == nil && idle
	})
}

func (w *world) take(till string, amounts ...int64) {
	w.t.Helper()
	for _, a := range amounts {
		if _, err := w.Do(w.t.Context(), take{till, a}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// list returns one column of a service's table.
func (w *world) list(service, sql string, args ...any) (values []int64) {
	w.t.Helper()
	rows, err := w.Reader(service).Query(w.t.Context(), sql, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var v int64
		if err := rows.Scan(&v); err != nil {
			w.t.Fatal(err)
		}
		values = append(values, v)
	}
	return values
}

func (w *world) book(till string) []int64 {
	return w.list("books", `SELECT amount FROM {book} WHERE till = $1 ORDER BY n`, till)
}

func (w *world) parked() []driver.Parked {
	rows, err := w.store.ParkedRows(w.t.Context(), "books", "books", "", 100)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

func (w *world) request(action, key string, data string) {
	w.t.Helper()
	_, err := w.store.PutRequest(w.t.Context(), "books", driver.Request{
		Subject: "parked", Action: action, Subscription: "books", Key: key, Data: []byte(data), Actor: "tester", Why: "test",
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// A hundred copies of one command take effect once and get one answer; the same id
// with other content is refused; both hold after a restart.
func TestCommandIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	w := run(t, path, tills(nil))
	var copies sync.WaitGroup
	var first atomic.Int64
	for range 100 {
		copies.Go(func() {
			a, err := w.Do(t.Context(), take{"a", 5}, backbone.WithID("c1"))
			if err != nil || a.Outcome != backbone.Done {
				t.Error(a, err)
			}
			if !a.Repeated {
				first.Add(1)
			}
		})
	}
	copies.Wait()
	if first.Load() != 1 {
		t.Errorf("%d copies were the first", first.Load())
	}
	w.end()
	w = run(t, path, tills(nil))
	if a, err := w.Do(t.Context(), take{"a", 5}, backbone.WithID("c1")); err != nil || !a.Repeated {
		t.Error(a, err)
	}
	if _, err := w.Do(t.Context(), take{"a", 6}, backbone.WithID("c1")); !errors.Is(err, backbone.ErrDifferentCommand) {
		t.Errorf("other content: %v", err)
	}
	if sum, version, err := backbone.Load(t.Context(), w.Reader("tills"), till, "a"); sum != 5 || version != 1 || err != nil {
		t.Error(sum, version, err)
	}
}

// Units that panic, in decide or in evolve, or are refused, hurt none of their
// neighbours in the batch.
func TestFailingUnitHurtsNobody(t *testing.T) {
	t.Parallel()
	w := fresh(t, tills(nil))
	var clients sync.WaitGroup
	for i := range 200 {
		clients.Go(func() {
			amount := int64(1)
			switch i % 10 {
			case 3:
				amount = 13
			case 5:
				amount = 666
			case 7:
				amount = -1
			}
			a, err := w.Do(t.Context(), take{"shared", amount})
			panicked, isPanic := errors.AsType[*backbone.PanicError](err)
			switch {
			case amount == 1 && (err != nil || a.Outcome != backbone.Done):
				t.Error(a, err)
			case amount == -1 && (err != nil || a.Refusal == nil || a.Refusal.Code != "negative"):
				t.Error(a, err)
			case amount > 1 && !isPanic:
				t.Error(a, err, panicked)
			}
		})
	}
	clients.Wait()
	if sum, version, err := backbone.Load(t.Context(), w.Reader("tills"), till, "shared"); sum != 140 || version != 140 || err != nil {
		t.Error(sum, version, err)
	}
}

// Handlers that query see the rows of those before them in their slice, under load.
func TestHandlerThatQueriesSeesWhatIsBefore(t *testing.T) {
	t.Parallel()
	w := fresh(t, tills(nil), books(enter))
	var clients sync.WaitGroup
	for i := range 10 {
		clients.Go(func() {
			for a := range 20 {
				if _, err := w.Do(t.Context(), take{fmt.Sprint("t", i), int64(a + 100)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	w.settle()
	for i := range 10 {
		got := w.book(fmt.Sprint("t", i))
		if len(got) != 20 || !slices.IsSorted(got) {
			t.Errorf("till %d: %v", i, got)
		}
	}
}

// A message that fails is parked with its cause, those of its key wait behind it in
// order, all others flow; redriven after a repair everything happens once, in order.
func TestParkingKeepsOrder(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	w := fresh(t, tills(nil), books(func(ctx context.Context, tx backbone.Tx, e taken) error {
		if e.Till == "bad" && e.Amount == 2 && broken.Load() {
			return errors.New("the pen is dry")
		}
		return enter(ctx, tx, e)
	}))
	w.take("bad", 1, 2, 3, 4)
	w.take("good", 1, 2, 3)
	w.await("dead head", func() bool { p := w.parked(); return len(p) == 1 && p[0].State == "dead" })
	w.settle()
	if got := w.book("good"); !slices.Equal(got, []int64{1, 2, 3}) {
		t.Errorf("good: %v", got)
	}
	if got := w.book("bad"); !slices.Equal(got, []int64{1}) {
		t.Errorf("bad: %v", got)
	}
	if p := w.parked()[0]; p.Attempts != 3 || p.Cause != "the pen is dry" {
		t.Errorf("%d attempts, cause %q", p.Attempts, p.Cause)
	}
	broken.Store(false)
	w.take("bad", 5)
	w.request("redrive", "till/bad", "")
	w.await("redriven", func() bool { return len(w.book("bad")) == 5 })
	if got := w.book("bad"); !slices.Equal(got, []int64{1, 2, 3, 4, 5}) {
		t.Errorf("bad: %v", got)
	}
	w.await("nothing parked", func() bool { return len(w.parked()) == 0 })
	w.take("bad", 6)
	w.await("flows again", func() bool { return len(w.book("bad")) == 6 })
}

// SQL that fails is charged to its message alone; an operator edits one and
// discards the other.
func TestEditAndDiscard(t *testing.T) {
	t.Parallel()
	w := fresh(t, tills(nil), books(enter)) // the table refuses 7
	w.take("a", 1, 7, 2)
	w.take("b", 7, 3)
	for i := range 20 {
		w.take(fmt.Sprint("c", i), 1)
	}
	w.await("two dead heads", func() bool {
		p := w.parked()
		return len(p) == 2 && p[0].State == "dead" && p[1].State == "dead"
	})
	w.request("edit", "till/a", `{"till":"a","amount":70}`)
	w.request("discard", "till/b", "")
	w.await("a", func() bool { return slices.Equal(w.book("a"), []int64{1, 70, 2}) })
	w.await("b", func() bool { return slices.Equal(w.book("b"), []int64{3}) })
	if n := w.list("books", `SELECT count(*) FROM {book}`); n[0] != 24 {
		t.Errorf("%d entries", n[0])
	}
}

// A handler that runs too long leaves no effect, whether it holds the writer or not,
// and counts as a failed attempt.
func TestF5_HandlerTimeout(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	w := fresh(t, tills(nil), books(func(ctx context.Context, tx backbone.Tx, e taken) error {
		if e.Till != "slow" {
			return enter(ctx, tx, e)
		}
		if err := enter(ctx, tx, e); err != nil {
			return err
		}
		if runs.Add(1) < 3 {
			<-ctx.Done()
		}
		return nil
	}))
	w.take("slow", 1)
	w.take("fast", 1, 2)
	w.await("slow", func() bool { return len(w.book("slow")) == 1 })
	w.await("fast", func() bool { return len(w.book("fast")) == 2 })
	w.await("nothing parked", func() bool { return len(w.parked()) == 0 })
	if runs.Load() != 3 {
		t.Errorf("%d runs", runs.Load())
	}
}

// Timers fire once, also after a restart; a cancel that is committed wins.
func TestTimers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	soon := time.Now().Add(2 * time.Second)
	w := run(t, path, tills(func() time.Time { return soon }))
	w.take("cancelled", 1, 2) // first, so that a slow machine has cancelled it in time
	for i := range 300 {
		w.take(fmt.Sprint("t", i), 1)
	}
	w.end()
	w = run(t, path, tills(func() time.Time { return soon }))
	rings := func() []*backbone.Message {
		list, err := w.Reader("tills").Log(t.Context(), backbone.ReadQuery{Types: []string{rung{}.EventType()}, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	w.await("300 rings", func() bool { return len(rings()) >= 300 })
	w.settle()
	seen := map[string]bool{}
	for _, m := range rings() {
		if m.Time.Before(soon) {
			t.Errorf("%s rang at %s, before %s", m.Stream, m.Time, soon)
		}
		if m.Actor != "service:tills" {
			t.Errorf("%s rang by %q, and not by the service itself", m.Stream, m.Actor)
		}
		if seen[m.Stream] || m.Stream == "till/cancelled" {
			t.Errorf("%s rang again, or although it was cancelled", m.Stream)
		}
		seen[m.Stream] = true
	}
}

// A rebuilt view equals the live one while events go on, and the view goes on after.
func TestRebuildUnderLoad(t *testing.T) {
	t.Parallel()
	svc := books(enter)
	svc.Slices = 1 // the lane that a rebuild holds always has more to do
	w := fresh(t, tills(nil), svc)
	var clients sync.WaitGroup
	var ordered atomic.Int64
	for c := range 4 {
		clients.Go(func() {
			defer ordered.Add(1)
			for i := range 150 {
				if _, err := w.Do(t.Context(), take{fmt.Sprint("t", (i+c)%9), 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	patient, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for ordered.Load() < 4 {
		if err := w.Rebuild(patient, "books", "sums", nil); err != nil {
			t.Fatal(err)
		}
	}
	clients.Wait()
	w.settle()
	total := func() int64 { return w.list("books", `SELECT SUM(total) FROM {sums}`)[0] }
	if total() != 600 {
		t.Errorf("live: %d, want 600", total())
	}
	live := w.list("books", `SELECT total FROM {sums} ORDER BY till`)
	if err := w.Rebuild(t.Context(), "books", "sums", nil); err != nil {
		t.Fatal(err)
	}
	if rebuilt := w.list("books", `SELECT total FROM {sums} ORDER BY till`); !slices.Equal(live, rebuilt) {
		t.Errorf("live %v, rebuilt %v", live, rebuilt)
	}
	w.take("t0", 1)
	w.await("goes on", func() bool { return total() == 601 })
}

// restless is a database whose checkpoints of idle slices move whenever somebody has read them, unless whoever reads holds it.
type restless struct {
	driver.Store
	moves atomic.Int64
}

func (s *restless) Checkpoints(ctx context.Context, service, subscription string) ([]driver.Checkpoint, error) {
	list, err := s.Store.Checkpoints(ctx, service, subscription)
	head, headErr := s.Head(ctx, "tills")
	if err != nil || headErr != nil {
		return list, errors.Join(err, headErr)
	}
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		var w driver.Writes
		for _, c := range list {
			if c.Position < head {
				w.Moves = append(w.Moves, driver.Move{Subscription: c.Subscription, Source: c.Source, Slice: c.Slice, Epoch: c.Epoch, From: c.Position, To: head})
			}
		}
		tx, err := s.Begin(context.WithoutCancel(ctx))
		if err != nil {
			return
		}
		defer func() { _ = tx.Rollback() }()
		if tx.Apply(context.WithoutCancel(ctx), service, &w) == nil && tx.Commit(context.WithoutCancel(ctx)) == nil {
			s.moves.Add(1)
		}
	}()
	select {
	case <-moved:
	case <-time.After(300 * time.Millisecond): // it is held
	}
	return list, nil
}

// Slices that nothing happens in move on by themselves, also in the moment of a swap. Red where a rebuild reads the checkpoints before it has
// the database for itself: it ended with a conflict.
func TestRebuildWhileIdleSlicesMove(t *testing.T) {
	t.Parallel()
	store := &restless{}
	w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) {
		store.Store = c.Store("tills")
		c.Store = func(string) driver.Store { return store }
	}, tills(nil), books(enter))
	w.take("t0", 3)
	w.settle()
	if err := w.Rebuild(t.Context(), "books", "sums", nil); err != nil {
		t.Fatal(err)
	}
	if got := w.list("books", `SELECT total FROM {sums} ORDER BY till`); !slices.Equal(got, []int64{3}) {
		t.Errorf("rebuilt %v", got)
	}
	if _, err := store.Checkpoints(t.Context(), "books", "books"); err != nil || store.moves.Load() == 0 {
		t.Fatalf("no idle slice moves: %v", err)
	}
}

// A pause holds commands and messages; a stop hands nothing to a handler twice.
func TestPauseAndStop(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	var runs atomic.Int64
	count := func(ctx context.Context, tx backbone.Tx, e taken) error {
		runs.Add(1)
		return tx.Exec(ctx, `INSERT INTO {book} (entry, till, amount, n) VALUES ($1, $2, $3, $1)`, tx.Message().Position, e.Till, e.Amount)
	}
	w := run(t, path, tills(nil), books(count))
	if err := w.Pause(t.Context(), "books"); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		w.take(fmt.Sprint("t", i%7), 1)
	}
	if runs.Load() != 0 {
		t.Errorf("%d handlers ran in the pause", runs.Load())
	}
	if err := w.Resume(t.Context(), "books"); err != nil {
		t.Fatal(err)
	}
	w.await("some", func() bool { return runs.Load() > 10 })
	w.end()
	w = run(t, path, tills(nil), books(count))
	w.settle()
	if n := w.list("books", `SELECT count(*) FROM {book}`)[0]; n != 100 || runs.Load() != 100 {
		t.Errorf("%d rows, %d runs; want 100 of each", n, runs.Load())
	}
}

// A circuit that opened over many failing keys closes with the first message that
// succeeds, and then all the others go on, though nothing new arrives.
func TestCircuitClosesByItself(t *testing.T) {
	t.Parallel()
	var healed atomic.Bool
	var failed sync.Map // keys
	w := fresh(t, tills(nil), books(func(ctx context.Context, tx backbone.Tx, e taken) error {
		if !healed.Load() {
			failed.Store(e.Till, true)
			return errors.New("not yet")
		}
		return tx.Exec(ctx, `INSERT INTO {book} (entry, till, amount, n) VALUES ($1, $2, $3, 1)`, tx.Message().Position, e.Till, e.Amount)
	}))
	const keys = 40
	for i := range keys {
		w.take(fmt.Sprintf("T%02d", i), 5)
	}
	parked := func() []driver.Parked {
		heads, err := w.store.ParkedRows(t.Context(), "books", "books", "", keys)
		if err != nil {
			t.Fatal(err)
		}
		return heads
	}
	// Eight keys that fail open it; as many lanes may have failed before the first of them is parked, and the others wait for it to close then.
	w.await("the circuit opens", func() bool {
		n := 0
		failed.Range(func(any, any) bool { n++; return true })
		return n >= 8
	})
	healed.Store(true)
	w.await("every message that was not dead by then is handled", func() bool {
		idle, err := w.Idle(t.Context())
		if err != nil || !idle {
			return false
		}
		dead, heads := 0, parked()
		for _, h := range heads {
			if h.State == "dead" {
				dead++
			}
		}
		return len(heads) == dead && len(w.list("books", `SELECT n FROM {book}`)) == keys-dead
	})
}

// Messages that arrive behind a parked one while that is tried again are handled in
// order, each once, and none stays behind.
func TestParkedKeyUnderTraffic(t *testing.T) {
	t.Parallel()
	var runs atomic.Int64
	svc := books(func(ctx context.Context, tx backbone.Tx, e taken) error {
		if runs.Add(1)%7 == 0 {
			return backbone.Transient(errors.New("not this time"))
		}
		return tx.Exec(ctx, `INSERT INTO {book} (entry, till, amount, n) VALUES ($1, $2, $3, $1)`, tx.Message().Position, e.Till, e.Amount)
	})
	svc.Retry.Attempts, svc.Slices = 1000, 1 // so that the keys share their groups
	w := fresh(t, tills(nil), svc)
	const keys, each = 20, 60
	for range each {
		for key := range keys {
			w.take(fmt.Sprintf("T%d", key), 5)
		}
	}
	w.await("everything is handled", func() bool { return len(w.list("books", `SELECT n FROM {book}`)) == keys*each })
	for key := range keys {
		entries := w.list("books", `SELECT entry FROM {book} WHERE till = $1 ORDER BY rowid`, fmt.Sprintf("T%d", key))
		if len(entries) != each || !slices.IsSorted(entries) {
			t.Errorf("till %d: %d entries, in order %v", key, len(entries), slices.IsSorted(entries))
		}
	}
	rows, err := w.store.ParkedRows(t.Context(), "books", "books", "", 10)
	if err != nil || len(rows) > 0 {
		t.Errorf("still parked: %v %v", rows, err)
	}
}

// A program asks Ready before it takes requests in: not before Start has returned, not while the database is away, and not after Stop.
func TestReady(t *testing.T) {
	t.Parallel()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(t.TempDir(), "a.db")})
	if err != nil {
		t.Fatal(err)
	}
	of := func(string) driver.Store { return store }
	bus := logbus.New(logbus.Config{Store: of})
	r, err := backbone.New(backbone.Config{Parts: []*backbone.Service{Loans()}, Store: of, Transport: bus})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(t.Context()); !errors.Is(err, backbone.ErrStopped) {
		t.Error("before Start:", err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(t.Context()); err != nil {
		t.Error("after Start:", err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Ready(t.Context()); !errors.Is(err, driver.ErrUnavailable) {
		t.Error("without a database:", err)
	}
	if err := errors.Join(r.Stop(t.Context()), bus.Close()); err != nil {
		t.Error(err)
	}
	if err := r.Ready(t.Context()); !errors.Is(err, backbone.ErrStopped) {
		t.Error("after Stop:", err)
	}
}
