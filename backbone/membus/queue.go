package membus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"example.org/souk/backbone/driver"
)

// handed is how many messages of a slice may be unsettled at once.
const handed = 256

// queue is a subscription with the messages that it has not settled. Everything
// in it, its slices and its members is guarded by Bus.mu.
type queue struct {
	bus     *Bus
	spec    driver.Subscription
	slices  []slice
	members []*member
	waiting int // messages not settled
}

// slice is the line of messages of one slice.
type slice struct {
	target *member // who should work it
	owner  *member // who does
	epoch  int64
	line   []driver.Message
	// out are the first messages of line that are handed to the owner; they leave
	// the line, or stay at its head, when all of them are settled.
	out     int
	settled []bool
	again   []bool // settled, and to be delivered again
	open    int    // not settled yet
	delayed bool   // waits for its redelivery
}

// member is one Subscribe call.
type member struct {
	queue *queue
	sink  driver.Sink
	held  map[int]bool
	wake  chan struct{}
	next  int // the slice to look at first, so that all get their turn
}

func (m *member) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (q *queue) wants(m *driver.Message) bool {
	for i := range q.spec.Interests {
		if in := &q.spec.Interests[i]; in.Source == m.Source {
			return in.Wants(&m.Record)
		}
	}
	return false
}

func (q *queue) put(m driver.Message) {
	n := 0
	if len(q.slices) > 1 {
		key := m.Stream
		if q.spec.Key != nil {
			key = q.spec.Key(&m)
		}
		n = driver.SliceOf(key, len(q.slices))
	}
	s := &q.slices[n]
	for range 1 + q.bus.config.Copies(m) {
		s.line = append(s.line, m)
		q.waiting++
	}
	if s.owner != nil && s.out == 0 {
		s.owner.poke()
	}
}

// balance divides the slices among the members; each of them then gives and takes
// what is its own affair.
func (q *queue) balance() {
	for i := range q.slices {
		q.slices[i].target = nil
		if n := len(q.members); n > 0 {
			q.slices[i].target = q.members[i%n]
		}
	}
	for _, m := range q.members {
		m.poke()
	}
}

// run works the member's slices until ctx ends.
func (m *member) run(ctx context.Context) error {
	b := m.queue.bus
	for ctx.Err() == nil {
		m.exchange()
		b.mu.Lock()
		n, ds := m.take()
		b.mu.Unlock()
		if ds == nil {
			select {
			case <-m.wake:
			case <-ctx.Done():
			}
			continue
		}
		if err := m.sink.Deliver(ctx, n, ds); err != nil && ctx.Err() == nil {
			return fmt.Errorf("subscription %q: deliver: %w", m.queue.spec.Name, err)
		}
	}
	return nil
}

// take finds a slice with messages none of which are out.
func (m *member) take() (int, []driver.Delivery) {
	q := m.queue
	for range q.slices {
		n := m.next % len(q.slices)
		m.next++
		s := &q.slices[n]
		if s.owner != m || s.out > 0 || s.delayed || len(s.line) == 0 {
			continue
		}
		s.out = min(handed, len(s.line))
		s.open = s.out
		s.settled, s.again = make([]bool, s.out), make([]bool, s.out)
		ds := make([]driver.Delivery, s.out)
		for i := range ds {
			ds[i] = driver.Delivery{Message: s.line[i], Slice: n, Epoch: s.epoch, Ack: q.ack(n, s.epoch, s.settled, i)}
		}
		return n, ds
	}
	return 0, nil
}

// ack returns what settles the i-th message that is out. round tells whether it
// still is.
func (q *queue) ack(n int, epoch int64, round []bool, i int) func(error) {
	return func(err error) {
		b := q.bus
		b.mu.Lock()
		defer b.mu.Unlock()
		s := &q.slices[n]
		if s.epoch != epoch || len(s.settled) == 0 || &s.settled[0] != &round[0] || s.settled[i] {
			return // of an owner or a delivery that is over
		}
		s.settled[i], s.again[i] = true, err != nil
		if s.open--; s.open == 0 {
			q.close(n)
		}
	}
}

// close ends a delivery: what is settled leaves the line, the rest stays at its
// head in order.
func (q *queue) close(n int) {
	s := &q.slices[n]
	rest := make([]driver.Message, 0, s.out)
	for i := range s.out {
		if !s.settled[i] || s.again[i] {
			rest = append(rest, s.line[i])
		}
	}
	done := s.out - len(rest)
	copy(s.line[done:], rest)
	clear(s.line[:done])
	s.line = s.line[done:]
	if len(s.line) == 0 {
		s.line = nil
	}
	q.waiting -= done
	s.out, s.open, s.settled, s.again = 0, 0, nil, nil
	if done > 0 {
		q.bus.room.Broadcast()
	}
	if len(rest) == 0 {
		if s.owner != nil && len(s.line) > 0 {
			s.owner.poke()
		}
		return
	}
	s.delayed = true
	time.AfterFunc(q.bus.config.Redeliver, func() {
		q.bus.mu.Lock()
		defer q.bus.mu.Unlock()
		s.delayed = false
		if s.owner != nil {
			s.owner.poke()
		}
	})
}

// exchange gives up slices that are meant for others, and takes those that are
// meant for this member and free.
func (m *member) exchange() {
	q, b := m.queue, m.queue.bus
	b.mu.Lock()
	var give []int
	for n := range m.held {
		if q.slices[n].target != m {
			give = append(give, n)
		}
	}
	b.mu.Unlock()
	m.give(give)
	b.mu.Lock()
	var take []driver.Checkpoint
	for n := range q.slices {
		if s := &q.slices[n]; s.target == m && s.owner == nil {
			s.epoch++
			s.owner, m.held[n] = m, true
			for _, i := range q.spec.Interests {
				take = append(take, driver.Checkpoint{Subscription: q.spec.Name, Source: i.Source, Slice: n, Epoch: s.epoch})
			}
		}
	}
	b.mu.Unlock()
	if len(take) > 0 {
		m.sink.Assign(take)
	}
}

// give gives slices up when nothing of them is in flight; what is not settled
// goes to the next owner.
func (m *member) give(ns []int) {
	if len(ns) == 0 {
		return
	}
	slices.Sort(ns)
	m.sink.Revoke(ns)
	q, b := m.queue, m.queue.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range ns {
		s := &q.slices[n]
		if s.out > 0 {
			q.close(n)
		}
		s.owner = nil
		delete(m.held, n)
		if s.target != nil {
			s.target.poke()
		}
	}
}

// leave ends the membership.
func (m *member) leave() {
	q, b := m.queue, m.queue.bus
	b.mu.Lock()
	q.members = slices.DeleteFunc(q.members, func(o *member) bool { return o == m })
	q.balance()
	b.mu.Unlock()
	m.give(slices.Collect(maps.Keys(m.held)))
	if q.spec.Broadcast {
		b.mu.Lock()
		delete(b.all, q)
		b.room.Broadcast()
		b.mu.Unlock()
	}
}
