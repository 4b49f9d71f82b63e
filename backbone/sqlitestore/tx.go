package sqlitestore

import (
	"context"
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/sqlstore"
)

// chunks are how many rows a statement takes: the largest that fit, one after
// another, so that few statements are prepared.
var chunks = []int{32, 8, 1}

// session runs the statements of one write transaction.
type session struct {
	s      *Store
	broken bool // a statement failed: only rollback is left
}

// begin opens a write transaction when it is the caller's turn.
func (s *Store) begin(ctx context.Context) (*tx, error) {
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	if _, err := s.writer.exec("BEGIN IMMEDIATE"); err != nil {
		s.give()
		return nil, err
	}
	session := &session{s: s}
	return &tx{Tx: sqlstore.Tx{Core: &s.Core, Conn: session}, s: s, open: true}, nil
}

// Begin implements driver.Store.
func (s *Store) Begin(ctx context.Context) (driver.Tx, error) {
	t, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// check notes whether a statement failed.
func (q *session) check(err error) error {
	if err != nil {
		q.broken = true
	}
	return err
}

// Exec implements sqlstore.Conn.
func (q *session) Exec(_ context.Context, text string, args ...any) (int64, error) {
	if q.broken {
		return 0, driver.ErrBroken
	}
	n, err := q.s.writer.exec(text, args...)
	return n, q.check(err)
}

// Query implements sqlstore.Conn.
func (q *session) Query(_ context.Context, text string, args ...any) (driver.Rows, error) {
	if q.broken {
		return nil, driver.ErrBroken
	}
	r, err := q.s.writer.query(context.Background(), text, args, nil)
	if err != nil {
		return nil, q.check(err)
	}
	return &txRows{rows: r, q: q}, nil
}

// txRows marks the transaction broken when reading fails.
type txRows struct {
	*rows
	q *session
}

func (r *txRows) Next() bool {
	ok := r.rows.Next()
	if !ok {
		_ = r.q.check(r.rows.Err())
	}
	return ok
}

// Select implements sqlstore.Conn.
func (q *session) Select(_ context.Context, service string, b *sqlstore.Batch, each func(driver.Rows) error) error {
	if q.broken {
		return driver.ErrBroken
	}
	c := q.s.writer
	for from := 0; from < b.N; {
		n := chunk(b.N - from)
		s, err := c.byShape(service, b.Shape, n)
		if err == nil {
			err = c.bindRows(s, b, from, n)
		}
		if err != nil {
			return q.check(err)
		}
		r := &rows{c: c, s: s, cached: true}
		for r.Next() {
			if r.err = each(r); r.err != nil {
				break
			}
		}
		err = r.err
		_ = r.Close()
		if err != nil {
			return q.check(err)
		}
		from += n
	}
	return nil
}

// Write implements sqlstore.Conn.
func (q *session) Write(_ context.Context, service string, batches []*sqlstore.Batch, log *sqlstore.Batch) (int64, error) {
	if q.broken {
		return 0, driver.ErrBroken
	}
	for _, b := range batches {
		if err := q.s.writer.write(service, b); err != nil {
			return 0, q.check(err)
		}
	}
	if log == nil {
		return 0, nil
	}
	first, err := q.s.writer.positions(service, log.N)
	if err != nil {
		return 0, q.check(err)
	}
	for i := range log.N {
		log.Cols[0].Int[i] = first + int64(i)
	}
	return first, q.check(q.s.writer.write(service, log))
}

// positions takes n positions from a log's head and returns the first. To read and
// then to write costs half of what an UPDATE with RETURNING does, which keeps its
// result in a table of its own.
func (c *conn) positions(service string, n int) (int64, error) {
	head := c.heads[service]
	if head == (headTexts{}) {
		name := tableName(service, "bb_head")
		head = headTexts{"SELECT position FROM " + name, "UPDATE " + name + " SET position = $1"}
		c.heads[service] = head
	}
	r, err := c.query(context.Background(), head.read, nil, nil)
	if err != nil {
		return 0, err
	}
	if !r.Next() {
		return 0, errors.Join(errors.New("the log has no head"), r.Err(), r.Close())
	}
	last := r.integer(0)
	if err := r.Close(); err != nil {
		return 0, err
	}
	if _, err := c.exec(head.write, last+int64(n)); err != nil {
		return 0, err
	}
	return last + 1, nil
}

// headTexts are the statements on a log's head.
type headTexts struct{ read, write string }

func chunk(left int) int {
	for _, n := range chunks {
		if n <= left {
			return n
		}
	}
	return 1
}

// byShape returns the prepared statement of a shape over so many rows.
func (c *conn) byShape(service string, shape *sqlstore.Shape, n int) (*stmt, error) {
	key := shapeKey{shape, service, n}
	if s := c.shapes[key]; s != nil {
		return s, nil
	}
	text := shapeText(service, shape, n)
	s, _, err := c.prepare(text, true)
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, text)
	}
	c.shapes[key] = s
	return s, nil
}

// shapeText returns the statement of a shape over so many rows.
func shapeText(service string, shape *sqlstore.Shape, n int) string {
	name := func(table string) string { return tableName(service, table) }
	text := shape.Head(name)
	if shape.Verb == sqlstore.Insert || shape.Verb == sqlstore.Select {
		text += shape.Values(n) + shape.Foot(name)
	}
	return text
}

// write runs a batch's rows. Inserts go many rows a statement; rows that must
// match exactly one are run one by one, which costs little where it is rare.
func (c *conn) write(service string, b *sqlstore.Batch) error {
	for from := 0; from < b.N; {
		n := 1
		if b.Shape.Verb == sqlstore.Insert {
			n = chunk(b.N - from)
		}
		if err := c.writeRows(service, b, from, n); err != nil {
			return err
		}
		from += n
	}
	return nil
}

func (c *conn) writeRows(service string, b *sqlstore.Batch, from, n int) error {
	s, err := c.byShape(service, b.Shape, n)
	if err != nil {
		return err
	}
	if err := c.bindRows(s, b, from, n); err != nil {
		return err
	}
	changed, err := c.run(s)
	var failed *Error
	switch {
	case errors.As(err, &failed) && failed.constraint():
		if n == 1 {
			return b.Conflict(from)
		}
		// The statement left nothing. Row by row it fails again, at the row to blame.
		for i := range n {
			if err := c.writeRows(service, b, from+i, 1); err != nil {
				return err
			}
		}
		return fmt.Errorf("%s: %w", b.Shape.Table, err)
	case err != nil:
		return fmt.Errorf("%s: %w", b.Shape.Table, err)
	case b.Shape.Guard && changed != int64(n):
		return b.Conflict(from)
	}
	return nil
}

// tx is a write transaction.
type tx struct {
	sqlstore.Tx
	s    *Store
	open bool
}

func (t *tx) session() *session { return t.Conn.(*session) }

// LockKeys implements driver.Tx: nobody else writes.
func (t *tx) LockKeys(context.Context, string, []string) error { return nil }

// Exec implements driver.Tx.
func (t *tx) Exec(ctx context.Context, statements []driver.Statement) error {
	for i := range statements {
		st := &statements[i]
		_, err := t.Conn.Exec(ctx, st.SQL, st.Args...)
		switch {
		case err == nil:
		case errors.Is(err, driver.ErrFull), errors.Is(err, driver.ErrUnavailable), errors.Is(err, driver.ErrBroken):
			return err // nobody's fault
		default:
			return &driver.UnitError{Unit: st.Unit, Err: err}
		}
	}
	return nil
}

// Query implements driver.Tx.
func (t *tx) Query(ctx context.Context, text string, args ...any) (driver.Rows, error) {
	return t.Conn.Query(ctx, text, args...)
}

// Commit implements driver.Tx.
func (t *tx) Commit(context.Context) error {
	if !t.open || t.session().broken {
		return driver.ErrBroken
	}
	if !t.s.writer.inTransaction() {
		return driver.ErrBroken // an error ended it, or the service's SQL did
	}
	_, err := t.s.writer.exec("COMMIT")
	if err != nil {
		var failed *Error
		// What a failed flush left on the disk shows only when it is read anew. Where only the log's index had no room,
		// the log itself was written and flushed, and the next commit writes over it: nothing is in doubt. If the process
		// dies before that, the transaction is there after all, as with any commit whose answer is lost.
		if errors.As(err, &failed) && failed.Code&0xff == sqlite3.SQLITE_IOERR && failed.Code != sqlite3.SQLITE_IOERR_SHMSIZE {
			t.s.broken.Store(&err)
		}
		return errors.Join(fmt.Errorf("commit: %w", err), t.Rollback())
	}
	due := t.s.log.grown(t.s.writer.walPages()) // before another may write
	t.end()
	if due {
		select {
		case t.s.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// Rollback implements driver.Tx.
func (t *tx) Rollback() error {
	if !t.open {
		return nil
	}
	var err error
	if t.s.writer.inTransaction() {
		if _, err = t.s.writer.exec("ROLLBACK"); err != nil {
			t.s.broken.Store(&err)
		}
	}
	t.end()
	return err
}

func (t *tx) end() {
	t.open = false
	t.session().broken = true
	t.s.give()
}
