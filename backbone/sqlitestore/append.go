package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/sqlstore"
)

// Append appends events to the log of a service within a transaction of the
// caller's own, beside the caller's own rows: all of it commits, or nothing does.
// It is called once in a transaction, as its last statement before COMMIT, with
// everything that is to be appended; the caller commits.
//
//	appended, err := sqlitestore.Append(ctx, tx, "shop", backbone.Outgoing{
//		Stream: "order/o1", Events: []backbone.Event{OrderPlaced{Order: "o1"}}, Time: time.Now(),
//	})
//
// What is returned has the positions and ids that it was given, in order; they
// count once the transaction is committed. A stream that does not stand at
// Outgoing.Expect is a *backbone.VersionError. A database that another connection
// has locked, or has changed since this transaction first read, is
// driver.ErrUnavailable: run the transaction again.
//
// The tables must be there: see [Migrations]. tx comes from the driver
// modernc.org/sqlite on the same file; another copy of SQLite within one process
// would break the file's locks. Transactions should begin as writers and wait for
// each other:
//
//	sql.Open("sqlite", "file:shop.db?_txlock=immediate&_pragma=busy_timeout(5000)")
//
// A Runtime that has the file open, in this process or in another, finds what was
// appended within logbus.Config.Poll.
func Append(ctx context.Context, tx *sql.Tx, service string, out ...backbone.Outgoing) ([]*backbone.Message, error) {
	f, err := sqlstore.Foreign(foreign{tx}, sqlstore.Dialect{}, service, tableName)
	if err != nil {
		return nil, err
	}
	return f.Append(ctx, out)
}

// Inbox notes in a transaction of the caller's own that a message is handled, and
// reports whether it is new to its subscription: if not, its effect is in the
// database already, and the caller does nothing more. service names whose tables
// hold the inbox. A message of the same source and id with another type or other
// data is a *backbone.DifferentMessageError. Append says what tx and its errors
// are.
func Inbox(ctx context.Context, tx *sql.Tx, service string, in backbone.Incoming) (bool, error) {
	f, err := sqlstore.Foreign(foreign{tx}, sqlstore.Dialect{}, service, tableName)
	if err != nil {
		return false, err
	}
	return f.Inbox(ctx, in)
}

// Migrations returns the backbone's own tables of a service as SQL files for a
// migration tool of the program's own: NNNN_name.sql, a file a version, to be run
// in order and once each. A Store that is opened on the database later finds them
// applied. The files carry the mark of goose and are plain SQL to other tools.
func Migrations(service string) (fs.FS, error) {
	if err := sqlstore.CheckName(service); err != nil {
		return nil, err
	}
	name := func(table string) string { return tableName(service, table) }
	own, err := sqlstore.OwnMigrations(columnTypes, name, name, nil)
	if err != nil {
		return nil, err
	}
	return sqlstore.Export(goose.DialectSQLite3, own, tableName(service, sqlstore.OwnVersions), "")
}

// Schema returns all of Migrations as one script.
func Schema(service string) (string, error) {
	files, err := Migrations(service)
	if err != nil {
		return "", err
	}
	return sqlstore.Join(files)
}

// foreign is a transaction of database/sql on which the shared part writes.
type foreign struct{ tx *sql.Tx }

// named gives an error of the driver its name in the contract.
func named(err error) error {
	if failed, ok := errors.AsType[*sqlite.Error](err); ok {
		return &Error{Code: failed.Code(), Message: failed.Error()}
	}
	return err
}

// Exec implements sqlstore.Conn.
func (f foreign) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	result, err := f.tx.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, named(err)
	}
	return result.RowsAffected()
}

// Query implements sqlstore.Conn.
func (f foreign) Query(ctx context.Context, text string, args ...any) (driver.Rows, error) {
	rows, err := f.tx.QueryContext(ctx, text, args...) //nolint:rowserrcheck // whoever reads the rows asks
	if err != nil {
		return nil, named(err)
	}
	return rows, nil
}

// Select implements sqlstore.Conn.
func (f foreign) Select(ctx context.Context, service string, b *sqlstore.Batch, each func(driver.Rows) error) error {
	for from := 0; from < b.N; {
		n := chunk(b.N - from)
		rows, err := f.Query(ctx, shapeText(service, b.Shape, n), cells(b, from, n)...)
		if err != nil {
			return err
		}
		for err == nil && rows.Next() {
			err = each(rows)
		}
		if err := named(errors.Join(err, rows.Err(), rows.Close())); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// Write implements sqlstore.Conn.
func (f foreign) Write(ctx context.Context, service string, batches []*sqlstore.Batch, log *sqlstore.Batch) (int64, error) {
	for _, b := range batches {
		if err := f.write(ctx, service, b); err != nil {
			return 0, err
		}
	}
	if log == nil {
		return 0, nil
	}
	var last int64
	take := "UPDATE " + tableName(service, "bb_head") + " SET position = position + $1 RETURNING position"
	if err := f.tx.QueryRowContext(ctx, take, log.N).Scan(&last); err != nil {
		return 0, named(err)
	}
	first := last - int64(log.N) + 1
	for i := range log.N {
		log.Cols[0].Int[i] = first + int64(i)
	}
	return first, f.write(ctx, service, log)
}

func (f foreign) write(ctx context.Context, service string, b *sqlstore.Batch) error {
	for from := 0; from < b.N; {
		n := 1
		if b.Shape.Verb == sqlstore.Insert {
			n = chunk(b.N - from)
		}
		changed, err := f.Exec(ctx, shapeText(service, b.Shape, n), cells(b, from, n)...)
		var failed *Error
		switch {
		case errors.As(err, &failed) && failed.constraint():
			return fmt.Errorf("%s: %w: %w", b.Shape.Table, driver.ErrConflict, err)
		case err != nil:
			return fmt.Errorf("%s: %w", b.Shape.Table, err)
		case b.Shape.Guard && changed != int64(n):
			return b.Conflict(from)
		}
		from += n
	}
	return nil
}

// cells returns the cells of n rows as arguments, row by row.
func cells(b *sqlstore.Batch, from, n int) []any {
	args := make([]any, 0, n*len(b.Cols))
	for row := from; row < from+n; row++ {
		for i, c := range b.Shape.Columns {
			switch c.Type {
			case sqlstore.Text:
				args = append(args, b.Cols[i].Text[row])
			case sqlstore.Int:
				args = append(args, b.Cols[i].Int[row])
			case sqlstore.Bytes:
				args = append(args, b.Cols[i].Bytes[row])
			}
		}
	}
	return args
}
