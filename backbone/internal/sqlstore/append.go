package sqlstore

import (
	"context"
	"fmt"
	"math"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// Foreign makes a transaction that belongs to somebody else one that the shared
// part can write in. It knows the given service, whose tables exist.
func Foreign(conn Conn, dialect Dialect, service string, name func(service, table string) string) (*ForeignTx, error) {
	if err := CheckName(service); err != nil {
		return nil, err
	}
	core := &Core{Dialect: dialect}
	core.Know(service)
	return &ForeignTx{tx: Tx{Core: core, Conn: conn}, service: service, name: name}, nil
}

// ForeignTx is somebody else's transaction. Its methods never end it.
type ForeignTx struct {
	tx      Tx
	service string
	name    func(service, table string) string
}

// Append locks the streams, checks where they stand, and appends; the log's head
// is locked last and stays locked until the transaction ends. It returns what was
// appended as subscribers will see it, in order.
func (f *ForeignTx) Append(ctx context.Context, out []backbone.Outgoing) ([]*backbone.Message, error) {
	if len(out) == 0 {
		return nil, nil
	}
	wants := make([]driver.StreamWant, len(out))
	for i := range out {
		// Nothing lies above this version, so only the stream's place is read.
		wants[i] = driver.StreamWant{Stream: out[i].Stream, After: math.MaxInt64}
	}
	data, err := f.tx.LoadStreams(ctx, f.service, wants)
	if err != nil {
		return nil, fmt.Errorf("append to the log of %s (Schema and Migrations make its tables): %w", f.service, err)
	}
	var w driver.Writes
	last := map[string]driver.StreamData{} // of streams that stand in out before
	for i := range out {
		at, again := last[out[i].Stream]
		if !again {
			at = data[i]
		}
		records, err := out[i].Records(at.Version, at.Sequence)
		if err != nil {
			return nil, fmt.Errorf("append to the log of %s: %w", f.service, err)
		}
		n := int64(len(records))
		last[out[i].Stream] = driver.StreamData{Version: at.Version + n, Sequence: at.Sequence + n}
		w.Records = append(w.Records, records...)
	}
	if err := f.tx.Apply(ctx, f.service, &w); err != nil {
		return nil, fmt.Errorf("append to the log of %s: %w", f.service, err)
	}
	messages := make([]*backbone.Message, len(w.Records))
	for i := range w.Records {
		if messages[i], err = backbone.RecordMessage(f.service, &w.Records[i]); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// Inbox notes a message as handled and reports whether it was new. Of two
// transactions that bring the same message the later one waits for the earlier.
func (f *ForeignTx) Inbox(ctx context.Context, in backbone.Incoming) (bool, error) {
	row, err := in.Row()
	if err != nil {
		return false, err
	}
	table := f.name(f.service, "bb_inbox")
	added, err := f.tx.Conn.Exec(ctx, "INSERT INTO "+table+` (subscription, source, id, hash, time) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (subscription, source, id) DO NOTHING`, row.Subscription, row.Source, row.ID, row.Hash, row.Time)
	if err != nil {
		return false, fmt.Errorf("inbox of %s: %w", f.service, err)
	}
	if added == 1 {
		return true, nil
	}
	var hash string
	err = all(ctx, f.tx.Conn, "SELECT hash FROM "+table+" WHERE subscription = $1 AND source = $2 AND id = $3",
		[]any{row.Subscription, row.Source, row.ID}, func(rows driver.Rows) error { return rows.Scan(&hash) })
	switch {
	case err != nil:
		return false, fmt.Errorf("inbox of %s: %w", f.service, err)
	case hash == "":
		// It was there and is not any more: pruned between the two statements.
		return false, fmt.Errorf("inbox of %s: %w", f.service, driver.ErrConflict)
	case hash != row.Hash:
		return false, &backbone.DifferentMessageError{Subscription: row.Subscription, Source: row.Source, ID: row.ID}
	}
	return false, nil
}
