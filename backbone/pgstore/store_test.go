package pgstore_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

func TestContract(t *testing.T) {
	drivertest.RunStore(t, func(t *testing.T) drivertest.Opener {
		url := testserver.Postgres(t).Database(t)
		return func(t *testing.T) driver.Store { return open(t, url) }
	})
}

func open(t testing.TB, url string) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Open(t.Context(), pgstore.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// service is the one whose tables the tests use, and patience how long they wait
// for what must come.
const (
	service  = "orders"
	patience = 30 * time.Second
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// rows is a table of the service: what the tests write beside the log. Its id
// comes from a sequence, and xid says which transaction wrote the row.
var rows fs.FS = fstest.MapFS{"0001_rows.sql": {Data: []byte(`-- +goose Up
CREATE TABLE {rows} (
	id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	xid  XID8 NOT NULL DEFAULT pg_current_xact_id(),
	name TEXT NOT NULL
);
-- +goose Down
DROP TABLE {rows};
`)}}

// migrated opens a store with the service's tables. It is closed with the test.
func migrated(t *testing.T, config pgstore.Config) *pgstore.Store {
	t.Helper()
	config.Log = quiet
	s, err := pgstore.Open(t.Context(), config)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	must(t, s.Migrate(t.Context(), []driver.Schema{{Service: service, Migrations: rows}}))
	return s
}

// begun returns a transaction that has a row and a record of that name, the
// version of its stream, and is ready to be committed.
func begun(ctx context.Context, s *pgstore.Store, stream, name string, version int64) (_ driver.Tx, err error) {
	tx, err := s.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the first error counts
		}
	}()
	if _, err := tx.LoadStreams(ctx, service, []driver.StreamWant{{Stream: stream, After: version - 1}}); err != nil {
		return nil, err
	}
	if err := tx.Exec(ctx, []driver.Statement{insert(s, name)}); err != nil {
		return nil, err
	}
	return tx, tx.Apply(ctx, service, &driver.Writes{Records: []driver.Record{event(stream, name, version)}})
}

func insert(s *pgstore.Store, name string) driver.Statement {
	return driver.Statement{SQL: "INSERT INTO " + s.Name(service, "rows") + " (name) VALUES ($1)", Args: []any{name}}
}

func event(stream, name string, version int64) driver.Record {
	return driver.Record{
		Kind: driver.KindEvent, ID: name, Stream: stream, Version: version, Sequence: version,
		Type: "test.Happened.v1", Data: []byte(`{}`), Meta: []byte(`{}`), Time: version,
	}
}

// appended commits a row and a record, which are the first of a stream of that name.
func appended(ctx context.Context, s *pgstore.Store, name string) error {
	tx, err := begun(ctx, s, name, name, 1)
	if err != nil {
		return err
	}
	return errors.Join(tx.Commit(ctx), tx.Rollback())
}

// connect returns a connection of the test's own, which is closed with it.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// run runs statements without parameters, each in a transaction of its own.
func run(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, text := range statements {
		_, err := conn.Exec(t.Context(), text)
		must(t, err)
	}
}

// number returns what a query of one row with one number says.
func number(t *testing.T, s *pgstore.Store, sql string, args ...any) (n int64) {
	t.Helper()
	r, err := s.Query(t.Context(), sql, args...)
	must(t, err)
	defer func() { must(t, r.Close()) }()
	if !r.Next() {
		t.Fatalf("no row: %v", r.Err())
	}
	must(t, r.Scan(&n))
	return n
}

// eventually waits until what is asked for holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	for !holds() {
		select {
		case <-often.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
