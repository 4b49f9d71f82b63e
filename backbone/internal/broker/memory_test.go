package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"example.org/souk/backbone/internal/broker"
)

var errDown = errors.New("the server is down")

// server is a broker in memory: partitioned logs, and groups that keep the floor below which everything is settled. It
// forgets what was settled out of order when it is killed, as brokers do.
type server struct {
	mu      sync.Mutex
	changed *sync.Cond
	down    bool
	paused  bool
	life    int // raised by each kill
	born    int // raised when everything is forgotten
	topics  map[string][][]broker.Outgoing
	groups  map[string]*group
	sends   int
	steady  bool // it cuts no connection by itself
	most    int  // bytes of a message; 0: any
}

type group struct {
	spec    broker.Group
	floor   map[place]int          // next offset
	settled map[place]map[int]bool // above the floor
}

type place struct {
	topic     string
	partition int
}

func newServer() *server {
	s := &server{topics: map[string][][]broker.Outgoing{}, groups: map[string]*group{}}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *server) do(change func()) {
	s.mu.Lock()
	change()
	s.changed.Broadcast()
	s.mu.Unlock()
}

func (s *server) kill() {
	s.do(func() {
		s.down = true
		s.life++
		for _, g := range s.groups {
			g.settled = map[place]map[int]bool{}
		}
	})
}
func (s *server) restart() { s.do(func() { s.down = false }) }
func (s *server) pause()   { s.do(func() { s.paused = true }) }
func (s *server) resume()  { s.do(func() { s.paused = false }) }
func (s *server) forget() {
	s.do(func() {
		s.life++
		s.born++
		s.topics, s.groups = map[string][][]broker.Outgoing{}, map[string]*group{}
	})
}

// ends returns how long the partitions of a topic are.
func (s *server) ends(topic string) (n []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, log := range s.topics[topic] {
		n = append(n, len(log))
	}
	return n
}

// lose takes from a topic what came behind these ends, as a power cut does.
func (s *server) lose(topic string, ends []int) {
	s.do(func() {
		for p := range s.topics[topic] {
			s.topics[topic][p] = s.topics[topic][p][:ends[p]:ends[p]]
			for _, g := range s.groups {
				if at := (place{topic, p}); g.floor[at] > ends[p] {
					g.floor[at] = ends[p]
				}
			}
		}
	})
}

// client is one connection to a server.
type client struct {
	*server
}

// enter waits out a pause; the caller holds mu afterwards.
func (c *client) enter(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.do(func() {}) })
	defer stop()
	c.mu.Lock()
	for c.paused && ctx.Err() == nil {
		c.changed.Wait()
	}
	if c.down {
		return errDown
	}
	return ctx.Err()
}

func (c *client) System() string              { return "memory" }
func (c *client) Check(context.Context) error { return nil }
func (c *client) Close() error                { return nil }

func (c *client) DeclareTopic(ctx context.Context, topic string, partitions int) (int, error) {
	defer c.mu.Unlock()
	if err := c.enter(ctx); err != nil {
		return 0, err
	}
	if c.topics[topic] == nil {
		c.topics[topic] = make([][]broker.Outgoing, partitions)
	}
	return len(c.topics[topic]), nil
}

func (c *client) Join(ctx context.Context, g broker.Group) error {
	defer c.mu.Unlock()
	if err := c.enter(ctx); err != nil {
		return err
	}
	old := c.groups[g.Name]
	if old == nil {
		old = &group{floor: map[place]int{}, settled: map[place]map[int]bool{}}
		c.groups[g.Name] = old
	}
	for _, in := range g.Inputs {
		for p, log := range c.topics[in.Topic] {
			if _, known := old.floor[place{in.Topic, p}]; !known {
				old.floor[place{in.Topic, p}] = len(log)
				if g.FromFirst {
					old.floor[place{in.Topic, p}] = 0
				}
			}
		}
	}
	old.spec = g
	return nil
}

func (c *client) Send(ctx context.Context, ms []broker.Outgoing) ([]broker.Anchor, error) {
	defer c.mu.Unlock()
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	c.sends++
	cut := !c.steady && c.sends%7 == 0 && len(ms) > 1
	last := map[string]broker.Anchor{}
	for i, m := range ms {
		if c.topics[m.Topic] == nil {
			return nil, fmt.Errorf("no topic %s", m.Topic)
		}
		if c.most > 0 && len(m.Body) > c.most { // what stands before it is there
			c.changed.Broadcast()
			return nil, fmt.Errorf("message %s has %d bytes: %w", m.ID, len(m.Body), broker.ErrTooLarge)
		}
		c.topics[m.Topic][m.Partition] = append(c.topics[m.Topic][m.Partition], m)
		last[m.Topic] = broker.Anchor{
			Topic: m.Topic, Identity: fmt.Sprint(c.born), Partition: m.Partition, Sequence: int64(len(c.topics[m.Topic][m.Partition])), ID: m.ID,
		}
		if i == len(ms)/2 && cut { // part of it is there, and nobody is told so
			c.changed.Broadcast()
			return nil, errors.New("the connection is cut")
		}
	}
	c.changed.Broadcast()
	var out []broker.Anchor
	for _, a := range last {
		out = append(out, a)
	}
	return out, nil
}

func (c *client) Receive(ctx context.Context, g broker.Group, partition int, take func([]broker.Incoming) error) error {
	stop := context.AfterFunc(ctx, func() { c.do(func() {}) })
	defer stop()
	err := c.enter(ctx)
	life := c.life
	own := c.groups[g.Name]
	var at map[place]int
	if own != nil {
		at = map[place]int{}
		for pl, floor := range own.floor {
			if g.Whole || pl.partition == partition {
				at[pl] = floor
			}
		}
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if own == nil {
		return fmt.Errorf("no group %s", g.Name)
	}
	for {
		var ms []broker.Incoming
		c.mu.Lock()
		for {
			if c.life != life || c.down {
				c.mu.Unlock()
				return errDown
			}
			if ctx.Err() != nil {
				c.mu.Unlock()
				return nil
			}
			if !c.paused {
				if ms = c.fetch(own, g, at); len(ms) > 0 {
					break
				}
			}
			c.changed.Wait()
		}
		c.mu.Unlock()
		if err := take(ms); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

func (c *client) fetch(own *group, g broker.Group, at map[place]int) (ms []broker.Incoming) {
	for _, in := range g.Inputs {
		for p := range c.topics[in.Topic] {
			pl := place{in.Topic, p}
			from, mine := at[pl]
			if !mine {
				continue
			}
			log := c.topics[in.Topic][p]
			for offset := from; offset < len(log) && len(ms) < 100; offset++ {
				at[pl] = offset + 1
				if own.settled[pl][offset] {
					continue
				}
				life := c.life
				ms = append(ms, incoming(log[offset], int64(offset+1), func() { c.settle(own, pl, offset, life) }))
			}
		}
	}
	return ms
}

func incoming(m broker.Outgoing, sequence int64, done func()) broker.Incoming {
	return broker.Incoming{
		Topic: m.Topic, ContentType: "application/json", Attributes: m.Attributes, Body: m.Body, Sequence: sequence, Done: done,
	}
}

func (c *client) settle(own *group, pl place, offset, life int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life != life || c.down || offset < own.floor[pl] { // or two had it, one after the other, and the other one settled it
		return
	}
	if own.settled[pl] == nil {
		own.settled[pl] = map[int]bool{}
	}
	own.settled[pl][offset] = true
	for own.settled[pl][own.floor[pl]] {
		delete(own.settled[pl], own.floor[pl])
		own.floor[pl]++
	}
}

func (c *client) Tap(ctx context.Context, g broker.Group, ready func(), take func([]broker.Incoming) error) error {
	own := &group{floor: map[place]int{}, settled: map[place]map[int]bool{}}
	g.Name += fmt.Sprintf("-tap-%p", own)
	g.Whole = true
	c.mu.Lock()
	at := map[place]int{}
	for _, in := range g.Inputs {
		for p, log := range c.topics[in.Topic] {
			at[place{in.Topic, p}] = len(log)
		}
	}
	c.mu.Unlock()
	ready()
	stop := context.AfterFunc(ctx, func() { c.do(func() {}) })
	defer stop()
	for ctx.Err() == nil {
		c.mu.Lock()
		ms := c.fetch(own, g, at)
		for len(ms) == 0 && ctx.Err() == nil {
			c.changed.Wait()
			ms = c.fetch(own, g, at)
		}
		c.mu.Unlock()
		if err := take(ms); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (c *client) Holds(ctx context.Context, a broker.Anchor) (bool, error) {
	defer c.mu.Unlock()
	if err := c.enter(ctx); err != nil {
		return false, err
	}
	logs := c.topics[a.Topic]
	return a.Identity == fmt.Sprint(c.born) && a.Partition < len(logs) && a.Sequence <= int64(len(logs[a.Partition])) &&
		logs[a.Partition][a.Sequence-1].ID == a.ID, nil
}

func (c *client) Backlog(ctx context.Context, g broker.Group) ([]int64, error) {
	defer c.mu.Unlock()
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	own := c.groups[g.Name]
	out := make([]int64, g.Partitions)
	if own == nil {
		for i := range out {
			out[i] = -1
		}
		return out, nil
	}
	for pl, floor := range own.floor {
		n := int64(len(c.topics[pl.topic][pl.partition]) - floor - len(own.settled[pl]))
		if g.Whole {
			out[0] += n
		} else {
			out[pl.partition] += n
		}
	}
	return out, nil
}

func (c *client) Describe(ctx context.Context, topic string) (out []broker.PartitionInfo, err error) {
	defer c.mu.Unlock()
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	for p, log := range c.topics[topic] {
		out = append(out, broker.PartitionInfo{Partition: p, First: 1, Next: int64(len(log) + 1), Messages: int64(len(log))})
	}
	return out, nil
}

// stored returns the ids of what a topic holds.
func (s *server) stored(topic string) (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, log := range s.topics[topic] {
		for _, m := range log {
			ids = append(ids, m.ID)
		}
	}
	slices.SortFunc(ids, strings.Compare)
	return ids
}

var _ broker.Client = (*client)(nil)
