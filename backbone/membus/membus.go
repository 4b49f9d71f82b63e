package membus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// ErrClosed is returned when the Bus was closed.
var ErrClosed = errors.New("membus is closed")

// Config configures a Bus. Zero fields mean their defaults.
type Config struct {
	// Retain is how many records of each source are kept for subscriptions that
	// begin at the first. Default 65,536.
	Retain int
	// Queue is how many messages may wait in one subscription before Publish
	// waits. Default 65,536.
	Queue int
	// Redeliver is the pause before what was not acknowledged comes again.
	// Default 10 ms.
	Redeliver time.Duration
	// Copies returns how many extra copies of a message each subscription is
	// given, right behind the original. Default none.
	Copies func(driver.Message) int
}

// Bus is a transport in memory. It implements driver.Transport; its methods may
// be called concurrently.
type Bus struct {
	config  Config
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	room   *sync.Cond // some queue became shorter, or a Publish gives up
	topics map[string]*topic
	queues map[[2]string]*queue // durable ones, by service and name
	all    map[*queue]bool      // and those of broadcasts
}

// topic retains the newest records of a source.
type topic struct {
	retained []driver.Message
	dropped  bool // some record is no longer retained
}

// New returns a Bus.
func New(c Config) *Bus {
	if c.Retain <= 0 {
		c.Retain = 1 << 16
	}
	if c.Queue <= 0 {
		c.Queue = 1 << 16
	}
	if c.Redeliver <= 0 {
		c.Redeliver = 10 * time.Millisecond
	}
	if c.Copies == nil {
		c.Copies = func(driver.Message) int { return 0 }
	}
	b := &Bus{config: c, topics: map[string]*topic{}, queues: map[[2]string]*queue{}, all: map[*queue]bool{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.room = sync.NewCond(&b.mu)
	return b
}

// Powers implements driver.Transport.
func (b *Bus) Powers() driver.Powers {
	return driver.Powers{Shared: true, Broadcast: true, FromFirst: true, KeyOrder: true, KindOrder: true}
}

// Publish implements driver.Transport. It waits while a queue that a record goes
// to is full; when ctx ends meanwhile, nothing of rs was published.
func (b *Bus) Publish(ctx context.Context, source string, rs []driver.Record) (driver.Anchor, error) {
	defer context.AfterFunc(ctx, b.rouse)()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.full(source, rs) && ctx.Err() == nil && b.ctx.Err() == nil {
		b.room.Wait()
	}
	if b.ctx.Err() != nil {
		return nil, ErrClosed
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("membus: publish to %q: a queue is full: %w", source, context.Cause(ctx))
	}
	t := b.topic(source)
	for i := range rs {
		m := driver.Message{Source: source, Record: rs[i]}
		t.retained = append(t.retained, m)
		for q := range b.all {
			if q.wants(&m) {
				q.put(m)
			}
		}
	}
	if over := len(t.retained) - b.config.Retain; over > 0 {
		clear(t.retained[:over])
		t.retained, t.dropped = t.retained[over:], true
	}
	return nil, nil
}

// Behind implements driver.Behinder: how many messages the subscriptions have not settled.
func (b *Bus) Behind(context.Context) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	behind := 0
	for q := range b.all {
		behind += q.waiting
	}
	return int64(behind), nil
}

// rouse lets waiting Publish calls look again.
func (b *Bus) rouse() {
	b.mu.Lock()
	b.room.Broadcast()
	b.mu.Unlock()
}

func (b *Bus) topic(source string) *topic {
	t := b.topics[source]
	if t == nil {
		t = &topic{}
		b.topics[source] = t
	}
	return t
}

// full reports whether a queue that would get one of the records has no room.
func (b *Bus) full(source string, rs []driver.Record) bool {
	for q := range b.all {
		if q.waiting < b.config.Queue {
			continue
		}
		for i := range rs {
			if q.wants(&driver.Message{Source: source, Record: rs[i]}) {
				return true
			}
		}
	}
	return false
}

// Close ends all subscriptions and returns when they have ended.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.cancel()
	b.room.Broadcast()
	b.mu.Unlock()
	b.running.Wait()
	return nil
}

// Subscribe implements driver.Transport. It returns nil when ctx ends.
func (b *Bus) Subscribe(ctx context.Context, s driver.Subscription, sink driver.Sink, ready chan<- struct{}) error {
	if err := s.Check(sink); err != nil {
		return fmt.Errorf("membus: %w", err)
	}
	if s.Broadcast {
		s.Slices, s.FromFirst = 1, false
	}
	b.mu.Lock()
	if b.ctx.Err() != nil {
		b.mu.Unlock()
		return ErrClosed
	}
	q, err := b.queue(s)
	if err != nil {
		b.mu.Unlock()
		return fmt.Errorf("membus: %w", err)
	}
	m := &member{queue: q, sink: sink, held: map[int]bool{}, wake: make(chan struct{}, 1)}
	q.members = append(q.members, m)
	q.balance()
	b.running.Add(1)
	defer b.running.Done()
	b.mu.Unlock()
	if ready != nil {
		close(ready)
	}

	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.ctx, func() { cancel(ErrClosed) })()
	err = m.run(ctx)
	m.leave()
	if err == nil && outer.Err() == nil {
		err = context.Cause(ctx)
	}
	return err
}

// queue returns the queue of a subscription, which is made when it is new.
func (b *Bus) queue(s driver.Subscription) (*queue, error) {
	name := [2]string{s.Service, s.Name}
	if q := b.queues[name]; q != nil && !s.Broadcast {
		q.spec.Interests, q.spec.Key = s.Interests, s.Key
		return q, nil
	}
	if s.FromFirst {
		for _, i := range s.Interests {
			if b.topic(i.Source).dropped {
				return nil, fmt.Errorf("subscription %q: the first records of %q are no longer retained", s.Name, i.Source)
			}
		}
	}
	q := &queue{bus: b, spec: s, slices: make([]slice, s.Slices)}
	b.all[q] = true
	if !s.Broadcast {
		b.queues[name] = q
	}
	if s.FromFirst {
		for _, i := range s.Interests {
			for _, m := range b.topic(i.Source).retained {
				if q.wants(&m) {
					q.put(m)
				}
			}
		}
	}
	return q, nil
}

var (
	_ driver.Transport = (*Bus)(nil)
	_ driver.Behinder  = (*Bus)(nil)
)
