package rabbitbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
)

// outstanding is how many messages of one Send may be unconfirmed.
const outstanding = 500

// frame is how large a frame the connection carries; the library asks for it and every server allows it.
const frame = 128 << 10

var (
	errRefused = errors.New("a queue did not take a message")
	errLeft    = errors.New("nobody waits for it any more")
)

// publication is a message on its way to an exchange; wanted ones have to reach a queue.
type publication struct {
	exchange, key string
	wanted        bool
	message       amqp.Publishing
}

// Send publishes messages and returns when all are confirmed. An event that no group has asked for is confirmed and
// gone; a message of a topic of commands (its name ends in ".commands") that no queue takes is an error.
func (c *Client) Send(ctx context.Context, ms []broker.Outgoing) ([]broker.Anchor, error) {
	if len(ms) == 0 {
		return nil, nil
	}
	cn, err := c.consuming.get(ctx)
	if err != nil {
		return nil, err
	}
	topics := map[string]topicInfo{}
	items := make([]publication, len(ms))
	for i := range ms {
		m := &ms[i]
		info, ok := topics[m.Topic]
		if !ok {
			if info, err = c.topic(ctx, cn, m.Topic); err != nil {
				return nil, err
			}
			topics[m.Topic] = info
		}
		if m.Partition < 0 || m.Partition >= info.Partitions {
			return nil, fmt.Errorf("rabbitmq: topic %s has no partition %d but %d of them", m.Topic, m.Partition, info.Partitions)
		}
		item := publication{
			exchange: m.Topic, key: routingKey(m.Partition, m.Type), message: publishing(m),
			wanted: strings.HasSuffix(m.Topic, commandTopic),
		}
		if large := tooLarge(m, item.key, c.config.MaxBytes); large != "" {
			return nil, fmt.Errorf("rabbitmq: message %q of topic %s: %s: %w", m.ID, m.Topic, large, broker.ErrTooLarge)
		}
		items[i] = item
	}
	if err := c.publish(ctx, items); err != nil {
		if is(err, amqp.NotFound) {
			c.forget()
		}
		return nil, err
	}
	return anchors(ms, topics), nil
}

// anchors returns one for the last message of each topic.
func anchors(ms []broker.Outgoing, topics map[string]topicInfo) []broker.Anchor {
	all := make([]broker.Anchor, 0, len(topics))
	for i := len(ms) - 1; i >= 0 && len(topics) > 0; i-- {
		info, ok := topics[ms[i].Topic]
		if !ok {
			continue
		}
		delete(topics, ms[i].Topic)
		all = append(all, broker.Anchor{Topic: ms[i].Topic, Identity: info.Identity, Partition: ms[i].Partition, ID: ms[i].ID})
	}
	return all
}

// tooLarge says what of a message does not fit the server, or nothing. What the protocol cannot carry would cost the
// connection, and with it the messages of others.
func tooLarge(m *broker.Outgoing, key string, most int) string {
	if len(m.Body) > most {
		return fmt.Sprintf("its body has %d bytes and ClientConfig.MaxBytes is %d", len(m.Body), most)
	}
	if len(key) > longest {
		return fmt.Sprintf("its type has %d bytes, which with the partition may be %d", len(m.Type), longest)
	}
	for _, a := range m.Attributes {
		if len(prefix)+len(a.Name) > longest {
			return fmt.Sprintf("the name of its attribute %.20s... has %d bytes", a.Name, len(a.Name))
		}
	}
	if n := headerBytes(m); n > frame {
		return fmt.Sprintf("its attributes take %d bytes and a frame has %d", n, frame)
	}
	return ""
}

// publish publishes in order, on one channel, and returns when the server has confirmed all. When ctx ends it returns
// at once, and what is not published by then never is.
func (c *Client) publish(ctx context.Context, items []publication) error {
	cn, err := c.publishing.get(ctx)
	if err != nil {
		return err
	}
	p, err := cn.publisher(ctx)
	if err != nil {
		return err
	}
	done, quit := make(chan error, 1), make(chan struct{})
	if !c.run(func() {
		err := p.send(items, quit)
		if p.dirty {
			done <- err
			_ = p.close() // nobody can be told, and the server closes it with the connection
			return
		}
		cn.release(p)
		done <- err
	}) {
		return errClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		close(quit)
		return ctx.Err()
	}
}

// publisher is a channel in confirm mode. One Send at a time has it.
type publisher struct {
	*channel
	returns chan amqp.Return
	closes  chan *amqp.Error
	// pending are the confirmations that the server owes, oldest first.
	pending []*amqp.DeferredConfirmation
	dirty   bool // it was left with messages unconfirmed
}

// publisher returns a channel that nobody uses.
func (cn *conn) publisher(ctx context.Context) (*publisher, error) {
	cn.mu.Lock()
	if n := len(cn.idle); n > 0 {
		p := cn.idle[n-1]
		cn.idle = cn.idle[:n-1]
		cn.mu.Unlock()
		return p, nil
	}
	cn.mu.Unlock()
	p := &publisher{
		// A message that comes back does so before its confirmation, so what Send has not yet looked at fits.
		returns: make(chan amqp.Return, outstanding+1),
		closes:  make(chan *amqp.Error, 1),
		pending: make([]*amqp.DeferredConfirmation, 0, outstanding),
	}
	ch, err := cn.open(ctx, true, func(ch *channel) error {
		ch.NotifyReturn(p.returns)
		ch.NotifyClose(p.closes)
		ch.step()
		return ch.Confirm(false)
	})
	p.channel = ch
	return p, err
}

// release keeps a channel for the next Send, unless it is spent.
func (cn *conn) release(p *publisher) {
	if p.IsClosed() {
		return
	}
	cn.mu.Lock()
	defer cn.mu.Unlock()
	cn.idle = append(cn.idle, p)
}

// send publishes and waits for the confirmations, at most outstanding of them at once. It ends early when quit closes.
func (p *publisher) send(items []publication, quit <-chan struct{}) error {
	p.pending = p.pending[:0]
	var failure error
	for i := range items {
		item := &items[i]
		if err := p.flowing(quit); err != nil {
			failure = err
			break
		}
		confirmation, err := p.PublishWithDeferredConfirm(item.exchange, item.key, true, false, item.message)
		if err != nil {
			failure = p.why(err)
			break
		}
		p.pending = append(p.pending, confirmation)
		if len(p.pending) == outstanding {
			// Half of the window at once, so that the slice moves seldom.
			if failure = p.returned(items, p.settle(outstanding/2, quit)); failure != nil {
				break
			}
		}
	}
	// Whatever has gone wrong, what is on its way is waited for: the channel is then clean.
	return p.returned(items, errors.Join(failure, p.settle(len(p.pending), quit)))
}

// flowing waits until the server takes messages.
func (p *publisher) flowing(quit <-chan struct{}) error {
	select {
	case <-quit:
		return errLeft
	default:
	}
	flow, _ := p.conn.blocked()
	select {
	case <-flow:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-flow:
		return nil
	case <-quit:
		return errLeft
	case <-p.conn.gone:
		return p.conn.failed(amqp.ErrClosed)
	case <-timer.C:
		return fmt.Errorf("rabbitmq: %w", p.conn.silence())
	}
}

// settle waits for the n oldest confirmations.
func (p *publisher) settle(n int, quit <-chan struct{}) error {
	if p.dirty {
		return nil
	}
	var timer *time.Timer
	var failure error
	for _, confirmation := range p.pending[:n] {
		select {
		case <-confirmation.Done():
		default:
			if timer == nil {
				timer = time.NewTimer(patience)
				defer timer.Stop()
			}
			timer.Reset(patience)
			select {
			case <-confirmation.Done():
			case <-quit:
				p.dirty = true
				return errLeft
			case <-timer.C:
				p.dirty = true
				p.conn.kill(p.conn.silence())
				return p.conn.failed(errSilent)
			}
		}
		if !confirmation.Acked() && failure == nil {
			failure = p.why(nil)
		}
	}
	p.pending = append(p.pending[:0], p.pending[n:]...)
	return failure
}

// why says why the channel did not do what it should: it was closed, or else a queue refused.
func (p *publisher) why(err error) error {
	if !p.IsClosed() {
		if err != nil {
			return p.conn.failed(err)
		}
		return fmt.Errorf("rabbitmq: %w: it is full or not available", errRefused)
	}
	select {
	case said, ok := <-p.closes:
		if ok {
			if said.Code == amqp.PreconditionFailed && strings.Contains(said.Reason, "larger than") {
				return fmt.Errorf("rabbitmq: %w: %w", said, broker.ErrTooLarge)
			}
			return p.conn.failed(said)
		}
	default:
	}
	if err == nil {
		err = amqp.ErrClosed
	}
	return p.conn.failed(err)
}

// returned looks at the messages that came back because no queue took them. Those of confirmed messages are looked at
// before others are published: the library waits for whoever listens, and drops what nobody takes in time.
func (p *publisher) returned(items []publication, failure error) error {
	var unwanted map[[2]string]bool
	for {
		select {
		case r, ok := <-p.returns:
			if !ok {
				return failure
			}
			if failure != nil {
				continue
			}
			if unwanted == nil {
				unwanted = map[[2]string]bool{}
				for i := range items {
					if items[i].wanted {
						unwanted[[2]string{items[i].exchange, items[i].key}] = true
					}
				}
			}
			if unwanted[[2]string{r.Exchange, r.RoutingKey}] {
				failure = fmt.Errorf("rabbitmq: no queue takes message %q of %s (routing key %s): %s", r.MessageId, r.Exchange, r.RoutingKey, r.ReplyText)
			}
			continue
		default:
			return failure
		}
	}
}
