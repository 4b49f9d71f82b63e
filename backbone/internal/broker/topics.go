package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"example.org/souk/backbone/driver"
)

// ErrNoTopic is returned, wrapped, by Describe for a topic that does not exist, and ErrNoGroup by Backlog for a group.
var (
	ErrNoTopic = errors.New("the broker has no such topic")
	ErrNoGroup = errors.New("the broker has no such group")
)

// Pooled is implemented by clients whose Backlog counts what a group has not settled of all its topics together: asked for
// some of them it says the same.
type Pooled interface{ PooledBacklog() }

// Topics implements driver.Topiced.
func (b *Bus) Topics(ctx context.Context, subscriptions []driver.Subscription) ([]driver.Topic, error) {
	takers := map[string][]taker{}
	for i := range subscriptions {
		s := &subscriptions[i]
		for _, topic := range []string{b.eventsOf(s.Service), b.commandsOf(s.Service)} {
			takers[topic] = slices.Clip(takers[topic]) // also one from which nobody takes
		}
		for topic, t := range b.takers(s) {
			takers[topic] = append(takers[topic], t)
		}
	}
	var list []driver.Topic
	for _, name := range slices.Sorted(maps.Keys(takers)) {
		info, err := b.config.Client.Describe(ctx, name)
		if errors.Is(err, ErrNoTopic) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: topic %s: %w", b.System(), name, err)
		}
		topic := driver.Topic{Name: name, Partitions: make([]driver.Partition, len(info))}
		_, pooled := b.config.Client.(Pooled)
		for _, p := range info {
			if !pooled { // else nothing is in the topic
				topic.Partitions[p.Partition] = driver.Partition{First: p.First, Next: p.Next, Messages: p.Messages}
			}
		}
		for _, t := range takers[name] {
			lag, err := b.lag(ctx, &t, name, len(info))
			if err != nil {
				return nil, err
			}
			topic.Groups = append(topic.Groups, driver.Group{Name: t.group, Service: t.Service, Subscription: t.Name, Lag: lag, Whole: t.Key != nil, Pooled: pooled})
		}
		list = append(list, topic)
	}
	return list, nil
}

// taker is a subscription that takes from a topic.
type taker struct {
	*driver.Subscription
	group string
	types []string // nil for everything
}

// takers returns what a subscription is to the topics that it takes from.
func (b *Bus) takers(s *driver.Subscription) map[string]taker {
	by := map[string]taker{}
	if s.Broadcast {
		return by
	}
	group := b.config.Namespace + "." + s.Service + "." + s.Name
	for _, in := range s.Interests {
		if len(in.Types) > 0 {
			by[b.eventsOf(in.Source)] = taker{s, group, in.Types}
		}
		if in.Addressed != "" {
			by[b.commandsOf(in.Addressed)] = taker{s, group, nil}
		}
	}
	return by
}

// lag asks how much a group has not settled of a topic; nil where the broker knows no such group.
func (b *Bus) lag(ctx context.Context, t *taker, topic string, partitions int) ([]int64, error) {
	g := Group{Name: t.group, Inputs: []Input{{topic, t.types}}, Partitions: partitions, Whole: t.Key != nil}
	if g.Whole {
		g.Partitions = 1
	}
	lag, err := b.config.Client.Backlog(ctx, g)
	switch {
	case errors.Is(err, ErrNoGroup):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: backlog of %s: %w", b.System(), t.group, err)
	}
	return lag, nil
}

var _ driver.Topiced = (*Bus)(nil)
