package pgstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/sqlstore"
)

// Append appends events to the log of a service within a transaction of the
// caller's own, beside the caller's own rows: all of it commits, or nothing does.
//
// It is called once in a transaction, as its last statement before COMMIT, with
// everything that is to be appended: it takes the log's head, and other appends to
// that log wait until the transaction ends. A second call could wait for a stream
// whose holder waits for the head, which PostgreSQL ends as a deadlock.
//
// What is returned has the positions and ids that it was given, in order; they
// count once the transaction is committed. A stream that does not stand at
// Outgoing.Expect is a *backbone.VersionError; nothing was written and the
// transaction still stands. After any other error of the database only rollback
// is left, and driver.ErrConflict among them (a deadlock, a serialization failure)
// says that running the transaction again is right. READ COMMITTED is enough; at
// higher levels every two appends that overlap conflict.
//
// The tables must be there: see [Migrations]. Subscriptions find what was appended
// within logbus.Config.Poll, and at once after [Notify].
func Append(ctx context.Context, tx pgx.Tx, service string, out ...backbone.Outgoing) ([]*backbone.Message, error) {
	return appendTo(ctx, foreign{tx}, service, out)
}

// AppendSQL is Append for database/sql. It is made for the driver
// github.com/jackc/pgx/v5/stdlib, and gives any driver only texts and integers as
// arguments; the errors of another have no name of this package.
func AppendSQL(ctx context.Context, tx *sql.Tx, service string, out ...backbone.Outgoing) ([]*backbone.Message, error) {
	return appendTo(ctx, foreignSQL{tx}, service, out)
}

func appendTo(ctx context.Context, conn sqlstore.Conn, service string, out []backbone.Outgoing) ([]*backbone.Message, error) {
	f, err := sqlstore.Foreign(conn, dialect, service, tableName)
	if err != nil {
		return nil, err
	}
	return f.Append(ctx, out)
}

// Inbox notes in a transaction of the caller's own that a message is handled, and
// reports whether it is new to its subscription: if not, its effect is in the
// database already, and the caller does nothing more. service names whose tables
// hold the inbox. Two transactions that bring one message wait for each other: the
// second one hears that it is not new, or, when the first rolls back, that it is.
//
// A message of the same source and id with another type or other data is a
// *backbone.DifferentMessageError; the transaction still stands.
func Inbox(ctx context.Context, tx pgx.Tx, service string, in backbone.Incoming) (bool, error) {
	return inbox(ctx, foreign{tx}, service, in)
}

// InboxSQL is Inbox for database/sql; AppendSQL says for which drivers.
func InboxSQL(ctx context.Context, tx *sql.Tx, service string, in backbone.Incoming) (bool, error) {
	return inbox(ctx, foreignSQL{tx}, service, in)
}

func inbox(ctx context.Context, conn sqlstore.Conn, service string, in backbone.Incoming) (bool, error) {
	f, err := sqlstore.Foreign(conn, dialect, service, tableName)
	if err != nil {
		return false, err
	}
	return f.Inbox(ctx, in)
}

const notifyText = "SELECT pg_notify($1, $2)"

// Notify wakes the subscriptions to a service's log after a transaction with an
// Append was committed. It is a hint that saves the time until they look by
// themselves, and nothing is lost without it. db is a pool or connection, not the
// transaction: commits that carry a notification wait for each other in the whole
// database.
func Notify(ctx context.Context, db interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}, service string,
) error {
	_, err := db.Exec(ctx, notifyText, channel(service), "")
	return classify(err)
}

// NotifySQL is Notify for database/sql.
func NotifySQL(ctx context.Context, db *sql.DB, service string) error {
	_, err := db.ExecContext(ctx, notifyText, channel(service), "")
	return classify(err)
}

// Migrations returns the backbone's own tables of a service as SQL files for a
// migration tool of the program's own: NNNN_name.sql, a file a version, to be run
// in order and once each. They make the schema, and name it wherever it is meant,
// so search_path does not matter. A Store that is opened on the database later
// finds them applied. The files carry the mark of goose and are plain SQL to other
// tools.
func Migrations(service string) (fs.FS, error) {
	if err := sqlstore.CheckName(service); err != nil {
		return nil, err
	}
	table := func(table string) string { return tableName(service, table) }
	own, err := sqlstore.OwnMigrations(columnTypes, table, plain, migrations)
	if err != nil {
		return nil, err
	}
	schema := "CREATE SCHEMA IF NOT EXISTS " + pgx.Identifier{service}.Sanitize() + ";\n"
	return sqlstore.Export(goose.DialectPostgres, own, table(sqlstore.OwnVersions), schema)
}

// Schema returns all of Migrations as one script.
func Schema(service string) (string, error) {
	files, err := Migrations(service)
	if err != nil {
		return "", err
	}
	return sqlstore.Join(files)
}

// foreign is a transaction of pgx on which the shared part writes.
type foreign struct{ tx pgx.Tx }

// Exec implements sqlstore.Conn.
func (f foreign) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	tag, err := f.tx.Exec(ctx, text, args...)
	return tag.RowsAffected(), classify(err)
}

// Query implements sqlstore.Conn.
func (f foreign) Query(ctx context.Context, text string, args ...any) (driver.Rows, error) {
	r, err := f.tx.Query(ctx, text, args...)
	if err != nil {
		return nil, classify(err)
	}
	return &rows{Rows: r}, nil
}

// Select implements sqlstore.Conn.
func (f foreign) Select(ctx context.Context, service string, b *sqlstore.Batch, each func(driver.Rows) error) error {
	r, err := f.Query(ctx, shapeText(service, b.Shape), arrays(b)...)
	if err != nil {
		return err
	}
	return scanAll(r, each)
}

// Write implements sqlstore.Conn.
func (f foreign) Write(ctx context.Context, service string, batches []*sqlstore.Batch, log *sqlstore.Batch) (int64, error) {
	first, err := wrote(f.tx.SendBatch(ctx, writes(service, batches, log, false)), batches, log, false)
	return first, classify(err)
}

// foreignSQL is a transaction of database/sql on which the shared part writes.
type foreignSQL struct{ tx *sql.Tx }

// Exec implements sqlstore.Conn.
func (f foreignSQL) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	result, err := f.tx.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, classify(err)
	}
	return result.RowsAffected()
}

// Query implements sqlstore.Conn.
func (f foreignSQL) Query(ctx context.Context, text string, args ...any) (driver.Rows, error) {
	r, err := f.tx.QueryContext(ctx, text, args...) //nolint:rowserrcheck // whoever reads the rows asks
	if err != nil {
		return nil, classify(err)
	}
	return r, nil
}

// Select implements sqlstore.Conn.
func (f foreignSQL) Select(ctx context.Context, service string, b *sqlstore.Batch, each func(driver.Rows) error) error {
	r, err := f.Query(ctx, shapeText(service, b.Shape), literals(b)...)
	if err != nil {
		return err
	}
	return scanAll(r, each)
}

func scanAll(r driver.Rows, each func(driver.Rows) error) error {
	for r.Next() {
		if err := each(r); err != nil {
			return errors.Join(err, r.Close())
		}
	}
	return classify(first(r.Err(), r.Close()))
}

// Write implements sqlstore.Conn.
func (f foreignSQL) Write(ctx context.Context, service string, batches []*sqlstore.Batch, log *sqlstore.Batch) (int64, error) {
	for _, b := range batches {
		changed, err := f.Exec(ctx, shapeText(service, b.Shape), literals(b)...)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", b.Shape.Table, err)
		}
		if b.Shape.Guard && changed != int64(b.N) {
			return 0, b.Conflict(b.N)
		}
	}
	if log == nil {
		return 0, nil
	}
	var last int64
	if err := f.tx.QueryRowContext(ctx, logText(service, log), append(literals(log), log.N)...).Scan(&last); err != nil {
		if unique(err) {
			err = &Error{driver.ErrConflict, err}
		}
		return 0, fmt.Errorf("append to the log: %w", classify(err))
	}
	return last - int64(log.N) + 1, nil
}

// literals returns a batch's columns as the texts of PostgreSQL's arrays, since
// drivers of database/sql do not agree on how to pass arrays.
func literals(b *sqlstore.Batch) []any {
	args := make([]any, len(b.Cols))
	for i, c := range b.Shape.Columns {
		var s strings.Builder
		s.WriteByte('{')
		for row := range b.N {
			if row > 0 {
				s.WriteByte(',')
			}
			switch c.Type {
			case sqlstore.Text:
				s.WriteByte('"')
				s.WriteString(escapes.Replace(b.Cols[i].Text[row]))
				s.WriteByte('"')
			case sqlstore.Int:
				s.WriteString(strconv.FormatInt(b.Cols[i].Int[row], 10))
			case sqlstore.Bytes:
				s.WriteString(`"\\x`)
				s.WriteString(hex.EncodeToString(b.Cols[i].Bytes[row]))
				s.WriteByte('"')
			}
		}
		s.WriteByte('}')
		args[i] = s.String()
	}
	return args
}

// escapes are what a text in quotes needs within an array's text.
var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
