package natsbus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.org/souk/backbone/internal/broker"
)

// input is what a group takes of a topic, with the topic.
type input struct {
	t     *topic
	types []string // nil for everything
}

// inputs finds the topics of a group; a topic that is named twice is one input with the types of both.
func (s *session) inputs(ctx context.Context, g *broker.Group) ([]input, error) {
	var list []input
	at := map[string]int{}
	for _, in := range g.Inputs {
		if i, ok := at[in.Topic]; ok {
			if len(in.Types) == 0 || len(list[i].types) == 0 {
				list[i].types = nil
			} else {
				list[i].types = append(list[i].types, in.Types...)
			}
			continue
		}
		t, err := s.topic(ctx, in.Topic)
		if err != nil {
			return nil, err
		}
		at[in.Topic] = len(list)
		list = append(list, input{t: t, types: append([]string(nil), in.Types...)})
	}
	return list, nil
}

// parts returns how many partitions a group is received in.
func parts(g *broker.Group) int {
	if g.Whole {
		return 1
	}
	return g.Partitions
}

// within returns the partition of the topics that a group's partition stands for.
func within(g *broker.Group, partition int) int {
	if g.Whole {
		return anyPartition
	}
	return partition
}

// Join writes the group's positions where there are none. What the group takes is not kept at the server: Receive says it
// each time.
func (c *Client) Join(ctx context.Context, g broker.Group) error {
	return c.do(ctx, "join group "+g.Name, func(ctx context.Context, s *session) error {
		inputs, err := s.inputs(ctx, &g)
		if err != nil {
			return err
		}
		book, err := s.book(ctx)
		if err != nil {
			return err
		}
		info, err := book.Info(ctx, jetstream.WithSubjectFilter(s.positionsName()+"."+token(g.Name)+".>"))
		if err != nil {
			return err
		}
		for _, in := range inputs {
			if !g.Whole && in.t.partitions > g.Partitions {
				return fmt.Errorf("topic %s has %d partitions, and the group only %d", in.t.name, in.t.partitions, g.Partitions)
			}
			var missing []string
			for partition := range parts(&g) {
				place := s.place(&g, partition, in.t.name)
				if _, ok := info.State.Subjects[place]; !ok {
					missing = append(missing, place)
				}
			}
			if len(missing) == 0 {
				continue
			}
			begin, err := s.beginning(ctx, in.t, g.FromFirst)
			if err != nil {
				return err
			}
			err = each(len(missing), func(i int) error {
				_, err := s.write(ctx, missing[i], begin)
				if errors.Is(err, errRevision) { // somebody else joins the same group
					return nil
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// beginning is the position of a new group: before the first message, or behind the last one.
func (s *session) beginning(ctx context.Context, t *topic, fromFirst bool) (position, error) {
	stream, info, err := s.look(ctx, t.name)
	if err != nil {
		return position{}, err
	}
	p := position{Identity: identityOf(info), Marks: []mark{{}}}
	last := info.State.LastSeq
	if fromFirst || last == 0 {
		return p, nil
	}
	p.Marks[0].Seq = last
	m, err := stream.GetMsg(ctx, last)
	switch {
	case err == nil:
		p.Marks[0].ID = idOf(m.Header)
	case !errors.Is(err, jetstream.ErrMsgNotFound): // it is gone because of its age
		return position{}, err
	}
	return p, nil
}

// each runs f for 0 to n-1, a few at a time, and returns the first error.
func each(n int, f func(int) error) error {
	const atOnce = 16
	errs := make([]error, n)
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			errs[i] = f(i)
			<-slots
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// reading is the configuration of a consumer that reads a topic's partition in order. It confirms nothing and lives in
// the server's memory: how far a group is stands in its positions.
func reading(name string, filters []string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name: name, FilterSubjects: filters, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
		// One whose process is gone goes by itself; somebody who takes over takes it away at once.
		InactiveThreshold: 5 * time.Minute,
	}
}

// newName returns a name that nothing else at the server has.
func newName(of string) string { return token(of) + "-" + nats.NewInbox()[len(nats.InboxPrefix):] }

// Backlog counts what stands behind the group's positions, which follow what is settled by a second.
func (c *Client) Backlog(ctx context.Context, g broker.Group) ([]int64, error) {
	list := make([]int64, parts(&g))
	err := c.do(ctx, "count the backlog of group "+g.Name, func(ctx context.Context, s *session) error {
		inputs, err := s.inputs(ctx, &g)
		if err != nil {
			return err
		}
		for _, in := range inputs {
			_, info, err := s.look(ctx, in.t.name)
			if err != nil {
				return err
			}
			counts := make([]int64, len(list))
			err = each(len(list), func(partition int) error {
				p, err := s.read(ctx, s.place(&g, partition, in.t.name))
				if err != nil {
					return err
				}
				from := uint64(0)
				if p.Identity == identityOf(info) {
					from = p.Marks[0].Seq
				}
				if from != info.State.LastSeq {
					counts[partition], err = s.count(ctx, &in, within(&g, partition), from)
				}
				return err
			})
			if err != nil {
				return err
			}
			for i, n := range counts {
				list[i] += n
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// count asks the server how many messages of an input come behind a number, by a consumer that never reads them.
func (s *session) count(ctx context.Context, in *input, partition int, from uint64) (int64, error) {
	config := reading(newName("count"), in.t.filters(partition, in.types))
	config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from+1
	config.InactiveThreshold = 10 * time.Second
	consumer, err := s.js.CreateConsumer(ctx, in.t.stream, config)
	if err != nil {
		return 0, fmt.Errorf("topic %s: %w", in.t.name, err)
	}
	n := int64(consumer.CachedInfo().NumPending)
	return n, s.js.DeleteConsumer(ctx, in.t.stream, config.Name)
}
