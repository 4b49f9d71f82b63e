package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// settleTime is how long it may take to commit places.
	settleTime = 3 * time.Second
	// gather is how long a change of what is consumed waits for others.
	gather = 20 * time.Millisecond
)

// feed consumes what this process receives for one group: one client of the library, whatever the number of partitions.
type feed struct {
	c      *Client
	group  string
	cl     *kgo.Client
	heard  heard
	kicked chan struct{} // something was settled
	ended  chan struct{} // nothing is consumed any more

	ids   map[string][16]byte             // of the topics, as the library knows them; touched between two polls only
	begun map[string]map[int32]kgo.Offset // partitions that begin with the next poll; likewise

	committing sync.Mutex // held while places are committed, so that an older one never overtakes a newer

	mu     sync.Mutex
	parts  map[part]*share
	handed map[part]int64 // behind the newest record that was handed over in this process
	todo   []func()       // to be done between two polls
	due    bool           // it has waited for others to come
	wake   func()         // ends the poll that is under way
}

// heard is when the cluster last answered.
type heard struct{ at atomic.Int64 }

// OnBrokerRead is called by the library behind each answer.
func (h *heard) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if err == nil {
		h.now()
	}
}

func (h *heard) now() { h.at.Store(time.Now().UnixNano()) }

func (h *heard) silence() time.Duration { return time.Since(time.Unix(0, h.at.Load())) }

// consumer returns a client of the library that consumes, from nowhere yet.
func (c *Client) consumer(h *heard) (*kgo.Client, error) {
	return kgo.NewClient(c.config.options(
		// A place that is not there is an error that says so, never a jump.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(min(time.Second, c.config.Patience/4)),
		kgo.FetchMaxPartitionBytes(1<<20),
		kgo.FetchMaxBytes(16<<20),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// It also tells that the cluster is there while everything is paused.
		kgo.MetadataMaxAge(c.config.Patience/4),
		// Each partition that is added asks for metadata, and waits for as long as the last are young.
		kgo.MetadataMinAge(10*time.Millisecond),
		kgo.WithHooks(h),
	)...)
}

// feed returns the group's feed and starts it where there is none.
func (c *Client) feed(group string) (*feed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if f := c.feeds[group]; f != nil {
		return f, nil
	}
	f := &feed{
		c: c, group: group, kicked: make(chan struct{}, 1), ended: make(chan struct{}),
		ids: map[string][16]byte{}, parts: map[part]*share{}, handed: map[part]int64{},
	}
	var err error
	if f.cl, err = c.consumer(&f.heard); err != nil {
		return nil, fmt.Errorf("kafkabus: %w", err)
	}
	c.feeds[group] = f
	c.running.Go(f.consume)
	c.running.Go(f.keepPlaces)
	return f, nil
}

// consume polls until the client is closed. All changes of what is consumed are made here, between two polls: records
// that were polled before a change belong to what was before it.
func (f *feed) consume() {
	defer f.cl.Close()
	defer close(f.ended)
	for f.c.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(f.c.ctx, time.Second)
		f.mu.Lock()
		var todo []func()
		if f.due {
			todo, f.todo, f.due = f.todo, nil, false
		}
		f.wake = cancel
		f.mu.Unlock()
		for _, do := range todo {
			do()
		}
		if len(f.begun) > 0 {
			f.cl.AddConsumePartitions(f.begun)
			f.begun = nil
		}
		fetches := f.cl.PollFetches(ctx)
		cancel()
		f.hand(fetches)
		f.watch()
	}
}

// hand gives to each receiving what was fetched for it.
func (f *feed) hand(fetches kgo.Fetches) {
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		f.mu.Lock()
		s := f.parts[part{p.Topic, p.Partition}]
		f.mu.Unlock()
		if s == nil {
			return
		}
		if len(p.Records) > 0 {
			s.r.push(s, p.Records)
		}
		if p.Err != nil {
			s.r.fail(fetchError(p.Err))
		}
	})
}

func fetchError(err error) error {
	if _, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// watch ends what is received from a cluster that does not answer.
func (f *feed) watch() {
	silence := f.heard.silence()
	if silence < f.c.config.Patience {
		return
	}
	for _, s := range f.shares() {
		s.r.fail(silenceError(silence))
	}
}

func (f *feed) shares() []*share {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*share, 0, len(f.parts))
	for _, s := range f.parts {
		all = append(all, s)
	}
	return all
}

func silenceError(silence time.Duration) error {
	return fmt.Errorf("the cluster has not answered for %v: %w", silence.Round(time.Second), net.ErrClosed)
}

// between has fn done between two polls, and returns when it was, or when nothing is consumed any more. What is asked for at about the
// same time is done between the same two: partitions begin together where a process begins, and one that begins after another, whose first
// fetch found nothing, waits as long as the cluster holds that fetch open.
func (f *feed) between(fn func()) {
	done := make(chan struct{})
	f.mu.Lock()
	if len(f.todo) == 0 {
		time.AfterFunc(gather, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.due = true
			if f.wake != nil {
				f.wake()
			}
		})
	}
	f.todo = append(f.todo, func() {
		fn()
		close(done)
	})
	f.mu.Unlock()
	select {
	case <-done:
	case <-f.ended:
	}
}

// add begins to consume what a receiving takes.
func (f *feed) add(r *receiving) error {
	var err error
	f.between(func() {
		f.purge(r)
		f.mu.Lock()
		defer f.mu.Unlock()
		for p := range r.shares {
			if f.parts[p] != nil {
				err = fmt.Errorf("group %s receives topic %s, partition %d in this process already", f.group, p.topic, p.partition)
				return
			}
		}
		if len(f.parts) == 0 {
			f.heard.now()
		}
		if f.begun == nil {
			f.begun = map[string]map[int32]kgo.Offset{}
		}
		for p, s := range r.shares {
			f.parts[p] = s
			if f.begun[p.topic] == nil {
				f.begun[p.topic] = map[int32]kgo.Offset{}
			}
			f.begun[p.topic][p.partition] = kgo.NewOffset().At(s.next).WithEpoch(s.epoch)
		}
	})
	return err
}

// purge makes the library forget topics that were made again: it would go on asking for the ids that they had before.
func (f *feed) purge(r *receiving) {
	var again []string
	for p, s := range r.shares {
		if id, ok := f.ids[p.topic]; ok && id != s.id {
			again = append(again, p.topic)
		}
		f.ids[p.topic] = s.id
	}
	f.cl.PurgeTopicsFromConsuming(again...)
}

// remove ends what add has begun.
func (f *feed) remove(r *receiving) {
	f.between(func() {
		parts := r.partitions()
		f.mu.Lock()
		defer f.mu.Unlock()
		for p, s := range r.shares {
			if f.parts[p] != s {
				return // it was never added
			}
			delete(f.parts, p)
			if delete(f.begun[p.topic], p.partition); len(f.begun[p.topic]) == 0 {
				delete(f.begun, p.topic)
			}
		}
		f.cl.RemoveConsumePartitions(r.partitions())
		f.cl.ResumeFetchPartitions(parts)
	})
}

// kick tells that something was settled.
func (f *feed) kick() {
	select {
	case f.kicked <- struct{}{}:
	default:
	}
}

// keepPlaces commits what was settled, once an interval. Places in which nothing moves are committed again from time to
// time, because a cluster drops those of a group without members when they become old.
func (f *feed) keepPlaces() {
	refresh := time.NewTicker(f.c.config.MinRetention / 16)
	defer refresh.Stop()
	for {
		stale := false
		select {
		case <-f.kicked:
		case <-refresh.C:
			stale = true
		case <-f.c.ctx.Done():
			return
		}
		if pause(f.c.ctx, f.c.config.CommitEvery) != nil {
			return
		}
		if err := f.settle(f.c.ctx, f.shares(), stale); err != nil {
			f.kick() // what could not be committed is committed with what follows
		}
	}
}

// settle commits the places of shares that have moved, or of all. One whose place was set by somebody else ends.
func (f *feed) settle(ctx context.Context, shares []*share, all bool) error {
	f.committing.Lock()
	defer f.committing.Unlock()
	moved := map[string]map[part]place{} // by owner
	asked := map[part]*share{}
	for _, s := range shares {
		if at, ok := s.moved(); ok || all {
			if moved[s.r.owner] == nil {
				moved[s.r.owner] = map[part]place{}
			}
			moved[s.r.owner][s.part] = at
			asked[s.part] = s
		}
	}
	if len(asked) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	// Kafka lets anybody without a membership commit anything. To look first is no lock, but a process that was stopped
	// for a while finds out that it was replaced, and does not set back the place of the one that follows.
	committed, err := f.c.committed(ctx, f.group)
	if err != nil {
		return err
	}
	var failure error
	for owner, places := range moved {
		for p := range places {
			o, _ := committed.Lookup(p.topic, p.partition)
			if by, _ := ownerOf(o.Metadata); by != owner {
				asked[p].r.fail(fmt.Errorf("group %s, topic %s, partition %d: %w", f.group, p.topic, p.partition, ErrTaken))
				delete(places, p)
			}
		}
		if len(places) == 0 {
			continue
		}
		if err := f.c.commit(ctx, f.group, owner, places); err != nil {
			failure = err
			if !kerr.IsRetriable(err) && ctx.Err() == nil || errors.Is(err, kerr.UnknownTopicID) {
				for p := range places {
					asked[p].r.fail(fmt.Errorf("store the place of group %s: %w", f.group, err))
				}
			}
			continue
		}
		for p, at := range places {
			asked[p].stored(at)
		}
	}
	return failure
}
