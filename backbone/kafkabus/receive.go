package kafkabus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"example.org/souk/backbone/internal/broker"
)

// What may wait here, beyond what was handed over, before no more is fetched.
const (
	mostQueued = 8 * broker.Window
	mostBytes  = 8 << 20
)

// receiving is one call of Receive.
type receiving struct {
	feed  *feed
	owner string // stands in its commits
	types map[string][]string

	shares map[part]*share

	mu        sync.Mutex
	changed   chan struct{} // has a value when something below has changed
	queue     []queued      // fetched and not handed over, in the order of each partition
	bytes     int           // of the queue
	paused    bool
	unsettled int
	err       error
	ended     bool
}

type queued struct {
	s *share
	r *kgo.Record
}

// share is what one receiving does in one partition of one topic.
type share struct {
	r    *receiving
	part part

	// Guarded by the receiving's mu.
	place               // all before it is settled
	before    int64     // what was handed over by whoever received before lies before it
	committed place     // that the cluster has
	pending   []pending // handed over, from the first that is not settled
	base      int64     // how many were before pending
}

type pending struct {
	offset int64
	epoch  int32
	done   bool
}

// Receive consumes the partition from the group's place on, without being a member of a group at the cluster: who works
// what was decided before.
func (c *Client) Receive(ctx context.Context, g broker.Group, partition int, take func([]broker.Incoming) error) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	err = c.receive(ctx, &g, partition, take)
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return nil // whoever ended it does not ask how
	}
	return failed(ctx, err, "receive partition %d for group %s", partition, g.Name)
}

func (c *Client) receive(ctx context.Context, g *broker.Group, partition int, take func([]broker.Incoming) error) error {
	f, err := c.feed(g.Name)
	if err != nil {
		return err
	}
	r := &receiving{feed: f, owner: rand.Text(), types: typesOf(g), shares: map[part]*share{}, changed: make(chan struct{}, 1)}
	parts, infos, err := r.start(ctx, g, partition)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		<-ctx.Done()
		return nil
	}
	if err := f.add(r); err != nil {
		return err
	}
	err = r.run(ctx, take)
	r.end()
	f.remove(r)
	// At a clean end nothing that was settled comes again.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	unstored := f.settle(last, r.list(), false)
	if errors.Is(err, kerr.OffsetOutOfRange) {
		if _, gap := c.begin(last, g.Name, parts, infos); gap != nil {
			return gap
		}
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return errors.Join(err, unstored)
}

// start finds where to go on, and puts this receiving's name on the group's places, so that whoever has received before
// finds out.
func (r *receiving) start(ctx context.Context, g *broker.Group, partition int) ([]part, map[string]topicInfo, error) {
	c := r.feed.c
	ctx, cancel := context.WithTimeout(ctx, c.config.Patience)
	defer cancel()
	infos, err := c.current(ctx, topicsOf(g))
	if err != nil {
		return nil, nil, err
	}
	var parts []part
	for topic, info := range infos {
		for p := range info.partitions {
			if g.Whole || p == partition {
				parts = append(parts, part{topic, int32(p)})
			}
		}
	}
	if len(parts) == 0 {
		return nil, nil, nil
	}
	places, err := c.begin(ctx, g.Name, parts, infos)
	if err != nil {
		return nil, nil, err
	}
	r.feed.committing.Lock()
	err = c.commit(ctx, g.Name, r.owner, places)
	r.feed.committing.Unlock()
	if err != nil {
		return nil, nil, err
	}
	for p, at := range places {
		r.shares[p] = &share{r: r, part: p, place: at, before: at.seen, committed: at}
	}
	return parts, infos, nil
}

// run hands over what is fetched until ctx ends or it cannot go on.
func (r *receiving) run(ctx context.Context, take func([]broker.Incoming) error) error {
	for {
		batch, err := r.next()
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			select {
			case <-r.changed:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whoever ended it does not ask how
		}
		if err := take(batch); err != nil {
			return err
		}
	}
}

// next takes from the queue what there is room for.
func (r *receiving) next() ([]broker.Incoming, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	var batch []broker.Incoming
	n, passed := 0, false
	f := r.feed
	f.mu.Lock()
	for n < len(r.queue) && r.unsettled < broker.Window {
		q := r.queue[n]
		r.queue[n] = queued{}
		n++
		r.bytes -= len(q.r.Value)
		seq := q.s.base + int64(len(q.s.pending))
		if !wanted(r.types[q.r.Topic], q.r) {
			q.s.pending = append(q.s.pending, pending{q.r.Offset, q.r.LeaderEpoch, true})
			passed = q.s.advance() || passed
			continue
		}
		q.s.pending = append(q.s.pending, pending{q.r.Offset, q.r.LeaderEpoch, false})
		r.unsettled++
		in := incomingOf(q.r, func() { r.settled(q.s, seq) })
		in.Redelivered = q.r.Offset < max(q.s.before, f.handed[q.s.part])
		q.s.seen = max(q.s.seen, q.r.Offset+1)
		f.handed[q.s.part] = max(f.handed[q.s.part], q.s.seen)
		batch = append(batch, in)
	}
	f.mu.Unlock()
	r.queue = r.queue[n:]
	if passed {
		f.kick()
	}
	if r.paused && len(r.queue) < mostQueued/2 && r.bytes < mostBytes/2 {
		r.paused = false
		f.cl.ResumeFetchPartitions(r.partitions())
	}
	return batch, nil
}

// push queues what was fetched.
func (r *receiving) push(s *share, records []*kgo.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	for _, record := range records {
		r.queue = append(r.queue, queued{s, record})
		r.bytes += len(record.Value)
	}
	if !r.paused && (len(r.queue) > mostQueued || r.bytes > mostBytes) {
		r.paused = true
		r.feed.cl.PauseFetchPartitions(r.partitions())
	}
	r.notify()
}

// settled is the Done of the message with this number in its share.
func (r *receiving) settled(s *share, seq int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	s.pending[seq-s.base].done = true
	r.unsettled--
	if s.advance() {
		r.feed.kick()
	}
	r.notify()
}

// advance moves the place over what is settled without a gap, and tells whether it did. The receiving's mu is held.
func (s *share) advance() bool {
	n := 0
	for n < len(s.pending) && s.pending[n].done {
		s.next, s.epoch = s.pending[n].offset+1, s.pending[n].epoch
		n++
	}
	s.pending = s.pending[n:]
	s.base += int64(n)
	return n > 0
}

// moved returns the place where it is not the one that the cluster has.
func (s *share) moved() (place, bool) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.place, s.place != s.committed
}

// stored notes the place that the cluster has.
func (s *share) stored(at place) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.committed = at
}

func (r *receiving) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	r.notify()
}

// end takes the effect from every Done that is still to come.
func (r *receiving) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.queue = nil
}

func (r *receiving) notify() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *receiving) partitions() map[string][]int32 {
	parts := map[string][]int32{}
	for p := range r.shares {
		parts[p.topic] = append(parts[p.topic], p.partition)
	}
	return parts
}

func (r *receiving) list() []*share {
	list := make([]*share, 0, len(r.shares))
	for _, s := range r.shares {
		list = append(list, s)
	}
	return list
}

// Tap consumes from the ends on, with a client of the library that lives no longer than the call. It commits nothing.
func (c *Client) Tap(ctx context.Context, g broker.Group, ready func(), take func([]broker.Incoming) error) error {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	err = c.tap(ctx, &g, ready, take)
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return nil // whoever ended it does not ask how
	}
	return failed(ctx, err, "tap %s", g.Name)
}

func (c *Client) tap(ctx context.Context, g *broker.Group, ready func(), take func([]broker.Incoming) error) error {
	topics := topicsOf(g)
	asking, cancel := context.WithTimeout(ctx, c.config.Patience)
	defer cancel()
	if _, err := c.current(asking, topics); err != nil {
		return err
	}
	_, next, err := c.bounds(asking, topics)
	if err != nil {
		return err
	}
	var h heard
	cl, err := c.consumer(&h)
	if err != nil {
		return err
	}
	defer cl.Close()
	offsets := map[string]map[int32]kgo.Offset{}
	for topic, parts := range next {
		offsets[topic] = map[int32]kgo.Offset{}
		for p, end := range parts {
			offsets[topic][p] = kgo.NewOffset().At(end.Offset)
		}
	}
	cl.AddConsumePartitions(offsets)
	h.now()
	// What is published from here on stands behind the ends, whenever it is fetched.
	ready()
	types := typesOf(g)
	for {
		batch, err := c.tapped(ctx, cl, types)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if len(batch) > 0 {
			if err := take(batch); err != nil {
				return err
			}
		} else if silence := h.silence(); silence > c.config.Patience {
			return silenceError(silence)
		}
	}
}

// tapped returns what was fetched within a second.
func (c *Client) tapped(ctx context.Context, cl *kgo.Client, types map[string][]string) ([]broker.Incoming, error) {
	polling, cancel := context.WithTimeout(ctx, c.config.Patience/8)
	defer cancel()
	fetches := cl.PollRecords(polling, broker.Window)
	var batch []broker.Incoming
	var err error
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		for _, r := range p.Records {
			if wanted(types[r.Topic], r) {
				batch = append(batch, incomingOf(r, func() {}))
			}
		}
		if p.Err != nil && polling.Err() == nil {
			err = fetchError(p.Err)
		}
	})
	return batch, err
}
