package broker

import (
	"context"
	"errors"
	"slices"
	"sync"

	"example.org/souk/backbone/driver"
)

const (
	// logChunk is how many records of a log are read at once, and logReach among how many positions.
	logChunk = 512
	logReach = 16 * logChunk
	// keptPieces is how many pieces are kept for partitions that have not read them yet.
	keptPieces = 16
)

// history is what the logs hold from before a group existed. The partitions that are worked here read it together: each
// takes from a piece what is its own, and one that stays behind by more than keptPieces reads for itself.
type history struct {
	mu      sync.Mutex
	readers int
	pieces  []*piece // oldest first
}

// piece is what stands in a log above after, up to to; of no other types than the interest names.
type piece struct {
	interest *driver.Interest
	after    int64

	read    chan struct{} // closed when the rest is known
	to      int64
	records []driver.Record
	err     error
}

// enter says that a partition begins to read; leave, that it has ended. With the last one the pieces go.
func (h *history) enter() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers++
}

func (h *history) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readers--; h.readers == 0 {
		h.pieces = nil
	}
}

// piece returns what log holds for an interest above a position, at most up to until.
func (h *history) piece(ctx context.Context, log driver.Log, in *driver.Interest, after, until int64) (*piece, error) {
	for {
		h.mu.Lock()
		at := slices.IndexFunc(h.pieces, func(p *piece) bool { return p.interest == in && p.after == after })
		if at < 0 {
			p := &piece{interest: in, after: after, read: make(chan struct{})}
			h.pieces = append(h.pieces, p)
			if len(h.pieces) > keptPieces {
				h.pieces = slices.Delete(h.pieces, 0, 1)
			}
			h.mu.Unlock()
			p.fill(ctx, log, until)
			if p.err != nil { // the next who asks tries again
				h.mu.Lock()
				h.pieces = slices.DeleteFunc(h.pieces, func(q *piece) bool { return q == p })
				h.mu.Unlock()
			}
			close(p.read)
			return p, p.err
		}
		p := h.pieces[at]
		h.mu.Unlock()
		select {
		case <-p.read:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !errors.Is(p.err, context.Canceled) {
			return p, p.err
		}
		// Whoever read it has given its partition up meanwhile.
	}
}

func (p *piece) fill(ctx context.Context, log driver.Log, until int64) {
	// The end lies near by: a database that has no statistics of a young log yet would sort all that is left of it.
	p.to = min(until, p.after+logReach)
	q := driver.ReadQuery{
		After: p.after, Until: p.to, Limit: logChunk, Kinds: []driver.Kind{driver.KindEvent, driver.KindCommand, driver.KindReply},
	}
	if p.interest.Addressed == "" { // then its types say all
		q.Kinds, q.Types = []driver.Kind{driver.KindEvent}, p.interest.Types
	}
	p.records, p.err = log.Read(ctx, p.interest.Source, q)
	if len(p.records) == logChunk {
		p.to = p.records[logChunk-1].Position
	}
}
