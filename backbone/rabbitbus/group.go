package rabbitbus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	// Lost groups have lost messages, which those who publish are not told yet.
	Lost bool `json:"lost,omitempty"`
	// Marked groups have a mark for each queue, or are about to get them.
	Marked bool `json:"marked,omitempty"`
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

// infoOf is what a group is to be.
func infoOf(g broker.Group) groupInfo {
	return groupInfo{Partitions: partitionsOf(g), Whole: g.Whole, Bindings: wanted(g), Marked: true}
}

// mark makes the marks of a group's queues: exchanges whose being there says that a queue is the very one that was made for the
// group. A mark is bound to its queue and deletes itself, so that it goes with that queue and does not come again with another
// one of its name. Nothing is published to it.
func (ch *channel) mark(g broker.Group) error {
	for p := range partitionsOf(g) {
		queue := queueOf(g.Name, p)
		ch.step()
		if err := ch.ExchangeDeclare(markPrefix+queue, amqp.ExchangeDirect, true, true, true, false, nil); err != nil {
			return err
		}
		ch.step()
		if err := ch.QueueBind(queue, "", markPrefix+queue, false, nil); err != nil {
			return err
		}
	}
	return nil
}

// marked fails with what the server says of the first mark that is not there.
func (ch *channel) marked(g broker.Group) error {
	for p := range partitionsOf(g) {
		ch.step()
		if err := ch.ExchangeDeclarePassive(markPrefix+queueOf(g.Name, p), amqp.ExchangeDirect, true, true, true, false, nil); err != nil {
			return err
		}
	}
	return nil
}

// twins is how many messages alike a group's marker has. A program of version 0.1.0, which knows no seals, leaves one of its
// own there when it has changed what is bound, and while it does so none is to be had: so the number tells that a seal may
// not be true any more.
const twins = 2

// seal is an exchange whose being there says that a group is bound to a topic as the whole of what its name is made of says,
// and not otherwise: it is made when all bindings are, and removed before any is touched. It is bound to the exchange of the
// topic and deletes itself, so that it goes with that exchange, as the bindings do. Nothing is published to it.
type seal struct{ name, topic string }

// seals returns one for each topic of a group's bindings.
func (info groupInfo) seals(group string) []seal {
	topics := map[string]bool{}
	for _, b := range info.Bindings {
		topics[b.Topic] = true
	}
	all := make([]seal, 0, len(topics))
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %v %q %q", info.Partitions, info.Whole, info.Bindings, topic))
		all = append(all, seal{sealPrefix + group + ":" + hex.EncodeToString(sum[:16]), topic})
	}
	return all
}

func (ch *channel) seal(seals []seal) error {
	for _, s := range seals {
		ch.step()
		if err := ch.ExchangeDeclare(s.name, amqp.ExchangeDirect, true, true, true, false, nil); err != nil {
			return err
		}
		ch.step()
		if err := ch.ExchangeBind(s.topic, "", s.name, false, nil); err != nil {
			return err
		}
	}
	return nil
}

// queues fails with what the server says of the first queue of a group that is not there.
func (ch *channel) queues(g broker.Group) error {
	for p := range partitionsOf(g) {
		if _, err := ch.count(queueOf(g.Name, p)); err != nil {
			return err
		}
	}
	return nil
}

// sealed tells whether a group is what it is to be, by asking alone. The seals are looked at last: whoever makes a queue
// again removes them before.
func (c *Client) sealed(ctx context.Context, cn *conn, g broker.Group) (bool, error) {
	want := infoOf(g)
	if len(want.Bindings) == 0 {
		return false, nil // nothing that a seal could stand on
	}
	alike := false
	there, err := exists(cn.do(ctx, func(ch *channel) error {
		ch.step()
		if err := ch.ExchangeDeclarePassive(deadLetters, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
			return err
		}
		if _, err := ch.count(deadLetters); err != nil {
			return err
		}
		if err := ch.queues(g); err != nil {
			return err
		}
		if err := ch.marked(g); err != nil {
			return err
		}
		n, err := ch.count(groupMarker + g.Name)
		if alike = n == twins; err != nil || !alike {
			return err
		}
		for _, s := range want.seals(g.Name) {
			ch.step()
			if err := ch.ExchangeDeclarePassive(s.name, amqp.ExchangeDirect, true, true, true, false, nil); err != nil {
				return err
			}
		}
		return nil
	}))
	return there && alike, err
}

// Join makes the queues of a group and binds them to the topics of its inputs; what a group was bound to before and is
// not any more is removed. A new group cannot begin with the first message (ErrNoPast). Where queues of a group that
// existed are gone, with what was in them, also where somebody else has made others of their names, they are made again
// and the topics of its inputs get a new identity, so that the anchors of those who publish do not hold any more.
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
	// Most who join find all as it should be: they take no lock and change nothing.
	made := false
	look := func() (bool, error) {
		made, err = c.sealed(ctx, cn, g)
		return made, err
	}
	if _, err := look(); err != nil {
		return err
	}
	if !made {
		if err := c.locked(ctx, cn, groupMarker+g.Name, look, func() error { return c.make(ctx, cn, g) }); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.groups[g.Name] = g
	c.mu.Unlock()
	return nil
}

// make is Join under the group's lock. Whoever ends in the middle leaves a group without seals, for the next to make.
func (c *Client) make(ctx context.Context, cn *conn, g broker.Group) error {
	lost, err := c.join(ctx, cn, g, false)
	if err != nil || !lost {
		return err
	}
	for _, in := range g.Inputs {
		if err := c.renew(ctx, cn, in.Topic); err != nil {
			return err
		}
	}
	_, err = c.join(ctx, cn, g, true)
	return err
}

// renew gives a topic another identity.
func (c *Client) renew(ctx context.Context, cn *conn, topic string) error {
	never := func() (bool, error) { return false, nil }
	return c.locked(ctx, cn, topicMarker+topic, never, func() error {
		info, err := c.readTopic(ctx, cn, topic, (*channel).asFound)
		if err == nil {
			err = c.makeTopic(ctx, cn, topic, &info)
		}
		if err == nil {
			c.remember(cn, topic, info)
		}
		return err
	})
}

// join makes a group, and seals it unless it has lost messages and nobody is told of that: it then reports so, and notes it
// for whoever joins if nobody is told still.
func (c *Client) join(ctx context.Context, cn *conn, g broker.Group, told bool) (lost bool, err error) {
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
	whole, marked := true, true
	if existed {
		if whole, err = exists(cn.do(ctx, func(ch *channel) error { return ch.queues(g) })); err != nil {
			return false, err
		}
		if marked, err = exists(cn.do(ctx, func(ch *channel) error { return ch.marked(g) })); err != nil {
			return false, err
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
		noted := slices.ContainsFunc(notes, func(n groupInfo) bool { return n.Lost })
		// A group of an older program has no marks yet. Where whoever made a new one has ended before its marks were made, it counts as
		// lost without need: what is published again then is dropped by the inboxes.
		others := !marked && slices.ContainsFunc(notes, func(n groupInfo) bool { return n.Marked })
		lost = !told && (noted || others || !whole && len(notes) > 0)
		for _, n := range notes {
			if n.Partitions != partitionsOf(g) || n.Whole != g.Whole {
				return fmt.Errorf("rabbitmq: group %s has %d partitions (whole: %v) and is to have %d (whole: %v); a group keeps its partitions", g.Name, n.Partitions, n.Whole, partitionsOf(g), g.Whole)
			}
		}
		if whole && !marked && !others {
			// What is noted below speaks of marks, which are missed once it is there.
			if err := ch.mark(g); err != nil {
				return err
			}
		}
		want := infoOf(g)
		want.Lost = lost
		text, err := json.Marshal(want)
		if err != nil {
			return err
		}
		// Nothing that a seal speaks of is touched before it is gone.
		for _, n := range append(notes, want) {
			for _, s := range n.seals(g.Name) {
				ch.step()
				if err := ch.ExchangeDelete(s.name, false, false); err != nil {
					return err
				}
			}
		}
		ch.rest()
		if err := c.publish(ctx, slices.Repeat([]publication{marking(marker, text)}, twins)); err != nil {
			return err
		}
		for p := range partitionsOf(g) {
			if err := ch.declare(queueOf(g.Name, p), groupQueue()); err != nil {
				return err
			}
		}
		if err := ch.mark(g); err != nil {
			return err
		}
		for _, b := range want.Bindings {
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
		for _, b := range want.Bindings {
			delete(old, b)
		}
		for b := range old {
			ch.rest()
			if err := c.unbind(ctx, cn, b); err != nil {
				return err
			}
		}
		if last != 0 {
			ch.step()
			if err := ch.Ack(last, true); err != nil {
				return err
			}
		}
		if lost {
			return nil
		}
		return ch.seal(want.seals(g.Name))
	})
	if err != nil {
		return false, unsafely(err)
	}
	return lost, nil
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
