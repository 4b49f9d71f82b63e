package drivertest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"

	"example.org/souk/backbone/driver"
)

// Opener opens one database as a process does; a test that needs a second process
// calls it twice. The store is closed by the suite.
type Opener func(t *testing.T) driver.Store

// RunStore checks a Store against its contract. database is called once per test and
// makes an empty database. What the store declares as powers is tested, and what
// it does not declare must be refused.
func RunStore(t *testing.T, database func(t *testing.T) Opener) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, open Opener)
	}{
		{"Batch", testBatch},
		{"FailingStatement", testFailingStatement},
		{"FailingRead", testFailingRead},
		{"Rows", testRows},
		{"Values", testValues},
		{"StreamConflict", testStreamConflict},
		{"GuardConflicts", testGuardConflicts},
		{"CopiesConflict", testCopiesConflict},
		{"Positions", testPositions},
		{"Appenders", testAppenders},
		{"LoadStreams", testLoadStreams},
		{"Snapshots", testSnapshots},
		{"ManyRows", testManyRows},
		{"Read", testRead},
		{"Listen", testListen},
		{"Claim", testClaim},
		{"Takeover", testTakeover},
		{"Moves", testMoves},
		{"Parked", testParked},
		{"Amendments", testAmendments},
		{"Sagas", testSagas},
		{"Timers", testTimers},
		{"Calls", testCalls},
		{"Requests", testRequests},
		{"Prune", testPrune},
		{"PruneLong", testPruneLong},
		{"Shadow", testShadow},
		{"Migrate", testMigrate},
		{"MigrationNames", testMigrationNames},
		{"UnknownService", testUnknownService},
		{"StrangeText", testStrangeText},
		{"Now", testNow},
		{"Close", testClose},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, database(t))
		})
	}
}

// service is the one whose tables most tests use.
const service = "orders"

// ledger is a table of a service, as its migrations make it.
var ledger fs.FS = fstest.MapFS{
	"0001_ledger.sql": {Data: []byte(`-- +goose Up
CREATE TABLE {ledger} (account TEXT PRIMARY KEY, amount BIGINT NOT NULL CHECK (amount >= 0), note TEXT, proof BYTEA);
CREATE INDEX {ledger_amount} ON {ledger} (amount);
-- +goose Down
DROP TABLE {ledger};
`)},
}

// opened returns an open, migrated store, which is closed with the test.
func opened(t *testing.T, open Opener) driver.Store {
	t.Helper()
	s := open(t)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	must(t, s.Migrate(t.Context(), []driver.Schema{{Service: service, Migrations: ledger}}))
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// want fails the test unless err is the expected error.
func want(t *testing.T, err, expected error) {
	t.Helper()
	if !errors.Is(err, expected) {
		t.Fatalf("got error %v, want %v", err, expected)
	}
}

func equal[T comparable](t *testing.T, what string, got, expected T) {
	t.Helper()
	if got != expected {
		t.Fatalf("%s: got %v, want %v", what, got, expected)
	}
}

// begin opens a transaction that is rolled back with the test at the latest.
func begin(t *testing.T, s driver.Store) driver.Tx {
	t.Helper()
	tx, err := s.Begin(t.Context())
	must(t, err)
	return tx
}

// write applies rows in a transaction of their own. It loads the streams of the
// records first, as every writer must.
func write(ctx context.Context, s driver.Store, w *driver.Writes) error {
	tx, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if wants := streamsOf(w); len(wants) > 0 {
		if _, err := tx.LoadStreams(ctx, service, wants); err != nil {
			return err
		}
	}
	if err := tx.Apply(ctx, service, w); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func streamsOf(w *driver.Writes) []driver.StreamWant {
	var wants []driver.StreamWant
	seen := map[string]bool{}
	for _, r := range w.Records {
		if r.Version > 0 && !seen[r.Stream] {
			seen[r.Stream] = true
			wants = append(wants, driver.StreamWant{Stream: r.Stream})
		}
	}
	return wants
}

// event returns a public event of a stream.
func event(stream string, version int64) driver.Record {
	return driver.Record{
		Kind: driver.KindEvent, ID: fmt.Sprintf("%s-%d", stream, version), Stream: stream, Version: version, Sequence: version,
		Type: "test.Happened.v1", Data: []byte(`{"n":1}`), Meta: []byte(`{"correlationid":"c-` + stream + `"}`), Time: 1_000_000 + version,
	}
}

// command returns a command to a service.
func command(id, target string) driver.Record {
	return driver.Record{
		Kind: driver.KindCommand, ID: id, Ref: "ref-" + id, Stream: "s-" + id, Type: "test.Do.v1",
		Data: []byte(`{}`), Meta: []byte(`{}`), Time: 5, Target: target,
	}
}

// read returns a log from the first record.
func read(t *testing.T, s driver.Store, q driver.ReadQuery) []driver.Record {
	t.Helper()
	rs, err := s.Read(t.Context(), service, q)
	must(t, err)
	return rs
}

// blamed fails the test unless err is charged to a unit.
func blamed(t *testing.T, err error, unit int) {
	t.Helper()
	var u *driver.UnitError
	if !errors.As(err, &u) {
		t.Fatalf("got error %v, want a *driver.UnitError", err)
	}
	equal(t, "blamed unit", u.Unit, unit)
}

// scalar runs a query of one row and one column.
func scalar[T any](t *testing.T, s driver.Store, sql string, args ...any) T {
	t.Helper()
	var v T
	rows, err := s.Query(t.Context(), sql, args...)
	must(t, err)
	if !rows.Next() {
		t.Fatalf("no row: %v", rows.Err())
	}
	must(t, rows.Scan(&v))
	must(t, rows.Close())
	return v
}
