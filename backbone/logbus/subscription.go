package logbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/lease"
)

const (
	// sweepEvery is how often idle slices' checkpoints are looked after.
	sweepEvery = 5 * time.Second
	// sweepLag is how many positions an idle slice may lie behind a busy log.
	sweepLag = 1000
	// releaseTime bounds what a stopping subscription does at its store.
	releaseTime = 5 * time.Second
)

// subscription is one Subscribe call.
type subscription struct {
	driver.Subscription
	bus   *Bus
	store driver.Store
	sink  driver.Sink
	slots []*slot
	feeds []*feed

	recheck chan struct{}
	yields  lease.Yields
	held    *lease.Holder // nil for a broadcast; only Subscribe's goroutine uses it, but for Lapsed
}

// slot is one slice of a subscription. Its lock is held while the sink is given
// messages of the slice, so that sources take turns and a revoked slice is quiet.
type slot struct {
	ctx    context.Context    // of the current term
	cancel context.CancelFunc // ends a blocked delivery, nil: the slice is not assigned; only Subscribe's goroutine uses it

	mu    sync.Mutex
	term  int64  // raised by each assignment and revocation
	marks []mark // one a source
}

// mark is where a slice stands in one source.
type mark struct {
	joined bool  // the feed delivers
	prev   int64 // the checkpoint's position when everything delivered is done
	epoch  int64
}

// Subscribe implements driver.Transport. It returns nil when ctx ends. A Bus
// runs a subscription once; other processes may share it.
func (b *Bus) Subscribe(ctx context.Context, s driver.Subscription, sink driver.Sink, ready chan<- struct{}) error {
	if err := s.Check(sink); err != nil {
		return fmt.Errorf("logbus: %w", err)
	}
	name := [2]string{s.Service, s.Name}
	b.mu.Lock()
	if b.ctx.Err() != nil {
		b.mu.Unlock()
		return ErrClosed
	}
	if !s.Broadcast {
		if b.names[name] {
			b.mu.Unlock()
			return fmt.Errorf("logbus: subscription %q of %q runs already", s.Name, s.Service)
		}
		b.names[name] = true
		defer func() {
			b.mu.Lock()
			delete(b.names, name)
			b.mu.Unlock()
		}()
	}
	b.running.Add(1)
	defer b.running.Done()
	b.mu.Unlock()

	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.ctx, func() { cancel(ErrClosed) })()

	sub := &subscription{Subscription: s, bus: b, sink: sink, recheck: make(chan struct{}, 1)}
	b.mu.Lock()
	b.subs[sub] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.subs, sub)
		b.mu.Unlock()
	}()
	err := sub.run(ctx, ready)
	if outer.Err() != nil && (err == nil || ctx.Err() != nil) {
		return nil
	}
	if err == nil || errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	return err
}

func (s *subscription) run(ctx context.Context, ready chan<- struct{}) error {
	for i, interest := range s.Interests {
		f := &feed{sub: s, index: i, interest: interest, wake: make(chan struct{}, 1)}
		t, err := s.bus.acquire(ctx, interest.Source, f.wake)
		if err != nil {
			return err
		}
		defer s.bus.release(t, f.wake)
		f.tail = t
		s.feeds = append(s.feeds, f)
	}
	if err := s.init(ctx); err != nil {
		return fmt.Errorf("logbus: subscription %q: %w", s.Name, err)
	}
	s.bus.watch(s.feeds, true)
	defer s.bus.watch(s.feeds, false)
	if ready != nil {
		close(ready)
	}

	feeding, stop := context.WithCancel(ctx)
	failed := make(chan error, len(s.feeds))
	var running sync.WaitGroup
	for _, f := range s.feeds {
		f.counts = make([]int, len(s.slots))
		running.Go(func() {
			if err := f.run(feeding); err != nil {
				failed <- err
			}
		})
	}
	var err error
	switch {
	case s.Broadcast:
		err = s.broadcast(ctx, failed)
	case s.store.Powers().Exclusive:
		err = s.own(ctx, failed)
	default:
		err = s.share(ctx, failed)
	}
	stop()
	for _, slot := range s.slots {
		if slot.cancel != nil {
			slot.cancel()
		}
	}
	running.Wait()
	s.stop(ctx)
	return err
}

// init stores a new subscription and makes its slots.
func (s *subscription) init(ctx context.Context) error {
	n := 1
	if !s.Broadcast {
		var err error
		if s.store, err = s.bus.store(s.Service); err != nil {
			return err
		}
		from := map[string]int64{}
		for _, f := range s.feeds {
			from[f.interest.Source] = 0
			if !s.FromFirst {
				head, err := f.tail.store.Head(ctx, f.interest.Source)
				if err != nil {
					return err
				}
				from[f.interest.Source] = head
			}
		}
		if n, err = s.store.InitSubscription(ctx, s.Service, s.Name, s.Slices, from); err != nil {
			return err
		}
	}
	for range n {
		s.slots = append(s.slots, &slot{marks: make([]mark, len(s.feeds))})
	}
	if !s.Broadcast {
		s.held = s.holder()
	}
	return nil
}

// broadcast delivers everything from now on, as one slice that nobody else has.
func (s *subscription) broadcast(ctx context.Context, failed <-chan error) error {
	var cps []driver.Checkpoint
	for _, f := range s.feeds {
		cps = append(cps, driver.Checkpoint{Subscription: s.Name, Source: f.interest.Source, Position: f.tail.head()})
	}
	s.assign(ctx, cps)
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// own works all slices of a store that has no other process. Its leases end at
// once, so that the next process need not wait for them.
func (s *subscription) own(ctx context.Context, failed <-chan error) error {
	for {
		err := s.held.Take(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		s.bus.config.Logger.Warn("claiming slices failed, trying again", "subscription", s.Name, "error", err)
		if !pause(ctx, s.bus.config.Poll) {
			return nil
		}
	}
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-sweep.C:
			s.sweep(ctx)
		}
	}
}

// assign begins work on slices. The checkpoints of one slice are given together.
func (s *subscription) assign(ctx context.Context, cps []driver.Checkpoint) {
	known := make([]driver.Checkpoint, 0, len(cps))
	joins := make([][]join, len(s.feeds))
	for _, c := range cps {
		f := s.feed(c.Source)
		if f == nil || c.Slice >= len(s.slots) {
			continue // of an interest that the subscription no longer has
		}
		slot := s.slots[c.Slice]
		slot.mu.Lock()
		if slot.cancel == nil {
			slot.ctx, slot.cancel = context.WithCancel(ctx)
			slot.term++
		}
		slot.marks[f.index] = mark{prev: c.Position, epoch: c.Epoch}
		joins[f.index] = append(joins[f.index], join{c.Slice, slot.term, c.Position})
		slot.mu.Unlock()
		c.Guard = &driver.Guard{Subscription: s.Name, Source: c.Source, Slice: c.Slice, Epoch: c.Epoch}
		known = append(known, c)
	}
	if len(known) == 0 {
		return
	}
	s.sink.Assign(known)
	for i, f := range s.feeds {
		f.add(joins[i])
	}
}

func (s *subscription) feed(source string) *feed {
	for _, f := range s.feeds {
		if f.interest.Source == source {
			return f
		}
	}
	return nil
}

// revoke ends work on slices and returns when nothing of them is in flight.
func (s *subscription) revoke(slices []int) {
	for _, i := range slices {
		s.slots[i].cancel()
	}
	for _, i := range slices {
		slot := s.slots[i]
		slot.mu.Lock()
		slot.cancel = nil
		slot.term++
		for j := range slot.marks {
			slot.marks[j].joined = false
		}
		slot.mu.Unlock()
	}
	s.sink.Revoke(slices)
}

// stop gives everything up; the feeds have ended.
func (s *subscription) stop(ctx context.Context) {
	if s.Broadcast {
		s.revoke([]int{0})
		return
	}
	idle := s.lagging(1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	s.held.Quit()
	s.advance(ctx, idle, true)
	if err := s.held.Leave(ctx); err != nil {
		s.bus.config.Logger.Warn("releasing slices failed, their leases run out", "subscription", s.Name, "error", err)
	}
}
