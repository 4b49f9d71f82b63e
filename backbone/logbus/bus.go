package logbus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
)

// ErrClosed is returned by Subscribe when the Bus was closed.
var ErrClosed = errors.New("logbus is closed")

// Config configures a Bus. Zero fields mean their defaults.
type Config struct {
	// Store returns the database that a service's log and checkpoints are in, or
	// nil if there is none. Required.
	Store func(service string) driver.Store
	// Owner names this Bus where slices are claimed. No two that run at the same
	// time may share it. Default: random.
	Owner string
	// Lease is how long slices stay with an owner that does not renew. It does
	// not matter for Exclusive stores. Default 15 s.
	Lease time.Duration
	// Poll is how often a log is looked at without having been woken, for what
	// others appended, and the pause before what failed is tried again. Default 1 s.
	Poll time.Duration
	// Logger hears of what is tried again. Default slog.Default().
	Logger *slog.Logger
}

// Bus is a transport over logs. It implements driver.Transport and
// driver.Committed; its methods may be called concurrently.
type Bus struct {
	config    Config
	ctx       context.Context
	close     context.CancelFunc
	running   sync.WaitGroup
	mu        sync.RWMutex
	tails     map[string]*tail
	listeners map[driver.Store]*listener
	names     map[[2]string]bool // subscriptions of this Bus: service, name
	feeds     map[*feed]bool     // that are running
	subs      map[*subscription]bool
}

// New returns a Bus. It does nothing until something subscribes.
func New(c Config) *Bus {
	if c.Owner == "" {
		c.Owner = rand.Text()
	}
	if c.Lease <= 0 {
		c.Lease = 15 * time.Second
	}
	if c.Poll <= 0 {
		c.Poll = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Bus{
		config: c, ctx: ctx, close: cancel,
		tails: map[string]*tail{}, listeners: map[driver.Store]*listener{}, names: map[[2]string]bool{}, feeds: map[*feed]bool{}, subs: map[*subscription]bool{},
	}
}

// Powers implements driver.Transport. Shared work needs a store that is not
// Exclusive: an Exclusive one has no second process.
func (b *Bus) Powers() driver.Powers {
	return driver.Powers{LogPositions: true, Shared: true, Broadcast: true, FromFirst: true, KeyOrder: true, KindOrder: true}
}

// Publish implements driver.Transport: there is nowhere to carry records to.
func (b *Bus) Publish(context.Context, string, []driver.Record) (driver.Anchor, error) {
	return nil, fmt.Errorf("logbus: publish: %w", driver.ErrNoPower)
}

// Close ends all subscriptions and returns when they have ended.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.close()
	b.mu.Unlock()
	b.running.Wait()
	return nil
}

// Committed implements driver.Committed: records that this process has just
// committed reach the subscriptions without being read back. It does not block
// and keeps no reference to rs itself.
func (b *Bus) Committed(source string, rs []driver.Record) {
	b.mu.RLock()
	t := b.tails[source]
	b.mu.RUnlock()
	if t != nil && len(rs) > 0 {
		t.committed(rs)
	}
}

// Recheck implements driver.Rechecker.
func (b *Bus) Recheck(service string) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for s := range b.subs {
		if s.Service == service {
			poke(s.recheck)
		}
	}
}

// Yield implements driver.Yielder.
func (b *Bus) Yield(service, subscription string, slice int, wire string) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for s := range b.subs {
		if s.Service == service && s.Name == subscription {
			s.yields.Add(slice, wire)
			poke(s.recheck)
		}
	}
}

func (b *Bus) store(service string) (driver.Store, error) {
	if s := b.config.Store(service); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("logbus: service %q has no store here", service)
}

// acquire returns the tail of a source, at the log's head or later, with the
// reader woken by it from now on.
func (b *Bus) acquire(ctx context.Context, source string, wake chan struct{}) (*tail, error) {
	store, err := b.store(source)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	t := b.tails[source]
	if t == nil {
		t = newTail(b, source, store)
		b.tails[source] = t
		b.running.Go(t.run)
		b.listen(t)
	}
	t.mu.Lock()
	t.readers = append(t.readers, wake)
	t.mu.Unlock()
	b.mu.Unlock()
	select {
	case <-t.opened:
		return t, nil
	case <-ctx.Done():
		b.release(t, wake)
		return nil, context.Cause(ctx)
	}
}

// release gives a tail back; the last reader ends it.
func (b *Bus) release(t *tail, wake chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.mu.Lock()
	for i, r := range t.readers {
		if r == wake {
			readers := append([]chan struct{}(nil), t.readers[:i]...)
			t.readers = append(readers, t.readers[i+1:]...)
			break
		}
	}
	last := len(t.readers) == 0
	t.mu.Unlock()
	if last {
		t.cancel()
		delete(b.tails, t.source)
		b.unlisten(t)
	}
}

// pause waits before something is tried again and reports whether ctx lives.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
