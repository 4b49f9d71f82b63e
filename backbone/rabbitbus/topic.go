package rabbitbus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
)

// What a topic is stands in the messages of its marker, a queue: they are all the same, and made before the exchange,
// so that a topic whose exchange exists can be asked by anybody, without a lock, by getting one of them and handing it
// back. There are several so that those who ask at once, or stop in the middle, do not stand in each other's way.
const copies = 8

// worn is after how many deliveries a marker's message is replaced: earlier than any limit that a policy may set.
const worn = 10

// topicInfo is what stands in a marker.
type topicInfo struct {
	Partitions int    `json:"partitions"`
	Identity   string `json:"identity"`
}

// known is what a client knows of topics. It holds for as long as the connection on which it was found out, and is
// forgotten when a message finds no exchange.
type known struct {
	on     *conn
	topics map[string]topicInfo
}

func (c *Client) recall(cn *conn, topic string) (topicInfo, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known.on != cn {
		return topicInfo{}, false
	}
	info, ok := c.known.topics[topic]
	return info, ok
}

func (c *Client) remember(cn *conn, topic string, info topicInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known.on != cn {
		c.known = known{on: cn, topics: map[string]topicInfo{}}
	}
	c.known.topics[topic] = info
}

// forget drops what is known of all topics.
func (c *Client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = known{}
}

var errNoTopic = fmt.Errorf("rabbitmq: %w", broker.ErrNoTopic)

// DeclareTopic makes a topic exist: its exchange, and the marker that says how many partitions it has. An exchange or
// marker of other settings is broker.ErrUnsafe.
func (c *Client) DeclareTopic(ctx context.Context, topic string, partitions int) (int, error) {
	if err := checkName("topic", topic); err != nil {
		return 0, err
	}
	if partitions < 1 {
		return 0, fmt.Errorf("rabbitmq: topic %s: %d partitions", topic, partitions)
	}
	cn, err := c.consuming.get(ctx)
	if err != nil {
		return 0, err
	}
	if info, ok := c.recall(cn, topic); ok {
		return info.Partitions, nil
	}
	info, err := c.readTopic(ctx, cn, topic)
	if errors.Is(err, errNoTopic) {
		err = c.locked(ctx, cn, topicMarker+topic, func() error {
			if info, err = c.readTopic(ctx, cn, topic); !errors.Is(err, errNoTopic) {
				return err
			}
			info = topicInfo{Partitions: partitions}
			return c.makeTopic(ctx, cn, topic, &info)
		})
	}
	if err != nil {
		return 0, err
	}
	if err := cn.do(ctx, func(ch *channel) error {
		if err := ch.exchange(topic, amqp.ExchangeTopic); err != nil {
			return err
		}
		return ch.declare(topicMarker+topic, markerQueue())
	}); err != nil {
		return 0, unsafely(err)
	}
	c.remember(cn, topic, info)
	return info.Partitions, nil
}

func (ch *channel) exchange(name, kind string) error {
	ch.step()
	return ch.ExchangeDeclare(name, kind, true, false, false, false, nil)
}

// exists tells whether what a question is about is there.
func exists(err error) (bool, error) {
	if is(err, amqp.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// makeTopic makes the marker of a topic anew, with an identity of its own, and then its exchange. The caller holds the
// topic's lock.
func (c *Client) makeTopic(ctx context.Context, cn *conn, topic string, info *topicInfo) error {
	info.Identity = rand.Text()
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	// An exchange that is there and is none of ours is found out before anything is made.
	there, err := exists(cn.do(ctx, func(ch *channel) error {
		ch.step()
		return ch.ExchangeDeclarePassive(topic, amqp.ExchangeTopic, true, false, false, false, nil)
	}))
	if err != nil {
		return err
	}
	if there {
		if err := cn.do(ctx, func(ch *channel) error { return ch.exchange(topic, amqp.ExchangeTopic) }); err != nil {
			return unsafely(err)
		}
	}
	if err := cn.do(ctx, func(ch *channel) error {
		if err := ch.remove(topicMarker + topic); err != nil {
			return err
		}
		return ch.declare(topicMarker+topic, markerQueue())
	}); err != nil {
		return unsafely(err)
	}
	if err := c.publish(ctx, slices.Repeat([]publication{marking(topicMarker+topic, text)}, copies)); err != nil {
		return err
	}
	return unsafely(cn.do(ctx, func(ch *channel) error { return ch.exchange(topic, amqp.ExchangeTopic) }))
}

// marking is a message for a marker.
func marking(queue string, text []byte) publication {
	return publication{
		key: queue, wanted: true,
		message: amqp.Publishing{DeliveryMode: amqp.Persistent, ContentType: "application/json", Body: text},
	}
}

// topic returns what is known or can be found out of a topic.
func (c *Client) topic(ctx context.Context, cn *conn, topic string) (topicInfo, error) {
	if info, ok := c.recall(cn, topic); ok {
		return info, nil
	}
	info, err := c.readTopic(ctx, cn, topic)
	if err != nil {
		return info, fmt.Errorf("topic %s: %w", topic, err)
	}
	c.remember(cn, topic, info)
	return info, nil
}

// readTopic asks the server what a topic is; errNoTopic where its exchange or its marker is missing.
func (c *Client) readTopic(ctx context.Context, cn *conn, topic string) (info topicInfo, err error) {
	marker := topicMarker + topic
	there, err := exists(cn.do(ctx, func(ch *channel) error {
		ch.step()
		if err := ch.ExchangeDeclarePassive(topic, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
			return err
		}
		_, err := ch.count(marker)
		return err
	}))
	if err != nil {
		return info, err
	}
	if !there {
		return info, errNoTopic
	}
	for deadline := time.Now().Add(patience); ; {
		var text []byte
		if err := cn.do(ctx, func(ch *channel) error {
			d, ok, err := ch.get(marker)
			if err != nil || !ok {
				return err
			}
			text = d.Body
			if number(d.Headers["x-delivery-count"]) < worn {
				return d.Nack(false, true)
			}
			ch.rest()
			if err := c.publish(ctx, []publication{marking(marker, text)}); err != nil {
				return err
			}
			return d.Ack(false)
		}); err != nil {
			return info, err
		}
		if text != nil {
			if err := json.Unmarshal(text, &info); err != nil || info.Partitions < 1 || info.Identity == "" {
				return info, fmt.Errorf("rabbitmq: queue %s holds something else than what a topic is: %w", marker, errors.Join(err, broker.ErrUnsafe))
			}
			return info, nil
		}
		if time.Now().After(deadline) {
			return info, fmt.Errorf("rabbitmq: queue %s, which says what topic %s is, is empty; delete the queue, and the topic is made again", marker, topic)
		}
		if err := pause(ctx); err != nil {
			return info, err
		}
	}
}

// pause waits for somebody else to be done, a little while of chance.
func pause(ctx context.Context) error {
	n, err := rand.Int(rand.Reader, big.NewInt(40))
	if err != nil {
		return err
	}
	timer := time.NewTimer(time.Duration(5+n.Int64()) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// locked does f while nobody else does anything under the same name, here or in another process. The lock is a queue
// that belongs to the connection: it goes with it.
func (c *Client) locked(ctx context.Context, cn *conn, name string, f func() error) error {
	c.mu.Lock()
	mine := c.locks[name]
	if mine == nil {
		mine = make(chan struct{}, 1)
		c.locks[name] = mine
	}
	c.mu.Unlock()
	select {
	case mine <- struct{}{}:
		defer func() { <-mine }()
	case <-ctx.Done():
		return ctx.Err()
	}
	queue := lockPrefix + name
	for deadline := time.Now().Add(patience); ; {
		err := cn.do(ctx, func(ch *channel) error {
			ch.step()
			_, err := ch.QueueDeclare(queue, false, false, true, false, nil)
			return err
		})
		if err == nil {
			break
		}
		if !is(err, amqp.ResourceLocked) || time.Now().After(deadline) {
			return fmt.Errorf("lock %s: %w", name, err)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	err := f()
	// Also when ctx has ended: the connection may live on.
	return errors.Join(err, cn.do(context.WithoutCancel(ctx), func(ch *channel) error { return ch.remove(queue) }))
}

// Holds reports whether the topic's marker is the one that it was when the message was confirmed: whether topic and
// server are the same. RabbitMQ does not tell whether a queue still has a message.
func (c *Client) Holds(ctx context.Context, a broker.Anchor) (bool, error) {
	cn, err := c.consuming.get(ctx)
	if err != nil {
		return false, err
	}
	info, err := c.readTopic(ctx, cn, a.Topic)
	if errors.Is(err, errNoTopic) {
		c.forget()
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.remember(cn, a.Topic, info)
	return info.Identity == a.Identity, nil
}

// Describe returns the partitions of a topic. A topic holds nothing itself; Messages is how many wait in the queue of
// that group which has most of them, among the groups that this client has joined and that take from the topic.
func (c *Client) Describe(ctx context.Context, topic string) ([]broker.PartitionInfo, error) {
	cn, err := c.consuming.get(ctx)
	if err != nil {
		return nil, err
	}
	info, err := c.topic(ctx, cn, topic)
	if err != nil {
		return nil, err
	}
	described := make([]broker.PartitionInfo, info.Partitions)
	for p := range described {
		described[p].Partition = p
	}
	c.mu.Lock()
	var groups []broker.Group
	for _, g := range c.groups {
		if !g.Whole && slices.ContainsFunc(g.Inputs, func(in broker.Input) bool { return in.Topic == topic }) {
			groups = append(groups, g)
		}
	}
	c.mu.Unlock()
	for _, g := range groups {
		counts, err := c.Backlog(ctx, g)
		if err != nil {
			return nil, err
		}
		for p := range min(len(counts), len(described)) {
			described[p].Messages = max(described[p].Messages, counts[p])
		}
	}
	return described, nil
}

// number reads a number of a table of the protocol.
func number(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case int32:
		return int64(n)
	case int16:
		return int64(n)
	case int8:
		return int64(n)
	case uint8:
		return int64(n)
	}
	return 0
}
