package rabbitbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
)

// ErrNoPast is returned, wrapped, by Join for a new group that is to begin with the first message: RabbitMQ keeps a
// message for the groups that exist when it is published, and for nobody else.
var ErrNoPast = broker.ErrNoPast

// binding is what brings messages of an exchange to a queue.
type binding struct {
	Queue, Key, Topic string
}

// groupInfo is a message of a group's marker. What is bound at the server is within what its messages name together:
// bindings are noted before they are made, and taken off the note after they are removed.
type groupInfo struct {
	Partitions int       `json:"partitions"`
	Whole      bool      `json:"whole,omitempty"`
	Bindings   []binding `json:"bindings"`
}

// wanted returns the bindings that a group is to have, without double ones, in order.
func wanted(g broker.Group) []binding {
	var all []binding
	for _, in := range g.Inputs {
		for p := range partitionsOf(g) {
			part := strconv.Itoa(p)
			if g.Whole {
				part = "*"
			}
			for _, key := range bindingKeys(part, in.Types) {
				all = append(all, binding{Queue: queueOf(g.Name, p), Key: key, Topic: in.Topic})
			}
		}
	}
	slices.SortFunc(all, func(a, b binding) int {
		return strings.Compare(a.Queue+"\x00"+a.Topic+"\x00"+a.Key, b.Queue+"\x00"+b.Topic+"\x00"+b.Key)
	})
	return slices.Compact(all)
}

// Join makes the queues of a group and binds them to the topics of its inputs; what a group was bound to before and is
// not any more is removed. A new group cannot begin with the first message (ErrNoPast). Where queues of a group that
// existed are gone, with what was in them, they are made again and the topics of its inputs get a new identity, so that
// the anchors of those who publish do not hold any more.
func (c *Client) Join(ctx context.Context, g broker.Group) error {
	if err := checkName("group", g.Name); err != nil {
		return err
	}
	if g.Partitions < 1 && !g.Whole {
		return fmt.Errorf("rabbitmq: group %s: %d partitions", g.Name, g.Partitions)
	}
	cn, err := c.consuming.get(ctx)
	if err != nil {
		return err
	}
	for _, in := range g.Inputs {
		info, err := c.topic(ctx, cn, in.Topic)
		if err != nil {
			return err
		}
		if !g.Whole && info.Partitions > g.Partitions {
			return fmt.Errorf("rabbitmq: group %s has %d partitions and its topic %s has %d; nobody would receive the rest", g.Name, g.Partitions, in.Topic, info.Partitions)
		}
		for _, t := range in.Types {
			if len(t) > longest-len("9999.") {
				return fmt.Errorf("rabbitmq: group %s: the type %s is too long", g.Name, t)
			}
		}
	}
	var lost bool
	if err := c.locked(ctx, cn, groupMarker+g.Name, func() (err error) {
		lost, err = c.join(ctx, cn, g)
		return err
	}); err != nil {
		return err
	}
	if lost {
		for _, in := range g.Inputs {
			if err := c.renew(ctx, cn, in.Topic); err != nil {
				return err
			}
		}
	}
	c.mu.Lock()
	c.groups[g.Name] = g
	c.mu.Unlock()
	return nil
}

// renew gives a topic another identity.
func (c *Client) renew(ctx context.Context, cn *conn, topic string) error {
	return c.locked(ctx, cn, topicMarker+topic, func() error {
		info, err := c.readTopic(ctx, cn, topic)
		if err == nil {
			err = c.makeTopic(ctx, cn, topic, &info)
		}
		if err == nil {
			c.remember(cn, topic, info)
		}
		return err
	})
}

// join is Join under the group's lock. It reports whether queues were lost.
func (c *Client) join(ctx context.Context, cn *conn, g broker.Group) (lost bool, err error) {
	marker := groupMarker + g.Name
	existed, err := exists(cn.do(ctx, func(ch *channel) error {
		_, err := ch.count(marker)
		return err
	}))
	if err != nil {
		return false, err
	}
	if !existed && g.FromFirst {
		return false, fmt.Errorf("rabbitmq: group %s: %w", g.Name, ErrNoPast)
	}
	missing := 0
	if existed {
		for p := range partitionsOf(g) {
			there, err := exists(cn.do(ctx, func(ch *channel) error {
				_, err := ch.count(queueOf(g.Name, p))
				return err
			}))
			if err != nil {
				return false, err
			}
			if !there {
				missing++
			}
		}
	}
	err = cn.do(ctx, func(ch *channel) error {
		if err := ch.exchange(deadLetters, amqp.ExchangeFanout); err != nil {
			return err
		}
		if err := ch.declare(deadLetters, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}); err != nil {
			return err
		}
		ch.step()
		if err := ch.QueueBind(deadLetters, "", deadLetters, false, nil); err != nil {
			return err
		}
		if err := ch.declare(marker, markerQueue()); err != nil {
			return err
		}
		notes, last, err := readGroup(ch, marker)
		if err != nil {
			return err
		}
		lost = missing > 0 && len(notes) > 0
		for _, n := range notes {
			if n.Partitions != partitionsOf(g) || n.Whole != g.Whole {
				return fmt.Errorf("rabbitmq: group %s has %d partitions (whole: %v) and is to have %d (whole: %v); a group keeps its partitions", g.Name, n.Partitions, n.Whole, partitionsOf(g), g.Whole)
			}
		}
		want := wanted(g)
		text, err := json.Marshal(groupInfo{Partitions: partitionsOf(g), Whole: g.Whole, Bindings: want})
		if err != nil {
			return err
		}
		ch.rest()
		if err := c.publish(ctx, []publication{marking(marker, text)}); err != nil {
			return err
		}
		for p := range partitionsOf(g) {
			if err := ch.declare(queueOf(g.Name, p), groupQueue()); err != nil {
				return err
			}
		}
		for _, b := range want {
			ch.step()
			if err := ch.QueueBind(b.Queue, b.Key, b.Topic, true, nil); err != nil {
				return err
			}
		}
		// The server answers nothing to those; once it answers this, they are done.
		if _, err := ch.count(marker); err != nil {
			return err
		}
		old := map[binding]bool{}
		for _, n := range notes {
			for _, b := range n.Bindings {
				old[b] = true
			}
		}
		for _, b := range want {
			delete(old, b)
		}
		for b := range old {
			ch.rest()
			if err := c.unbind(ctx, cn, b); err != nil {
				return err
			}
		}
		if last == 0 {
			return nil
		}
		ch.step()
		return ch.Ack(last, true)
	})
	return lost, unsafely(err)
}

// readGroup gets the messages of a group's marker, which are there again unless the last of them is acknowledged.
func readGroup(ch *channel, marker string) (notes []groupInfo, last uint64, err error) {
	for {
		d, ok, err := ch.get(marker)
		if err != nil || !ok {
			return notes, last, err
		}
		var n groupInfo
		if err := json.Unmarshal(d.Body, &n); err != nil {
			return nil, 0, fmt.Errorf("rabbitmq: queue %s holds something else than what a group is: %w", marker, errors.Join(err, broker.ErrUnsafe))
		}
		notes, last = append(notes, n), d.DeliveryTag
	}
}

// unbind removes a binding. One whose queue or exchange is gone has gone with it.
func (c *Client) unbind(ctx context.Context, cn *conn, b binding) error {
	_, err := exists(cn.do(ctx, func(ch *channel) error {
		ch.step()
		return ch.QueueUnbind(b.Queue, b.Key, b.Topic, nil)
	}))
	return err
}

// Backlog returns how many messages wait in the queues of a group, with those that this client has received and not
// settled. What other processes hold is not counted: the server tells it only to its operators.
func (c *Client) Backlog(ctx context.Context, g broker.Group) ([]int64, error) {
	cn, err := c.consuming.get(ctx)
	if err != nil {
		return nil, err
	}
	counts := make([]int64, partitionsOf(g))
	if err := cn.do(ctx, func(ch *channel) error {
		for p := range counts {
			var err error
			if counts[p], err = ch.count(queueOf(g.Name, p)); err != nil {
				return err
			}
		}
		return nil
	}); is(err, amqp.NotFound) {
		return nil, fmt.Errorf("group %s: %w: %w", g.Name, broker.ErrNoGroup, err)
	} else if err != nil {
		return nil, fmt.Errorf("group %s: %w", g.Name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range counts {
		counts[p] += c.held[queueOf(g.Name, p)]
	}
	return counts, nil
}
