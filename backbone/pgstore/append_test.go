package pgstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

func pool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	p, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func database(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(8)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// world is what the programs of both kinds have in common.
func world(t *testing.T, url string) drivertest.Program {
	t.Helper()
	migrations, err := pgstore.Migrations("orders")
	if err != nil {
		t.Fatal(err)
	}
	conn := pool(t, url)
	return drivertest.Program{
		Run: func(ctx context.Context, text string) error {
			_, err := conn.Exec(ctx, text)
			return err
		},
		Open:       func(t *testing.T) driver.Store { return open(t, url) },
		Migrations: migrations,
	}
}

func TestProgramWithPgx(t *testing.T) {
	t.Parallel()
	drivertest.RunProgram(t, func(t *testing.T) drivertest.Program {
		url := testserver.Postgres(t).Database(t)
		p, conn := world(t, url), pool(t, url)
		p.Begin = func(ctx context.Context) (drivertest.ProgramTx, error) {
			tx, err := conn.Begin(ctx)
			if err != nil {
				return drivertest.ProgramTx{}, err
			}
			return drivertest.ProgramTx{
				Exec: func(ctx context.Context, text string, args ...any) error {
					_, err := tx.Exec(ctx, text, args...)
					return err
				},
				Append: func(ctx context.Context, out ...backbone.Outgoing) ([]*backbone.Message, error) {
					return pgstore.Append(ctx, tx, "orders", out...)
				},
				Inbox: func(ctx context.Context, in backbone.Incoming) (bool, error) {
					return pgstore.Inbox(ctx, tx, "orders", in)
				},
				Commit:   func() error { return tx.Commit(ctx) },
				Rollback: func() error { return tx.Rollback(ctx) },
			}, nil
		}
		return p
	})
}

func TestProgramWithDatabaseSQL(t *testing.T) {
	t.Parallel()
	drivertest.RunProgram(t, func(t *testing.T) drivertest.Program {
		url := testserver.Postgres(t).Database(t)
		p, db := world(t, url), database(t, url)
		p.Begin = func(ctx context.Context) (drivertest.ProgramTx, error) {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return drivertest.ProgramTx{}, err
			}
			return drivertest.ProgramTx{
				Exec: func(ctx context.Context, text string, args ...any) error {
					_, err := tx.ExecContext(ctx, text, args...)
					return err
				},
				Append: func(ctx context.Context, out ...backbone.Outgoing) ([]*backbone.Message, error) {
					return pgstore.AppendSQL(ctx, tx, "orders", out...)
				},
				Inbox: func(ctx context.Context, in backbone.Incoming) (bool, error) {
					return pgstore.InboxSQL(ctx, tx, "orders", in)
				},
				Commit:   tx.Commit,
				Rollback: tx.Rollback,
			}, nil
		}
		return p
	})
}

// catalogue lists the columns and indexes of a schema.
func catalogue(t *testing.T, url string) []string {
	t.Helper()
	rows, err := pool(t, url).Query(t.Context(), `
		SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
			|| ' ' || is_identity FROM information_schema.columns WHERE table_schema = 'shop'
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'shop'
		UNION ALL SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
		UNION ALL SELECT pg_get_constraintdef(oid) || conname FROM pg_constraint WHERE connamespace = 'shop'::regnamespace
		UNION ALL SELECT relname || coalesce(reloptions::text, '') FROM pg_class WHERE relnamespace = 'shop'::regnamespace
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestSchemaIsWhatMigrateMakes runs the exported script, and lets a store make the
// same tables elsewhere. A store finds nothing left to do where the script ran.
func TestSchemaIsWhatMigrateMakes(t *testing.T) {
	t.Parallel()
	exported, migrated := testserver.Postgres(t).Database(t), testserver.Postgres(t).Database(t)
	script, err := pgstore.Schema("shop")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool(t, exported).Exec(t.Context(), script); err != nil {
		t.Fatal(err)
	}
	before := catalogue(t, exported)
	for _, url := range []string{exported, migrated} {
		s := open(t, url)
		if err := s.Migrate(t.Context(), []driver.Schema{{Service: "shop"}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := catalogue(t, migrated)
	if len(want) < 100 {
		t.Fatalf("the catalogue has %d entries", len(want))
	}
	for name, got := range map[string][]string{"the script": before, "a store behind the script": catalogue(t, exported)} {
		for _, line := range got {
			if !slices.Contains(want, line) {
				t.Errorf("%s makes %s, a store does not", name, line)
			}
		}
		for _, line := range want {
			if !slices.Contains(got, line) {
				t.Errorf("%s does not make %s", name, line)
			}
		}
	}
}

func happened(stream string) backbone.Outgoing {
	return backbone.Outgoing{Stream: stream, Events: []backbone.Event{happening{}}, Time: time.Unix(1, 0)}
}

type happening struct{}

func (happening) EventType() string { return "orders.Happened.v1" }

// TestNotifyWakesListeners appends as a program and wakes a store that listens.
func TestNotifyWakesListeners(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).Database(t)
	conn, db := pool(t, url), database(t, url)
	s := migrated(t, pgstore.Config{URL: url})
	woken := make(chan struct{}, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	listening := make(chan error, 1)
	go func() {
		listening <- s.Listen(ctx, []string{service}, func(string, int64, bool) {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	wake := func(what string) {
		t.Helper()
		select {
		case <-woken:
		case <-ctx.Done():
			t.Fatalf("not woken by %s", what)
		}
	}
	wake("the start")
	for what, notify := range map[string]func() error{
		"Notify":    func() error { return pgstore.Notify(ctx, conn, service) },
		"NotifySQL": func() error { return pgstore.NotifySQL(ctx, db, service) },
	} {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			_, err := pgstore.Append(ctx, tx, service, happened("order/o1"))
			return err
		})
		if err := errors.Join(err, notify()); err != nil {
			t.Fatal(err)
		}
		wake(what)
	}
	cancel()
	if err := <-listening; !errors.Is(err, context.Canceled) {
		t.Errorf("listening ended with %v", err)
	}
}

// TestSerializationFailureIsConflict appends in two transactions at a level at
// which the later one cannot see the earlier one's position.
func TestSerializationFailureIsConflict(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).Database(t)
	conn := pool(t, url)
	migrated(t, pgstore.Config{URL: url})
	ctx := t.Context()
	later, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = later.Rollback(ctx) }()
	if _, err := later.Exec(ctx, "SELECT 1"); err != nil { // from here on it sees what is committed now
		t.Fatal(err)
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := pgstore.Append(ctx, tx, service, happened("order/o1"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pgstore.Append(ctx, later, service, happened("order/o2")); !errors.Is(err, driver.ErrConflict) {
		t.Errorf("got error %v, want driver.ErrConflict", err)
	}
}

// TestAppendersWaitForTheHead holds an append open: another append waits for it,
// readers and transactions that append nothing do not.
func TestAppendersWaitForTheHead(t *testing.T) {
	t.Parallel()
	url := testserver.PostgresOwn(t).Database(t) // a transaction stays open
	conn := pool(t, url)
	s := migrated(t, pgstore.Config{URL: url})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Rollback(ctx) }()
	if _, err := pgstore.Append(ctx, first, service, happened("order/o1")); err != nil {
		t.Fatal(err)
	}
	second, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Rollback(ctx) }()
	ended := make(chan string, 1)
	go func() {
		appended, err := pgstore.Append(ctx, second, service, happened("order/o2"))
		if err == nil {
			err = second.Commit(ctx)
		}
		if err != nil {
			ended <- err.Error()
			return
		}
		ended <- fmt.Sprintf("%s at %d", appended[0].Stream, appended[0].Position)
	}()
	waiting := `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%bb_head%'`
	for n := 0; n == 0; {
		if err := conn.QueryRow(ctx, waiting).Scan(&n); err != nil {
			t.Fatalf("the second append does not wait: %v", err)
		}
	}
	if list, err := s.Blockers(ctx, 0); err != nil || len(list) != 1 || list[0].Process != int(first.Conn().PgConn().PID()) || !strings.Contains(list[0].Who, "idle in transaction") {
		t.Errorf("those who are waited for are %v, error %v, want process %d", list, err, first.Conn().PgConn().PID())
	}
	if list, err := s.Blockers(ctx, patience); err != nil || len(list) != 0 {
		t.Errorf("those who have been waited for for %s are %v, error %v", patience, list, err)
	}
	if head, err := s.Head(ctx, service); err != nil || head != 0 {
		t.Errorf("a reader sees head %d, error %v", head, err)
	}
	if err := first.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if got := <-ended; got != "order/o2 at 2" {
		t.Errorf("the second append: %s", got)
	}
}

func TestNamesThatAreNoServices(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Shop", `shop"; DROP SCHEMA public; --`, strings.Repeat("x", 33)} {
		if _, err := pgstore.Append(t.Context(), nil, name); err == nil {
			t.Errorf("Append takes the service %q", name)
		}
		if _, err := pgstore.InboxSQL(t.Context(), nil, name, backbone.Incoming{}); err == nil {
			t.Errorf("InboxSQL takes the service %q", name)
		}
		if _, err := pgstore.Schema(name); err == nil {
			t.Errorf("Schema takes the service %q", name)
		}
	}
}
