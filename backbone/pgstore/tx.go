package pgstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/sqlstore"
)

// Times that the store allows itself where the caller's context does not count.
const (
	commitTime   = 30 * time.Second // for the answer to COMMIT
	rollbackTime = 5 * time.Second
	settleEvery  = 100 * time.Millisecond // between looks at a transaction's status
	endAfter     = time.Second            // in progress for so long without us: its session is ended
)

// tx is a write transaction.
type tx struct {
	sqlstore.Tx
	*session
}

// session runs the statements of one write transaction, as pipelines of many.
type session struct {
	s        *Store
	conn     *pgxpool.Conn
	started  bool // BEGIN was sent
	broken   bool // only rollback is left
	open     bool
	xid      string
	pid      uint32
	appended map[string]int64 // where the logs of services stand after it
	contents []content
	began    time.Time // by this process's clock
}

// content is what a Write was given; last is the position of the last record of log.
type content struct {
	service string
	batches []*sqlstore.Batch
	log     *sqlstore.Batch
	last    int64
}

func (s *Store) begin(ctx context.Context) (*tx, error) {
	var conn *pgxpool.Conn
	err := s.let(ctx, func() (err error) {
		conn, err = s.pool.Acquire(ctx)
		return err
	})
	if err != nil {
		return nil, classify(err)
	}
	q := &session{s: s, conn: conn, open: true, pid: conn.Conn().PgConn().PID(), appended: map[string]int64{}, began: time.Now()}
	return &tx{Tx: sqlstore.Tx{Core: &s.Core, Conn: q}, session: q}, nil
}

// Begin implements driver.Store. The transaction begins on the server with its
// first statement, in one round trip with it.
func (s *Store) Begin(ctx context.Context) (driver.Tx, error) {
	t, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// fail notes that the transaction no longer stands.
func (q *session) fail(err error) error {
	if err != nil {
		q.broken = true
	}
	return classify(err)
}

// beginText asks for the transaction's id and says, for it alone, how long it may stand still, and how its statements are planned: once a connection, maybe while
// their tables are empty, and for few rows that are found by their keys. Left to itself the server plans many of them anew each
// time, to find the same plan, or keeps one that reads a small table as a whole until it has counted it anew. A page that an index
// leads to counts for less than the next of a whole table, so that no table is small enough for that.
const beginText = `SELECT pg_current_xact_id()::text, set_config('plan_cache_mode', 'force_generic_plan', true), set_config('random_page_cost', '0.1', true),
	set_config('idle_in_transaction_session_timeout', $1, true)`

// planAnew and planOnce stand around statements that match rows of a table that grows and shrinks: to match a few is another plan
// than to match many, and which of the two is right shows when they run.
const (
	planAnew = `SELECT set_config('plan_cache_mode', 'force_custom_plan', true)`
	planOnce = `SELECT set_config('plan_cache_mode', 'force_generic_plan', true)`
)

// varies reports whether a shape's statement is one of those.
func varies(s *sqlstore.Shape) bool {
	return (s.Verb == sqlstore.Update || s.Verb == sqlstore.Delete) && s.Table != "bb_checkpoint"
}

// send sends a pipeline, with BEGIN in front of the first one.
func (q *session) send(ctx context.Context, batch *pgx.Batch) (pgx.BatchResults, error) {
	if q.broken || !q.open {
		return nil, driver.ErrBroken
	}
	if q.started {
		return q.conn.SendBatch(ctx, batch), nil
	}
	first := &pgx.Batch{}
	first.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	first.Queue(beginText, q.s.idle)
	first.QueuedQueries = append(first.QueuedQueries, batch.QueuedQueries...)
	results := q.conn.SendBatch(ctx, first)
	_, err := results.Exec()
	if err == nil {
		err = results.QueryRow().Scan(&q.xid, nil, nil, nil)
	}
	if err != nil {
		return nil, q.fail(errors.Join(err, results.Close()))
	}
	q.started = true
	return results, nil
}

// Exec implements sqlstore.Conn.
func (q *session) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	batch := &pgx.Batch{}
	batch.Queue(text, args...)
	results, err := q.send(ctx, batch)
	if err != nil {
		return 0, err
	}
	tag, err := results.Exec()
	return tag.RowsAffected(), q.fail(first(err, results.Close()))
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Query implements sqlstore.Conn and driver.Tx.
func (q *session) Query(ctx context.Context, text string, args ...any) (driver.Rows, error) {
	batch := &pgx.Batch{}
	batch.Queue(text, args...)
	results, err := q.send(ctx, batch)
	if err != nil {
		return nil, err
	}
	r, err := results.Query()
	if err != nil {
		return nil, q.fail(first(err, results.Close()))
	}
	return &txRows{rows: rows{Rows: r, broken: &q.broken}, results: results, q: q}, nil
}

// txRows ends its pipeline when it is closed.
type txRows struct {
	rows
	results pgx.BatchResults
	q       *session
}

func (r *txRows) Close() error {
	r.Rows.Close()
	return r.q.fail(r.results.Close())
}

// Select implements sqlstore.Conn.
func (q *session) Select(ctx context.Context, service string, b *sqlstore.Batch, each func(driver.Rows) error) error {
	r, err := q.Query(ctx, shapeText(service, b.Shape), arrays(b)...)
	if err != nil {
		return err
	}
	for r.Next() {
		if err := each(r); err != nil {
			r.Close()
			return q.fail(err)
		}
	}
	return first(r.Err(), r.Close())
}

type shapeKey struct {
	service string
	shape   *sqlstore.Shape
}

var texts sync.Map // shapeKey -> string

// shapeText returns a shape's statement for a service.
func shapeText(service string, shape *sqlstore.Shape) string {
	key := shapeKey{service, shape}
	if text, ok := texts.Load(key); ok {
		return text.(string)
	}
	text := shape.Unnest(func(table string) string { return tableName(service, table) })
	texts.Store(key, text)
	return text
}

// arrays returns a batch's columns as arguments.
func arrays(b *sqlstore.Batch) []any {
	args := make([]any, len(b.Cols))
	for i, c := range b.Shape.Columns {
		switch c.Type {
		case sqlstore.Text:
			args[i] = b.Cols[i].Text
		case sqlstore.Int:
			args[i] = b.Cols[i].Int
		case sqlstore.Bytes:
			args[i] = b.Cols[i].Bytes
		}
	}
	return args
}

// Write implements sqlstore.Conn. Everything travels in one pipeline; the log's
// head is locked by its last statement.
func (q *session) Write(ctx context.Context, service string, batches []*sqlstore.Batch, log *sqlstore.Batch) (int64, error) {
	results, err := q.send(ctx, writes(service, batches, log, true))
	if err != nil {
		return 0, err
	}
	first, err := wrote(results, batches, log, true)
	if err != nil {
		return 0, q.fail(err)
	}
	w := content{service: service, batches: batches, log: log}
	if log != nil {
		w.last = first + int64(log.N) - 1
		q.appended[service] = w.last
	}
	q.contents = append(q.contents, w)
	return first, nil
}

// writes returns what Write sends, and wrote reads what comes back; own says whether beginText has begun the transaction.
func writes(service string, batches []*sqlstore.Batch, log *sqlstore.Batch, own bool) *pgx.Batch {
	pipeline := &pgx.Batch{}
	for _, b := range batches {
		if own && varies(b.Shape) {
			pipeline.Queue(planAnew)
			pipeline.Queue(shapeText(service, b.Shape), arrays(b)...)
			pipeline.Queue(planOnce)
			continue
		}
		pipeline.Queue(shapeText(service, b.Shape), arrays(b)...)
	}
	if log != nil {
		pipeline.Queue(logText(service, log), append(arrays(log), log.N)...)
	}
	return pipeline
}

func wrote(results pgx.BatchResults, batches []*sqlstore.Batch, log *sqlstore.Batch, own bool) (int64, error) {
	for _, b := range batches {
		read := written
		if own && varies(b.Shape) {
			read = writtenAnew
		}
		if err := read(results, b); err != nil {
			// The error that counts is the first; closing drains what follows it.
			_ = results.Close()
			return 0, err
		}
	}
	if log == nil {
		return 0, results.Close()
	}
	var last int64
	err := results.QueryRow().Scan(&last)
	if unique(err) {
		err = &Error{driver.ErrConflict, err}
	}
	if err := first(err, results.Close()); err != nil {
		return 0, fmt.Errorf("append to the log: %w", err)
	}
	return last - int64(log.N) + 1, nil
}

var logTexts sync.Map // service -> string

// logText takes the positions, inserts the records at them and returns the last. The
// first column of the batch, the position, is not used.
func logText(service string, log *sqlstore.Batch) string {
	if text, ok := logTexts.Load(service); ok {
		return text.(string)
	}
	name := func(table string) string { return tableName(service, table) }
	columns := len(log.Cols)
	count := "$" + strconv.Itoa(columns+1) + "::bigint"
	text := "WITH h AS (UPDATE " + name("bb_head") + " SET position = position + " + count + " RETURNING position), l AS (" +
		log.Shape.Head(name) + "SELECT h.position - " + count + " + u.ordinal"
	for i := 2; i <= columns; i++ {
		text += ", u.c" + strconv.Itoa(i)
	}
	text += " FROM h, " + log.Shape.Arrays() + ") SELECT position FROM h"
	logTexts.Store(service, text)
	return text
}

// written reads the result of a batch's statement and blames the first row that
// took no effect where it had to.
func written(results pgx.BatchResults, b *sqlstore.Batch) error {
	if !b.Shape.Returning() {
		tag, err := results.Exec()
		if unique(err) {
			err = &Error{driver.ErrConflict, err}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", b.Shape.Table, err)
		}
		if b.Shape.Guard && tag.RowsAffected() != int64(b.N) {
			return b.Conflict(b.N)
		}
		return nil
	}
	r, err := results.Query()
	if err != nil {
		return fmt.Errorf("%s: %w", b.Shape.Table, err)
	}
	done := make([]bool, b.N)
	for r.Next() {
		var ordinal int
		if err := r.Scan(&ordinal); err != nil {
			return err
		}
		done[ordinal-1] = true
	}
	if r.Close(); r.Err() != nil {
		return fmt.Errorf("%s: %w", b.Shape.Table, r.Err())
	}
	for row, ok := range done {
		if !ok && b.Shape.Guard {
			return b.Conflict(row)
		}
	}
	return nil
}

// writtenAnew is written of a statement between planAnew and planOnce.
func writtenAnew(results pgx.BatchResults, b *sqlstore.Batch) error {
	if _, err := results.Exec(); err != nil {
		return err
	}
	if err := written(results, b); err != nil {
		return err
	}
	_, err := results.Exec()
	return err
}

// lockBuckets bounds the locks that one transaction holds of a service's keys, since the server keeps them in a table of fixed size.
// Keys that share a bucket wait for each other, which costs little: transactions on one log commit one after the other anyway.
const lockBuckets = 64

// LockKeys implements driver.Tx.
func (t *tx) LockKeys(ctx context.Context, service string, keys []string) error {
	buckets := map[int64]struct{}{}
	for _, key := range keys {
		buckets[lockName(key)&(lockBuckets-1)] = struct{}{}
	}
	if len(buckets) == 0 {
		return nil
	}
	base := lockName("keys of "+service) &^ (lockBuckets - 1)
	sorted := slices.Sorted(maps.Keys(buckets))
	for i := range sorted {
		sorted[i] |= base
	}
	_, err := t.Conn.Exec(ctx, `SELECT pg_advisory_xact_lock(k) FROM (SELECT k FROM unnest($1::bigint[]) AS u(k) ORDER BY k OFFSET 0) AS s`, sorted)
	return err
}

// Exec implements driver.Tx.
func (t *tx) Exec(ctx context.Context, statements []driver.Statement) error {
	if len(statements) == 0 {
		return nil
	}
	batch := &pgx.Batch{}
	for i := range statements {
		batch.Queue(statements[i].SQL, statements[i].Args...)
	}
	results, err := t.send(ctx, batch)
	if err != nil {
		return t.blameText(ctx, statements, t.fail(err))
	}
	for i := range statements {
		if _, err := results.Exec(); err != nil {
			if i == 0 {
				_ = results.Close() // likewise
				return t.blameText(ctx, statements, t.fail(err))
			}
			_ = results.Close() // drains what follows the error that counts
			return blame(statements[i].Unit, t.fail(err))
		}
	}
	return t.fail(results.Close())
}

// blameText finds out whose statement the server does not understand. A pipeline's
// texts are prepared before its first statement runs, so such an error comes with
// that one, whoever caused it.
func (t *tx) blameText(ctx context.Context, statements []driver.Statement, err error) error {
	unit := statements[0].Unit
	conn := t.conn.Conn()
	if conn.IsClosed() || errors.Is(err, driver.ErrUnavailable) {
		return err
	}
	if _, failed := conn.Exec(ctx, "ROLLBACK"); failed != nil { // in an aborted transaction nothing can be prepared
		return blame(unit, err)
	}
	for i := range statements {
		if _, failed := conn.Prepare(ctx, "", statements[i].SQL); failed != nil {
			return blame(statements[i].Unit, classify(failed))
		}
	}
	return blame(unit, err)
}

// blame charges an error to a unit, unless it is nobody's fault.
func blame(unit int, err error) error {
	var named *Error
	if errors.As(err, &named) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &driver.UnitError{Unit: unit, Err: err}
}

// Query implements driver.Tx.
func (t *tx) Query(ctx context.Context, text string, args ...any) (driver.Rows, error) {
	return t.session.Query(ctx, text, args...)
}

// Commit implements driver.Tx. ctx bounds only how long it looks for the outcome
// after the connection was lost; when that time ends, the outcome stays unknown
// and the error says so.
func (t *tx) Commit(ctx context.Context) error {
	if t.broken || !t.open {
		return driver.ErrBroken
	}
	if !t.started {
		t.end()
		return nil
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	tag, err := t.conn.Exec(limited, "COMMIT")
	var pg *pgconn.PgError
	switch {
	case err == nil && tag.String() == "COMMIT":
	case err == nil: // the server rolled back: a statement had failed
		t.end()
		return driver.ErrBroken
	case errors.As(err, &pg) && !errors.Is(kindOf(pg.Code), driver.ErrUnavailable):
		err = classify(err)
		return errors.Join(fmt.Errorf("commit: %w", err), t.Rollback())
	default:
		t.end()
		if err := t.settle(ctx, err); err != nil {
			return err
		}
	}
	if t.open {
		t.end()
	}
	if len(t.appended) > 0 {
		t.s.appendedTo(t.appended)
	}
	return nil
}

// settle finds out on another connection what became of a commit whose answer
// was lost: nil if it is in.
func (q *session) settle(ctx context.Context, lost error) error {
	began := time.Now()
	for {
		status, err := q.status(ctx, time.Since(began) > endAfter)
		switch {
		case err == nil && status == "committed":
			return nil
		case err == nil && status == "aborted":
			return fmt.Errorf("commit: the connection was lost and nothing was committed: %w", &Error{driver.ErrUnavailable, lost})
		}
		timer := time.NewTimer(settleEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("commit: the connection was lost and the outcome of transaction %s is not known: %w",
				q.xid, errors.Join(&Error{driver.ErrUnavailable, lost}, err))
		}
	}
}

// status asks what became of the transaction. A session that sits in it without
// us can be ended, so that it becomes one or the other.
//
// A server that crashes forgets the ids that had not reached the disk, with all
// that was done under them, and gives them out again. So one that it does not know
// yet was not committed, and one that it calls committed is believed only if what
// the transaction wrote is there. Where nothing of it can be looked for it is
// believed unless the server has been started since it began; then it counts as not
// committed, and running it again meets what it has written if it was.
func (q *session) status(ctx context.Context, end bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, q.s.connection())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if end {
		_, err := conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE pid = $1 AND backend_xid = $2::xid8::xid`, int64(q.pid), q.xid)
		if err != nil {
			return "", err
		}
	}
	var status *string
	err = conn.QueryRow(ctx, "SELECT pg_xact_status($1::xid8)", q.xid).Scan(&status)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == "22023": // in the future
		return "aborted", nil
	case err != nil:
		return "", err
	case status == nil:
		return "", errors.New("the server does not remember the transaction any more")
	case *status != "committed":
		return *status, nil
	}
	in, err := q.in(ctx, conn)
	switch {
	case err != nil:
		return "", err
	case !in:
		return "aborted", nil
	}
	return "committed", nil
}

// in looks for what the transaction wrote.
func (q *session) in(ctx context.Context, conn *pgx.Conn) (in bool, err error) {
	for _, w := range q.contents {
		if mark := sqlstore.Mark(w.batches, w.log, w.last); mark != nil {
			err = conn.QueryRow(ctx, "SELECT EXISTS ("+shapeText(w.service, mark.Shape)+")", arrays(mark)...).Scan(&in)
			return in, err
		}
	}
	err = conn.QueryRow(ctx, "SELECT pg_postmaster_start_time() < now() - make_interval(secs => $1)", time.Since(q.began).Seconds()).Scan(&in)
	return in, err
}

// Rollback implements driver.Tx.
func (q *session) Rollback() error {
	if !q.open {
		return nil
	}
	defer q.end()
	if q.conn.Conn().IsClosed() || q.conn.Conn().PgConn().TxStatus() == 'I' {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTime)
	defer cancel()
	if _, err := q.conn.Exec(ctx, "ROLLBACK"); err != nil {
		// The server rolls back by itself when the connection ends, as this does.
		return classify(errors.Join(err, q.conn.Conn().Close(ctx)))
	}
	return nil
}

// end gives the connection back; the pool closes one that is not idle.
func (q *session) end() {
	q.open, q.broken = false, true
	q.conn.Release()
}
