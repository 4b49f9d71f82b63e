package sqlstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// Conn runs SQL: inside a transaction, or one statement at a time outside.
// Errors are the contract's (driver.ErrFull and so on) where they have a name.
type Conn interface {
	// Exec runs a statement and returns how many rows it changed.
	Exec(ctx context.Context, sql string, args ...any) (int64, error)
	// Query runs a statement that returns rows.
	Query(ctx context.Context, sql string, args ...any) (driver.Rows, error)
	// Select runs a Select shape over a batch's rows and calls each for every row
	// of the result; the results of the batch's rows come in their order.
	Select(ctx context.Context, service string, b *Batch, each func(driver.Rows) error) error
	// Write runs the batches in order. Then, with records, it takes as many
	// positions from the log's head as log has rows, inserts these, and returns
	// the first position. A guard that does not hold is driver.ErrConflict, in a
	// *driver.UnitError where the row has a unit.
	Write(ctx context.Context, service string, batches []*Batch, log *Batch) (first int64, err error)
}

// Database is what the shared part asks of a store.
type Database interface {
	Name(service, table string) string
	Now(ctx context.Context) (time.Time, error)
	Query(ctx context.Context, sql string, args ...any) (driver.Rows, error)
	// Update runs work in a write transaction of its own and commits it.
	Update(ctx context.Context, work func(Conn) error) error
}

// Dialect says where the databases differ.
type Dialect struct {
	// Heads: the versions of streams are kept in bb_stream, whose rows are locked
	// before streams are read. Without it the store is the only writer.
	Heads bool
	// ForUpdate locks the rows of a SELECT, or is empty.
	ForUpdate string
	// Contains is an expression: whether bytes column %s holds the bytes of
	// parameter %s.
	Contains string
}

// Core implements the methods that all stores share. A store embeds it and
// calls Know for each service that it has migrated.
type Core struct {
	Database Database
	Dialect  Dialect

	services sync.Map // name -> struct{}
	texts    sync.Map // textKey -> string
}

type textKey struct{ service, sql string }

// Know makes a service's tables accessible.
func (c *Core) Know(service string) { c.services.Store(service, struct{}{}) }

// Check refuses a service that was not migrated.
func (c *Core) Check(service string) error {
	if _, ok := c.services.Load(service); !ok {
		return fmt.Errorf("service %q has no tables here: it was not migrated", service)
	}
	return nil
}

// CheckName refuses names that cannot be part of a table's name.
func CheckName(service string) error {
	ok := service != "" && len(service) <= 32 && service[0] >= 'a' && service[0] <= 'z'
	for _, c := range service {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9')
	}
	if !ok {
		return fmt.Errorf("service name %q: want [a-z][a-z0-9]*, at most 32 characters", service)
	}
	return nil
}

// sql returns a statement with the real names of a service's tables.
func (c *Core) sql(service, text string) string {
	key := textKey{service, text}
	if s, ok := c.texts.Load(key); ok {
		return s.(string)
	}
	s := Expand(text, func(table string) string { return c.Database.Name(service, table) })
	c.texts.Store(key, s)
	return s
}

// querier is the part of Conn and Database that reads.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (driver.Rows, error)
}

// all runs a query and calls each for every row.
func all(ctx context.Context, q querier, sql string, args []any, each func(driver.Rows) error) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		if err := each(rows); err != nil {
			rows.Close()
			return err
		}
	}
	if err := rows.Err(); err != nil {
		rows.Close()
		return err
	}
	return rows.Close()
}

// collect runs a query and returns what scan makes of its rows.
func collect[T any](ctx context.Context, q querier, sql string, args []any, scan func(driver.Rows, *T) error) ([]T, error) {
	var out []T
	err := all(ctx, q, sql, args, func(rows driver.Rows) error {
		var v T
		if err := scan(rows, &v); err != nil {
			return err
		}
		out = append(out, v)
		return nil
	})
	return out, err
}

// bound makes a limit of zero a default.
func bound(limit int) int {
	if limit <= 0 {
		return 1000
	}
	return limit
}

// parameters returns "$n, $n+1, ..." for count parameters from n.
func parameters(n, count int) string {
	var b strings.Builder
	for i := range count {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", n+i)
	}
	return b.String()
}
