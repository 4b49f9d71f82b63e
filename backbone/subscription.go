package backbone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"example.org/souk/backbone/driver"
)

const (
	defaultLanes = 16
	maxPending   = 8192 // messages that a subscription holds in memory
	maxGroup     = 64   // messages of one slice in one batch
)

// subscription works what a transport delivers: in order within a slice, slices
// side by side in lanes.
type subscription struct {
	host  *host
	name  string
	spec  driver.Subscription
	view  *View // the async view that it keeps, or nil
	on    map[string]*Subscriber
	apply map[string]func(context.Context, ViewTx, Event) error
	sagas map[string][]sagaAdvancer
	joins map[string]int64 // events at or below these positions were before its time
	lanes int

	positions bool // the transport carries log positions

	mu       sync.Mutex
	floor    map[string]int64 // what a rebuild has applied already, by source
	work     sync.Cond        // a slice became ready, or stopping
	room     sync.Cond        // pending went down
	settled  sync.Cond        // a slice became idle
	slices   map[int]*slice
	ready    []*slice
	pending  int
	paused   bool
	stopping bool
	circuit  circuit

	reach reach // of the view, for those who wait for it

	handled atomic.Int64
	cut     atomic.Bool  // the transport has ended it, and it has not begun again
	parked  atomic.Int64 // rows, about
	poke    chan struct{}
}

type sagaAdvancer struct {
	def SagaDefinition
	adv advanceInfo
}

// slice is a part of a subscription that is worked in order.
type slice struct {
	sub    *subscription
	number int
	epoch  int64
	guard  *driver.Guard // of what moves no checkpoint; nil where slices are not leased
	gen    int64         // raised on the writer when a unit fails: units made before are void

	// Guarded by sub.mu.
	items   []item
	busy    bool // in the ready queue, in a lane or in a batch
	queued  bool
	revoked bool
	failed  *failure
	stopped error // waits for an operator or another program
	backoff time.Duration
	refused int // times on end that the database stood elsewhere than this process thinks

	// Touched by whoever works the slice.
	blocked map[string]int // parked rows of each blocked key, the head included
	suspect string         // id of a message that has spoilt a batch
	awaits  *awaited       // what its first message waits for

	redriving map[string]bool // keys whose head is among the items; guarded by sub.mu
}

// item is a delivery, or work on the parked rows of one of the slice's keys.
type item struct {
	d       driver.Delivery
	handled bool            // it was found to be, and is only settled
	redrive *driver.Parked  // a head whose time has come
	request *driver.Request // an operator's wish
}

type failure struct {
	it  item
	msg *Message
	err error
}

func (s *subscription) init() {
	s.work.L, s.room.L, s.settled.L = &s.mu, &s.mu, &s.mu
	s.slices, s.poke = map[int]*slice{}, make(chan struct{}, 1)
}

func (s *subscription) handlerTimeout() time.Duration {
	if s.host.svc.HandlerTimeout > 0 {
		return s.host.svc.HandlerTimeout
	}
	return time.Second
}

func (s *subscription) alarm(subject, text string) {
	s.host.r.alarm(Alarm{Service: s.host.svc.Name, Subject: subject, Text: s.name + ": " + text})
}

// Assign implements driver.Sink.
func (s *subscription) Assign(cps []driver.Checkpoint) {
	blocked, err := s.loadBlocked()
	if err != nil {
		s.alarm("subscription", fmt.Sprintf("%d slices wait: %v", len(cps), err))
		time.AfterFunc(assignAgain, func() { s.reassign(cps) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cp := range cps {
		sl := s.slices[cp.Slice]
		if sl == nil || sl.revoked || sl.epoch != cp.Epoch {
			sl = &slice{sub: s, number: cp.Slice, epoch: cp.Epoch, guard: cp.Guard, blocked: blocked[cp.Slice], stopped: err, redriving: map[string]bool{}}
			if sl.blocked == nil {
				sl.blocked = map[string]int{}
			}
			s.slices[cp.Slice] = sl
		}
	}
}

// assignAgain is the pause before what slices need is read again.
const assignAgain = time.Second

// reassign begins work on slices whose parked rows could not be read when they were assigned.
func (s *subscription) reassign(cps []driver.Checkpoint) {
	blocked, err := s.loadBlocked()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return
	}
	if err != nil {
		time.AfterFunc(assignAgain, func() { s.reassign(cps) })
		return
	}
	for _, cp := range cps {
		sl := s.slices[cp.Slice]
		if sl == nil || sl.revoked || sl.epoch != cp.Epoch || sl.stopped == nil {
			continue
		}
		if sl.stopped = nil; blocked[cp.Slice] != nil {
			sl.blocked = blocked[cp.Slice]
		}
		s.rouse(sl)
	}
}

func (s *subscription) loadBlocked() (map[int]map[string]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	keys, err := s.host.store.BlockedKeys(ctx, s.host.svc.Name, s.name)
	if err != nil {
		return nil, fmt.Errorf("read blocked keys: %w", err)
	}
	if !s.positions {
		if err := s.loadFloor(ctx); err != nil {
			return nil, err
		}
	}
	all, total := map[int]map[string]int{}, int64(0)
	for _, k := range keys {
		rows, err := s.host.store.ParkedRows(ctx, s.host.svc.Name, s.name, k.Key, maxParkedKey+1)
		if err != nil {
			return nil, fmt.Errorf("read parked rows: %w", err)
		}
		if all[k.Slice] == nil {
			all[k.Slice] = map[string]int{}
		}
		all[k.Slice][k.Key] = len(rows)
		total += int64(len(rows))
	}
	s.parked.Store(total)
	s.lookParked()
	return all, nil
}

// Revoke implements driver.Sink.
func (s *subscription) Revoke(numbers []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range numbers {
		if sl := s.slices[n]; sl != nil {
			sl.revoked = true
			s.drop(sl)
		}
	}
	for _, n := range numbers {
		for sl := s.slices[n]; sl != nil && sl.busy; {
			s.settled.Wait()
		}
		delete(s.slices, n)
	}
	s.room.Broadcast()
}

// drop forgets what a slice has not begun.
func (s *subscription) drop(sl *slice) {
	if sl.busy && !sl.queued {
		return // its lane or batch still refers to the items
	}
	for _, it := range sl.items {
		if it.d.Ack != nil {
			it.d.Ack(ErrStopped)
		}
	}
	s.pending -= len(sl.items)
	sl.items = nil
	if sl.queued {
		sl.queued, sl.busy = false, false
		for i, r := range s.ready {
			if r == sl {
				s.ready = append(s.ready[:i], s.ready[i+1:]...)
				break
			}
		}
	}
}

// Deliver implements driver.Sink.
func (s *subscription) Deliver(ctx context.Context, number int, ds []driver.Delivery) error {
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() {
			s.mu.Lock()
			s.room.Broadcast()
			s.mu.Unlock()
		})
		defer stop()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.pending >= maxPending && ctx.Err() == nil && !s.stopping {
		s.room.Wait()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	sl := s.slices[number]
	if s.stopping || sl == nil || sl.revoked {
		for _, d := range ds {
			if d.Ack != nil {
				d.Ack(ErrStopped)
			}
		}
		return nil
	}
	for _, d := range ds {
		if floor := s.floor[d.Source]; floor > 0 && s.positions {
			if d.Position <= floor {
				continue
			}
			d.Prev = max(d.Prev, floor)
		}
		sl.items = append(sl.items, item{d: d})
		s.pending++
	}
	s.rouse(sl)
	return nil
}

// rouse makes a slice ready if it has something to do and nobody works on it.
func (s *subscription) rouse(sl *slice) {
	if sl.busy || sl.revoked || sl.stopped != nil || (len(sl.items) == 0 && sl.failed == nil) {
		return
	}
	sl.busy, sl.queued = true, true
	s.ready = append(s.ready, sl)
	s.work.Signal()
}

// lane works slices until the subscription stops.
func (s *subscription) lane(ctx context.Context) {
	for {
		s.mu.Lock()
		for !s.stopping && (len(s.ready) == 0 || s.paused || !s.circuit.allows(len(s.ready))) {
			s.work.Wait()
		}
		if s.stopping {
			s.mu.Unlock()
			return
		}
		sl := s.ready[0]
		s.ready = append(s.ready[:0], s.ready[1:]...)
		sl.queued = false
		n := min(len(sl.items), maxGroup)
		if s.circuit.half() {
			n = min(n, 1)
		}
		items, failed := sl.items[:n:n], sl.failed
		sl.failed = nil
		s.mu.Unlock()
		s.workSlice(ctx, sl, items, failed)
	}
}

// group is the messages of one slice that a lane hands to the writer together.
type group struct {
	sl      *slice
	units   []*unit
	items   []item
	msgs    []*Message
	left    int
	done    int    // leading items that are settled
	awaited string // a view that has what was committed before its messages
	failed  *failure
	started time.Time
}

func (s *subscription) workSlice(ctx context.Context, sl *slice, items []item, failed *failure) {
	g := &group{sl: sl, items: items, started: s.host.r.now()}
	if failed != nil {
		u, err := s.parkUnit(sl, failed)
		if err != nil {
			s.stop(sl, err)
			return
		}
		g.add(u, failed.msg)
		g.submit(s)
		return
	}
	s.lookUp(ctx, items)
	for i, it := range items {
		// Work on parked rows looks at what is committed, so nothing that changes them
		// may stand beside it.
		lone := it.redrive != nil || it.request != nil
		if lone && i > 0 {
			break
		}
		u, msg, interactive, err := s.prepare(ctx, g, it)
		if err != nil {
			if newer, ok := errors.AsType[*NewerVersionError](err); ok {
				if len(g.units) == 0 {
					s.stop(sl, newer)
					return
				}
				break
			}
			if u == nil {
				g.fail(it, msg, err)
				break
			}
		}
		if interactive { // it has been submitted with everything before it
			return
		}
		if u == nil {
			break
		}
		g.add(u, msg)
		if lone {
			break
		}
	}
	g.submit(s)
}

func (g *group) add(u *unit, msg *Message) {
	i := len(g.units)
	g.units, g.msgs = append(g.units, u), append(g.msgs, msg)
	u.slice, u.gen = g.sl, g.sl.gen
	u.done = func(_ *unit, err error) { g.settle(i, err) }
}

// fail notes a failure that was found before the writer saw the message.
func (g *group) fail(it item, msg *Message, err error) { g.failed = &failure{it, msg, err} }

func (g *group) submit(s *subscription) {
	g.left = len(g.units)
	if g.left == 0 {
		s.finish(g)
		return
	}
	if err := g.sl.sub.host.w.submit(g.units...); err != nil {
		g.failed = &failure{err: infrastructure(err)}
		s.finish(g)
	}
}

// settle is called on the writer's goroutine, in order.
func (g *group) settle(i int, err error) {
	if h := g.units[i].handler; h != nil {
		switch {
		case err != nil:
			h.lose(err)
		case g.units[i].duplicate:
			h.lose(errDuplicate)
		}
	}
	if err == nil && i == g.done {
		g.done++
		if after := g.units[i].after; after != nil && !g.units[i].duplicate {
			after()
		}
	}
	if g.units[i].alone && errors.Is(err, errAgain) {
		g.sl.suspect = g.msgs[i].ID
	}
	if err != nil && i == g.done && (g.failed == nil || i < len(g.units)) {
		g.failed = &failure{g.items[i], g.msgs[i], err}
		g.sl.gen++
	}
	if g.left--; g.left == 0 {
		g.sl.sub.finish(g)
	}
}

// finish takes what is settled off the slice and lets it go on.
func (s *subscription) finish(g *group) {
	sl := g.sl
	var observed []HandledStats
	s.mu.Lock()
	var acks []func(error)
	for _, it := range sl.items[:min(g.done, len(sl.items))] {
		if it.d.Ack != nil {
			acks = append(acks, it.d.Ack)
		}
	}
	n := min(g.done, len(sl.items))
	for _, it := range sl.items[:n] {
		if it.redrive != nil {
			delete(sl.redriving, it.redrive.Key)
			s.lookParked() // the next row of the key may be due
		}
	}
	s.tried()
	sl.items = append(sl.items[:0], sl.items[n:]...)
	s.pending -= n
	s.handled.Add(int64(n))
	if s.host.r.cfg.Hooks.Handled != nil {
		now := s.host.r.now()
		for i, m := range g.msgs[:n] {
			if m != nil && !g.units[i].aside {
				o := HandledStats{Service: s.host.svc.Name, Subscription: s.name, Message: m, Lag: now.Sub(m.Time), Duration: now.Sub(g.started)}
				if i < len(g.items) && g.items[i].redrive != nil {
					o.Attempts = g.items[i].redrive.Attempts
				}
				o.Duplicate = g.units[i].duplicate
				observed = append(observed, o)
			}
		}
	}
	if n > 0 {
		sl.backoff, sl.refused = 0, 0
		s.circuit.success()
	}
	delay := time.Duration(0)
	if g.failed != nil {
		switch class := ClassOf(g.failed.err); {
		case errors.Is(g.failed.err, errAgain), errors.Is(g.failed.err, errSkipped):
		case class == ClassInfrastructure:
			if errors.Is(g.failed.err, driver.ErrConflict) {
				s.refuse(sl)
			}
			sl.backoff = min(max(2*sl.backoff, 20*time.Millisecond), 2*time.Second)
			delay = sl.backoff
		default:
			sl.failed = g.failed
			if g.failed.msg != nil && g.failed.it.redrive == nil && class != ClassPermanent && !newerVersion(g.failed.err) {
				s.circuit.failure(s.key(g.failed.it.d))
			}
		}
	}
	sl.busy = false
	switch {
	case sl.revoked:
		s.drop(sl)
	case delay > 0 && !s.stopping:
		sl.busy = true
		time.AfterFunc(delay, func() { s.release(sl) })
	default:
		s.rouse(sl)
	}
	s.settled.Broadcast() // also where the slice queues up again: whoever holds the lanes waits for those at work only
	if n > 0 {
		s.room.Broadcast()
	}
	s.mu.Unlock()
	for _, ack := range acks {
		ack(nil)
	}
	for _, o := range observed {
		s.host.r.cfg.Hooks.Handled(context.Background(), o)
	}
}

// maxRefused is how often on end a slice conflicts before it is taken anew.
const maxRefused = 3

// refuse has it found out why a slice conflicts: it may be another process's by now. If it goes on, what this process thinks of it
// may be wrong although nobody else has it, as after a database that has lost or kept what it was not thought to: the slice is given
// up, and whoever takes it reads where it stands. Callers hold s.mu.
func (s *subscription) refuse(sl *slice) {
	sl.refused++
	if y, ok := s.host.r.cfg.Transport.(driver.Yielder); ok && sl.refused >= maxRefused {
		sl.refused = 0
		y.Yield(s.host.svc.Name, s.name, sl.number, "")
		return
	}
	s.host.recheck()
}

// tried ends the trial of a circuit that is half open. The lanes sleep while one of
// them tries, so they are woken however it went. Callers hold s.mu.
func (s *subscription) tried() {
	if s.circuit.open {
		s.circuit.trying = false
		s.work.Broadcast()
	}
}

// release ends a slice's pause.
func (s *subscription) release(sl *slice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl.busy = false
	if sl.revoked {
		s.drop(sl)
	} else {
		s.rouse(sl)
	}
	s.settled.Broadcast()
}

// stop halts a slice until an operator or another program goes on with it.
func (s *subscription) stop(sl *slice, err error) {
	s.mu.Lock()
	s.tried()
	sl.stopped, sl.busy = err, false
	if sl.revoked {
		s.drop(sl)
	}
	s.settled.Broadcast()
	s.mu.Unlock()
	s.alarm("slice", fmt.Sprintf("slice %d stands still: %v", sl.number, err))
	if newer, ok := errors.AsType[*NewerVersionError](err); ok {
		if y, ok := s.host.r.cfg.Transport.(driver.Yielder); ok {
			y.Yield(s.host.svc.Name, s.name, sl.number, newer.Type)
		}
	}
}

func (s *subscription) key(d driver.Delivery) string {
	if s.spec.Key != nil {
		return s.spec.Key(&d.Message)
	}
	return d.Stream
}

// prepare makes the unit of one item. For an interactive handler, which has
// queried and so was handed to the writer already, it says so.
func (s *subscription) prepare(ctx context.Context, g *group, it item) (u *unit, msg *Message, interactive bool, err error) {
	switch {
	case it.redrive != nil:
		return s.redriveUnit(ctx, g, it)
	case it.request != nil:
		u, err = s.requestUnit(ctx, g.sl, it.request)
		return u, nil, false, err
	}
	msg, err = MessageOf(it.d.Source, &it.d.Record)
	if err != nil {
		return nil, nil, false, Permanent(err)
	}
	settle, inbox := s.settleOp(g.sl, it.d), s.inboxRow(it.d)
	if it.handled {
		return &unit{host: s.host, inbox: inbox, run: func(b *batch, u *unit) error { settle(b, u); return nil }}, msg, false, nil
	}
	if len(g.sl.blocked) > 0 { // a key may have to be decoded for
		if rows := g.sl.blocked[s.key(it.d)]; rows > 0 {
			if u, err = s.tailUnit(g.sl, it, rows, settle); err == nil {
				u.inbox = inbox
			}
			return u, msg, false, err
		}
	}
	return s.handle(ctx, g, msg, inbox, settle, nil)
}

// settleOp returns what marks a delivery as handled, within the effect's own
// transaction.
func (s *subscription) settleOp(sl *slice, d driver.Delivery) func(b *batch, u *unit) {
	if s.positions {
		return func(b *batch, u *unit) {
			sh := b.of(s.host)
			sh.writes.Moves = append(sh.writes.Moves, driver.Move{
				Unit: u.index, Subscription: s.name, Source: d.Source, Slice: sl.number,
				Epoch: d.Epoch, From: d.Prev, To: d.Position,
			})
		}
	}
	return func(b *batch, u *unit) {
		sl.hold(b, u)
		sh := b.of(s.host)
		if u.inbox == nil { // the id was handled before, with another body
			return
		}
		row := *u.inbox
		row.Unit = u.index
		sh.writes.Inbox = append(sh.writes.Inbox, row)
	}
}

// hold has a batch stand only as long as the slice is this process's.
func (sl *slice) hold(b *batch, u *unit) {
	if sl.guard != nil {
		guard := *sl.guard
		guard.Unit = u.index
		sh := b.of(sl.sub.host)
		sh.writes.Guards = append(sh.writes.Guards, guard)
	}
}

// handle makes the unit that handles a message; settle marks it as handled, and
// after is called once that is committed. It may be nil.
func (s *subscription) handle(ctx context.Context, g *group, msg *Message, inbox *driver.InboxRow, settle func(*batch, *unit), after func()) (*unit, *Message, bool, error) {
	h := s.host
	u := &unit{host: h, inbox: inbox, after: after}
	meta := Meta{ID: msg.ID, Time: h.r.now(), Actor: msg.Actor, Correlation: correlation(&msg.Meta), Causation: msg.ID, Trace: msg.Trace, ReplyTo: msg.ReplyTo}
	switch msg.Kind {
	case driver.KindCommand:
		hd := h.handlers[msg.Type]
		if hd == nil {
			return nil, msg, false, h.unknownType(msg.Type)
		}
		c, err := hd.decode(msg.Data)
		if err != nil {
			return nil, msg, false, Permanent(err)
		}
		meta.ID = msg.Ref
		meta.Causation = msg.ID
		u.answerID, u.streams = msg.Ref, hd.streams(c)
		u.run = func(b *batch, u *unit) error {
			a, err := b.decide(u, h, hd, c, msg.Data, meta)
			if err != nil {
				return err
			}
			h.r.observeDecided(h, hd.command, &a, meta)
			if msg.ReplyTo != "" {
				if err := b.reply(h, msg.Source, &a, msg, meta); err != nil {
					return err
				}
			}
			settle(b, u)
			return nil
		}
		return u, msg, false, nil
	case driver.KindReply:
		key, step, undo, ok := parseReplyTo(msg.ReplyTo)
		def := h.sagas[key.Name]
		if !ok || def == nil {
			return nil, msg, false, Permanent(fmt.Errorf("reply to %q: no such saga here", msg.ReplyTo))
		}
		var a Answer
		if err := json.Unmarshal(msg.Data, &a); err != nil {
			return nil, msg, false, Permanent(fmt.Errorf("reply: %w", err))
		}
		a.Command = msg.Ref
		u.saga = key
		u.run = func(b *batch, u *unit) error {
			if err := b.sagaReply(u, h, def, key, step, undo, a, meta); err != nil {
				return err
			}
			settle(b, u)
			return nil
		}
		return u, msg, false, nil
	}
	return s.handleEvent(ctx, g, u, msg, meta, settle)
}

func (s *subscription) handleEvent(ctx context.Context, g *group, u *unit, msg *Message, meta Meta, settle func(*batch, *unit)) (*unit, *Message, bool, error) {
	h := s.host
	base := baseOf(msg.Type)
	sub, advances, apply := s.on[base], s.sagas[base], s.apply[base]
	if sub == nil && len(advances) == 0 && apply == nil {
		if msg.Type == driver.Unreadable {
			return nil, msg, false, unreadable(msg)
		}
		return nil, msg, false, h.unknownType(msg.Type)
	}
	var decoder *eventDecoder
	if sub != nil {
		decoder = sub.decoder
	} else {
		decoder = advances[0].adv.sub.decoder
	}
	// What others publish over a broker stands in no log of ours, so it has no position.
	if 0 < msg.Position && msg.Position <= s.joins[base] || s.below(msg) {
		u.run = func(b *batch, u *unit) error { settle(b, u); return nil }
		return u, msg, false, nil
	}
	e, err := decoder.decode(msg.Type, msg.Data)
	if err != nil {
		if !newerVersion(err) {
			err = Permanent(err)
		}
		return nil, msg, false, err
	}
	meta.Time = msg.Time
	var run *handlerRun
	finish := func(b *batch, u *unit) error {
		if run != nil {
			if err := b.effects(u, h, run.effects, meta); err != nil {
				return err
			}
		}
		for _, a := range advances {
			if err := b.sagaEvent(u, h, a.def, a.adv, e, meta); err != nil {
				return err
			}
		}
		settle(b, u)
		return nil
	}
	switch {
	case sub != nil && sub.react != nil:
		effects := sub.react(e, meta)
		u.run = func(b *batch, u *unit) error {
			if err := b.effects(u, h, effects, meta); err != nil {
				return err
			}
			return finish(b, u)
		}
		return u, msg, false, nil
	case sub == nil && apply == nil:
		u.run = finish
		return u, msg, false, nil
	}
	if sub != nil && sub.after != "" {
		if err := s.await(ctx, g, sub.after); err != nil {
			return nil, msg, false, err
		}
	}
	run = newHandlerRun(s, msg, s.view)
	run.enlist = func() error {
		u.handler = run
		u.alone = g.sl.suspect == msg.ID
		u.run = func(b *batch, u *unit) error {
			if err := run.hold(b, u); err != nil {
				return err
			}
			return finish(b, u)
		}
		g.add(u, msg)
		g.submit(s)
		return nil
	}
	err = run.call(ctx, func(ctx context.Context) error {
		if apply != nil {
			return apply(ctx, run, e)
		}
		return sub.handle(ctx, run, e)
	})
	if run.enlisted {
		return nil, msg, true, nil // the unit's own end tells how it went
	}
	if err != nil {
		return nil, msg, false, err
	}
	statements := run.statements
	u.run = func(b *batch, u *unit) error {
		sh := b.of(h)
		for _, st := range statements {
			sh.statements = append(sh.statements, driver.Statement{Unit: u.index, SQL: st.sql, Args: st.args})
		}
		return finish(b, u)
	}
	return u, msg, false, nil
}

// unreadable says why a message that somebody else has put in a topic could not be read.
func unreadable(m *Message) error {
	var why driver.UnreadableData
	if err := json.Unmarshal(m.Data, &why); err != nil {
		return Permanent(fmt.Errorf("an unreadable message: %w", err))
	}
	return Permanent(fmt.Errorf("what came in topic %s cannot be read, so it is of no service of the parts list: %s", why.Topic, why.Cause))
}

// unknownType says why a type that was asked for cannot be read: a version from
// the future waits, anything else is parked.
func (h *host) unknownType(wire string) error {
	if base, version, err := splitVersion(wire); err == nil {
		if known, ok := h.versions[base]; ok && version > known {
			return &NewerVersionError{Type: wire, Known: known}
		}
	}
	return Permanent(fmt.Errorf("%s is not handled by service %s", wire, h.svc.Name))
}

// circuit stops a subscription whose messages fail over distinct keys, and lets
// single messages try until one succeeds.
type circuit struct {
	keys   map[string]bool
	open   bool
	trying bool
	until  time.Time
	wait   time.Duration
	rouse  func(time.Duration)
	now    func() time.Time
}

const circuitKeys = 8

func (c *circuit) allows(int) bool {
	if !c.open {
		return true
	}
	return !c.trying && !c.now().Before(c.until)
}

// half reports whether the message about to be tried decides over the circuit.
func (c *circuit) half() bool {
	if c.open {
		c.trying = true
	}
	return c.open
}

func (c *circuit) success() {
	c.open, c.trying, c.wait = false, false, 0
	clear(c.keys)
}

func (c *circuit) failure(key string) {
	if c.keys == nil {
		c.keys = map[string]bool{}
	}
	c.keys[key] = true
	c.trying = false
	if len(c.keys) < circuitKeys && !c.open {
		return
	}
	c.open = true
	c.wait = min(max(2*c.wait, 500*time.Millisecond), time.Minute)
	c.until = c.now().Add(c.wait)
	c.rouse(c.wait)
}
