package logbus

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

const (
	ringRecords = 32 << 10 // records kept at most
	ringBytes   = 64 << 20 // bytes kept at most
	segmentSize = 256      // records that are dropped, and handed out, together
	readRecords = 1000     // records in one read of a store
	readBytes   = 4 << 20  // bytes in one read of a store
)

// tail holds the newest records of one log: every record that the log still has
// with a position above low, up to high.
type tail struct {
	bus    *Bus
	source string
	store  driver.Store
	ctx    context.Context
	cancel context.CancelFunc
	opened chan struct{} // closed when high is known
	kick   chan struct{} // run has something to do

	mu        sync.Mutex
	open      bool
	low, high int64
	// segments are filled by appending within their capacity: whoever was handed
	// an earlier, shorter view of one is not disturbed.
	segments [][]driver.Record
	records  int
	bytes    int
	// pending was committed here beyond a gap that the store has to fill.
	pending      [][]driver.Record
	pendingCount int
	check        bool // the store may have more than the ring
	readers      []chan struct{}
}

func newTail(b *Bus, source string, store driver.Store) *tail {
	t := &tail{bus: b, source: source, store: store, opened: make(chan struct{}), kick: make(chan struct{}, 1)}
	t.ctx, t.cancel = context.WithCancel(b.ctx)
	return t
}

// size is what a record counts for in the ring.
func size(r *driver.Record) int {
	const fixed = 256
	return fixed + len(r.Data) + len(r.Meta) + len(r.ID) + len(r.Ref) + len(r.Stream)
}

// committed takes over what this process committed. Whatever came between it and
// the ring's end was written by another process and is read first.
func (t *tail) committed(rs []driver.Record) {
	t.mu.Lock()
	if t.open && len(t.pending) == 0 && rs[0].Position <= t.high+1 {
		t.append(rs)
		t.wakeLocked()
		t.mu.Unlock()
		return
	}
	if t.pendingCount+len(rs) <= ringRecords {
		t.pending = append(t.pending, slices.Clone(rs))
		t.pendingCount += len(rs)
	} else {
		t.pending, t.pendingCount, t.check = nil, 0, true
	}
	t.mu.Unlock()
	poke(t.kick)
}

// changed says that another process may have written.
func (t *tail) changed() {
	t.mu.Lock()
	t.check = true
	t.mu.Unlock()
	poke(t.kick)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (t *tail) wakeLocked() {
	for _, r := range t.readers {
		poke(r)
	}
}

// append adds the records above high, in order.
func (t *tail) append(rs []driver.Record) {
	for i := range rs {
		if rs[i].Position <= t.high {
			continue
		}
		n := len(t.segments)
		if n == 0 || len(t.segments[n-1]) == segmentSize {
			t.segments = append(t.segments, make([]driver.Record, 0, segmentSize))
			n++
		}
		t.segments[n-1] = append(t.segments[n-1], rs[i])
		t.high = rs[i].Position
		t.records++
		t.bytes += size(&rs[i])
		for (t.records > ringRecords || t.bytes > ringBytes) && len(t.segments) > 1 {
			t.evict()
		}
	}
}

func (t *tail) evict() {
	first := t.segments[0]
	t.low = first[len(first)-1].Position
	t.records -= len(first)
	for i := range first {
		t.bytes -= size(&first[i])
	}
	t.segments[0] = nil
	t.segments = t.segments[1:]
}

// drain moves pending records into the ring as far as they join it.
func (t *tail) drain() {
	for len(t.pending) > 0 && t.pending[0][0].Position <= t.high+1 {
		t.append(t.pending[0])
		t.pendingCount -= len(t.pending[0])
		t.pending = t.pending[1:]
	}
	if len(t.pending) == 0 {
		t.pending = nil
	}
}

// view returns records above after that are in the ring, as many as lie
// together; none if there is nothing new. behind is true when the records just
// above after have left the ring: the store has them, up to low.
func (t *tail) view(after int64) (rs []driver.Record, low int64, behind bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if after < t.low {
		return nil, t.low, true
	}
	if after >= t.high {
		return nil, t.low, false
	}
	i := sort.Search(len(t.segments), func(i int) bool {
		s := t.segments[i]
		return s[len(s)-1].Position > after
	})
	s := t.segments[i]
	j := sort.Search(len(s), func(j int) bool { return s[j].Position > after })
	return s[j:len(s):len(s)], t.low, false
}

// head returns the position of the newest record that the tail knows.
func (t *tail) head() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.high
}

// run opens the tail at the log's head and then reads what others write.
func (t *tail) run() {
	defer t.cancel()
	for !t.start() {
		if !pause(t.ctx, t.bus.config.Poll) {
			return
		}
	}
	var look <-chan time.Time // none where the listener looks for all tails of its store
	if _, looked := looks(t.store); !looked {
		ticker := time.NewTicker(t.every())
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-look:
			t.mu.Lock()
			t.check = true
			t.mu.Unlock()
		case <-t.kick:
		}
		for {
			more, err := t.fill()
			if t.ctx.Err() != nil {
				return
			}
			if err != nil {
				t.bus.config.Logger.Warn("reading a log failed, trying again", "source", t.source, "error", err)
				if !pause(t.ctx, t.bus.config.Poll) {
					return
				}
			} else if !more {
				break
			}
		}
	}
}

// every is how often the log is looked at without a hint that it has grown: more often where no hint ever comes.
func (t *tail) every() time.Duration {
	if p := t.store.Powers(); !p.Notify && !p.Exclusive {
		return t.bus.config.Poll / 4
	}
	return t.bus.config.Poll
}

// start asks for the head. The tail is registered already, so what is committed
// meanwhile waits in pending and nothing falls between.
func (t *tail) start() bool {
	head, err := t.store.Head(t.ctx, t.source)
	if err != nil {
		if t.ctx.Err() == nil {
			t.bus.config.Logger.Warn("opening a log failed, trying again", "source", t.source, "error", err)
		}
		return false
	}
	t.mu.Lock()
	t.open, t.low, t.high = true, head, head
	t.drain()
	t.mu.Unlock()
	close(t.opened)
	poke(t.kick)
	return true
}

// fill reads once from the store if there is reason to, and reports whether
// there may be more.
func (t *tail) fill() (more bool, err error) {
	t.mu.Lock()
	t.drain()
	q := driver.ReadQuery{After: t.high, Limit: readRecords, Bytes: readBytes}
	if len(t.pending) > 0 {
		q.Until = t.pending[0][0].Position - 1
	} else if !t.check {
		t.mu.Unlock()
		return false, nil
	}
	t.check = false
	t.mu.Unlock()

	rs, err := t.store.Read(t.ctx, t.source, q)

	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.check = true
		return true, err
	}
	total := 0
	for i := range rs {
		total += len(rs[i].Data)
	}
	full := len(rs) >= readRecords || total >= readBytes
	t.append(rs)
	if q.Until > 0 && !full {
		// The gap is closed; positions without a record were pruned.
		t.high = max(t.high, q.Until)
	}
	t.drain()
	t.wakeLocked()
	if full {
		t.check = true
	}
	return full || len(t.pending) > 0, nil
}
