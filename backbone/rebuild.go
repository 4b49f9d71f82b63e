package backbone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"example.org/souk/backbone/driver"
)

// RebuildProgress tells how far a rebuild is.
type RebuildProgress struct {
	Service, View string
	Done, Total   int64 // positions over all sources
	Rate          float64
	Remaining     time.Duration
}

const (
	rebuildChunk = 2000 // records read and applied in one transaction
	rebuildClose = 2000 // this near to the end the live view is held and swapped

	rebuildPatience = time.Minute // a log that cannot be read is asked again for so long
)

// ErrRebuilding says that a view is being rebuilt already.
var ErrRebuilding = errors.New("it is being rebuilt already")

// rebuildPrefix and the view's name are the name under which stands, among the
// checkpoints of its service, who rebuilds it.
const rebuildPrefix = "rebuild/"

// ErrNoView says that a service has no view of a name.
var ErrNoView = errors.New("there is no view")

// Rebuild makes a view's tables again from the first event, beside the live ones,
// and puts them in their place in one transaction. The live view goes on until the
// swap. A rebuild makes no calls, sends nothing and counts nothing twice: a view
// cannot. A log that cannot be read now, since the process that is asked for it begins
// again, is waited for, a minute at most. Other processes may run the service and keep
// the view meanwhile, whatever carries the messages; they wait at the swap. One process
// at a time rebuilds a view, and the others are refused with ErrRebuilding. progress may
// be nil.
func (r *Runtime) Rebuild(ctx context.Context, service, view string, progress func(RebuildProgress)) error {
	h := r.hosts[service]
	if h == nil {
		return fmt.Errorf("service %q does not run here", service)
	}
	for i := range h.svc.Views {
		if v := &h.svc.Views[i]; v.Name == view {
			b := &rebuild{h: h, v: v, progress: progress, turn: tenure{h: h, name: rebuildPrefix + view}}
			return b.alone(ctx)
		}
	}
	return fmt.Errorf("service %s: %w %q", service, ErrNoView, view)
}

type rebuild struct {
	h        *host
	v        *View
	sub      *subscription // nil for an inline view
	progress func(RebuildProgress)
	sources  []*rebuildSource
	amended  map[[2]string]driver.Amendment
	started  time.Time
	names    map[string]string
	turn     tenure
}

type rebuildSource struct {
	name  string
	log   driver.Log
	types []string
	apply map[string]*Projection
	at    int64
	ahead chan piece // what is being read while the piece before it is applied, or nil
}

// piece is a part of a source's log as a rebuild applies it.
type piece struct {
	events []rebuildEvent
	to     int64 // up to here there are no others
	full   bool  // there may be more
	err    error
}

type rebuildEvent struct {
	msg   *Message
	event Event
	apply func(context.Context, ViewTx, Event) error
}

// alone rebuilds, with nobody else rebuilding the same view.
func (b *rebuild) alone(ctx context.Context) error {
	refused := fmt.Errorf("view %s: %w", b.v.Name, ErrRebuilding)
	if _, other := b.h.rebuilding.LoadOrStore(b.v.Name, true); other {
		return refused
	}
	defer b.h.rebuilding.Delete(b.v.Name)
	held, _, err := b.turn.hold(ctx)
	if err != nil {
		return err
	}
	if !held {
		return refused
	}
	defer b.turn.release(ctx)
	return b.run(ctx)
}

// prolong keeps the turn, or is an error if another process has taken it.
func (b *rebuild) prolong(ctx context.Context) error {
	held, anew, err := b.turn.hold(ctx)
	if err == nil && (!held || anew) {
		err = fmt.Errorf("view %s: this process stood still for too long, and another may have begun", b.v.Name)
	}
	return err
}

func (b *rebuild) run(ctx context.Context) (err error) {
	h := b.h
	b.started, b.names = time.Now(), map[string]string{} //souk:clock durations for the progress
	sources := map[string]*rebuildSource{}
	for i := range b.v.Projections {
		p := &b.v.Projections[i]
		owner := h.r.ownerOf[p.sub.event]
		src := sources[owner]
		if src == nil {
			log := h.r.cfg.Log(owner)
			if log == nil {
				return fmt.Errorf("the log of %s cannot be read from here", owner)
			}
			src = &rebuildSource{name: owner, log: log, apply: map[string]*Projection{}}
			sources[owner] = src
			b.sources = append(b.sources, src)
		}
		src.types = append(src.types, driver.AnyVersion(p.sub.event))
		src.apply[baseOf(p.sub.event)] = p
	}
	for _, s := range h.subs {
		if s.view == b.v {
			b.sub = s
		}
	}
	if err := b.readAmendments(ctx); err != nil {
		return err
	}
	defer b.rest()
	tables := b.v.tables()
	if err := h.store.CreateShadow(ctx, h.svc.Name, tables); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			if b.prolong(context.WithoutCancel(ctx)) == nil { // else the shadow is another's
				err = errors.Join(err, h.store.DropShadow(context.WithoutCancel(ctx), h.svc.Name, tables))
			}
		}
	}()
	var since time.Time // when a log could not be read first, of those times in a row
	for done := false; !done; {
		before := b.applied()
		done, err = b.step(ctx)
		switch {
		case err == nil:
			since = time.Time{}
			continue
		case !errors.Is(err, driver.ErrUnavailable):
			return err
		case since.IsZero() || b.applied() > before:
			since = time.Now() //souk:clock how long to wait for another process
		case time.Since(since) > rebuildPatience:
			return err
		}
		if !rest(ctx, readAgain) {
			return ctx.Err()
		}
	}
	return nil
}

// step applies the next piece of every source, or swaps where that is near enough, and reports whether all is done. After an
// error it can be done again.
func (b *rebuild) step(ctx context.Context) (done bool, err error) {
	if err := b.prolong(ctx); err != nil {
		return false, err
	}
	left, err := b.left(ctx)
	if err != nil {
		return false, err
	}
	if left > rebuildClose {
		for _, src := range b.sources {
			if err := b.chunk(ctx, src, nil); err != nil {
				return false, err
			}
		}
		return false, nil
	}
	b.rest() // what it has read may be old by the time it is applied, and the end has to be the end
	reached := map[string]int64{}
	for _, src := range b.sources {
		reached[src.name] = src.at
	}
	switch {
	case !b.h.store.Powers().Exclusive:
		err = b.swapShared(ctx, reached)
	case b.sub == nil:
		err = b.swapInline(ctx)
	default:
		err = b.swapAsync(ctx)
	}
	if err != nil {
		b.back(reached)
	}
	return err == nil, err
}

// applied counts the positions of all sources that are applied.
func (b *rebuild) applied() (positions int64) {
	for _, src := range b.sources {
		positions += src.at
	}
	return positions
}

// back returns to where an attempt at the swap began that has left nothing.
func (b *rebuild) back(reached map[string]int64) {
	for _, src := range b.sources {
		src.at = reached[src.name]
	}
}

func (b *rebuild) readAmendments(ctx context.Context) error {
	b.amended = map[[2]string]driver.Amendment{}
	if b.sub == nil {
		return nil
	}
	list, err := b.h.store.Amendments(ctx, b.h.svc.Name, b.sub.name)
	for _, a := range list {
		b.amended[[2]string{a.Source, a.ID}] = a
	}
	return err
}

// left reads the heads and reports how many positions are still to be read.
func (b *rebuild) left(ctx context.Context) (int64, error) {
	p := RebuildProgress{Service: b.h.svc.Name, View: b.v.Name, Done: b.applied()}
	for _, src := range b.sources {
		head, err := src.log.Head(ctx, src.name)
		if err != nil {
			return 0, err
		}
		p.Total += head
	}
	if b.progress != nil {
		if seconds := time.Since(b.started).Seconds(); seconds > 0 && p.Done > 0 {
			p.Rate = float64(p.Done) / seconds
			p.Remaining = time.Duration(float64(p.Total-p.Done) / p.Rate * float64(time.Second))
		}
		b.progress(p)
	}
	return p.Total - p.Done, nil
}

// read returns the events of a source after a position, decoded and as operators amended them.
func (b *rebuild) read(ctx context.Context, src *rebuildSource, after int64) (p piece) {
	defer func() {
		if r := recover(); r != nil {
			p.err = &PanicError{Value: r, Stack: string(debug.Stack())}
		}
	}()
	if p.to, p.err = src.log.Head(ctx, src.name); p.err != nil {
		return p
	}
	rs, err := src.log.Read(ctx, src.name, driver.ReadQuery{
		After: after, Until: p.to, Types: src.types, Kinds: []driver.Kind{driver.KindEvent, driver.KindPrivate}, Limit: rebuildChunk,
	})
	if err != nil {
		return piece{err: err}
	}
	if p.full = len(rs) == rebuildChunk; p.full {
		p.to = rs[len(rs)-1].Position
	}
	p.events = make([]rebuildEvent, 0, len(rs))
	for i := range rs {
		r := &rs[i]
		if a, ok := b.amended[[2]string{src.name, r.ID}]; ok {
			if a.Discard {
				continue
			}
			r.Data = a.Data
		}
		projection := src.apply[baseOf(r.Type)]
		e := rebuildEvent{apply: projection.apply}
		if e.event, err = projection.sub.decoder.decode(r.Type, r.Data); err != nil {
			return piece{err: err}
		}
		if e.msg, err = MessageOf(src.name, r); err != nil {
			return piece{err: err}
		}
		p.events = append(p.events, e)
	}
	return p
}

// next returns the next piece of a source.
func (b *rebuild) next(ctx context.Context, src *rebuildSource) piece {
	if ahead := src.ahead; ahead != nil {
		src.ahead = nil
		return <-ahead
	}
	return b.read(ctx, src, src.at)
}

// readAhead begins to read what comes after a piece, so that reading does not wait for the disk that the piece is
// committed to, nor the database's writer for the reading.
func (b *rebuild) readAhead(ctx context.Context, src *rebuildSource, after int64) {
	ahead := make(chan piece, 1)
	src.ahead = ahead
	go func() { ahead <- b.read(ctx, src, after) }()
}

// rest waits for what is still being read.
func (b *rebuild) rest() {
	for _, src := range b.sources {
		if src.ahead != nil {
			<-src.ahead
			src.ahead = nil
		}
	}
}

// chunk applies the next events of a source to the shadow: in a transaction of its
// own, or in tx.
func (b *rebuild) chunk(ctx context.Context, src *rebuildSource, tx driver.Tx) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := b.next(ctx, src)
	if p.err != nil {
		return p.err
	}
	if tx != nil {
		if err := b.applyAll(ctx, tx, p.events); err != nil {
			return err
		}
		src.at = p.to
		return nil
	}
	if p.full {
		b.readAhead(ctx, src, p.to)
	}
	if len(p.events) > 0 {
		own, err := b.h.store.Begin(ctx)
		if err != nil {
			return err
		}
		if err := b.applyAll(ctx, own, p.events); err != nil {
			return errors.Join(err, own.Rollback())
		}
		driver.CrashPoint("rebuild.chunk")
		if err := own.Commit(ctx); err != nil {
			return err
		}
	}
	src.at = p.to
	return nil
}

func (b *rebuild) applyAll(ctx context.Context, tx driver.Tx, events []rebuildEvent) error {
	vt := &shadowTx{b: b, tx: tx}
	for _, e := range events {
		vt.msg = e.msg
		if err := e.apply(ctx, vt, e.event); err != nil {
			return fmt.Errorf("rebuild %s: event %s/%d: %w", b.v.Name, e.msg.Source, e.msg.Position, err)
		}
	}
	return vt.flush(ctx)
}

// catchUp applies what is left within tx.
func (b *rebuild) catchUp(ctx context.Context, tx driver.Tx) error {
	for _, src := range b.sources {
		for {
			before := src.at
			if err := b.chunk(ctx, src, tx); err != nil {
				return err
			}
			if src.at == before {
				break
			}
		}
	}
	return nil
}

// swapInline holds the writer, so that nothing is appended, applies the rest and
// swaps.
func (b *rebuild) swapInline(ctx context.Context) error {
	h := b.h
	return h.internal(&unit{host: h, alone: true, run: func(batch *batch, u *unit) error {
		u.flushed = true
		if err := b.catchUp(ctx, batch.tx); err != nil {
			return err
		}
		driver.CrashPoint("rebuild.swap")
		return h.store.SwapShadow(ctx, batch.tx, h.svc.Name, b.v.tables())
	}})
}

// swapAsync takes the subscription's checkpoints, applies the rest, swaps, and
// moves the checkpoints to where the new tables stand.
func (b *rebuild) swapAsync(ctx context.Context) error {
	h, s := b.h, b.sub
	if err := s.hold(ctx); err != nil {
		return err
	}
	defer s.unhold()
	if err := b.refuseParked(ctx); err != nil {
		return err
	}
	err := h.internal(&unit{host: h, alone: true, run: func(batch *batch, u *unit) error {
		u.flushed = true
		// Read while nobody else writes: checkpoints of slices that are idle move by themselves.
		cps, err := h.store.Checkpoints(ctx, h.svc.Name, s.name)
		if err != nil {
			return err
		}
		if err := b.catchUp(ctx, batch.tx); err != nil {
			return err
		}
		if err := b.passOver(batch, u, cps); err != nil {
			return err
		}
		driver.CrashPoint("rebuild.take.over")
		return h.store.SwapShadow(ctx, batch.tx, h.svc.Name, b.v.tables())
	}})
	if err != nil {
		return err
	}
	s.passed(b.sources)
	return nil
}

// swapShared swaps where other processes may keep the view. It keeps everybody from the tables and takes the slices of the
// subscription away, so that nothing of it that is in hand anywhere commits any more, applies the rest, and swaps. Whoever
// claims a slice afterwards finds where the new tables stand, and what was in hand comes again.
func (b *rebuild) swapShared(ctx context.Context, reached map[string]int64) error {
	h, s := b.h, b.sub
	var leases []string
	if s != nil {
		if leases = []string{s.name}; !s.positions {
			leases[0] = driver.Partitions(s.name)
		}
	}
	err := h.internal(&unit{host: h, alone: true, run: func(batch *batch, u *unit) error {
		u.flushed = true
		b.back(reached)
		b.turn.guard(batch, u)
		cps, err := h.store.Seize(ctx, batch.tx, h.svc.Name, b.v.tables(), leases)
		if err != nil {
			return err
		}
		if s != nil { // nothing is parked any more, as the slices are nobody's
			if err := b.refuseParked(ctx); err != nil {
				return err
			}
		}
		if err := b.catchUp(ctx, batch.tx); err != nil {
			return err
		}
		if s == nil {
			driver.CrashPoint("rebuild.swap")
		} else {
			if err := b.passOver(batch, u, cps); err != nil {
				return err
			}
			driver.CrashPoint("rebuild.take.over")
		}
		return h.store.SwapShadow(ctx, batch.tx, h.svc.Name, b.v.tables())
	}})
	if s == nil {
		return err
	}
	// Everybody is told to look at which slices are his, also where the outcome is unknown.
	h.recheck()
	for _, name := range leases {
		_ = h.store.Release(context.WithoutCancel(ctx), h.svc.Name, name, h.r.cfg.Owner, []int{-1}) // none: it only tells; they look by themselves later
	}
	return err
}

func (b *rebuild) refuseParked(ctx context.Context) error {
	parked, err := b.h.store.ParkedRows(ctx, b.h.svc.Name, b.sub.name, "", 1)
	if err == nil && len(parked) > 0 {
		err = Permanent(fmt.Errorf("view %s has parked messages: redrive, edit or discard them first (souk dlq list)", b.v.Name))
	}
	return err
}

// passOver notes in the swap's transaction where the new tables stand: in the checkpoints, or over a broker as the floor.
func (b *rebuild) passOver(batch *batch, u *unit, cps []driver.Checkpoint) error {
	s, sh := b.sub, batch.of(b.h)
	at := map[string]int64{}
	for _, src := range b.sources {
		at[src.name] = src.at
	}
	if !s.positions {
		noted, err := json.Marshal(at)
		if err != nil {
			return err
		}
		sh.writes.Values = append(sh.writes.Values, driver.Value{Name: s.floorNote(), Data: noted})
		return nil
	}
	for _, cp := range cps {
		if to := at[cp.Source]; to > cp.Position {
			sh.writes.Moves = append(sh.writes.Moves, driver.Move{
				Unit: u.index, Subscription: s.name, Source: cp.Source, Slice: cp.Slice, Epoch: cp.Epoch, From: cp.Position, To: to,
			})
		}
	}
	return nil
}

// Over a broker no checkpoint says what a rebuild has applied: the note of a floor does, and what lies below it is settled
// without effect whenever it comes.

func (s *subscription) floorNote() string { return "floor." + s.name }

func (s *subscription) loadFloor(ctx context.Context) error {
	noted, err := s.host.store.Value(ctx, s.host.svc.Name, s.floorNote())
	if err != nil || noted == nil {
		return err
	}
	floor := map[string]int64{}
	if err := json.Unmarshal(noted, &floor); err != nil {
		return fmt.Errorf("%s: %w", s.floorNote(), err)
	}
	s.mu.Lock()
	s.floor = floor
	s.mu.Unlock()
	return nil
}

// below reports whether a rebuild has applied a message already.
func (s *subscription) below(m *Message) bool {
	if s.positions || m.Position == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.Position <= s.floor[m.Source]
}

// hold stops the lanes from taking slices up and waits until none is at work.
func (s *subscription) hold(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused {
		return fmt.Errorf("subscription %s is paused", s.name)
	}
	s.paused = true
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		s.settled.Broadcast()
		s.mu.Unlock()
	})
	defer stop()
	for ctx.Err() == nil {
		working := false
		for _, sl := range s.slices {
			working = working || (sl.busy && !sl.queued)
		}
		if !working {
			return nil
		}
		s.settled.Wait()
	}
	s.paused = false
	s.work.Broadcast()
	return ctx.Err()
}

func (s *subscription) unhold() {
	s.mu.Lock()
	s.paused = false
	s.work.Broadcast()
	s.mu.Unlock()
}

// passed drops what the swap has applied and lets what follows chain to where the
// checkpoints stand now.
func (s *subscription) passed(sources []*rebuildSource) {
	at := map[string]int64{}
	for _, src := range sources {
		at[src.name] = src.at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor = at
	if !s.positions {
		return // they are settled one by one, and have no effect
	}
	for _, sl := range s.slices {
		kept := sl.items[:0]
		for _, it := range sl.items {
			if it.redrive == nil && it.request == nil && it.d.Position <= at[it.d.Source] {
				s.pending--
				continue
			}
			it.d.Prev = max(it.d.Prev, at[it.d.Source])
			kept = append(kept, it)
		}
		sl.items = kept
	}
	s.room.Broadcast()
}

// shadowTx is the ViewTx of a rebuild: its statements go to the shadow tables.
type shadowTx struct {
	b       *rebuild
	tx      driver.Tx
	msg     *Message
	pending []driver.Statement
}

func (t *shadowTx) Message() *Message { return t.msg }

func (t *shadowTx) name(sql string) (string, error) {
	if real, ok := t.b.names[sql]; ok {
		return real, nil
	}
	real, err := nameTables(sql, func(table string) (string, error) {
		if t.b.h.owned[table] == t.b.v.Name {
			return t.b.h.store.Name(t.b.h.svc.Name, t.b.h.store.Shadow(table)), nil
		}
		if !isRead(sql) {
			return "", fmt.Errorf("view %s does not own table %s", t.b.v.Name, table)
		}
		return t.b.h.store.Name(t.b.h.svc.Name, table), nil
	})
	if err == nil {
		t.b.names[sql] = real
	}
	return real, err
}

func (t *shadowTx) Exec(_ context.Context, sql string, args ...any) error {
	real, err := t.name(sql)
	if err != nil {
		return err
	}
	t.pending = append(t.pending, driver.Statement{SQL: real, Args: args})
	return nil
}

func (t *shadowTx) Query(ctx context.Context, sql string, args ...any) (Rows, error) {
	real, err := t.name(sql)
	if err != nil {
		return nil, err
	}
	if err := t.flush(ctx); err != nil {
		return nil, err
	}
	return t.tx.Query(ctx, real, args...)
}

func (t *shadowTx) flush(ctx context.Context) error {
	if len(t.pending) == 0 {
		return nil
	}
	err := t.tx.Exec(ctx, t.pending)
	t.pending = t.pending[:0]
	return err
}
