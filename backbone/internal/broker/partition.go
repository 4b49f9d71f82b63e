package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// handed is how many messages of a slice may be with the subscription at once.
const handed = 256

// errUntold stops a partition at a message whose key this program cannot tell: it is of a newer version.
var errUntold = errors.New("a message of a newer version waits for a program that knows it")

// partition is a part of a group that is worked here.
type partition struct {
	sub    *subscription
	number int
	epoch  int64
	guard  driver.Guard
	from   map[string]int64 // where the reading of each source's log stands
	read   map[string]bool  // the sources of whose log a piece was read: whoever had the partition before stopped in the first

	running   sync.WaitGroup
	receiving context.CancelFunc
	handing   context.Context
	quiet     context.CancelFunc

	mu    sync.Mutex
	work  sync.Cond // a slice has something to hand over, or the partition is given up
	room  sync.Cond // something was settled
	lines map[int]*line
	ready []int // slices that have something to hand over
	open  map[messageID]*entry
}

type messageID struct{ source, id string }

// line holds the messages of one slice that are not settled, in order. The first of them are out: handed over. Only when
// all of those are settled come the next ones, so that what is handed back comes again before what follows it.
type line struct {
	entries []*entry
	out     int
	left    int  // of those that are out
	waits   bool // for its turn in ready, or for the end of a pause
}

// entry is a message that is not settled.
type entry struct {
	p       *partition
	slice   int
	message driver.Message
	done    func() // settles it at the broker, nil where it came from the log
	before  bool   // it may have been handed over before
	settled bool
	again   bool
}

func newPartition(s *subscription, number int, epoch int64) *partition {
	p := &partition{
		sub: s, number: number, epoch: epoch, from: map[string]int64{}, read: map[string]bool{}, lines: map[int]*line{}, open: map[messageID]*entry{},
		guard: driver.Guard{Subscription: s.leases, Source: epochOf, Slice: number, Epoch: epoch},
	}
	p.work.L, p.room.L = &p.mu, &p.mu
	return p
}

func (p *partition) start(ctx context.Context) {
	p.handing, p.quiet = context.WithCancel(ctx)
	receiving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p.receiving = cancel
	p.running.Go(func() { p.hand(p.handing) })
	p.running.Go(func() { p.receive(receiving) })
}

// hush ends the handing over.
func (p *partition) hush() {
	p.quiet()
	p.mu.Lock()
	p.work.Broadcast()
	p.room.Broadcast()
	p.mu.Unlock()
}

// stop ends everything; nothing of the partition is in flight any more.
func (p *partition) stop() {
	p.receiving()
	p.mu.Lock()
	p.room.Broadcast()
	p.mu.Unlock()
	p.running.Wait()
}

// receive reads what came before the group from the logs, and then what the broker has.
func (p *partition) receive(ctx context.Context) {
	s := p.sub
	for ctx.Err() == nil {
		err := p.catchUp(ctx)
		if err == nil {
			err = s.bus.config.Client.Receive(ctx, s.group, p.number, func(ms []Incoming) error { return p.take(ctx, ms) })
		}
		if ctx.Err() != nil {
			return
		}
		s.bus.config.Logger.Warn("receiving was interrupted, trying again", "subscription", s.Name, "partition", p.number, "error", err)
		if !pause(ctx, jitter(s.bus.config.Poll)) {
			return
		}
		if err := s.bus.rejoin(ctx, s); err != nil && ctx.Err() == nil {
			s.bus.config.Logger.Warn("joining again failed", "subscription", s.Name, "error", err)
		}
	}
}

// rejoin makes a group exist again whose server may have lost it.
func (b *Bus) rejoin(ctx context.Context, s *subscription) error {
	b.forget()
	g, err := b.group(ctx, &s.Subscription)
	if err != nil {
		return err
	}
	if g.Partitions != s.group.Partitions {
		err := fmt.Errorf("%s: the topics of %q have %d partitions now and had %d", b.config.Client.System(), s.Name, g.Partitions, s.group.Partitions)
		s.fail(err)
		return err
	}
	g.Inputs = union(g.Inputs, s.group.Inputs)
	return b.join(ctx, g, true)
}

// take puts messages in line. It blocks while there is no room.
func (p *partition) take(ctx context.Context, ms []Incoming) error {
	for i := range ms {
		m, err := decode(&ms[i])
		slice := p.number // of what others have put here, whose key does not say it
		if err != nil {
			m = unreadable(&ms[i], err)
		} else if !p.sub.wants(&m) {
			ms[i].Done()
			continue
		} else if n, err := p.slice(&m); err != nil {
			p.sub.yield(p.number, m.Type)
			return err
		} else if n%p.sub.group.Partitions == p.number {
			slice = n
		}
		if err := p.put(ctx, m, slice, ms[i].Redelivered, ms[i].Done); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// slice returns the slice that a message belongs to.
func (p *partition) slice(m *driver.Message) (int, error) {
	key := m.Stream
	if p.sub.Key != nil {
		if key = p.sub.Key(m); key == "" {
			return 0, errUntold
		}
	}
	return driver.SliceOf(key, p.sub.Slices), nil
}

func (p *partition) put(ctx context.Context, m driver.Message, slice int, before bool, done func()) error {
	id := messageID{m.Source, m.ID}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.open) >= Window && p.open[id] == nil && ctx.Err() == nil {
		p.room.Wait()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if e := p.open[id]; e != nil { // a copy, or the same message over a new connection: both are settled with it
		if first := e.done; first != nil {
			e.done = func() { first(); done() }
		} else {
			e.done = done
		}
		return nil
	}
	e := &entry{p: p, slice: slice, message: m, before: before, done: done}
	p.open[id] = e
	l := p.lines[slice]
	if l == nil {
		l = &line{}
		p.lines[slice] = l
	}
	l.entries = append(l.entries, e)
	p.offer(slice, l)
	return nil
}

// offer has a slice's messages handed over, if none are out.
func (p *partition) offer(slice int, l *line) {
	if l.out > 0 || l.waits || len(l.entries) == 0 {
		return
	}
	l.waits = true
	p.ready = append(p.ready, slice)
	p.work.Signal()
}

// hand hands messages over until ctx ends or the sink fails.
func (p *partition) hand(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		p.work.Broadcast()
		p.mu.Unlock()
	})
	defer stop()
	for {
		p.mu.Lock()
		for ctx.Err() == nil && (len(p.ready) == 0 || p.sub.held.Lapsed()) {
			p.work.Wait()
		}
		if ctx.Err() != nil {
			p.mu.Unlock()
			return
		}
		slice := p.ready[0]
		p.ready = append(p.ready[:0], p.ready[1:]...)
		l := p.lines[slice]
		l.waits = false
		l.out = min(handed, len(l.entries))
		l.left = l.out
		ds := make([]driver.Delivery, l.out)
		for i, e := range l.entries[:l.out] {
			ds[i] = driver.Delivery{Message: e.message, Slice: slice, Epoch: p.epoch, Ack: e.ack, Redelivered: e.before, Guard: &p.guard}
		}
		p.mu.Unlock()
		if err := p.sub.sink.Deliver(ctx, slice, ds); err != nil {
			if ctx.Err() == nil {
				p.sub.fail(fmt.Errorf("subscription %q: deliver: %w", p.sub.Name, err))
			}
			return
		}
	}
}

// ack settles a message, or has it come again. Of a partition that was given up it settles what was still in flight.
func (e *entry) ack(err error) {
	p := e.p
	p.mu.Lock()
	if e.settled {
		p.mu.Unlock()
		return
	}
	e.settled, e.again = true, err != nil
	done := e.done
	if err == nil {
		delete(p.open, messageID{e.message.Source, e.message.ID})
		p.room.Broadcast()
	} else {
		done = nil
	}
	l := p.lines[e.slice]
	if l.left--; l.left == 0 {
		p.close(e.slice, l)
	}
	p.mu.Unlock()
	if done != nil {
		driver.CrashPoint("broker.settle")
		done()
	}
}

// close ends a handing over: what is settled leaves the line, the rest stays at its head in order and comes again.
func (p *partition) close(slice int, l *line) {
	rest := l.entries[:0:0]
	for _, e := range l.entries[:l.out] {
		if e.again {
			e.settled, e.again = false, false
			rest = append(rest, e)
		}
	}
	again := len(rest) > 0
	l.entries = append(rest, l.entries[l.out:]...)
	l.out = 0
	switch {
	case p.handing.Err() != nil:
	case again:
		l.waits = true
		time.AfterFunc(p.sub.bus.config.Redeliver, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			l.waits = false
			p.offer(slice, l)
		})
	case len(l.entries) == 0:
		delete(p.lines, slice)
	default:
		p.offer(slice, l)
	}
}

// catchUp hands over what the logs hold of this partition from before the group existed. After each piece, when all of it
// is settled, the partition's checkpoint moves.
func (p *partition) catchUp(ctx context.Context) error {
	s := p.sub
	s.history.enter()
	defer s.history.leave()
	for i := range s.Interests {
		in := &s.Interests[i]
		for p.from[in.Source] < s.joined[in.Source] {
			if err := p.piece(ctx, in); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *partition) piece(ctx context.Context, in *driver.Interest) error {
	s := p.sub
	from, until := p.from[in.Source], s.joined[in.Source]
	log := s.bus.config.Log(in.Source)
	if log == nil {
		return fmt.Errorf("the log of %q cannot be read from here any more", in.Source)
	}
	found, err := s.history.piece(ctx, log, in, from, until)
	if err != nil {
		return err
	}
	rs, to := found.records, found.to
	for i := range rs {
		m := driver.Message{Source: in.Source, Record: rs[i]}
		if !in.Wants(&rs[i]) {
			continue
		}
		slice, err := p.slice(&m)
		if err != nil {
			s.yield(p.number, m.Type)
			return err
		}
		if slice%s.group.Partitions != p.number {
			continue
		}
		if err := p.put(ctx, m, slice, !p.read[in.Source], nil); err != nil {
			return err
		}
	}
	if err := p.settled(ctx); err != nil {
		return err
	}
	tx, err := s.store.Begin(ctx)
	if err != nil {
		return err
	}
	move := driver.Move{Subscription: s.leases, Source: in.Source, Slice: p.number, Epoch: p.epoch, From: from, To: to}
	if err = tx.Apply(ctx, s.Service, &driver.Writes{Moves: []driver.Move{move}}); err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	p.mu.Lock()
	p.from[in.Source] = to
	p.mu.Unlock()
	p.read[in.Source] = true
	return nil
}

// settled waits until nothing is open.
func (p *partition) settled(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock()
		p.room.Broadcast()
		p.mu.Unlock()
	})()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.open) > 0 && ctx.Err() == nil {
		p.room.Wait()
	}
	return ctx.Err()
}
