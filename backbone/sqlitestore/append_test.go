package sqlitestore_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	_ "modernc.org/sqlite"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/sqlitestore"
)

// program opens a database as a program of its own does.
func program(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestProgram(t *testing.T) {
	t.Parallel()
	drivertest.RunProgram(t, func(t *testing.T) drivertest.Program {
		path := filepath.Join(t.TempDir(), "shop.db")
		db := program(t, path)
		migrations, err := sqlitestore.Migrations("orders")
		if err != nil {
			t.Fatal(err)
		}
		return drivertest.Program{
			Run: func(ctx context.Context, text string) error {
				_, err := db.ExecContext(ctx, text)
				return err
			},
			Begin: func(ctx context.Context) (drivertest.ProgramTx, error) {
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
						return sqlitestore.Append(ctx, tx, "orders", out...)
					},
					Inbox: func(ctx context.Context, in backbone.Incoming) (bool, error) {
						return sqlitestore.Inbox(ctx, tx, "orders", in)
					},
					Commit:   tx.Commit,
					Rollback: tx.Rollback,
				}, nil
			},
			Open:       func(t *testing.T) driver.Store { return open(t, path) },
			Migrations: migrations,
		}
	})
}

// schemaOf lists the tables and indexes of a database, with their definitions;
// goose does not quote the name of its table.
func schemaOf(t *testing.T, db *sql.DB) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT name || ' ' || replace(coalesce(sql, ''), '"', '') FROM sqlite_master ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// TestSchemaIsWhatMigrateMakes runs the exported script, and lets a store make the
// same tables elsewhere. A store finds nothing left to do where the script ran.
func TestSchemaIsWhatMigrateMakes(t *testing.T) {
	t.Parallel()
	exported, migrated := filepath.Join(t.TempDir(), "exported.db"), filepath.Join(t.TempDir(), "migrated.db")
	script, err := sqlitestore.Schema("shop")
	if err != nil {
		t.Fatal(err)
	}
	db := program(t, exported)
	if _, err := db.ExecContext(t.Context(), script); err != nil {
		t.Fatal(err)
	}
	before := schemaOf(t, db)
	for _, path := range []string{exported, migrated} {
		s := open(t, path)
		if err := s.Migrate(t.Context(), []driver.Schema{{Service: "shop"}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := schemaOf(t, program(t, migrated))
	if d := different(before, want); d != "" {
		t.Errorf("the script and a store do not make the same: %s", d)
	}
	if d := different(schemaOf(t, db), want); d != "" {
		t.Errorf("a store changed what the script made: %s", d)
	}
}

// different returns the first definition that only one of two lists has.
func different(a, b []string) string {
	for _, lists := range [][2][]string{{a, b}, {b, a}} {
		for _, s := range lists[0] {
			if !slices.Contains(lists[1], s) {
				return s
			}
		}
	}
	return ""
}

// TestNamesThatAreNoServices are refused before they stand in SQL.
func TestNamesThatAreNoServices(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Shop", `shop"; DROP TABLE shop_bb_log; --`} {
		if _, err := sqlitestore.Append(t.Context(), nil, name); err == nil {
			t.Errorf("Append takes the service %q", name)
		}
		if _, err := sqlitestore.Inbox(t.Context(), nil, name, backbone.Incoming{}); err == nil {
			t.Errorf("Inbox takes the service %q", name)
		}
		if _, err := sqlitestore.Schema(name); err == nil {
			t.Errorf("Schema takes the service %q", name)
		}
	}
}

// TestLockedDatabaseHasItsName tries to append while another connection writes.
func TestLockedDatabaseHasItsName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")
	script, err := sqlitestore.Schema("shop")
	if err != nil {
		t.Fatal(err)
	}
	holder := program(t, path)
	if _, err := holder.ExecContext(t.Context(), "PRAGMA journal_mode=WAL;"+script); err != nil {
		t.Fatal(err)
	}
	held, err := holder.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Rollback() }()
	impatient, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = impatient.Close() }()
	tx, err := impatient.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := sqlitestore.Append(t.Context(), tx, "shop", placed("o1")); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("got error %v, want driver.ErrUnavailable", err)
	}
}
