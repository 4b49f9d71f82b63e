package sqlstore

import (
	"context"
	"slices"
	"strings"
	"time"

	"example.org/souk/backbone/driver"
)

var (
	selectAnswers = &Shape{
		Verb:    Select,
		Columns: []Column{{"id", Text}},
		Table:   "bb_answer",
		On:      "t.id = v.id",
		SQL:     `WITH v(id) AS ({rows}) SELECT t.id, t.fingerprint, t.outcome, t.data, t.time FROM v {each}`,
	}
	selectInbox = &Shape{
		Verb:    Select,
		Columns: []Column{{"i", Int}, {"subscription", Text}, {"source", Text}, {"id", Text}},
		Table:   "bb_inbox",
		On:      "t.subscription = v.subscription AND t.source = v.source AND t.id = v.id",
		SQL:     `WITH v(i, subscription, source, id) AS ({rows}) SELECT v.i, t.hash FROM v {each}`,
	}
	selectSagas = &Shape{
		Verb:    Select,
		Columns: []Column{{"name", Text}, {"id", Text}},
		Table:   "bb_saga",
		On:      "t.name = v.name AND t.id = v.id",
		SQL: `WITH v(name, id) AS ({rows}) SELECT t.name, t.id, t.definition, t.state, t.data, t.due, t.started, t.updated, t.revision
			FROM v {each}`,
	}
	// lockHeads makes a row for each stream that has none and locks all of them,
	// in the order of the batch.
	lockHeads = &Shape{
		Verb:    Select,
		Columns: []Column{{"stream", Text}},
		SQL: `WITH v(stream) AS ({rows}) INSERT INTO {bb_stream} AS t (stream, version, sequence) SELECT stream, 0, 0 FROM v
			ORDER BY stream ON CONFLICT (stream) DO UPDATE SET version = t.version RETURNING stream, version, sequence`,
	}
	selectSnapshots = &Shape{
		Verb:    Select,
		Columns: []Column{{"i", Int}, {"stream", Text}, {"layout", Text}},
		Table:   "bb_snapshot",
		On:      "t.stream = v.stream AND t.layout = v.layout",
		SQL:     `WITH v(i, stream, layout) AS ({rows}) SELECT v.i, t.version, t.data FROM v {each}`,
	}
	selectRecords = &Shape{
		Verb:    Select,
		Columns: []Column{{"i", Int}, {"stream", Text}, {"after", Int}},
		Table:   "bb_log",
		On:      "t.stream = v.stream AND t.version > v.after AND t.version > 0",
		SQL: `WITH v(i, stream, after) AS ({rows}) SELECT v.i, t.position, t.kind, t.id, t.ref, t.stream, t.version, t.sequence,
			t.type, t.data, t.meta, t.time, t.target FROM v {each} ORDER BY v.i, t.version`,
	}
	// selectHeads finds where streams stand in the log itself. Only the last
	// public event knows the sequence.
	selectHeads = &Shape{
		Verb:    Select,
		Columns: []Column{{"i", Int}, {"stream", Text}},
		SQL: `WITH v(i, stream) AS ({rows}) SELECT v.i,
			coalesce((SELECT l.version FROM {bb_log} l WHERE l.stream = v.stream AND l.version > 0
				ORDER BY l.version DESC LIMIT 1), 0),
			coalesce((SELECT l.sequence FROM {bb_log} l WHERE l.stream = v.stream AND l.version > 0 AND l.kind = 1
				ORDER BY l.version DESC LIMIT 1), 0)
			FROM v`,
	}
)

// Tx implements what the write transactions of all stores share.
type Tx struct {
	Core *Core
	Conn Conn
}

// Answers implements driver.Tx.
func (t *Tx) Answers(ctx context.Context, service string, ids []string) (map[string]driver.Answer, error) {
	if err := t.Core.Check(service); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, nil
	}
	b := NewBatch(selectAnswers, len(ids))
	for _, id := range ids {
		b.text(id)
	}
	out := map[string]driver.Answer{}
	err := t.Conn.Select(ctx, service, b, func(rows driver.Rows) error {
		var a driver.Answer
		var outcome int64
		if err := rows.Scan(&a.ID, &a.Fingerprint, &outcome, &a.Data, &a.Time); err != nil {
			return err
		}
		a.Outcome = int16(outcome)
		out[a.ID] = a
		return nil
	})
	return out, err
}

// Inbox implements driver.Tx.
func (t *Tx) Inbox(ctx context.Context, service string, wants []driver.InboxRow) ([]string, error) {
	if err := t.Core.Check(service); err != nil {
		return nil, err
	}
	if len(wants) == 0 {
		return nil, nil
	}
	b := NewBatch(selectInbox, len(wants))
	for i, w := range wants {
		b.int(int64(i)).text(w.Subscription).text(w.Source).text(w.ID)
	}
	out := make([]string, len(wants))
	err := t.Conn.Select(ctx, service, b, func(rows driver.Rows) error {
		var i int
		var hash string
		if err := rows.Scan(&i, &hash); err != nil {
			return err
		}
		out[i] = hash
		return nil
	})
	return out, err
}

// Sagas implements driver.Tx.
func (t *Tx) Sagas(ctx context.Context, service string, keys []driver.SagaKey) (map[driver.SagaKey]driver.Saga, error) {
	if err := t.Core.Check(service); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, nil
	}
	b := NewBatch(selectSagas, len(keys))
	for _, k := range keys {
		b.text(k.Name).text(k.ID)
	}
	out := map[driver.SagaKey]driver.Saga{}
	err := t.Conn.Select(ctx, service, b, func(rows driver.Rows) error {
		var s driver.Saga
		if err := scanSaga(rows, &s); err != nil {
			return err
		}
		out[s.SagaKey] = s
		return nil
	})
	return out, err
}

// LoadStreams implements driver.Tx.
func (t *Tx) LoadStreams(ctx context.Context, service string, wants []driver.StreamWant) ([]driver.StreamData, error) {
	if err := t.Core.Check(service); err != nil {
		return nil, err
	}
	if len(wants) == 0 {
		return nil, nil
	}
	out := make([]driver.StreamData, len(wants))
	if t.Core.Dialect.Heads {
		if err := t.lockHeads(ctx, service, wants, out); err != nil {
			return nil, err
		}
	}
	after := make([]int64, len(wants))
	snapshots := NewBatch(selectSnapshots, 0)
	for i, w := range wants {
		after[i] = w.After
		if w.After == 0 && w.Schema != "" {
			snapshots.int(int64(i)).text(w.Stream).text(w.Schema)
		}
	}
	if snapshots.N > 0 {
		err := t.Conn.Select(ctx, service, snapshots, func(rows driver.Rows) error {
			var i int
			var s driver.Snapshot
			if err := rows.Scan(&i, &s.Version, &s.Data); err != nil {
				return err
			}
			s.Stream, s.Schema = wants[i].Stream, wants[i].Schema
			out[i].Snapshot, after[i] = &s, s.Version
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	records := NewBatch(selectRecords, len(wants))
	for i, w := range wants {
		if !t.Core.Dialect.Heads || out[i].Version > after[i] {
			records.int(int64(i)).text(w.Stream).int(after[i])
		}
	}
	if err := t.loadRecords(ctx, service, records, out); err != nil {
		return nil, err
	}
	if t.Core.Dialect.Heads {
		return out, nil
	}
	heads := NewBatch(selectHeads, 0)
	for i := range out {
		d := &out[i]
		for j := range d.Records {
			d.Version = d.Records[j].Version
			d.Sequence = max(d.Sequence, d.Records[j].Sequence)
		}
		if after[i] > 0 && d.Sequence == 0 {
			heads.int(int64(i)).text(wants[i].Stream)
		}
	}
	if heads.N == 0 {
		return out, nil
	}
	err := t.Conn.Select(ctx, service, heads, func(rows driver.Rows) error {
		var i int
		var version, sequence int64
		if err := rows.Scan(&i, &version, &sequence); err != nil {
			return err
		}
		out[i].Version, out[i].Sequence = version, sequence
		return nil
	})
	return out, err
}

func (t *Tx) loadRecords(ctx context.Context, service string, wanted *Batch, out []driver.StreamData) error {
	if wanted.N == 0 {
		return nil
	}
	scanner := newRecordScanner()
	var i int
	scanner.dest = append([]any{&i}, scanner.dest...)
	return t.Conn.Select(ctx, service, wanted, func(rows driver.Rows) error {
		r, err := scanner.scan(rows)
		if err != nil {
			return err
		}
		out[i].Records = append(out[i].Records, r)
		return nil
	})
}

func (t *Tx) lockHeads(ctx context.Context, service string, wants []driver.StreamWant, out []driver.StreamData) error {
	names := make([]string, len(wants))
	for i, w := range wants {
		names[i] = w.Stream
	}
	slices.Sort(names)
	names = slices.Compact(names)
	b := NewBatch(lockHeads, len(names))
	for _, name := range names {
		b.text(name)
	}
	heads := make(map[string]driver.StreamData, len(names))
	err := t.Conn.Select(ctx, service, b, func(rows driver.Rows) error {
		var stream string
		var d driver.StreamData
		if err := rows.Scan(&stream, &d.Version, &d.Sequence); err != nil {
			return err
		}
		heads[stream] = d
		return nil
	})
	if err != nil {
		return err
	}
	for i, w := range wants {
		out[i] = heads[w.Stream]
	}
	return nil
}

func scanSaga(rows driver.Rows, s *driver.Saga) error {
	return rows.Scan(&s.Name, &s.ID, &s.Definition, &s.State, &s.Data, &s.Due, &s.Started, &s.Updated, &s.Revision)
}

// sorted returns rows in the order of a key, so that batches lock rows in one
// order; rows that are in order already are not copied.
func sorted[T any](rows []T, compare func(a, b *T) int) []T {
	order := make([]*T, len(rows)) // of pointers, since compare would move each row that it is given to the heap
	for i := range rows {
		order[i] = &rows[i]
	}
	if slices.IsSortedFunc(order, compare) {
		return rows
	}
	slices.SortStableFunc(order, compare)
	out := make([]T, len(rows))
	for i, row := range order {
		out[i] = *row
	}
	return out
}

// latest returns rows sorted by a key, and of those with equal keys the last:
// what would be written over within the batch is not written at all.
func latest[T any](rows []T, compare func(a, b *T) int) []T {
	rows = sorted(rows, compare)
	out := make([]T, 0, len(rows))
	for i := range rows {
		if i+1 == len(rows) || compare(&rows[i], &rows[i+1]) != 0 {
			out = append(out, rows[i])
		}
	}
	return out
}

func compareText(pairs ...string) int {
	for i := 0; i < len(pairs); i += 2 {
		if c := strings.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}

// ClaimCalls implements driver.Tx.
func (t *Tx) ClaimCalls(ctx context.Context, service, name string, now int64, lease time.Duration, limit int) ([]driver.Call, error) {
	if err := t.Core.Check(service); err != nil {
		return nil, err
	}
	lock := t.Core.Dialect.ForUpdate
	if lock != "" {
		lock += " SKIP LOCKED"
	}
	ids, err := collect(ctx, t.Conn, t.Core.sql(service, `SELECT k.id FROM {bb_call} k
		WHERE k.name = $1 AND k.due <= $2 AND k.lease_until <= $2
		AND NOT EXISTS (SELECT 1 FROM {bb_call} e WHERE e.stream = k.stream AND e.entry < k.entry)
		ORDER BY k.due, k.entry LIMIT $3`+lock), []any{name, now, bound(limit)},
		func(rows driver.Rows, id *string) error { return rows.Scan(id) })
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	args := []any{now + lease.Microseconds()}
	for _, id := range ids {
		args = append(args, id)
	}
	calls, err := collect(ctx, t.Conn, t.Core.sql(service, `UPDATE {bb_call} SET epoch = epoch + 1, attempts = attempts + 1, lease_until = $1
		WHERE id IN (`+parameters(2, len(ids))+`)
		RETURNING id, name, request, stream, meta, deadline, due, attempts - 1, epoch, lease_until, cause, created`), args, scanCall)
	return sorted(calls, func(a, b *driver.Call) int {
		if a.Due != b.Due {
			return int(min(max(a.Due-b.Due, -1), 1))
		}
		return strings.Compare(a.ID, b.ID)
	}), err
}
