package drivertest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"example.org/souk/backbone/driver"
)

func testShadow(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	tables := []string{"ledger"}
	live, shadow := s.Name(service, "ledger"), s.Name(service, s.Shadow("ledger"))
	run := func(sql string, args ...any) error {
		t.Helper()
		tx := begin(t, s)
		defer func() { _ = tx.Rollback() }()
		if err := tx.Exec(ctx, []driver.Statement{{SQL: sql, Args: args}}); err != nil {
			return err
		}
		return tx.Commit(ctx)
	}
	upsert := func(table, account string, amount int) error {
		return run("INSERT INTO "+table+" AS l (account, amount) VALUES ($1, $2) ON CONFLICT (account) DO UPDATE SET amount = l.amount + excluded.amount",
			account, amount)
	}
	must(t, upsert(live, "old", 1))
	for round := range 3 { // the names must allow it any number of times
		must(t, s.CreateShadow(ctx, service, tables))
		must(t, upsert(shadow, "left over", 1))
		must(t, s.CreateShadow(ctx, service, tables))
		equal(t, "rows of a fresh shadow", scalar[int64](t, s, "SELECT count(*) FROM "+shadow), 0)
		must(t, upsert(shadow, "new", round))
		must(t, upsert(shadow, "new", 10))
		if upsert(shadow, "negative", -1) == nil {
			t.Fatal("a constraint of the live table is missing in its shadow")
		}
		tx := begin(t, s)
		must(t, s.SwapShadow(ctx, tx, service, tables))
		must(t, tx.Rollback())
		equal(t, "new rows before the swap", scalar[int64](t, s, "SELECT count(*) FROM "+live+" WHERE account = 'old'"), int64(min(1, 1-min(round, 1))))
		tx = begin(t, s)
		must(t, s.SwapShadow(ctx, tx, service, tables))
		must(t, tx.Commit(ctx))
		equal(t, "amount after the swap", scalar[int64](t, s, "SELECT amount FROM "+live+" WHERE account = 'new'"), int64(round+10))
		equal(t, "accounts after the swap", scalar[int64](t, s, "SELECT count(*) FROM "+live), 1)
		if upsert(live, "negative", -1) == nil {
			t.Fatal("a constraint is missing after the swap")
		}
	}
	// Slices that are seized in the swap's transaction are nobody's once it commits, and stay with their owner if it does not.
	_, err := s.InitSubscription(ctx, service, "seized", 2, map[string]int64{"orders": 3})
	must(t, err)
	held, err := s.Claim(ctx, service, "seized", "me", 2, time.Hour)
	must(t, err)
	for _, commits := range []bool{false, true} {
		tx := begin(t, s)
		seized, err := s.Seize(ctx, tx, service, tables, []string{"seized"})
		must(t, err)
		equal(t, "slices that are seized", len(seized), 2)
		for i, c := range seized {
			equal(t, "a slice that is seized", fmt.Sprint(c.Position, c.Epoch, c.Owner), fmt.Sprint(3, held[i].Epoch+1, ""))
		}
		left := 2
		if commits {
			left = 0
			must(t, tx.Commit(ctx))
		} else {
			must(t, tx.Rollback())
		}
		kept, err := s.Renew(ctx, service, "seized", "me", time.Hour)
		must(t, err)
		equal(t, "slices that are left", len(kept), left)
	}
	must(t, s.CreateShadow(ctx, service, tables))
	must(t, s.DropShadow(ctx, service, tables))
	must(t, s.DropShadow(ctx, service, tables))
	if upsert(shadow, "x", 1) == nil {
		t.Fatal("a dropped shadow is still there")
	}
	// A later migration finds the index under its own name.
	files := fstest.MapFS{
		"0001_ledger.sql": ledger.(fstest.MapFS)["0001_ledger.sql"],
		"0002_index.sql":  {Data: []byte("-- +goose Up\nDROP INDEX {ledger_amount};\n-- +goose Down\nSELECT 1;\n")},
	}
	must(t, s.Migrate(ctx, []driver.Schema{{Service: service, Migrations: files}}))
}

// testMigrate has several stores, or where there can be one only, several callers,
// migrate at once.
// A file that would not be run is named instead of being passed over.
func testMigrationNames(t *testing.T, open Opener) {
	s := open(t)
	t.Cleanup(func() { must(t, s.Close()) })
	text := ledger.(fstest.MapFS)["0001_ledger.sql"]
	for _, name := range []string{"0001.sql", "ledger.sql", "first_ledger.sql", "0000_ledger.sql", "later/0002.sql"} {
		files := fstest.MapFS{"0001_ledger.sql": text, name: text}
		err := s.Migrate(t.Context(), []driver.Schema{{Service: service, Migrations: files}})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "NNNN_name.sql") {
			t.Errorf("a file named %s: %v", name, err)
		}
	}
}

func testMigrate(t *testing.T, open Opener) {
	stores := []driver.Store{open(t)}
	if stores[0].Powers().Exclusive {
		stores = append(stores, stores[0])
	} else {
		stores = append(stores, open(t), open(t), open(t))
	}
	ctx := t.Context()
	schemas := []driver.Schema{{Service: service, Migrations: ledger}, {Service: "points", Migrations: ledger}, {Service: "bare"}}
	var all sync.WaitGroup
	for _, s := range stores {
		all.Go(func() {
			if err := s.Migrate(ctx, schemas); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	t.Cleanup(func() {
		for _, s := range stores {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	if t.Failed() {
		return
	}
	s := stores[len(stores)-1]
	must(t, s.Migrate(ctx, schemas)) // again
	// Services do not see each other's tables.
	must(t, write(ctx, s, &driver.Writes{Records: []driver.Record{event("a", 1)}}))
	for name, head := range map[string]int64{service: 1, "points": 0, "bare": 0} {
		got, err := s.Head(ctx, name)
		must(t, err)
		equal(t, "head of "+name, got, head)
	}
	more := fstest.MapFS{
		"0001_ledger.sql": ledger.(fstest.MapFS)["0001_ledger.sql"],
		"0002_more.sql":   {Data: []byte("-- +goose Up\nALTER TABLE {ledger} ADD COLUMN extra TEXT;\n-- +goose Down\nSELECT 1;\n")},
	}
	must(t, s.Migrate(ctx, []driver.Schema{{Service: service, Migrations: more}}))
	equal(t, "rows with the new column", scalar[int64](t, s, "SELECT count(extra) FROM "+s.Name(service, "ledger")), 0)
	for _, name := range []string{"", "Orders", "a-b", "a_b", `a"b`, "1a"} {
		if s.Migrate(ctx, []driver.Schema{{Service: name}}) == nil {
			t.Fatalf("service name %q was accepted", name)
		}
	}
	broken := fstest.MapFS{"0001_broken.sql": {Data: []byte("-- +goose Up\nCREATE NONSENSE;\n")}}
	if s.Migrate(ctx, []driver.Schema{{Service: "broken", Migrations: broken}}) == nil {
		t.Fatal("a broken migration was accepted")
	}
	_, err := s.Head(ctx, service)
	must(t, err)
}

func testUnknownService(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	const unknown = "nobody"
	tx := begin(t, s)
	defer func() { _ = tx.Rollback() }()
	calls := map[string]func() error{
		"Head":             func() error { _, err := s.Head(ctx, unknown); return err },
		"Read":             func() error { _, err := s.Read(ctx, unknown, driver.ReadQuery{}); return err },
		"Standing":         func() error { _, err := s.Standing(ctx, unknown, "x"); return err },
		"Checkpoints":      func() error { _, err := s.Checkpoints(ctx, unknown, ""); return err },
		"Value":            func() error { _, err := s.Value(ctx, unknown, "x"); return err },
		"CreateShadow":     func() error { return s.CreateShadow(ctx, unknown, nil) },
		"Tx.Answers":       func() error { _, err := tx.Answers(ctx, unknown, []string{"x"}); return err },
		"Tx.LoadStreams":   func() error { _, err := tx.LoadStreams(ctx, unknown, nil); return err },
		"Tx.Apply":         func() error { return tx.Apply(ctx, unknown, &driver.Writes{}) },
		"SetValue":         func() error { return s.SetValue(ctx, unknown, "x", nil) },
		"InitSubscription": func() error { _, err := s.InitSubscription(ctx, unknown, "x", 1, nil); return err },
	}
	for name, call := range calls {
		if call() == nil {
			t.Fatalf("%s accepts a service that was not migrated", name)
		}
	}
	// None of that broke the transaction.
	must(t, tx.Apply(ctx, service, &driver.Writes{Records: []driver.Record{command("c", "x")}}))
	must(t, tx.Commit(ctx))
}

// Ids and data arrive as they were, whatever SQL would make of them.
func testStrangeText(t *testing.T, open Opener) {
	s, ctx := opened(t, open), t.Context()
	for i, text := range []string{`'; DROP TABLE x; --`, `"`, `a"b'c\d`, "{bb_log}", "$1", "ümläut ☃", "%", "a\nb\tc", "NULL"} {
		r := event(text, 1)
		r.Data = []byte(text + "\x00\xff")
		saga := driver.SagaKey{Name: text, ID: text}
		must(t, write(ctx, s, &driver.Writes{
			Records: []driver.Record{r}, Answers: []driver.Answer{{ID: text}},
			Sagas: []driver.Saga{{SagaKey: saga, State: text, Revision: 1}},
			Park:  []driver.Parked{{Subscription: text, Key: text, ID: text}},
		}))
		got := read(t, s, driver.ReadQuery{ID: text + "-1"})
		if len(got) != 1 || got[0].Stream != text || string(got[0].Data) != string(r.Data) || got[0].Position != int64(i+1) {
			t.Fatalf("%q: got %+v", text, got)
		}
		tx := begin(t, s)
		answers, err := tx.Answers(ctx, service, []string{text})
		must(t, err)
		sagas, err := tx.Sagas(ctx, service, []driver.SagaKey{saga})
		must(t, err)
		streams, err := tx.LoadStreams(ctx, service, []driver.StreamWant{{Stream: text}})
		must(t, err)
		must(t, tx.Rollback())
		if len(answers) != 1 || len(sagas) != 1 || streams[0].Version != 1 {
			t.Fatalf("%q: got %v %v %v", text, answers, sagas, streams)
		}
		parked, err := s.ParkedRows(ctx, service, text, text, 0)
		must(t, err)
		equal(t, fmt.Sprintf("%q parked", text), len(parked), 1)
	}
}

func testNow(t *testing.T, open Opener) {
	s := opened(t, open)
	last, err := s.Now(t.Context())
	must(t, err)
	for range 100 {
		now, err := s.Now(t.Context())
		must(t, err)
		if now.Before(last) {
			t.Fatalf("%v came after %v", now, last)
		}
		last = now
	}
}

// A closed store keeps what was committed and is of no more use; closing twice is
// fine.
func testClose(t *testing.T, open Opener) {
	s := open(t)
	ctx := t.Context()
	must(t, s.Migrate(ctx, []driver.Schema{{Service: service, Migrations: ledger}}))
	must(t, write(ctx, s, &driver.Writes{Records: []driver.Record{event("a", 1)}}))
	must(t, s.Close())
	must(t, s.Close())
	if _, err := s.Begin(ctx); err == nil {
		t.Fatal("a closed store begins a transaction")
	}
	if _, err := s.Head(ctx, service); err == nil {
		t.Fatal("a closed store reads")
	}
	again := opened(t, open)
	equal(t, "records", len(read(t, again, driver.ReadQuery{})), 1)
}
