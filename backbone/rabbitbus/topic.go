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

var (
	errNoTopic = fmt.Errorf("rabbitmq: %w", broker.ErrNoTopic)
	errEmpty   = errors.New("it is empty: whoever gave the topic another identity has ended in the middle, and the next who declares it makes it again")
)

// emptyFor is how long nobody can be asked what a topic is before its marker counts as empty: longer than all its messages are
// held by those who read them.
const emptyFor = 3 * time.Second

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
	var info topicInfo
	look := func() (err error) {
		info, err = c.readTopic(ctx, cn, topic, (*channel).firm)
		return err
	}
	if err = look(); unmade(err) {
		err = c.locked(ctx, cn, topicMarker+topic, func() (bool, error) {
			if err := look(); !unmade(err) {
				return true, err
			}
			return false, nil
		}, func() error {
			info = topicInfo{Partitions: partitions}
			return c.makeTopic(ctx, cn, topic, &info)
		})
	}
	if err != nil {
		return 0, err
	}
	c.remember(cn, topic, info)
	return info.Partitions, nil
}

// unmade tells whether a topic cannot be read because it is not made, or not to the end.
func unmade(err error) bool { return errors.Is(err, errNoTopic) || errors.Is(err, errEmpty) }

// firm makes sure that the exchange and the marker of a topic, which are there, have the settings that they are to have.
func (ch *channel) firm(topic string) error {
	if err := ch.exchange(topic, amqp.ExchangeTopic); err != nil {
		return err
	}
	return ch.declare(topicMarker+topic, markerQueue())
}

// asFound takes the exchange and the marker of a topic as they are.
func (*channel) asFound(string) error { return nil }

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
	info, err := c.readTopic(ctx, cn, topic, (*channel).asFound)
	if err != nil {
		return info, fmt.Errorf("topic %s: %w", topic, err)
	}
	c.remember(cn, topic, info)
	return info, nil
}

// readTopic asks the server what a topic is; errNoTopic where its exchange or its marker is missing, errEmpty
// where nothing is in the marker. What is there is shown to check before it is read.
func (c *Client) readTopic(ctx context.Context, cn *conn, topic string, check func(*channel, string) error) (info topicInfo, err error) {
	marker := topicMarker + topic
	for deadline := time.Now().Add(emptyFor); ; {
		var text []byte
		there, err := exists(cn.do(ctx, func(ch *channel) error {
			ch.step()
			if err := ch.ExchangeDeclarePassive(topic, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
				return err
			}
			if _, err := ch.count(marker); err != nil {
				return err
			}
			if err := check(ch, topic); err != nil {
				return err
			}
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
		}))
		if err != nil {
			return info, unsafely(err)
		}
		if !there {
			return info, errNoTopic
		}
		if text != nil {
			if err := json.Unmarshal(text, &info); err != nil || info.Partitions < 1 || info.Identity == "" {
				return info, fmt.Errorf("rabbitmq: queue %s holds something else than what a topic is: %w", marker, errors.Join(err, broker.ErrUnsafe))
			}
			return info, nil
		}
		if time.Now().After(deadline) {
			return info, fmt.Errorf("rabbitmq: queue %s says what topic %s is: %w", marker, topic, errEmpty)
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

// locked does f while nobody else does anything under the same name, here or in another process, unless nothing is left to
// do: that is asked of done again and again while somebody else has the lock, and once more when it is had. The lock is a
// queue that belongs to the connection: it goes with it.
func (c *Client) locked(ctx context.Context, cn *conn, name string, done func() (bool, error), f func() error) error {
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
		if did, err := done(); did || err != nil {
			return err
		}
	}
	did, err := done()
	if !did && err == nil {
		err = f()
	}
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
	info, err := c.readTopic(ctx, cn, a.Topic, (*channel).asFound)
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
