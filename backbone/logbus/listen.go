package logbus

import (
	"context"
	"maps"
	"slices"
	"time"

	"example.org/souk/backbone/driver"
)

// settle is how long a listener waits for more sources before it listens: a
// program that starts subscribes to many within moments.
const settle = 20 * time.Millisecond

// listener is the one Listen call for all tails of a store. It runs until its
// last tail ends, and is started again when the set of its sources changes.
type listener struct {
	tails   map[string]*tail // guarded by Bus.mu
	cancel  context.CancelFunc
	restart chan struct{}
}

// listen adds a tail to its store's listener; Bus.mu is held.
func (b *Bus) listen(t *tail) {
	if !t.store.Powers().Notify {
		return
	}
	l := b.listeners[t.store]
	if l == nil {
		ctx, cancel := context.WithCancel(b.ctx)
		l = &listener{tails: map[string]*tail{}, cancel: cancel, restart: make(chan struct{}, 1)}
		b.listeners[t.store] = l
		b.running.Go(func() { b.runListener(ctx, l, t.store) })
		if looker, ok := looks(t.store); ok {
			b.running.Go(func() { b.look(ctx, l, looker) })
		}
	}
	l.tails[t.source] = t
	poke(l.restart)
}

// looks returns how the heads of a store's logs are looked at all at once, where its tails have a listener.
func looks(store driver.Store) (driver.Looker, bool) {
	looker, ok := store.(driver.Looker)
	return looker, ok && store.Powers().Notify
}

// look looks for what the tails of a store were not told of, until ctx ends: a notification may be lost with a process that had
// committed, or with a connection.
func (b *Bus) look(ctx context.Context, l *listener, store driver.Looker) {
	for pause(ctx, b.config.Poll) {
		b.mu.RLock()
		tails := maps.Clone(l.tails)
		b.mu.RUnlock()
		found, err := store.Look(ctx, slices.Sorted(maps.Keys(tails)))
		for source, t := range tails {
			if err != nil || found[source].Head > t.head() { // what cannot be looked at is read, which tells of what is wrong
				t.changed()
			}
		}
	}
}

// unlisten removes a tail; Bus.mu is held.
func (b *Bus) unlisten(t *tail) {
	l := b.listeners[t.store]
	if l == nil || l.tails[t.source] != t {
		return
	}
	delete(l.tails, t.source)
	if len(l.tails) == 0 {
		l.cancel()
		delete(b.listeners, t.store)
	}
	// A source too many does no harm, so the others keep listening undisturbed.
}

func (b *Bus) runListener(ctx context.Context, l *listener, store driver.Store) {
	defer l.cancel()
	for pause(ctx, settle) {
		select {
		case <-l.restart:
		default:
		}
		b.mu.RLock()
		tails := maps.Clone(l.tails)
		b.mu.RUnlock()
		listening, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			ended <- store.Listen(listening, slices.Sorted(maps.Keys(tails)), func(service string, head int64, _ bool) {
				if t := tails[service]; t != nil && (head == 0 || head > t.head()) { // mostly it has what this process has committed itself
					t.changed()
				}
			})
		}()
		var err error
		select {
		case <-l.restart:
			stop()
			<-ended //nolint:errcheck // it says only that the listener has ended
			continue
		case err = <-ended:
		}
		stop()
		if ctx.Err() != nil {
			return
		}
		b.config.Logger.Warn("listening for commits failed, polling until it works again", "error", err)
		if !pause(ctx, b.config.Poll) {
			return
		}
	}
}
