package alacarte

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"modernc.org/sqlite"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
)

// TestMain runs the tests, or places one order as a process that dies on the way.
func TestMain(m *testing.M) {
	if path := os.Getenv("ALACARTE_DATABASE"); path != "" {
		dieWithin(path, os.Getenv("ALACARTE_AT"))
	}
	os.Exit(m.Run())
}

func created(t *testing.T) (*sql.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	db := opened(t, path)
	if err := Create(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return db, path
}

func opened(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// number is what a query of one number finds.
func number(t *testing.T, db *sql.DB, query string, args ...any) (n int64) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// house is a runtime on the shop's database.
type house struct {
	*backbone.Runtime
	end func()
}

func start(t *testing.T, path string) house {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	storeOf := func(string) driver.Store { return store }
	bus := logbus.New(logbus.Config{Store: storeOf, Poll: 20 * time.Millisecond})
	r, err := backbone.New(backbone.Config{Parts: []*backbone.Service{Shop(), Board()}, Store: storeOf, Transport: bus})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		if err := errors.Join(r.Stop(context.Background()), bus.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return house{r, end}
}

// await waits until the board says what the shop's own table says.
func (h house) await(t *testing.T, db *sql.DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		want := text(t, func() (rows, error) {
			return db.QueryContext(ctx, `SELECT customer, sum(cents), count(*) FROM orders GROUP BY customer ORDER BY customer`)
		})
		got := text(t, func() (rows, error) {
			return h.Reader("board").Query(ctx, `SELECT customer, cents, orders FROM {sums} ORDER BY customer`)
		})
		if got == want {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the board says\n%s\nthe shop says\n%s", got, want)
		}
	}
}

type rows = backbone.Rows

func text(t *testing.T, query func() (rows, error)) string {
	t.Helper()
	r, err := query()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for r.Next() {
		var customer string
		var cents, orders int64
		if err := r.Scan(&customer, &cents, &orders); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %d %d\n", customer, cents, orders)
	}
	if err := errors.Join(r.Err(), r.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// dense fails the test unless the log holds what the shop stored, at positions without holes.
func dense(t *testing.T, h house, db *sql.DB) {
	t.Helper()
	log, err := h.Reader("shop").Log(t.Context(), backbone.ReadQuery{})
	if err != nil {
		t.Fatal(err)
	}
	events := int64(0)
	for i, m := range log {
		if m.Position != int64(i+1) {
			t.Fatalf("position %d follows %d", m.Position, i)
		}
		if m.Kind != driver.KindEvent {
			continue // a seal
		}
		events++
		if number(t, db, `SELECT count(*) FROM orders WHERE 'order/' || id = $1`, m.Stream) != 1 {
			t.Errorf("%s is in the log and not in the shop", m.Stream)
		}
	}
	if n := number(t, db, `SELECT count(*) FROM orders`); events != n {
		t.Errorf("%d events for %d orders", events, n)
	}
}

// TestARuntimeGetsWhatTheShopAppends places orders from many sides, before there is a runtime and beside it.
func TestARuntimeGetsWhatTheShopAppends(t *testing.T) {
	t.Parallel()
	db, path := created(t)
	const sides, each = 4, 15
	place := func(round string) {
		t.Helper()
		var all sync.WaitGroup
		for n := range sides {
			all.Go(func() {
				for i := range each {
					o := OrderPlaced{Order: fmt.Sprintf("%s-%d-%d", round, n, i), Customer: fmt.Sprintf("C%d", i%3), Cents: int64(100 + i)}
					if err := Place(t.Context(), db, o); err != nil {
						t.Error(err)
					}
					o.Cents = 0 // the shop's own table refuses it
					o.Order += "-free"
					if err := Place(t.Context(), db, o); err == nil {
						t.Error("an order of nothing was placed")
					}
					// Here the shop's row is fine and the append is not.
					o.Cents, o.Order = 1, "not an id"
					if err := Place(t.Context(), db, o); err == nil {
						t.Error("an order without an id was placed")
					}
				}
			})
		}
		all.Wait()
	}
	place("before")
	h := start(t, path)
	h.await(t, db)
	place("beside")
	h.await(t, db)
	dense(t, h, db)
	h.end()

	// Stopped, placed on, started again: nothing is lost and nothing counted twice.
	place("between")
	again := start(t, path)
	again.await(t, db)
	dense(t, again, db)
	if n := number(t, db, `SELECT count(*) FROM orders`); n != 3*sides*each {
		t.Errorf("%d orders, want %d", n, 3*sides*each)
	}
}

// TestAMessageTakesEffectOnce hands the shop messages as a broker would: twice, by many at once, and again after its effect
// has failed.
func TestAMessageTakesEffectOnce(t *testing.T) {
	t.Parallel()
	db, _ := created(t)
	sold := func(id, body string) *backbone.Message {
		raw := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"till","type":"till.Sold.v1","data":%s}`, id, body)
		m, err := backbone.DecodeCloudEvent([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 10 {
				if err := Award(t.Context(), db, sold(fmt.Sprintf("m%d", i), `{"n":1}`), "C1"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	points := func() int64 { return number(t, db, `SELECT points FROM points WHERE customer = 'C1'`) }
	if n := points(); n != 10 {
		t.Errorf("%d points for 10 messages", n)
	}
	var differs *backbone.DifferentMessageError
	if err := Award(t.Context(), db, sold("m1", `{"n":2}`), "C1"); !errors.As(err, &differs) {
		t.Errorf("another message of an id that is known: got error %v", err)
	}

	// The effect fails, and the row of the inbox goes with it.
	if _, err := db.ExecContext(t.Context(), `UPDATE points SET points = 1000`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Award(t.Context(), db, sold("m10", `{"n":1}`), "C1"); err == nil {
			t.Error("more points than there may be")
		}
	}
	if _, err := db.ExecContext(t.Context(), `UPDATE points SET points = 0`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Award(t.Context(), db, sold("m10", `{"n":1}`), "C1"); err != nil {
			t.Error(err)
		}
	}
	if n := points(); n != 1 {
		t.Errorf("%d points, want 1", n)
	}
}

// dieWithin places an order and kills its own process with SIGKILL: when a row is written to the table at, or, with none,
// when the order is placed.
func dieWithin(path, at string) {
	die := func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	sqlite.MustRegisterScalarFunction("die", 0, func(*sqlite.FunctionContext, []sqldriver.Value) (sqldriver.Value, error) {
		die()
		return nil, nil
	})
	db, err := Open(path)
	if err == nil {
		db.SetMaxOpenConns(1) // that has the triggers
		if table, verb, ok := strings.Cut(at, " "); ok {
			_, err = db.Exec(`CREATE TEMP TRIGGER crash AFTER ` + verb + ` ON main.` + table + ` BEGIN SELECT die(); END`)
		}
	}
	if err == nil {
		err = Place(context.Background(), db, OrderPlaced{Order: "last", Customer: "C1", Cents: 1})
	}
	if err == nil && at == "" {
		die()
	}
	fmt.Fprintln(os.Stderr, "still here:", err)
	os.Exit(1)
}

// TestACrashLeavesBothOrNeither kills a process between any two steps of an order.
func TestACrashLeavesBothOrNeither(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]int64{"orders INSERT": 0, "shop_bb_head UPDATE": 0, "shop_bb_log INSERT": 0, "": 1} {
		t.Run("at "+at, func(t *testing.T) {
			t.Parallel()
			db, path := created(t)
			if err := Place(t.Context(), db, OrderPlaced{Order: "first", Customer: "C1", Cents: 1}); err != nil {
				t.Fatal(err)
			}
			program, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env = append(os.Environ(), "ALACARTE_DATABASE="+path, "ALACARTE_AT="+at)
			out, err := cmd.CombinedOutput()
			var ended *exec.ExitError
			if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the process did not die there: %v\n%s", err, out)
			}
			orders := number(t, db, `SELECT count(*) FROM orders WHERE id = 'last'`)
			events := number(t, db, `SELECT count(*) FROM shop_bb_log WHERE stream = 'order/last'`)
			if orders != want || events != want {
				t.Errorf("%d orders and %d events, want %d of each", orders, events, want)
			}
			if err := Place(t.Context(), db, OrderPlaced{Order: "next", Customer: "C2", Cents: 5}); err != nil {
				t.Fatal(err)
			}
			h := start(t, path)
			h.await(t, db)
			dense(t, h, db)
		})
	}
}
