package backbone

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// Results of a unit that are no failure of its own.
var (
	errSkipped = errors.New("a unit of the same slice before it failed")
	errAgain   = errors.New("the batch was rolled back: run the handler again")
	errTaken   = errors.New("taken out of the batch")
	// errDuplicate is what a handler gets that waits for the writer with a message that was handled before.
	errDuplicate = errors.New("the message was handled before")
)

// unit is one message, one direct command or one step of the backbone's own work:
// what takes effect or fails as a whole.
type unit struct {
	host  *host  // nil for what a program keeps beside its services
	slice *slice // whose order it keeps; nil for none
	gen   int64  // of the slice when the unit was made

	// What the batch loads before the first unit runs.
	answerID string
	streams  []Ref
	saga     driver.SagaKey
	inbox    *driver.InboxRow // of a message from a broker

	// run adds the unit's writes to the batch. It is called on the writer's
	// goroutine, again for every attempt.
	run func(b *batch, u *unit) error
	// done is called on the writer's goroutine once the unit's fate is settled.
	done func(u *unit, err error)
	// after is called on the writer's goroutine when the unit is committed.
	after func()

	direct  bool // counts against MaxWaiting
	alone   bool // has spoilt a batch: runs in one of its own
	handler *handlerRun
	answer  Answer

	duplicate bool // the message was handled before
	aside     bool // the message is put aside and not handled: it is parked, or stands behind one that is
	nothing   bool // it has looked and there was nothing to do

	index   int  // in its batch
	flushed bool // something of it reached the database outside the final flush
	err     error
}

func (u *unit) granted() bool { return u.handler != nil && u.handler.isGranted() }

// writer commits units in batches: whatever waits when it becomes free. There is
// one for a database that this process writes alone, else one a service, and one for
// what stands beside them (Transact).
type writer struct {
	r     *Runtime
	store driver.Store

	mu      sync.Mutex
	wake    sync.Cond
	queue   []*unit
	spare   []*unit
	direct  int
	closing bool
	busy    bool
	idle    sync.Cond
	ended   chan struct{}
}

func newWriter(r *Runtime, store driver.Store) *writer {
	w := &writer{r: r, store: store, ended: make(chan struct{})}
	w.wake.L, w.idle.L = &w.mu, &w.mu
	return w
}

// submit queues units in order. What was made by subscriptions is bounded there,
// direct commands are bounded here.
func (w *writer) submit(units ...*unit) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing {
		return ErrStopped
	}
	for _, u := range units {
		if u.direct {
			if w.direct >= w.r.cfg.MaxWaiting {
				return ErrOverloaded
			}
			w.direct++
		}
		w.queue = append(w.queue, u)
	}
	w.wake.Signal()
	return nil
}

// close lets the queue drain and ends the loop.
func (w *writer) close() {
	w.mu.Lock()
	w.closing = true
	w.wake.Signal()
	w.mu.Unlock()
	<-w.ended
}

// waiting returns how many units are queued, and whether there is work at all.
func (w *writer) waiting() (queued int, busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue), w.busy || len(w.queue) > 0
}

func (w *writer) loop() {
	defer close(w.ended)
	for {
		w.mu.Lock()
		w.busy = false
		for len(w.queue) == 0 && !w.closing {
			w.wake.Wait()
		}
		if len(w.queue) == 0 {
			w.mu.Unlock()
			return
		}
		units := w.take(w.spare[:0], max(w.next(), 1))
		w.busy = true
		w.mu.Unlock()
		// Where other processes write too all that a batch locks is locked together, so nothing can be added.
		w.work(units, 0, w.store.Powers().Exclusive && !units[0].alone)
		clear(units[:cap(units)])
		w.spare = units
	}
}

// next says how many of the queue may share a batch: a unit that must run alone ends the batch before it.
func (w *writer) next() int {
	n := min(len(w.queue), w.r.cfg.MaxBatch)
	for i, u := range w.queue[:n] {
		if u.alone {
			return i
		}
	}
	return n
}

// take moves the first n of the queue to a list.
func (w *writer) take(to []*unit, n int) []*unit {
	taken := len(to)
	to = append(to, w.queue[:n]...)
	rest := copy(w.queue, w.queue[n:])
	clear(w.queue[rest:])
	w.queue = w.queue[:rest]
	for _, u := range to[taken:] {
		if u.direct {
			w.direct--
		}
	}
	return to
}

// join adds to a batch that has run, and is not written yet, what has come meanwhile: what follows from the batch before it, above all,
// which would wait for the end of this one and of the next.
func (w *writer) join(units []*unit) []*unit {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.take(units, min(w.next(), max(w.r.cfg.MaxBatch-len(units), 0)))
}

const (
	// loneTries is how often a unit by itself is run that meets other processes: each time another one of them has won, and
	// whoever waits for the answer need not know.
	loneTries = 50
	// sliceTries is how often one is run that keeps a slice's order, which may be another process's by now.
	sliceTries = 4
)

// work brings every unit to its end: committed, failed by itself, or handed back. Where joins is true, others join them and are
// brought to their ends as well.
func (w *writer) work(units []*unit, depth int, joins bool) {
	var suspects []*unit
	alone := 0
	for rerun := depth; len(units) > 0; rerun++ {
		b, all, err := w.attempt(units, rerun, joins)
		units, joins = all, false
		if err == nil {
			w.settle(b, units)
			break
		}
		if errors.Is(err, driver.ErrConflict) || errors.Is(err, driver.ErrBroken) {
			w.r.forget(units) // what was cached may be what is wrong
		}
		if errors.Is(err, driver.ErrUnavailable) || errors.Is(err, driver.ErrFull) {
			handBack(units, func(*unit) error { return infrastructure(err) })
			break
		}
		if len(units) == 1 {
			u := units[0]
			if !errors.Is(err, driver.ErrConflict) || errors.Is(err, driver.ErrClaimLost) {
				u.done(u, err)
				break
			}
			if alone++; alone > loneTries || u.slice != nil && alone > sliceTries {
				u.done(u, infrastructure(err))
				break
			}
			units = handBack(units, again)
			continue
		}
		blamed, byUnit := errors.AsType[*driver.UnitError](err)
		if byUnit && rerun < 4 {
			// It is taken out, and blamed only if it fails alone as well; what stands
			// behind it in its slice waits for that.
			culprit := units[slices.IndexFunc(units, func(u *unit) bool { return u.index == blamed.Unit })]
			units = handBack(units, func(u *unit) error {
				switch {
				case u == culprit && u.granted():
					u.alone = true
					return errAgain
				case u == culprit:
					suspects = append(suspects, u)
					return errTaken
				case culprit.slice != nil && u.slice == culprit.slice && u.index > culprit.index:
					return errSkipped
				}
				return again(u)
			})
			continue
		}
		units = handBack(units, again)
		half := len(units) / 2
		w.work(units[:half:half], rerun+1, false)
		w.work(units[half:], rerun+1, false)
		break
	}
	for _, u := range suspects {
		w.work([]*unit{u}, 0, false)
	}
}

// again picks handlers that have run to their end within a lost attempt.
func again(u *unit) error {
	if u.granted() {
		return errAgain
	}
	return nil
}

// handBack ends the units for which the function has an error and returns the
// others.
func handBack(units []*unit, pick func(*unit) error) []*unit {
	rest := make([]*unit, 0, len(units))
	for _, u := range units {
		switch err := pick(u); {
		case err == nil:
			rest = append(rest, u)
		case err != errTaken: //nolint:errorlint // a marker of this file, never wrapped
			u.done(u, err)
		}
	}
	return rest
}

// attempt runs the units in one transaction, with those that join where joins is true, and returns all of them. A unit that fails before anything of
// it has reached the database is noted in its err and leaves no trace in the
// batch; every other failure ends the attempt.
func (w *writer) attempt(units []*unit, reruns int, joins bool) (_ *batch, all []*unit, err error) {
	started := time.Now() //souk:clock durations for hooks
	defer w.watch(units)()
	tx, err := w.store.Begin(context.Background())
	if err != nil {
		return nil, units, err
	}
	b := &batch{w: w, tx: tx, reruns: reruns, started: started}
	all = units
	defer func() {
		if err != nil {
			b.over = true
			_ = tx.Rollback() // the first error is the one to report
			w.r.observeBatch(b, all, err)
		}
	}()
	if err := b.run(units, 0); err != nil {
		return nil, all, err
	}
	if joins {
		all = w.join(units)
		if err := b.run(all[len(units):], len(units)); err != nil {
			return nil, all, err
		}
	}
	driver.CrashPoint("decide.after")
	if err := b.flush(); err != nil {
		return nil, all, err
	}
	driver.CrashPoint("commit.before")
	before := time.Now() //souk:clock durations for hooks
	if err := tx.Commit(context.Background()); err != nil {
		return nil, all, err
	}
	b.committed, b.over = time.Since(before), true
	driver.CrashPoint("commit.after")
	return b, all, nil
}

// run loads what units need and runs them; first is the place of the first one in the batch.
func (b *batch) run(units []*unit, first int) error {
	if len(units) == 0 {
		return nil
	}
	for i, u := range units {
		u.index, u.err, u.flushed, u.duplicate, u.nothing = first+i, nil, false, false, false
	}
	if err := b.prefetch(units); err != nil {
		return err
	}
	driver.CrashPoint("load.after")
	for _, u := range units {
		if u.slice != nil && (u.gen != u.slice.gen || b.failed[u.slice]) {
			u.err = errSkipped
			continue
		}
		mark := b.mark()
		err := b.runUnit(u)
		if err == nil {
			b.note(u)
			continue
		}
		if u.flushed || errors.Is(err, driver.ErrBroken) || errors.Is(err, driver.ErrUnavailable) {
			return &driver.UnitError{Unit: u.index, Err: err}
		}
		b.undo(mark)
		u.err = err
		if u.slice != nil {
			if b.failed == nil {
				b.failed = map[*slice]bool{}
			}
			b.failed[u.slice] = true
		}
	}
	return nil
}

// longBatch is how long a transaction takes about which an operator is told. One is over in some hundredths of a second; what takes longer is a
// lock that somebody else has, or a disk.
const longBatch = 10 * time.Second

// watch raises an alarm where a batch has not come to its end after longBatch. The function that it returns ends that.
func (w *writer) watch(units []*unit) (end func() bool) {
	service := ""
	for _, u := range units {
		if u.host != nil {
			service = u.host.svc.Name
			break
		}
	}
	return time.AfterFunc(longBatch, func() {
		text := fmt.Sprintf("a transaction is not over after %s, and what is decided behind it waits", longBatch)
		if s, ok := w.store.(driver.Blockers); ok {
			ctx, cancel := context.WithTimeout(context.Background(), longBatch)
			defer cancel()
			list, _ := s.Blockers(ctx, longBatch/2) // who cannot be asked is not named
			for _, b := range list {
				text += fmt.Sprintf("; for %s it has waited %s", b.Who, b.Waited.Round(time.Second))
			}
		}
		w.r.alarm(Alarm{Service: service, Subject: "writer", Text: text})
	}).Stop
}

// settle tells everybody of a committed batch.
func (w *writer) settle(b *batch, units []*unit) {
	b.promote()
	for _, s := range b.services {
		if len(s.writes.Records) > 0 {
			s.host.handOver(s.writes.Records)
		}
		for _, d := range s.writes.DropCalls {
			s.host.calls[d.Name].dropped(d.Stream)
		}
		if s.timerSoon(w.r.now()) {
			select {
			case s.host.timerAt <- struct{}{}:
			default:
			}
		}
	}
	driver.CrashPoint("handover.after")
	w.r.observeBatch(b, units, nil)
	for _, u := range units {
		u.done(u, u.err)
	}
}

// timerSoon reports whether the batch has set a timer that may be due before the
// timers are looked at anyway. A look may take long, and the database's clock, by
// which they are due, may be ahead.
func (s *share) timerSoon(now time.Time) bool {
	before := now.Add(5 * timerLook).UnixMicro()
	return slices.ContainsFunc(s.writes.SetTimers, func(t driver.Timer) bool { return t.Due <= before })
}

// runUnit runs one unit; a panic is its failure.
func (b *batch) runUnit(u *unit) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: string(debug.Stack())}
		}
	}()
	if u.duplicate, err = b.seen(u); u.duplicate || err != nil {
		return err
	}
	return u.run(b, u)
}

// PanicError is a panic of a handler or decision, as the failure of its message.
type PanicError struct {
	Value any
	Stack string
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

func infrastructure(err error) error {
	return &classError{fmt.Errorf("%w: %w", ErrUnavailable, err), ClassInfrastructure}
}
