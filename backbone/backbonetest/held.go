package backbonetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"example.org/souk/backbone/driver"
)

// held is a transport that keeps every message until it is told to deliver it. What
// waits outlives a restart, as it would at a broker.
type held struct {
	mu      sync.Mutex
	history []driver.Message // everything committed, for those who begin at the first
	queues  []*queue
	copies  int
}

// queue is a subscription with what waits for it.
type queue struct {
	spec    driver.Subscription
	sink    driver.Sink // nil while nobody works it
	waiting []*letter
}

// letter is a message on its way to a subscription.
type letter struct {
	driver.Message
	queue  *queue
	copied bool
}

// Powers implements driver.Transport.
func (*held) Powers() driver.Powers { return driver.Powers{FromFirst: true} }

// Publish implements driver.Transport: Committed takes everything.
func (*held) Publish(context.Context, string, []driver.Record) (driver.Anchor, error) {
	return nil, fmt.Errorf("publish: %w", driver.ErrNoPower)
}

// Close implements driver.Transport.
func (*held) Close() error { return nil }

// Behind implements driver.Behinder: what is held is not on its way.
func (*held) Behind(context.Context) (int64, error) { return 0, nil }

// Committed implements driver.Committed.
func (h *held) Committed(source string, rs []driver.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range rs {
		m := driver.Message{Source: source, Record: rs[i]}
		h.history = append(h.history, m)
		for _, q := range h.queues {
			q.put(m)
		}
	}
}

func (q *queue) put(m driver.Message) {
	for i := range q.spec.Interests {
		if in := &q.spec.Interests[i]; in.Source == m.Source && in.Wants(&m.Record) {
			q.waiting = append(q.waiting, &letter{Message: m, queue: q})
		}
	}
}

// Subscribe implements driver.Transport.
func (h *held) Subscribe(ctx context.Context, s driver.Subscription, sink driver.Sink, ready chan<- struct{}) error {
	all := make([]driver.Checkpoint, s.Slices)
	numbers := make([]int, s.Slices)
	for i := range all {
		all[i] = driver.Checkpoint{Subscription: s.Name, Slice: i, Epoch: 1}
		numbers[i] = i
	}
	sink.Assign(all)
	h.mu.Lock()
	q := h.queue(s)
	q.spec, q.sink = s, sink
	h.mu.Unlock()
	close(ready)
	<-ctx.Done()
	h.mu.Lock()
	q.sink = nil
	h.mu.Unlock()
	sink.Revoke(numbers)
	return nil
}

func (h *held) queue(s driver.Subscription) *queue {
	for _, q := range h.queues {
		if q.spec.Service == s.Service && q.spec.Name == s.Name {
			return q
		}
	}
	q := &queue{spec: s}
	h.queues = append(h.queues, q)
	slices.SortFunc(h.queues, func(a, b *queue) int { // who subscribes first is chance
		return cmp.Or(cmp.Compare(a.spec.Service, b.spec.Service), cmp.Compare(a.spec.Name, b.spec.Name))
	})
	if s.FromFirst {
		for _, m := range h.history {
			q.put(m)
		}
	}
	return q
}

func (q *queue) key(m *driver.Message) string {
	if q.spec.Key != nil {
		return q.spec.Key(m)
	}
	return m.Stream
}

// open returns the messages that may come next: the first event of each key, and
// every command and reply. Those of one subscription stand in the order in which
// they were sent.
func (h *held) open() []*letter {
	h.mu.Lock()
	defer h.mu.Unlock()
	var open []*letter
	for _, q := range h.queues {
		first := map[[2]string]bool{}
		for _, l := range q.waiting {
			if l.Kind == driver.KindEvent {
				place := [2]string{l.Source, q.key(&l.Message)}
				if first[place] {
					continue
				}
				first[place] = true
			}
			open = append(open, l)
		}
	}
	return open
}

// deliver hands a message over; settled hears what became of it.
func (h *held) deliver(ctx context.Context, l *letter, settled chan<- error) error {
	h.mu.Lock()
	q := l.queue
	sink, spec := q.sink, q.spec
	slice := driver.SliceOf(q.key(&l.Message), spec.Slices)
	h.mu.Unlock()
	if sink == nil {
		return fmt.Errorf("nobody works subscription %s", spec.Name)
	}
	return sink.Deliver(ctx, slice, []driver.Delivery{{
		Message: l.Message, Slice: slice, Epoch: 1,
		Ack: func(err error) {
			if err == nil {
				h.remove(l)
			}
			settled <- err
		},
	}})
}

func (h *held) remove(l *letter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, other := range l.queue.waiting {
		if other == l {
			l.queue.waiting = append(l.queue.waiting[:i:i], l.queue.waiting[i+1:]...)
			return
		}
	}
}

// again has a command or reply sent a second time: another record that says the
// same, as a sender makes that has waited too long.
func (h *held) again(l *letter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.copies++
	m := l.Message
	m.ID += "-again-" + strconv.Itoa(h.copies)
	l.queue.waiting = append(l.queue.waiting, &letter{Message: m, queue: l.queue, copied: true})
}
