package rabbitbus

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
)

// handful is how many messages are handed over at most at once.
const handful = 256

// together is how long acknowledgements are gathered before they are written: each is an entry in the log of a quorum queue.
const together = 10 * time.Millisecond

// Receive consumes one queue of a group. While another client consumes it, it waits: the server has one consumer at a
// time (x-single-active-consumer), and hands the next what the one before had not settled, first and in order.
func (c *Client) Receive(ctx context.Context, g broker.Group, partition int, take func([]broker.Incoming) error) error {
	cn, err := c.consuming.get(ctx)
	if err != nil {
		return quiet(ctx, err)
	}
	r := &receiving{client: c, queue: queueOf(g.Name, partition), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	r.head.next, r.head.prev = &r.head, &r.head
	// Closing the channel hands back what is not settled, so it is open only for as long as somebody receives.
	ch, err := cn.open(ctx, true, func(ch *channel) error { return r.begin(ch) })
	if err != nil {
		return quiet(ctx, fmt.Errorf("receive from %s: %w", r.queue, err))
	}
	r.stopped.Add(1)
	if !c.run(func() { r.write(ch) }) {
		return errClosed
	}
	err = r.receive(ctx, ch.conn, take)
	if left := r.end(ch); err == nil && ctx.Err() == nil {
		err = left
	}
	return err
}

// quiet makes the end of ctx no error.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // whoever ended it does not ask how
	}
	return err
}

// receiving is one Receive. Its messages form a ring, oldest first behind head, which each leaves when it is settled.
type receiving struct {
	client     *Client
	queue      string
	tap        bool // its messages are settled when they were taken
	deliveries <-chan amqp.Delivery
	closes     chan *amqp.Error
	cancels    chan string

	mu      sync.Mutex
	ended   bool
	head    message
	newest  uint64   // the tag of the message that was handed over last
	settled []uint64 // and not acknowledged yet

	acknowledged bool // something was; only write uses it until that has ended

	wake    chan struct{}
	stop    chan struct{}
	stopped sync.WaitGroup
}

// message is one that was received and is not settled.
type message struct {
	of         *receiving
	tag        uint64
	next, prev *message
}

func (r *receiving) begin(ch *channel) error {
	r.closes = ch.NotifyClose(make(chan *amqp.Error, 1))
	r.cancels = ch.NotifyCancel(make(chan string, 1))
	ch.step()
	if err := ch.Qos(broker.Window, 0, false); err != nil {
		return err
	}
	ch.step()
	var err error
	r.deliveries, err = ch.Consume(r.queue, "souk", false, false, false, false, nil)
	return err
}

func (r *receiving) receive(ctx context.Context, cn *conn, take func([]broker.Incoming) error) error {
	batch := make([]broker.Incoming, 0, handful)
	for {
		batch = batch[:0]
		select {
		case <-ctx.Done():
			return nil
		case d, ok := <-r.deliveries:
			if !ok {
				return quiet(ctx, cn.failed(r.lost()))
			}
			batch = append(batch, r.incoming(&d))
		}
		// The library offers messages one by one, from a goroutine that needs its turn in between.
		for misses := 0; len(batch) < handful && misses < 2; {
			select {
			case d, ok := <-r.deliveries:
				if !ok {
					return quiet(ctx, cn.failed(r.lost()))
				}
				batch = append(batch, r.incoming(&d))
				misses = 0
			default:
				misses++
				runtime.Gosched()
			}
		}
		// What is handed over is the receiver's to keep.
		if err := take(slices.Clone(batch)); err != nil {
			return err
		}
	}
}

// incoming makes a message of a delivery, and counts it as unsettled.
func (r *receiving) incoming(d *amqp.Delivery) broker.Incoming {
	if r.tap {
		r.newest = d.DeliveryTag
		in := incoming(d)
		in.Done = func() {}
		return in
	}
	m := &message{of: r, tag: d.DeliveryTag}
	r.mu.Lock()
	m.prev, m.next = r.head.prev, &r.head
	m.prev.next, m.next.prev = m, m
	r.newest = m.tag
	r.mu.Unlock()
	r.client.hold(r.queue, 1)
	in := incoming(d)
	in.Done = m.done
	return in
}

func incoming(d *amqp.Delivery) broker.Incoming {
	return broker.Incoming{
		Topic: d.Exchange, ContentType: d.ContentType, Attributes: attributes(d.Headers), Body: d.Body, Redelivered: d.Redelivered,
	}
}

// done settles the message.
func (m *message) done() {
	r := m.of
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	m.prev.next, m.next.prev = m.next, m.prev
	r.settled = append(r.settled, m.tag)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (c *Client) hold(queue string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[queue] += n; c.held[queue] == 0 {
		delete(c.held, queue)
	}
}

// write acknowledges what is settled, until the receiving ends.
func (r *receiving) write(ch *channel) {
	defer r.stopped.Done()
	gather := time.NewTimer(0)
	defer gather.Stop()
	for open := true; open; {
		select {
		case <-r.wake:
		case <-r.stop:
			open = false
		}
		// An error here is one of the channel, which ends the receiving by itself.
		_ = r.acknowledge(ch)
		if open {
			gather.Reset(together)
			select {
			case <-gather.C:
			case <-r.stop:
			}
		}
	}
}

// acknowledge tells the server what is settled: in one word everything before the oldest message that is not, and each
// of the others by itself, so that no message is covered that somebody works on.
func (r *receiving) acknowledge(ch *channel) error {
	r.mu.Lock()
	settled := r.settled
	r.settled = nil
	oldest := r.newest + 1
	if first := r.head.next; first != &r.head {
		oldest = first.tag
	}
	r.mu.Unlock()
	if len(settled) == 0 {
		return nil
	}
	r.acknowledged = true
	r.client.hold(r.queue, -int64(len(settled)))
	var before uint64
	var failure error
	for _, tag := range settled {
		if tag < oldest {
			before = max(before, tag)
		} else if err := ch.Ack(tag, false); err != nil {
			failure = err
		}
	}
	if before != 0 {
		if err := ch.Ack(before, true); err != nil {
			failure = err
		}
	}
	return failure
}

// lost says why no more messages come.
func (r *receiving) lost() error {
	select {
	case _, ok := <-r.cancels:
		if !ok {
			break
		}
		r.client.forget()
		return fmt.Errorf("rabbitmq: queue %s was deleted, or is not available any more", r.queue)
	default:
	}
	select {
	case said, ok := <-r.closes:
		if ok {
			return said
		}
	default:
	}
	return amqp.ErrClosed
}

// end acknowledges what is settled, hands back what is not, and returns when the server has done so.
func (r *receiving) end(ch *channel) error {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	close(r.stop)
	r.stopped.Wait()
	unsettled := int64(0)
	r.mu.Lock()
	for m := r.head.next; m != &r.head; m = m.next {
		unsettled++
	}
	r.mu.Unlock()
	err := r.flush(ch)
	if left := ch.close(); err == nil {
		err = left
	}
	r.client.hold(r.queue, -unsettled)
	return ch.conn.failed(err)
}

// flush returns when the queue has done what the channel was told of it. A channel of the server hands a quorum queue
// some 32 acknowledgements at once, keeps the others until those are in the queue's log, and forgets what it keeps when
// it is closed; and nothing answers an acknowledgement. So a second channel does something to the queue that is
// answered, because it goes through the same log: once for what the channel had handed on, and once more for what it
// then handed on. What that does is wait as a second consumer, which gets nothing, and stop.
func (r *receiving) flush(ch *channel) error {
	if !r.acknowledged || ch.IsClosed() {
		return nil
	}
	second, err := ch.conn.channel()
	if err != nil {
		return err
	}
	// The answer to any question says that the channel has come so far.
	reached := func() error {
		ch.step()
		defer ch.rest()
		return ch.Qos(broker.Window, 0, false)
	}
	err = reached()
	if err == nil {
		second.step()
		_, err = second.Consume(r.queue, "souk", false, false, false, false, nil)
	}
	if err == nil {
		err = reached()
	}
	if err == nil {
		second.step()
		err = second.Cancel("souk", false)
	}
	if left := second.close(); err == nil {
		err = left
	}
	return err
}

// Tap listens with a queue that goes with the connection.
func (c *Client) Tap(ctx context.Context, g broker.Group, ready func(), take func([]broker.Incoming) error) error {
	cn, err := c.consuming.get(ctx)
	if err != nil {
		return quiet(ctx, err)
	}
	r := &receiving{client: c, tap: true}
	ch, err := cn.open(ctx, true, func(ch *channel) error {
		ch.step()
		q, err := ch.QueueDeclare("", false, true, true, false, nil)
		if err != nil {
			return err
		}
		r.queue = q.Name
		for _, in := range g.Inputs {
			for _, key := range bindingKeys("*", in.Types) {
				ch.step()
				if err := ch.QueueBind(q.Name, key, in.Topic, false, nil); err != nil {
					return err
				}
			}
		}
		return r.begin(ch)
	})
	if err != nil {
		return quiet(ctx, fmt.Errorf("tap: %w", err))
	}
	ready()
	err = r.receive(ctx, ch.conn, func(batch []broker.Incoming) error {
		if err := take(batch); err != nil {
			return err
		}
		return ch.conn.failed(ch.Ack(r.newest, true))
	})
	// The queue goes when its consumer does.
	if left := ch.close(); err == nil && ctx.Err() == nil {
		err = ch.conn.failed(left)
	}
	return err
}
