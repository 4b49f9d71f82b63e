package bench

import (
	"context"
	"sync"

	"example.org/souk/backbone/driver"
)

// reader is the service that subscribes.
const reader = "reader"

// transport is what souk's buses have in common here.
type transport interface {
	driver.Transport
	driver.Preparer
}

// souk is a bus as a contender. The name of a topic is that of the service that publishes to it.
type souk struct{ bus transport }

func (s souk) topic(ctx context.Context, name string) (topic, error) {
	t := soukTopic{s.bus, driver.Subscription{
		Service: reader, Name: name, Interests: []driver.Interest{{Source: name, Types: []string{eventType}}},
	}}
	return t, s.bus.Prepare(ctx, []driver.Subscription{t.subscription})
}

func (s souk) close() error { return s.bus.Close() }

type soukTopic struct {
	bus          transport
	subscription driver.Subscription
}

func (t soukTopic) publish(ctx context.Context, ms []message) error {
	rs := make([]driver.Record, len(ms))
	for i := range ms {
		rs[i] = ms[i].record
	}
	_, err := t.bus.Publish(ctx, t.subscription.Name, rs)
	return err
}

func (t soukTopic) fill(ctx context.Context, ms []message) error { return t.publish(ctx, ms) }

func (t soukTopic) consume(ctx context.Context, lanes int, handle func([]byte)) error {
	if lanes == 1 {
		return t.bus.Subscribe(ctx, t.subscription, inline(handle), nil)
	}
	s := &sink{handle: handle, slices: map[int]*slice{}}
	s.work.L = &s.mu
	var all sync.WaitGroup
	for range lanes {
		all.Go(s.lane)
	}
	err := t.bus.Subscribe(ctx, t.subscription, s, nil)
	s.end()
	all.Wait()
	return err
}

// inline handles messages where they are handed over.
type inline func([]byte)

// Assign implements driver.Sink.
func (inline) Assign([]driver.Checkpoint) {}

// Revoke implements driver.Sink.
func (inline) Revoke([]int) {}

// Deliver implements driver.Sink.
func (f inline) Deliver(_ context.Context, _ int, ds []driver.Delivery) error {
	for i := range ds {
		f(ds[i].Data)
		ds[i].Ack(nil)
	}
	return nil
}

// sink works slices in lanes: one message of a slice at a time, in order, as a subscription of the backbone does.
type sink struct {
	handle func([]byte)

	mu     sync.Mutex
	work   sync.Cond
	slices map[int]*slice
	ready  []*slice
	ended  bool
}

type slice struct {
	waiting []driver.Delivery
	busy    bool // ready or in a lane
}

// Assign implements driver.Sink.
func (*sink) Assign([]driver.Checkpoint) {}

// Revoke implements driver.Sink. What is in flight then comes again; this sink is used until its subscription ends.
func (s *sink) Revoke([]int) { s.end() }

// Deliver implements driver.Sink.
func (s *sink) Deliver(_ context.Context, number int, ds []driver.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.slices[number]
	if sl == nil {
		sl = &slice{}
		s.slices[number] = sl
	}
	sl.waiting = append(sl.waiting, ds...)
	if !sl.busy {
		sl.busy = true
		s.ready = append(s.ready, sl)
		s.work.Signal()
	}
	return nil
}

func (s *sink) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.work.Broadcast()
}

func (s *sink) lane() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.ready) == 0 && !s.ended {
			s.work.Wait()
		}
		if s.ended {
			return
		}
		sl := s.ready[0]
		s.ready = s.ready[1:]
		d := sl.waiting[0]
		sl.waiting = sl.waiting[1:]
		s.mu.Unlock()
		s.handle(d.Data)
		d.Ack(nil)
		s.mu.Lock()
		if sl.busy = len(sl.waiting) > 0; sl.busy {
			s.ready = append(s.ready, sl)
			s.work.Signal()
		}
	}
}
