package backbone

import (
	"context"
	"fmt"
	"strings"

	"example.org/souk/backbone/driver"
)

// Reader reads what a service has committed: its tables, its log, the states of
// its aggregates. It never waits for a writer. It is safe for concurrent use.
type Reader struct {
	service string
	store   driver.Store
	host    *host // whose states in memory are those of the log; nil where there is none
}

// NewReader reads a service in a database.
func NewReader(service string, store driver.Store) *Reader {
	return &Reader{service: service, store: store}
}

// Service returns the service's name.
func (r *Reader) Service() string { return r.service }

// Query runs a read-only statement on the service's tables, whose names stand in
// braces.
func (r *Reader) Query(ctx context.Context, sql string, args ...any) (Rows, error) {
	named, err := nameTables(sql, func(table string) (string, error) { return r.store.Name(r.service, table), nil })
	if err != nil {
		return nil, err
	}
	return r.store.Query(ctx, named, args...)
}

// ReadQuery selects records of a log.
type ReadQuery = driver.ReadQuery

// Kind says what a record of a log is.
type Kind = driver.Kind

// EventKinds selects what streams consist of: events, public and private. A query
// for a stream that names them is answered from an index.
func EventKinds() []driver.Kind { return []driver.Kind{driver.KindEvent, driver.KindPrivate} }

// Log reads records of the service's log.
func (r *Reader) Log(ctx context.Context, q ReadQuery) ([]*Message, error) {
	records, err := r.store.Read(ctx, r.service, q)
	if err != nil {
		return nil, err
	}
	messages := make([]*Message, len(records))
	for i := range records {
		if messages[i], err = MessageOf(r.service, &records[i]); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// Head returns the position of the last record of the service's log, 0 where it has
// none.
func (r *Reader) Head(ctx context.Context) (int64, error) { return r.store.Head(ctx, r.service) }

// Load returns the committed state of a stream, from memory where the service runs
// here and has the database to itself; nothing of it may be changed. Version 0 means
// that the stream has no events.
func Load[S any](ctx context.Context, r *Reader, a *Aggregate[S], id string) (state S, version int64, err error) {
	return LoadAt(ctx, r, a, id, 0)
}

// LoadAt folds the state that the stream had at a version; 0 means the last.
func LoadAt[S any](ctx context.Context, r *Reader, a *Aggregate[S], id string, at int64) (state S, version int64, err error) {
	stream := a.Ref(id).Stream()
	if r.host != nil {
		if e := r.host.cachedStream(stream); e != nil && (at == 0 || at == e.version) {
			return e.state.(S), e.version, nil
		}
	}
	s := a.fresh()
	q := driver.ReadQuery{Stream: stream, Kinds: []driver.Kind{driver.KindEvent, driver.KindPrivate}, Limit: 1000}
	for {
		records, err := r.store.Read(ctx, r.service, q)
		if err != nil {
			return state, 0, fmt.Errorf("load %s: %w", q.Stream, err)
		}
		for i := range records {
			if at > 0 && records[i].Version > at {
				return s.(S), version, nil
			}
			if s, err = a.fold(s, records[i].Type, records[i].Data); err != nil {
				return state, 0, fmt.Errorf("load %s: %w", q.Stream, err)
			}
			version, q.After = records[i].Version, records[i].Position
		}
		if len(records) < q.Limit {
			return s.(S), version, nil
		}
	}
}

// nameTables puts real names in the place of {table}.
func nameTables(sql string, name func(string) (string, error)) (string, error) {
	if strings.IndexByte(sql, '{') < 0 {
		return sql, nil
	}
	var b strings.Builder
	rest := sql
	for {
		i := strings.IndexByte(rest, '{')
		if i < 0 {
			b.WriteString(rest)
			return b.String(), nil
		}
		j := strings.IndexByte(rest[i:], '}')
		if j < 0 {
			return "", fmt.Errorf("statement %q has a brace that is not closed", sql)
		}
		real, err := name(rest[i+1 : i+j])
		if err != nil {
			return "", fmt.Errorf("statement %q: %w", sql, err)
		}
		b.WriteString(rest[:i])
		b.WriteString(real)
		rest = rest[i+j+1:]
	}
}
