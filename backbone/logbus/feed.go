package logbus

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"example.org/souk/backbone/driver"
)

// scanSpan bounds how many positions one filtered read of a store looks at.
const scanSpan = 100_000

// feed carries one source to one subscription.
type feed struct {
	sub      *subscription
	index    int // among the subscription's sources, and in slot.marks
	interest driver.Interest
	tail     *tail
	wake     chan struct{}
	cursor   int64        // everything up to here is delivered or skipped; run's own
	scanned  atomic.Int64 // cursor, as others may read it
	swept    int64        // scanned at the last sweep; the sweeper's own

	mu      sync.Mutex
	joining []join

	// Scratch space of dispatch.
	picks   []pick
	counts  []int
	touched []int
	message driver.Message
}

// join asks a feed to take up a slice at its position.
type join struct {
	slice    int
	term     int64
	position int64
}

type pick struct{ record, slice int }

// add has the feed take up slices before its next chunk.
func (f *feed) add(js []join) {
	f.mu.Lock()
	f.joining = append(f.joining, js...)
	f.mu.Unlock()
	poke(f.wake)
}

// join takes up slices. The feed goes back to the lowest of their positions
// first; what slices that it had already were given is skipped by their marks.
func (f *feed) join() {
	f.mu.Lock()
	js := f.joining
	f.joining = nil
	f.mu.Unlock()
	for _, j := range js {
		f.cursor = min(f.cursor, j.position)
	}
	f.scanned.Store(f.cursor)
	for _, j := range js {
		s := f.sub.slots[j.slice]
		s.mu.Lock()
		if s.term == j.term {
			s.marks[f.index].joined = true
		}
		s.mu.Unlock()
	}
}

// run delivers until ctx ends (nil) or the sink fails.
func (f *feed) run(ctx context.Context) error {
	f.cursor = math.MaxInt64 // until a slice joins
	for ctx.Err() == nil {
		f.join()
		progress, err := f.step(ctx)
		if err != nil {
			return err
		}
		if !progress {
			select {
			case <-f.wake:
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// step delivers one chunk and reports whether there was one.
func (f *feed) step(ctx context.Context) (bool, error) {
	if f.cursor == math.MaxInt64 || f.sub.held != nil && f.sub.held.Lapsed() {
		return false, nil
	}
	upto := f.cursor
	rs, low, behind := f.tail.view(f.cursor)
	if behind {
		var err error
		if rs, upto, err = f.read(ctx, low); err != nil {
			if ctx.Err() == nil {
				f.sub.bus.config.Logger.Warn("reading a log failed, trying again", "subscription", f.sub.Name,
					"source", f.interest.Source, "error", err)
				pause(ctx, f.sub.bus.config.Poll)
			}
			return true, nil
		}
	}
	if n := len(rs); n > 0 {
		upto = rs[n-1].Position
		told, err := f.dispatch(ctx, rs)
		if err != nil || ctx.Err() != nil {
			return false, err
		}
		if told < n {
			upto = rs[told].Position - 1
		}
	}
	progress := upto > f.cursor
	f.cursor = upto
	f.scanned.Store(upto)
	return progress, nil
}

// read returns records from the store above the cursor, not beyond low, where
// the ring begins, and the position up to which nothing else is wanted. The
// store filters where the interest can be said as one query.
func (f *feed) read(ctx context.Context, low int64) ([]driver.Record, int64, error) {
	q := driver.ReadQuery{After: f.cursor, Until: min(low, f.cursor+scanSpan), Limit: readRecords, Bytes: readBytes}
	switch {
	case f.interest.Addressed == "":
		q.Kinds, q.Types = []driver.Kind{driver.KindEvent}, f.interest.Types
	case len(f.interest.Types) == 0:
		q.Kinds, q.Target = []driver.Kind{driver.KindCommand, driver.KindReply}, f.interest.Addressed
	}
	rs, err := f.tail.store.Read(ctx, f.interest.Source, q)
	if err != nil || len(rs) == 0 {
		return nil, q.Until, err
	}
	return rs, rs[len(rs)-1].Position, nil
}

// dispatch delivers the wanted records of a chunk, slice by slice, and returns how many
// it has dealt with: all, or those before one whose key cannot be told. The order
// between slices is nobody's; within a slice it is the log's.
func (f *feed) dispatch(ctx context.Context, rs []driver.Record) (int, error) {
	f.picks, f.touched = f.picks[:0], f.touched[:0]
	for i := range rs {
		if !f.interest.Wants(&rs[i]) {
			continue
		}
		slice := f.slice(&rs[i])
		if slice < 0 {
			f.sub.yieldAll(rs[i].Type)
			rs = rs[:i]
			break
		}
		if f.counts[slice] == 0 {
			f.touched = append(f.touched, slice)
		}
		f.counts[slice]++
		f.picks = append(f.picks, pick{i, slice})
	}
	if len(f.picks) == 0 {
		return len(rs), nil
	}
	// One allocation for the chunk, in which each slice's deliveries lie together.
	ds := make([]driver.Delivery, len(f.picks))
	end := 0
	for _, slice := range f.touched {
		count := f.counts[slice]
		f.counts[slice] = end // where the slice's next delivery goes
		end += count
	}
	for _, p := range f.picks {
		d := &ds[f.counts[p.slice]]
		d.Source, d.Record, d.Slice = f.interest.Source, rs[p.record], p.slice
		f.counts[p.slice]++
	}
	start := 0
	var err error
	for _, slice := range f.touched {
		end := f.counts[slice]
		f.counts[slice] = 0
		if err == nil && ctx.Err() == nil {
			err = f.deliver(slice, ds[start:end:end])
		}
		start = end
	}
	return len(rs), err
}

// slice returns the slice of a record, or -1 where its key cannot be told.
func (f *feed) slice(r *driver.Record) int {
	n := len(f.sub.slots)
	if f.sub.Key == nil {
		return driver.SliceOf(r.Stream, n)
	}
	f.message.Source, f.message.Record = f.interest.Source, *r
	key := f.sub.Key(&f.message)
	if key == "" {
		return -1
	}
	return driver.SliceOf(key, n)
}

// deliver hands a slice's messages to the sink, without those that it had.
func (f *feed) deliver(slice int, ds []driver.Delivery) error {
	s := f.sub.slots[slice]
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.marks[f.index]
	if !m.joined {
		return nil
	}
	for len(ds) > 0 && ds[0].Position <= m.prev {
		ds = ds[1:]
	}
	if len(ds) == 0 {
		return nil
	}
	prev := m.prev
	for i := range ds {
		ds[i].Prev, ds[i].Epoch = prev, m.epoch
		prev = ds[i].Position
	}
	if err := f.sub.sink.Deliver(s.ctx, slice, ds); err != nil {
		if s.ctx.Err() != nil {
			// The slice is being given up, and the messages with it: the feed goes on above them, and nobody may take the slice for idle.
			m.joined = false
			return nil
		}
		return fmt.Errorf("subscription %q: deliver: %w", f.sub.Name, err)
	}
	m.prev = prev // the sink owns ds by now
	return nil
}
