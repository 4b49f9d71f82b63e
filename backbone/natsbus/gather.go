package natsbus

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"example.org/souk/backbone/internal/broker"
)

// gathered bounds the messages of several callers that go together: more than a batch takes would not be confirmed any sooner.
const gathered = batchMessages

// gather has calls for one topic that come at the same time share a batch, as a group commit does: what comes while one is under way goes
// with the next. A message of a batch costs the server and this process two thirds of what one by itself does. A caller alone waits for nobody, and
// topics never wait for each other. Safe for concurrent use; the zero value with its send is ready.
type gather struct {
	send func(context.Context, []broker.Outgoing) ([]broker.Anchor, error)

	mu     sync.Mutex
	topics map[string][]*parcel // with what waits behind the batch that is under way
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
	waiting, busy := g.topics[topic]
	if !busy {
		if g.topics == nil {
			g.topics = map[string][]*parcel{}
		}
		g.topics[topic] = nil
		g.mu.Unlock()
		defer g.next(topic)
		return g.send(ctx, ms)
	}
	p := &parcel{ctx: ctx, ms: ms, done: make(chan struct{})}
	g.topics[topic] = append(waiting, p)
	g.mu.Unlock()
	select {
	case <-p.done:
		return p.anchors, p.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// next has what waits for a topic follow what was under way.
func (g *gather) next(topic string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := slices.DeleteFunc(g.topics[topic], func(p *parcel) bool { return p.ctx.Err() != nil })
	n, messages := 0, 0
	for n < len(waiting) && (n == 0 || messages+len(waiting[n].ms) <= gathered) {
		messages += len(waiting[n].ms)
		n++
	}
	if n == 0 {
		delete(g.topics, topic)
		return
	}
	g.topics[topic] = waiting[n:]
	go func() {
		defer g.next(topic)
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
