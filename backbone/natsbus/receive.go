package natsbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.org/souk/backbone/internal/broker"
)

const (
	// prefetch is how many messages of a topic the server is asked for at once.
	prefetch = 512
	// open is how long the server keeps such a request, and late how much longer its answer may take.
	open = 20 * time.Second
	late = 5 * time.Second
	// atOnce is how many messages are handed over together at most.
	atOnce = 256
	// settling is how often a position is written at most.
	settling = time.Second
	// parting is how long a position's writing, and leaving the server in order, may take.
	parting = 3 * time.Second
	// trust is how long a receiver hands out without asking whether the partition is still its own.
	trust = 2 * time.Second
	// ahead is how many messages may be handed out behind one that is not settled: that many come again at most.
	ahead = 16 * broker.Window
)

// receiver is one Receive: the feeds of the group's topics, which take turns.
type receiver struct {
	s     *session
	tap   bool // nothing is settled
	take  func([]broker.Incoming) error
	turn  chan struct{} // holds one token; who has it may call take
	room  chan struct{} // told when something was settled
	dirty chan struct{} // told when a position is to be written

	mu        sync.Mutex
	ended     bool
	unsettled int
	feeds     []*feed
}

// feed reads one topic of a receiver or a tap, in order.
type feed struct {
	s        *session
	t        *topic
	r        *receiver
	consumer string

	// Of the last message that came: its numbers in the stream and at the consumer. They belong to run.
	last, count uint64

	// What follows a tap has not: the place of its position, and what was handed out before by whoever had it then.
	place  string
	before uint64
	// stored is the position as it was written last, and checked when it was last known to be ours; write has them.
	writing sync.Mutex
	stored  position
	checked time.Time

	// Under the receiver's mu: what was handed out and not settled with everything before it, from head on; the last
	// message up to which everything is; the last one handed out.
	queue []*item
	head  int
	floor mark
	seen  uint64
}

// item is a message that was received.
type item struct {
	broker.Incoming
	seq     uint64
	id      string
	settled bool
}

// Receive takes the partition over from whoever had it and begins behind its position.
func (c *Client) Receive(ctx context.Context, g broker.Group, partition int, take func([]broker.Incoming) error) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	what := fmt.Sprintf("receive partition %d of group %s", partition, g.Name)
	r := &receiver{take: take, turn: make(chan struct{}, 1), room: make(chan struct{}, 1), dirty: make(chan struct{}, 1)}
	err := c.do(ctx, what, func(ctx context.Context, s *session) error {
		r.s = s
		inputs, err := s.inputs(ctx, &g)
		if err != nil {
			return err
		}
		for _, in := range inputs {
			f := &feed{s: s, t: in.t, r: r, place: s.place(&g, partition, in.t.name)}
			r.feeds = append(r.feeds, f)
			if err := f.takeOver(ctx, newName(g.Name), in.t.filters(within(&g, partition), in.types)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = r.s.explain(ctx, what, r.run(ctx))
	}
	r.end()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// takeOver makes the partition this receiver's. It writes its name into the position first, which ends the writing of
// whoever had it, then takes away that one's consumer and makes its own. Dying in between loses nothing, since the
// position itself has not moved.
func (f *feed) takeOver(ctx context.Context, name string, filters []string) error {
	for range 20 {
		p, err := f.s.read(ctx, f.place)
		if err != nil {
			return err
		}
		stream, info, err := f.s.look(ctx, f.t.name)
		if err != nil {
			return err
		}
		floor, err := p.start(ctx, stream, info)
		if err != nil {
			return err
		}
		before := p.Receiver
		if floor.Seq != p.Marks[0].Seq || p.Identity != identityOf(info) {
			// The topic is another one now, or has lost its end: what was settled there is not settled here.
			p = position{Identity: identityOf(info), Marks: p.marksFrom(floor), revision: p.revision}
		}
		p.Receiver = name
		p, err = f.s.write(ctx, f.place, p)
		if errors.Is(err, errRevision) {
			continue // the one before us has just written
		}
		if err != nil {
			return err
		}
		if before != "" {
			err := f.s.js.DeleteConsumer(ctx, f.t.stream, before)
			if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
				return fmt.Errorf("topic %s: %w", f.t.name, err)
			}
		}
		config := reading(name, filters)
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, floor.Seq+1
		if _, err := f.s.js.CreateConsumer(ctx, f.t.stream, config); err != nil {
			return fmt.Errorf("topic %s: %w", f.t.name, err)
		}
		f.consumer, f.stored, f.floor, f.seen, f.before, f.last = name, p, floor, p.Seen, p.Seen, floor.Seq
		// Somebody who took over in the meantime may have looked for our consumer before it was there.
		return f.check(ctx)
	}
	return errRevision
}

// marksFrom returns the marks that hold, by the newest of them.
func (p *position) marksFrom(floor mark) []mark {
	for i, m := range p.Marks {
		if m == floor {
			return p.Marks[i:]
		}
	}
	return []mark{floor}
}

// check asks whether the partition is still this receiver's.
func (f *feed) check(ctx context.Context) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if time.Since(f.checked) < trust {
		return nil
	}
	p, err := f.s.read(ctx, f.place)
	if err != nil {
		return err
	}
	if p.Receiver != f.consumer {
		return errTaken
	}
	f.checked = time.Now()
	return nil
}

// run works until ctx ends or something fails.
func (r *receiver) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bound, release := r.s.bound(ctx)
	defer release()
	var all sync.WaitGroup
	start := func(f func(context.Context) error) {
		all.Go(func() {
			if err := f(bound); err != nil {
				cancel(err)
			}
		})
	}
	for _, f := range r.feeds {
		start(f.run)
	}
	if !r.tap {
		start(r.keep)
	}
	<-bound.Done()
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return context.Cause(r.s.ctx)
}

// run reads the topic. The server answers one request at a time with at most prefetch messages.
func (f *feed) run(ctx context.Context) error {
	// The channel holds all that the server may send for a request and what it says about it.
	ch := make(chan *nats.Msg, prefetch+16)
	inbox := nats.NewInbox()
	sub, err := f.s.nc.ChanSubscribe(inbox, ch)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails where the connection is gone
	request, err := json.Marshal(struct {
		Batch   int           `json:"batch"`
		Expires time.Duration `json:"expires"`
	}{prefetch, open})
	if err != nil {
		return err
	}
	silence := time.NewTimer(0)
	defer silence.Stop()
	for left := 0; ; {
		if left == 0 {
			if err := f.s.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+f.t.stream+"."+f.consumer, inbox, request); err != nil {
				return err
			}
			left = prefetch
		}
		silence.Reset(open + late)
		var m *nats.Msg
		select {
		case m = <-ch:
		case <-ctx.Done():
			return nil
		case <-silence.C:
			return fmt.Errorf("topic %s: the server says nothing of consumer %s", f.t.name, f.consumer)
		}
		batch := make([]item, 0, min(atOnce, len(ch)+1))
		for m != nil {
			if done, err := requestDone(m); err != nil {
				return fmt.Errorf("topic %s: %w", f.t.name, err)
			} else if done {
				left = 0
			} else {
				it, err := f.received(m)
				if err != nil {
					return err
				}
				batch = append(batch, it)
				left--
			}
			m = nil
			if len(batch) < cap(batch) && left > 0 {
				select {
				case m = <-ch:
				default:
				}
			}
		}
		if len(batch) > 0 {
			if err := f.r.deliver(ctx, f, batch); err != nil {
				return err
			}
		}
	}
}

// requestDone tells whether the server says that a request is over, or that it cannot go on.
func requestDone(m *nats.Msg) (bool, error) {
	status := m.Header.Get("Status")
	if status == "" || m.Reply != "" {
		return false, nil
	}
	switch status {
	case "408", "404":
		return true, nil
	case "503":
		return false, jetstream.ErrConsumerNotFound
	}
	return false, fmt.Errorf("the server ends the consumer: %s %s", status, m.Header.Get("Description"))
}

// received reads a message and holds that none is missing before it.
func (f *feed) received(m *nats.Msg) (item, error) {
	meta, err := m.Metadata()
	if err != nil {
		return item{}, fmt.Errorf("topic %s: %w", f.t.name, err)
	}
	if meta.Sequence.Consumer != f.count+1 || meta.Sequence.Stream <= f.last {
		return item{}, fmt.Errorf("topic %s: messages are missing: after number %d came %d", f.t.name, f.last, meta.Sequence.Stream)
	}
	f.count, f.last = meta.Sequence.Consumer, meta.Sequence.Stream
	it := item{Incoming: incoming(f.t.name, m), seq: f.last}
	it.Sequence = int64(it.seq)
	it.id = idOf(m.Header)
	return it, nil
}

// deliver gives messages of one feed to take, as far as there is room for unsettled ones. Where it gives up on some it
// returns an error, and the feed must not hand out what comes behind them: settling that would move the position over
// messages that nobody has seen.
func (r *receiver) deliver(ctx context.Context, f *feed, ms []item) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for len(ms) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := len(ms)
		if !r.tap {
			if n = min(n, r.await(ctx, f)); n == 0 {
				return context.Cause(ctx)
			}
			// A process that stood still meanwhile would hand out what somebody else works on.
			if err := f.check(ctx); err != nil {
				return err
			}
		}
		if err := r.take(r.handOut(f, ms[:n])); err != nil {
			return err
		}
		ms = ms[n:]
	}
	return nil
}

// await waits for room for unsettled messages and returns how many there may be more; 0 when ctx has ended.
func (r *receiver) await(ctx context.Context, f *feed) int {
	for {
		r.mu.Lock()
		n := min(broker.Window-r.unsettled, ahead-(len(f.queue)-f.head))
		r.mu.Unlock()
		if n > 0 {
			return n
		}
		select {
		case <-r.room:
		case <-ctx.Done():
			return 0
		}
	}
}

// handOut counts messages as unsettled, and returns what is handed over of them.
func (r *receiver) handOut(f *feed, ms []item) []broker.Incoming {
	list := make([]broker.Incoming, len(ms))
	if r.tap {
		for i := range ms {
			ms[i].Done = func() {}
			list[i] = ms[i].Incoming
		}
		return list
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range ms {
		it := &ms[i]
		it.Done = func() { r.settle(f, it) }
		it.Redelivered = it.seq <= f.before
		list[i] = it.Incoming
		f.queue = append(f.queue, it)
	}
	r.unsettled += len(ms)
	f.seen = ms[len(ms)-1].seq
	tell(r.dirty)
	return list
}

// settle counts a message as done.
func (r *receiver) settle(f *feed, it *item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || it.settled {
		return
	}
	it.settled = true
	it.Incoming = broker.Incoming{} // it may wait long for those before it
	r.unsettled--
	for f.head < len(f.queue) && f.queue[f.head].settled {
		f.floor = mark{Seq: f.queue[f.head].seq, ID: f.queue[f.head].id}
		f.queue[f.head] = nil
		f.head++
		tell(r.dirty)
	}
	if f.head > atOnce && 2*f.head > len(f.queue) {
		n := copy(f.queue, f.queue[f.head:])
		clear(f.queue[n:])
		f.queue, f.head = f.queue[:n], 0
	}
	tell(r.room)
}

// tell leaves a token for who waits, if there is none yet.
func tell(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// keep writes the positions, at once when the first message is settled and then every second.
func (r *receiver) keep(ctx context.Context) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-r.dirty:
		case <-ctx.Done():
			return nil
		}
		for _, f := range r.feeds {
			if err := f.save(); err != nil {
				return err
			}
		}
		pause.Reset(settling)
	}
}

// save writes the feed's position where it has moved. It does not end with the receiving: a write that was given up on
// its way may have been made, and the next one would take it for somebody else's.
func (f *feed) save() error {
	ctx, cancel := context.WithTimeout(f.s.ctx, parting)
	defer cancel()
	f.writing.Lock()
	defer f.writing.Unlock()
	f.r.mu.Lock()
	floor, seen := f.floor, f.seen
	f.r.mu.Unlock()
	p := f.stored
	if p.revision == 0 || floor.Seq == p.Marks[0].Seq && seen == p.Seen {
		return nil
	}
	now := time.Now()
	if floor.Seq != p.Marks[0].Seq {
		p = p.moved(floor, now)
	}
	p.Seen = max(seen, p.Seen)
	p, err := f.s.write(ctx, f.place, p)
	if errors.Is(err, errRevision) {
		return errTaken
	}
	if err == nil {
		f.stored, f.checked = p, now
	}
	return err
}

// end takes away what the receiver has at the server. From here on Done has no effect, and what was settled before is
// written.
func (r *receiver) end() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	if r.s == nil {
		return
	}
	// The caller's context has ended. What fails here comes again, or goes away by itself later.
	ctx, cancel := context.WithTimeout(r.s.ctx, parting)
	defer cancel()
	_ = each(len(r.feeds), func(i int) error {
		f := r.feeds[i]
		if !r.tap {
			_ = f.save()
		}
		if f.consumer == "" {
			return nil
		}
		return f.s.js.DeleteConsumer(ctx, f.t.stream, f.consumer)
	})
}

// Tap reads the topics from now on, for this process alone.
func (c *Client) Tap(ctx context.Context, g broker.Group, ready func(), take func([]broker.Incoming) error) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	what := "tap for " + g.Name
	r := &receiver{tap: true, take: take, turn: make(chan struct{}, 1)}
	err := c.do(ctx, what, func(ctx context.Context, s *session) error {
		r.s = s
		inputs, err := s.inputs(ctx, &g)
		if err != nil {
			return err
		}
		for _, in := range inputs {
			config := reading(newName("tap-"+g.Name), in.t.filters(anyPartition, in.types))
			config.DeliverPolicy = jetstream.DeliverNewPolicy
			config.InactiveThreshold = 2 * open
			if _, err := s.js.CreateConsumer(ctx, in.t.stream, config); err != nil {
				return fmt.Errorf("topic %s: %w", in.t.name, err)
			}
			r.feeds = append(r.feeds, &feed{s: s, t: in.t, r: r, consumer: config.Name})
		}
		return nil
	})
	if err == nil {
		ready()
		err = r.s.explain(ctx, what, r.run(ctx))
	}
	r.end()
	if ctx.Err() != nil {
		return nil
	}
	return err
}
