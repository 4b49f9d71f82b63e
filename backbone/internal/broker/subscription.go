package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/lease"
)

// releaseTime bounds what a stopping subscription does at its store.
const releaseTime = 5 * time.Second

// epochOf is the source under which a partition's checkpoint stands whose position never moves: its epoch guards effects.
const epochOf = ""

// subscription is one Subscribe call.
type subscription struct {
	driver.Subscription
	bus     *Bus
	group   Group
	store   driver.Store // of the service
	leases  string       // the name under which the partitions' checkpoints stand
	sink    driver.Sink
	joined  map[string]int64 // up to here the log of a source is read instead of the broker
	history history          // what the logs hold up to there
	failed  chan error

	recheck chan struct{}
	yields  lease.Yields // of partitions

	held *lease.Holder // only Subscribe's goroutine uses it, but for Lapsed

	mu         sync.Mutex
	partitions map[int]*partition // that are worked here
}

// Subscribe implements driver.Transport. It returns nil when ctx ends. A Bus runs a subscription once; other processes may
// share it.
func (b *Bus) Subscribe(ctx context.Context, s driver.Subscription, sink driver.Sink, ready chan<- struct{}) error {
	if err := s.Check(sink); err != nil {
		return fmt.Errorf("%s: %w", b.config.Client.System(), err)
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
			return fmt.Errorf("%s: subscription %q of %q runs already", b.config.Client.System(), s.Name, s.Service)
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

	sub := &subscription{
		Subscription: s, bus: b, sink: sink, leases: driver.Partitions(s.Name), failed: make(chan error, 1), recheck: make(chan struct{}, 1), partitions: map[int]*partition{},
	}
	err := sub.run(ctx, ready)
	if outer.Err() != nil && (err == nil || ctx.Err() != nil) {
		return nil
	}
	if err == nil || errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	return err
}

func (s *subscription) run(ctx context.Context, ready chan<- struct{}) (err error) {
	if s.Broadcast {
		s.Slices = 1
	}
	if s.group, err = s.bus.group(ctx, &s.Subscription); err != nil {
		return err
	}
	if s.Broadcast {
		return s.tap(ctx, ready)
	}
	if s.store = s.bus.config.Store(s.Service); s.store == nil {
		return fmt.Errorf("%s: service %q has no store here", s.bus.config.Client.System(), s.Service)
	}
	if err := s.join(ctx); err != nil {
		return fmt.Errorf("%s: subscription %q: %w", s.bus.config.Client.System(), s.Name, err)
	}
	c := &s.bus.config
	s.held = lease.New(lease.Config{
		Store: s.store, Service: s.Service, Subscription: s.leases, Owner: c.Owner, Slices: s.group.Partitions,
		Lease: c.Lease, Poll: c.Poll, Logger: c.Logger, Assign: s.assign, Revoke: s.revoke, Renewed: s.renewed, Reads: s.Reads,
	})
	s.bus.mu.Lock()
	s.bus.groups[s] = true
	s.bus.mu.Unlock()
	defer func() {
		s.bus.mu.Lock()
		delete(s.bus.groups, s)
		s.bus.mu.Unlock()
	}()
	if ready != nil {
		close(ready)
	}
	err = s.share(ctx)
	s.held.Quit()
	released, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	if err := s.held.Leave(released); err != nil {
		c.Logger.Warn("releasing partitions failed, their leases run out", "subscription", s.Name, "error", err)
	}
	return err
}

// share works a fair part of the partitions as long as it can renew their leases.
func (s *subscription) share(ctx context.Context) error {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.failed:
			return err
		case <-s.recheck:
			at := s.yields.Take()
			if s.store.Powers().Exclusive {
				continue
			}
			if len(at) > 0 {
				if err := s.held.Yield(ctx, at); err != nil && ctx.Err() == nil {
					s.bus.config.Logger.Warn("partitions that others may read were not given up", "subscription", s.Name, "error", err)
				}
			}
		case <-next.C:
		}
		if !s.store.Powers().Exclusive {
			next.Reset(s.held.Tend(ctx))
		} else if err := s.held.Take(ctx); err != nil && ctx.Err() == nil {
			s.bus.config.Logger.Warn("claiming partitions failed, trying again", "subscription", s.Name, "error", err)
			next.Reset(s.bus.config.Poll)
		}
	}
}

// yield has a partition given up, at a message of a type that this process does not read.
func (s *subscription) yield(partition int, wire string) {
	s.yields.Add(partition, wire)
	select {
	case s.recheck <- struct{}{}:
	default:
	}
}

// fail ends the subscription.
func (s *subscription) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

func joinedNote(subscription string) string { return "joined." + subscription }

// beginning is what is noted of a subscription when it is new: its number of slices, which stands, and up to where the logs of
// its sources are read instead of the broker.
type beginning struct {
	Slices  int              `json:"slices"`
	Sources map[string]int64 `json:"sources"`
	Inputs  []Input          `json:"inputs"` // of every version of the program that has run
}

// readBeginning returns what is noted of a subscription, and whether anything is.
func readBeginning(ctx context.Context, store driver.Store, s *driver.Subscription) (beginning, bool, error) {
	noted := beginning{Slices: s.Slices, Sources: map[string]int64{}}
	raw, err := store.Value(ctx, s.Service, joinedNote(s.Name))
	if err != nil || raw == nil {
		return noted, false, err
	}
	if err := json.Unmarshal(raw, &noted); err != nil {
		return noted, false, fmt.Errorf("%s: %w", joinedNote(s.Name), err)
	}
	return noted, true, nil
}

// join makes the group exist at the broker and the partitions in the database, and notes where a new subscription that
// begins at the first record goes over from the logs to the broker: what was committed before the group existed is read
// from the logs, everything else reaches the group. What comes both ways is handled once.
func (s *subscription) join(ctx context.Context) error {
	j, known, err := readBeginning(ctx, s.store, &s.Subscription)
	if err != nil {
		return err
	}
	s.Slices, s.joined = j.Slices, j.Sources
	inputs := union(s.group.Inputs, j.Inputs)
	widened := !reflect.DeepEqual(inputs, j.Inputs)
	s.group.Inputs, j.Inputs = inputs, inputs
	if s.Slices%s.group.Partitions != 0 {
		return fmt.Errorf("it has %d slices, which %d partitions do not divide", s.Slices, s.group.Partitions)
	}
	var fresh []driver.Interest
	for _, i := range s.Interests {
		if _, known := s.joined[i.Source]; !known {
			fresh = append(fresh, i)
		}
	}
	// A subscription that the database knows and the broker does not has lost its place there.
	if err := s.bus.join(ctx, s.group, known); err != nil {
		return err
	}
	from := map[string]int64{epochOf: 0}
	for _, i := range fresh {
		s.joined[i.Source] = 0
		if log := s.bus.config.Log(i.Source); s.FromFirst && log != nil {
			if s.joined[i.Source], err = log.Head(ctx, i.Source); err != nil {
				return err
			}
		}
	}
	for _, i := range s.Interests {
		from[i.Source] = 0
	}
	if len(fresh) > 0 || widened {
		noted, err := json.Marshal(j)
		if err != nil {
			return err
		}
		if err := s.store.SetValue(ctx, s.Service, joinedNote(s.Name), noted); err != nil {
			return err
		}
	}
	stored, err := s.store.InitSubscription(ctx, s.Service, s.leases, s.group.Partitions, from)
	if err != nil {
		return err
	}
	if stored != s.group.Partitions {
		return fmt.Errorf("it was divided into %d partitions and its topics have %d now", stored, s.group.Partitions)
	}
	return nil
}

// slicesOf returns the slices whose messages lie in a partition.
func (s *subscription) slicesOf(partition int) (list []int) {
	for n := partition; n < s.Slices; n += s.group.Partitions {
		list = append(list, n)
	}
	return list
}

// assign begins work on partitions.
func (s *subscription) assign(ctx context.Context, cps []driver.Checkpoint) {
	var taken []*partition
	var told []driver.Checkpoint
	for _, c := range cps {
		if len(taken) == 0 || taken[len(taken)-1].number != c.Slice {
			p := newPartition(s, c.Slice, c.Epoch)
			taken = append(taken, p)
			for _, n := range s.slicesOf(c.Slice) {
				told = append(told, driver.Checkpoint{Subscription: s.Name, Slice: n, Epoch: c.Epoch, Guard: &p.guard})
			}
		}
		taken[len(taken)-1].from[c.Source] = c.Position
	}
	s.sink.Assign(told)
	s.mu.Lock()
	for _, p := range taken {
		s.partitions[p.number] = p
	}
	s.mu.Unlock()
	for _, p := range taken {
		p.start(ctx)
	}
}

// revoke ends work on partitions: nothing more is handed over, what is in flight is finished and settled at the broker, and
// then no more is received.
func (s *subscription) revoke(numbers []int) {
	s.mu.Lock()
	var lost []*partition
	for _, n := range numbers {
		if p := s.partitions[n]; p != nil {
			lost = append(lost, p)
			delete(s.partitions, n)
		}
	}
	s.mu.Unlock()
	var owned []int
	lapsed := s.held.Lapsed()
	for _, p := range lost {
		p.hush()
		if lapsed { // somebody else may be about to receive: he must not wait for what is in flight here
			p.receiving()
		}
		owned = append(owned, s.slicesOf(p.number)...)
	}
	if len(owned) > 0 {
		s.sink.Revoke(owned)
	}
	for _, p := range lost {
		p.stop()
	}
}

func (s *subscription) renewed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.partitions {
		p.mu.Lock()
		p.work.Broadcast()
		p.mu.Unlock()
	}
}

// behind counts the messages of the partitions that are worked here which are not settled.
func (s *subscription) behind(ctx context.Context) (int64, error) {
	backlog, err := s.bus.config.Client.Backlog(ctx, s.group)
	if err != nil {
		return 0, err
	}
	exclusive := s.store.Powers().Exclusive
	s.mu.Lock()
	defer s.mu.Unlock()
	total := int64(0)
	for n := range s.group.Partitions {
		p := s.partitions[n]
		if p == nil && !exclusive {
			continue // another process's
		}
		waiting := int64(0)
		if n < len(backlog) {
			waiting = backlog[n]
		}
		if waiting < 0 { // the broker has lost the group, and what waits for it is found when it has joined again
			waiting = 1
		}
		if p == nil { // nobody has it yet, nor what came before the group
			waiting = max(waiting, 1)
		} else {
			p.mu.Lock()
			waiting = max(waiting, int64(len(p.open)))
			for source, to := range s.joined {
				waiting += max(to-p.from[source], 0)
			}
			p.mu.Unlock()
		}
		total += waiting
	}
	return total, nil
}

// ahead counts the positions of the logs that the partitions have still to read before they go over to the broker, whoever
// works them.
func (s *subscription) ahead(ctx context.Context) (positions int64, err error) {
	late := false
	for _, to := range s.joined {
		late = late || to > 0
	}
	if !late {
		return 0, nil
	}
	cps, err := s.store.Checkpoints(ctx, s.Service, s.leases)
	for _, c := range cps {
		positions += max(s.joined[c.Source]-c.Position, 0)
	}
	return positions, err
}

// wants reports whether an interest covers a message.
func (s *subscription) wants(m *driver.Message) bool {
	for i := range s.Interests {
		if in := &s.Interests[i]; in.Source == m.Source {
			return in.Wants(&m.Record)
		}
	}
	return false
}

// tap delivers everything from now on, as one slice that nobody else has.
func (s *subscription) tap(ctx context.Context, ready chan<- struct{}) error {
	s.sink.Assign([]driver.Checkpoint{{Subscription: s.Name}})
	defer s.sink.Revoke([]int{0})
	announce := sync.OnceFunc(func() {
		if ready != nil {
			close(ready)
		}
	})
	for ctx.Err() == nil {
		err := s.bus.config.Client.Tap(ctx, s.group, announce, func(ms []Incoming) error {
			var ds []driver.Delivery
			for i := range ms {
				if m, err := decode(&ms[i]); err == nil && s.wants(&m) {
					ds = append(ds, driver.Delivery{Message: m})
				}
			}
			if len(ds) == 0 {
				return nil
			}
			return s.sink.Deliver(ctx, 0, ds)
		})
		if err != nil && ctx.Err() == nil {
			s.bus.config.Logger.Warn("a broadcast was interrupted, trying again", "subscription", s.Name, "error", err)
			pause(ctx, jitter(s.bus.config.Poll))
		}
	}
	return nil
}

// jitter keeps those that wait for the same server from coming back at once.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

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
