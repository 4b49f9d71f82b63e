package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"example.org/souk/backbone/driver"
)

const recordColumns = "position, kind, id, ref, stream, version, sequence, type, data, meta, time, target"

// recordScanner scans rows of recordColumns without allocating the list of
// destinations anew for every row.
type recordScanner struct {
	r    driver.Record
	kind int64
	dest []any
}

func newRecordScanner() *recordScanner {
	s := &recordScanner{}
	s.dest = []any{
		&s.r.Position, &s.kind, &s.r.ID, &s.r.Ref, &s.r.Stream, &s.r.Version, &s.r.Sequence,
		&s.r.Type, &s.r.Data, &s.r.Meta, &s.r.Time, &s.r.Target,
	}
	return s
}

// RecordRows are implemented by rows that read a record, in the order of the columns position, kind, id, ref, stream, version, sequence, type,
// data, meta, time and target, cheaper than Scan does. They report false where they cannot.
type RecordRows interface {
	ScanRecord(r *driver.Record) (bool, error)
}

func (s *recordScanner) scan(rows driver.Rows) (driver.Record, error) {
	if own, ok := rows.(RecordRows); ok {
		if read, err := own.ScanRecord(&s.r); read || err != nil {
			return s.r, err
		}
	}
	s.r.Data, s.r.Meta = nil, nil
	if err := rows.Scan(s.dest...); err != nil {
		return driver.Record{}, err
	}
	s.r.Kind = driver.Kind(s.kind)
	return s.r, nil
}

// Head implements driver.Store.
func (c *Core) Head(ctx context.Context, service string) (int64, error) {
	if err := c.Check(service); err != nil {
		return 0, err
	}
	var head int64
	err := all(ctx, c.Database, c.sql(service, "SELECT position FROM {bb_head}"), nil, func(rows driver.Rows) error {
		return rows.Scan(&head)
	})
	return head, err
}

// Read implements driver.Store. Ranges of positions and single ids are found by
// an index, as are the events of a stream; other restrictions filter the range.
func (c *Core) Read(ctx context.Context, service string, q driver.ReadQuery) ([]driver.Record, error) {
	if err := c.Check(service); err != nil {
		return nil, err
	}
	var where []string
	var args []any
	add := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, strings.ReplaceAll(condition, "?", fmt.Sprintf("$%d", len(args))))
	}
	if q.After > 0 {
		add("position > ?", q.After)
	}
	if q.Until > 0 {
		add("position <= ?", q.Until)
	}
	if q.ID != "" {
		add("id = ?", q.ID)
	}
	if q.Ref != "" {
		add("ref = ?", q.Ref)
	}
	if q.Target != "" {
		add("target = ?", q.Target)
	}
	if q.Stream != "" {
		add("stream = ?", q.Stream)
		if len(q.Kinds) > 0 && versioned(q.Kinds) {
			where = append(where, "version > 0") // what the index over streams holds
		}
	}
	if n := len(q.Kinds); n > 0 {
		where = append(where, "kind IN ("+parameters(len(args)+1, n)+")")
		for _, k := range q.Kinds {
			args = append(args, int64(k))
		}
	}
	if n := len(q.Types); n > 0 {
		either := make([]string, n)
		for i, t := range q.Types {
			if begin, open := strings.CutSuffix(t, "*"); open {
				either[i] = fmt.Sprintf("substr(type, 1, %d) = $%d", len(begin), len(args)+1)
				t = begin
			} else {
				either[i] = fmt.Sprintf("type = $%d", len(args)+1)
			}
			args = append(args, t)
		}
		where = append(where, "("+strings.Join(either, " OR ")+")")
	}
	if q.Correlation != "" {
		member, err := json.Marshal(q.Correlation)
		if err != nil {
			return nil, err
		}
		args = append(args, append([]byte(`"correlationid":`), member...))
		where = append(where, fmt.Sprintf(c.Dialect.Contains, "meta", fmt.Sprintf("$%d", len(args))))
	}
	text := "SELECT " + recordColumns + " FROM {bb_log}"
	if len(where) > 0 {
		text += " WHERE " + strings.Join(where, " AND ")
	}
	text += " ORDER BY position"
	if q.Descending {
		text += " DESC"
	}
	limit := bound(q.Limit)
	args = append(args, limit)
	text += fmt.Sprintf(" LIMIT $%d", len(args))

	rows, err := c.Database.Query(ctx, c.sql(service, text), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []driver.Record
	scanner := newRecordScanner()
	for size := 0; (q.Bytes <= 0 || size < q.Bytes) && rows.Next(); {
		r, err := scanner.scan(rows)
		if err != nil {
			return nil, err
		}
		switch len(out) {
		case 0:
			out = make([]driver.Record, 0, min(few, expected(&q, limit)))
		case few, many:
			out = slices.Grow(out, max(0, min(len(out)*many/few, expected(&q, limit))-len(out)))
		}
		out = append(out, r)
		size += len(r.Data)
	}
	return out, rows.Err()
}

// few is how many records are made room for at first: who follows a log is woken for a handful at a time. Once there are more, it is many.
const (
	few  = 16
	many = 256
)

// most is how many records are made room for at once.
const most = 8192

// expected is how many records a query may bring once it brings more than a few: a part of the log has as many as it has positions,
// most of the time, and growing into that would copy it several times over.
func expected(q *driver.ReadQuery, limit int) int {
	n := min(limit, most)
	if q.Until > 0 {
		n = min(n, int(min(q.Until-q.After, most)))
	}
	if q.Stream != "" || q.ID != "" || q.Ref != "" {
		n = min(n, 1)
	}
	return max(n, 0)
}

func versioned(kinds []driver.Kind) bool {
	for _, k := range kinds {
		if k != driver.KindEvent && k != driver.KindPrivate {
			return false
		}
	}
	return true
}
