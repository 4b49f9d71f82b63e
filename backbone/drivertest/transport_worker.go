package drivertest

import (
	"context"
	"errors"
	"sync"

	"example.org/souk/backbone/driver"
)

var errHandedBack = errors.New("handed back unstarted")

// worker is a sink that works as the backbone does: a lane a slice, effects that
// commit with the guarded move of the checkpoint, acknowledgement after that.
type worker struct {
	// handle makes the effects of messages of one slice and source; an error
	// ends the slice's lane.
	handle func(ds []driver.Delivery) error
	limit  int // messages that may wait, before Deliver blocks

	mu       sync.Mutex
	changed  *sync.Cond
	lanes    map[int]*lane
	pending  int
	most     int // pending at its highest
	worked   int
	assigned int // slices ever
	wrong    []string
}

type lane struct {
	queue   []driver.Delivery
	revoked bool
	failed  bool
	ended   chan struct{}
}

func newWorker(handle func([]driver.Delivery) error) *worker {
	w := &worker{handle: handle, limit: 256, lanes: map[int]*lane{}}
	w.changed = sync.NewCond(&w.mu)
	return w
}

// Assign implements driver.Sink.
func (w *worker) Assign(cs []driver.Checkpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := map[int]bool{}
	for _, c := range cs {
		if seen[c.Slice] {
			continue
		}
		seen[c.Slice] = true
		if w.lanes[c.Slice] != nil {
			w.wrong = append(w.wrong, "a slice is assigned that was not revoked")
			continue
		}
		l := &lane{ended: make(chan struct{})}
		w.lanes[c.Slice] = l
		w.assigned++
		go w.work(l)
	}
	w.changed.Broadcast()
}

// Revoke implements driver.Sink.
func (w *worker) Revoke(slices []int) {
	w.mu.Lock()
	var ended []chan struct{}
	for _, n := range slices {
		l := w.lanes[n]
		if l == nil {
			w.wrong = append(w.wrong, "a slice is revoked that was not assigned")
			continue
		}
		l.revoked = true
		w.handBack(l)
		ended = append(ended, l.ended)
		delete(w.lanes, n)
	}
	w.changed.Broadcast()
	w.mu.Unlock()
	for _, e := range ended {
		<-e
	}
}

func (w *worker) handBack(l *lane) {
	for _, d := range l.queue {
		if d.Ack != nil {
			go d.Ack(errHandedBack) // never under the lock
		}
	}
	w.pending -= len(l.queue)
	l.queue = nil
}

// Deliver implements driver.Sink.
func (w *worker) Deliver(ctx context.Context, slice int, ds []driver.Delivery) error {
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		w.changed.Broadcast()
		w.mu.Unlock()
	})
	defer stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.pending >= w.limit && ctx.Err() == nil {
		w.changed.Wait()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	l := w.lanes[slice]
	if l == nil {
		w.wrong = append(w.wrong, "a delivery for a slice that is not assigned")
		return nil
	}
	for _, d := range ds {
		if d.Slice != slice {
			w.wrong = append(w.wrong, "a delivery under another slice's number")
		}
	}
	l.queue = append(l.queue, ds...)
	w.pending += len(ds)
	w.most = max(w.most, w.pending)
	if l.failed {
		w.handBack(l)
	}
	w.changed.Broadcast()
	return nil
}

func (w *worker) work(l *lane) {
	defer close(l.ended)
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(l.queue) == 0 && !l.revoked {
			w.changed.Wait()
		}
		if l.revoked {
			return
		}
		n := 1 // as many as come from the same source
		for n < len(l.queue) && l.queue[n].Source == l.queue[0].Source {
			n++
		}
		ds := l.queue[:n:n]
		l.queue = l.queue[n:]
		w.mu.Unlock()
		err := w.handle(ds)
		for errors.Is(err, driver.ErrUnavailable) && ds[0].Ack == nil && !w.revoked(l) { // the database is away: its slice is not another's for that
			pause(context.Background())
			err = w.handle(ds)
		}
		for _, d := range ds {
			if d.Ack != nil {
				d.Ack(err)
			}
		}
		w.mu.Lock()
		w.pending -= len(ds)
		if err == nil {
			w.worked += len(ds)
		} else if ds[0].Ack == nil {
			l.failed = true // the slice is another's, or the process is dead
			w.handBack(l)
		}
		w.changed.Broadcast()
	}
}

func (w *worker) revoked(l *lane) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return l.revoked
}

func (w *worker) slices() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.lanes)
}
