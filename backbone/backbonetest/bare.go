package backbonetest

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// Bare is the tables of a service on a database with nothing of the backbone around them. A view's functions can be tried on it with
// events in any order and more than once, which the backbone does not let happen.
type Bare struct {
	driver.Store // nothing but Name and Query is asked of it

	tx       *sql.Tx
	question bool // parameters are ?1, not $1
}

// Tables makes a service's tables on a database that database/sql knows: "sqlite" with the address ":memory:", or "pgx" with that of a
// PostgreSQL database, for which the test imports the driver. All happens in one transaction, which ends with the test and is never committed.
func Tables(t testing.TB, database, address string, migrations fs.FS) *Bare {
	t.Helper()
	db, err := sql.Open(database, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &Bare{question: database == "sqlite"}
	if b.tx, err = db.BeginTx(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.tx.Rollback() }) // it has ended with the test's context already
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			t.Fatal(err)
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		for _, statement := range strings.Split(up, ";\n") {
			if _, err := b.tx.ExecContext(t.Context(), b.sql(statement)); err != nil {
				t.Fatalf("%s: %s: %v", name, statement, err)
			}
		}
	}
	return b
}

// sql makes of a statement of the service one for the bare tables.
func (b *Bare) sql(text string) string {
	text = strings.NewReplacer("{", "bare_", "}", "").Replace(text)
	if b.question {
		text = strings.ReplaceAll(text, "$", "?")
	}
	return text
}

// Name implements driver.Store.
func (*Bare) Name(_, table string) string { return "bare_" + table }

// Query implements driver.Store.
func (b *Bare) Query(ctx context.Context, text string, args ...any) (driver.Rows, error) {
	return b.tx.QueryContext(ctx, b.sql(text), args...) //nolint:rowserrcheck // the caller does
}

// Reader reads the tables as the service's queries do.
func (b *Bare) Reader() *backbone.Reader { return backbone.NewReader("bare", b) }

// Tx is what a view writes through when it is given a message.
func (b *Bare) Tx(m *backbone.Message) backbone.ViewTx { return bareTx{b, m} }

// Empty takes all rows out of tables.
func (b *Bare) Empty(ctx context.Context, tables ...string) error {
	var failed []error
	for _, table := range tables {
		_, err := b.tx.ExecContext(ctx, b.sql(`DELETE FROM {`+table+`}`))
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

type bareTx struct {
	on *Bare
	m  *backbone.Message
}

func (tx bareTx) Message() *backbone.Message { return tx.m }

func (tx bareTx) Exec(ctx context.Context, text string, args ...any) error {
	_, err := tx.on.tx.ExecContext(ctx, tx.on.sql(text), args...)
	return err
}

func (tx bareTx) Query(ctx context.Context, text string, args ...any) (backbone.Rows, error) {
	return tx.on.Query(ctx, text, args...)
}
