package natsbus

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"example.org/souk/backbone/internal/broker"
)

// gathered bounds the messages of several callers that go together: more than an atomic batch takes, or an ordered one has under way,
// would not be confirmed any sooner.
const gathered = batchMessages

// flights is how many batches of a topic are under way at once. With one the server has nothing to do while this process makes up the
// next; with more there is less for each to share, which costs both sides more.
const flights = 2

// gather has calls for one topic that come at the same time share a batch, as a group commit does: what comes while flights are under way goes
// with the next. A message of a batch costs the server and this process two thirds of what one by itself does. A caller alone waits for nobody, and
// topics never wait for each other. Safe for concurrent use.
type gather struct {
	send    func(context.Context, []broker.Outgoing) ([]broker.Anchor, error)
	flights int // of a topic, at once

	mu     sync.Mutex
	topics map[string]*queue
}

// queue is what is under way for a topic, and what waits behind it.
type queue struct {
	flying  int
	waiting []*parcel
}

// parcel is what one caller sends.
type parcel struct {
	ctx  context.Context
	ms   []broker.Outgoing
	done chan struct{}

	anchors []broker.Anchor
	err     error
}

// share sends messages of one topic, perhaps with those of other callers, whose last message the anchor may name. When ctx ends first it
// returns at once, and ms may still be read and sent.
func (g *gather) share(ctx context.Context, ms []broker.Outgoing) ([]broker.Anchor, error) {
	topic := ms[0].Topic
	g.mu.Lock()
	q := g.topics[topic]
	if q == nil {
		if g.topics == nil {
			g.topics = map[string]*queue{}
		}
		q = &queue{}
		g.topics[topic] = q
	}
	if q.flying < g.flights {
		q.flying++
		g.mu.Unlock()
		defer g.next(topic, q)
		return g.send(ctx, ms)
	}
	p := &parcel{ctx: ctx, ms: ms, done: make(chan struct{})}
	q.waiting = append(q.waiting, p)
	g.mu.Unlock()
	select {
	case <-p.done:
		return p.anchors, p.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// next has what waits for a topic follow what was under way.
func (g *gather) next(topic string, q *queue) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := slices.DeleteFunc(q.waiting, func(p *parcel) bool { return p.ctx.Err() != nil })
	n, messages := 0, 0
	for n < len(waiting) && (n == 0 || messages+len(waiting[n].ms) <= gathered) {
		messages += len(waiting[n].ms)
		n++
	}
	q.waiting = waiting[n:]
	if n == 0 {
		if q.flying--; q.flying == 0 {
			delete(g.topics, topic)
		}
		return
	}
	go func() {
		defer g.next(topic, q)
		g.carry(waiting[:n:n], messages)
	}()
}

// carry sends parcels together. Where that fails each is sent by itself: what is wrong with one is nothing to the others.
func (g *gather) carry(parcels []*parcel, messages int) {
	if len(parcels) > 1 {
		ms := make([]broker.Outgoing, 0, messages)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var left atomic.Int64 // callers who still wait
		left.Store(int64(len(parcels)))
		for _, p := range parcels {
			ms = append(ms, p.ms...)
			defer context.AfterFunc(p.ctx, func() {
				if left.Add(-1) == 0 {
					cancel()
				}
			})()
		}
		if anchors, err := g.send(ctx, ms); err == nil {
			for _, p := range parcels {
				p.anchors = anchors
				close(p.done)
			}
			runtime.Gosched() // who sends again at once goes with the next batch, instead of behind it
			return
		}
	}
	var all sync.WaitGroup
	for _, p := range parcels {
		all.Go(func() {
			p.anchors, p.err = g.send(p.ctx, p.ms)
			close(p.done)
		})
	}
	all.Wait()
}
