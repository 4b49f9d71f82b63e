package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/internal/testserver"
)

// held is a database whose transactions do not begin while it is shut.
type held struct {
	driver.Store
	begun atomic.Int64
	shut  chan struct{}
}

// close shuts the database until what it returns is called, or the test ends.
func (s *held) close(t *testing.T) (open func()) {
	s.shut = make(chan struct{})
	open = sync.OnceFunc(func() { close(s.shut) })
	t.Cleanup(open)
	return open
}

func (s *held) Begin(ctx context.Context) (driver.Tx, error) {
	s.begun.Add(1)
	<-s.shut
	tx, err := s.Store.Begin(ctx)
	return &heldTx{Tx: tx}, err
}

// heldTx knows whether answers of services were written in it.
type heldTx struct {
	driver.Tx
	answers int
}

func (t *heldTx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	t.answers += len(w.Answers)
	return t.Tx.Apply(ctx, service, w)
}

// onBoth runs a test of Transact on a database that one process has to itself, and on one that several share.
func onBoth(t *testing.T, test func(t *testing.T, r *backbone.Runtime, store *held)) {
	t.Parallel()
	store := &held{shut: make(chan struct{})}
	put := func(c *backbone.Config) {
		store.Store = c.Store("tills")
		c.Store = func(string) driver.Store { return store }
	}
	close(store.shut)
	parts := []*backbone.Service{tills(nil), diary(func(taken) {})}
	t.Run("alone", func(t *testing.T) {
		w := runWith(t, filepath.Join(t.TempDir(), "test.db"), put, parts...)
		test(t, w.Runtime, store)
	})
	t.Run("shared", func(t *testing.T) {
		p := startProcess(t, testserver.Postgres(t).Database(t), parts, put)
		test(t, p.Runtime, store)
	})
}

// note writes a line of the diary by hand.
func note(store driver.Store, amount int) func(context.Context, backbone.Transaction) error {
	return func(ctx context.Context, tx backbone.Transaction) error {
		return tx.Exec(ctx, []driver.Statement{{SQL: `INSERT INTO ` + store.Name("diary", "line") + ` (amount) VALUES ($1)`, Args: []any{amount}}})
	}
}

func diaryOf(t *testing.T, store driver.Store) (amounts []int) {
	t.Helper()
	rows, err := store.Query(t.Context(), `SELECT amount FROM `+store.Name("diary", "line")+` ORDER BY amount`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var amount int
		if err := rows.Scan(&amount); err != nil {
			t.Fatal(err)
		}
		amounts = append(amounts, amount)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	return amounts
}

// What waits for a transaction shares one, and where the process has the database to itself also with commands. Red when each
// has one of its own, or when what is beside the services has a writer of its own there.
func TestTransactShares(t *testing.T) {
	onBoth(t, func(t *testing.T, r *backbone.Runtime, store *held) {
		alone := store.Powers().Exclusive
		open := store.close(t)
		before := store.begun.Load()
		var all sync.WaitGroup
		all.Go(func() {
			if err := r.Transact(t.Context(), store, note(store, 0)); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "a transaction is about to begin", 10*time.Second, func() bool { return store.begun.Load() == before+1 })
		var mu sync.Mutex
		seen := map[backbone.Transaction]int{}
		waiting := 20
		if alone {
			waiting = 40
		}
		for i := range 20 {
			all.Go(func() {
				if err := r.Transact(t.Context(), store, func(ctx context.Context, tx backbone.Transaction) error {
					mu.Lock()
					seen[tx]++
					mu.Unlock()
					return note(store, i+1)(ctx, tx)
				}); err != nil {
					t.Error(err)
				}
			})
			if alone {
				all.Go(func() {
					if _, err := r.Do(t.Context(), take{fmt.Sprint("t", i), 1}); err != nil {
						t.Error(err)
					}
				})
			}
		}
		eventually(t, "all wait", 10*time.Second, func() bool {
			what, err := r.InFlight(t.Context())
			return err == nil && what == fmt.Sprintf("a writer is at work and %d units wait for it", waiting)
		})
		open()
		all.Wait()
		if len(seen) != 1 {
			t.Fatalf("those that waited have had %d transactions, want one", len(seen))
		}
		for tx, n := range seen {
			if answers := tx.(*heldTx).answers; n != 20 || alone != (answers == 20) {
				t.Errorf("the transaction had %d of 20, and %d answers", n, answers)
			}
		}
	})
}

// Work that fails leaves nothing and is told why; what shares its transaction is done. Red when an error takes the whole transaction
// with it, or when what failed stays.
func TestTransactFailsAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, r *backbone.Runtime, store *held) {
		open := store.close(t)
		mine := errors.New("mine")
		errs := make([]error, 5)
		before := store.begun.Load()
		var all sync.WaitGroup
		all.Go(func() {
			if err := r.Transact(t.Context(), store, note(store, 9)); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "a transaction is about to begin", 10*time.Second, func() bool { return store.begun.Load() == before+1 })
		for i := range errs {
			all.Go(func() {
				errs[i] = r.Transact(t.Context(), store, func(ctx context.Context, tx backbone.Transaction) error {
					if err := note(store, i)(ctx, tx); err != nil {
						return err
					}
					switch i {
					case 1:
						return mine
					case 3:
						return tx.Exec(ctx, []driver.Statement{{SQL: "nonsense"}})
					}
					return nil
				})
			})
		}
		eventually(t, "all wait", 10*time.Second, func() bool {
			what, err := r.InFlight(t.Context())
			return err == nil && what == "a writer is at work and 5 units wait for it"
		})
		open()
		all.Wait()
		for i, err := range errs {
			if failed := i == 1 || i == 3; failed != (err != nil) || i == 1 && !errors.Is(err, mine) {
				t.Errorf("%d ended with %v", i, err)
			}
		}
		if got := diaryOf(t, store); !slices.Equal(got, []int{0, 2, 4, 9}) {
			t.Errorf("the diary has %v", got)
		}
	})
}

// After Stop there is no transaction any more, and who does not wait hears of that.
func TestTransactEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, r *backbone.Runtime, store *held) {
		open := store.close(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Transact(ctx, store, note(store, 1)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		open()
		if err := r.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := diaryOf(t, store); !slices.Equal(got, []int{1}) {
			t.Errorf("the diary has %v", got)
		}
		if err := r.Transact(t.Context(), store, note(store, 2)); !errors.Is(err, backbone.ErrStopped) {
			t.Error(err)
		}
	})
}

// A handler that looks up what was committed waits for no writer, nor does the next of its key; one that reads within the
// transaction waits, and sees what those before it wrote. Red when QueryCommitted takes the writer, or Query does not.
func TestQueryCommitted(t *testing.T) {
	t.Parallel()
	const messages = 10
	for name, committed := range map[string]bool{"committed": true, "within the transaction": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &held{shut: make(chan struct{})}
			close(store.shut)
			var mu sync.Mutex
			entered, returned := 0, 0
			var seen []int
			reader := &backbone.Service{
				Name: "diary", Migrations: diary(nil).Migrations,
				Subscribes: []backbone.Subscriber{backbone.On(func(ctx context.Context, tx backbone.Tx, e taken) error {
					mu.Lock()
					entered++
					mu.Unlock()
					query := tx.Query
					if committed {
						query = tx.QueryCommitted
					}
					rows, err := query(ctx, `SELECT COUNT(*) FROM {line}`)
					if err != nil {
						return err
					}
					defer rows.Close()
					var n int
					for rows.Next() {
						if err := rows.Scan(&n); err != nil {
							return err
						}
					}
					mu.Lock()
					seen = append(seen, n)
					returned++
					mu.Unlock()
					return errors.Join(rows.Err(), tx.Exec(ctx, `INSERT INTO {line} (amount) VALUES ($1)`, e.Amount))
				}).From(backbone.FromFirst)},
			}
			w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) {
				store.Store = c.Store("tills")
				c.Store = func(string) driver.Store { return store }
			}, tills(nil), reader)
			if err := w.Pause(t.Context(), "diary"); err != nil {
				t.Fatal(err)
			}
			for i := range messages {
				w.take("A", int64(i))
			}
			w.await("all are in hand", func() bool {
				busy, err := w.InFlight(t.Context())
				return err == nil && strings.Contains(busy, fmt.Sprint(messages, " messages in hand"))
			})
			open, before := store.close(t), store.begun.Load()
			if err := w.Resume(t.Context(), "diary"); err != nil {
				t.Fatal(err)
			}
			if committed {
				w.await("all have looked while no transaction could begin", func() bool {
					mu.Lock()
					defer mu.Unlock()
					return returned == messages
				})
			} else {
				w.await("the first waits for the writer", func() bool { return store.begun.Load() > before })
				mu.Lock()
				if entered != 1 || returned != 0 {
					t.Errorf("%d have begun and %d have read, want the first alone to wait", entered, returned)
				}
				mu.Unlock()
			}
			open()
			w.await("all is written", func() bool { return len(lines(w)) == messages })
			mu.Lock()
			defer mu.Unlock()
			for i, n := range seen[:messages] {
				if want := map[bool]int{true: 0, false: i}[committed]; n != want {
					t.Errorf("message %d has seen %d lines, want %d", i, n, want)
				}
			}
		})
	}
}
