package partner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// rabbitPrefetch is how many messages RabbitMQ hands out before the first of them is acknowledged.
	rabbitPrefetch = 256
	// rabbitLook is how often the exchange is declared again: RabbitMQ tells nobody that one has vanished.
	rabbitLook = time.Second
	// rabbitWithin bounds the steps of a connection that have no context.
	rabbitWithin = 5 * time.Second
)

// rabbitQueue makes the queue keep messages that were published as transient, as plain clients do, over a restart of the
// server; and keep those that were handed out to a mall which was killed, however often that happens.
var rabbitQueue = amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int32(1_000_000_000)}

// rabbit is RabbitMQ. It reads on a connection and publishes on another, since RabbitMQ stops reading from one that
// publishes when it is short of memory, acknowledgements included.
type rabbit struct {
	url   string
	login Login // nil: the address holds it

	mu      sync.Mutex
	in, out *amqp.Connection
	channel *amqp.Channel // of out; nil where it has to be opened
	closed  bool
}

func newRabbit(url string, login Login) (*rabbit, error) {
	_, err := amqp.ParseURI(url)
	if err != nil {
		return nil, errors.New("its address is not one of RabbitMQ") // without the address, which may hold a password
	}
	return &rabbit{url: url, login: login}, nil
}

func (r *rabbit) dial(what string) (*amqp.Connection, error) {
	c := amqp.Config{
		Heartbeat: rabbitWithin, Dial: amqp.DefaultDial(rabbitWithin), Properties: amqp.Table{"connection_name": "souk partner " + what},
	}
	if r.login != nil {
		user, password, err := r.login()
		if err != nil {
			return nil, err
		}
		c.SASL = []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}
	}
	return amqp.DialConfig(r.url, c)
}

var errClosed = errors.New("the gateway is closed")

// receive implements broker.
func (r *rabbit) receive(ctx context.Context, up func(), give func(message) bool) (err error) {
	conn, err := r.dial("in")
	if err != nil {
		return err
	}
	r.mu.Lock()
	old := r.in
	r.in = conn
	closed := r.closed
	r.mu.Unlock()
	if old != nil {
		_ = old.Close() // it has failed already
	}
	if closed {
		return errors.Join(errClosed, conn.Close())
	}
	bound, err := rabbitBind(conn, nil)
	if err != nil {
		return err
	}
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(rabbitPrefetch, 0, false); err != nil {
		return err
	}
	ended := ch.NotifyClose(make(chan *amqp.Error, 1))
	deliveries, err := ch.Consume(groupName, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	up()
	look := time.NewTicker(rabbitLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case d, ok := <-deliveries:
			if !ok {
				select {
				case cause := <-ended:
					if cause != nil {
						return cause
					}
				default:
				}
				return errors.New("RabbitMQ has ended the delivery")
			}
			_, own := d.Headers[markName]
			m := message{body: d.Body, own: own, redelivered: d.Redelivered, done: func() {
				_ = d.Ack(false) // without it the message comes again and is known as settled
			}}
			if !give(m) {
				return nil
			}
		case <-look.C:
			if bound, err = rabbitBind(conn, bound); err != nil {
				return err
			}
		}
	}
}

// rabbitBind declares the exchange and the queue where they are not there, and binds them. It returns the channel that it
// used, to be used again.
func rabbitBind(conn *amqp.Connection, ch *amqp.Channel) (*amqp.Channel, error) {
	adopted, err := rabbitExchange(conn, ordersName)
	if err != nil {
		return nil, err
	}
	if ch == nil || ch.IsClosed() {
		if ch, err = conn.Channel(); err != nil {
			return nil, err
		}
	}
	if _, err := ch.QueueDeclare(groupName, true, false, false, false, rabbitQueue); isRabbit(err, amqp.PreconditionFailed) {
		// Somebody has declared it as something else; it serves as it is.
		if ch, err = conn.Channel(); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	keys := []string{""}
	if adopted { // of a kind that we cannot see: a topic exchange takes #, a direct one the name
		keys = append(keys, "#", ordersName)
	}
	for _, key := range keys {
		if err := ch.QueueBind(groupName, key, ordersName, false, nil); err != nil {
			return nil, fmt.Errorf("bind to the exchange %s: %w", ordersName, err)
		}
	}
	return ch, nil
}

// rabbitExchange declares an exchange as plain clients do: fanout, not durable, not deleted by itself. One that is there
// as something else is adopted.
func rabbitExchange(conn *amqp.Connection, name string) (adopted bool, err error) {
	ch, err := conn.Channel()
	if err != nil {
		return false, err
	}
	err = ch.ExchangeDeclare(name, amqp.ExchangeFanout, false, false, false, false, nil)
	if isRabbit(err, amqp.PreconditionFailed) || isRabbit(err, amqp.AccessRefused) {
		adopted = true
		if ch, err = conn.Channel(); err == nil { // the refusal has closed the other
			err = ch.ExchangeDeclarePassive(name, amqp.ExchangeFanout, false, false, false, false, nil)
		}
	}
	if err != nil {
		return false, fmt.Errorf("declare the exchange %s: %w", name, err)
	}
	return adopted, ch.Close()
}

func isRabbit(err error, code int) bool {
	e, ok := errors.AsType[*amqp.Error](err)
	return ok && e.Code == code
}

// publish implements broker.
func (r *rabbit) publish(ctx context.Context, list []outgoing) error {
	ch, err := r.publishing()
	if err != nil {
		return err
	}
	confirmations := make([]*amqp.DeferredConfirmation, len(list))
	for i, m := range list {
		confirmations[i], err = ch.PublishWithDeferredConfirmWithContext(ctx, m.Name, "", false, false, amqp.Publishing{
			ContentType: "application/json", DeliveryMode: amqp.Persistent, MessageId: m.ID, AppId: "souk",
			Headers: amqp.Table{markName: m.Order}, Body: m.Body,
		})
		if err != nil {
			r.forget(ch)
			return err
		}
	}
	for _, c := range confirmations {
		switch confirmed, err := c.WaitContext(ctx); {
		case err != nil:
			r.forget(ch) // it may be one that nobody answers on any more
			return err
		case !confirmed:
			r.forget(ch)
			return errors.New("RabbitMQ has not confirmed what was published")
		}
	}
	return nil
}

// publishing returns the channel that is published on, and opens it where there is none.
func (r *rabbit) publishing() (*amqp.Channel, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	if r.channel != nil && !r.channel.IsClosed() {
		return r.channel, nil
	}
	if r.out != nil {
		_ = r.out.Close() // it may have failed
		r.out = nil
	}
	conn, err := r.dial("out")
	if err != nil {
		return nil, err
	}
	r.out = conn
	for _, name := range []string{ordersName, placedName} {
		if _, err := rabbitExchange(conn, name); err != nil {
			return nil, err
		}
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	r.channel = ch
	return ch, nil
}

// forget has the next call open a channel of its own, whatever has become of this one.
func (r *rabbit) forget(ch *amqp.Channel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.channel == ch {
		r.channel = nil
	}
}

// close implements broker.
func (r *rabbit) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, conn := range []*amqp.Connection{r.in, r.out} {
		if conn != nil {
			_ = conn.CloseDeadline(time.Now().Add(rabbitWithin)) // nothing waits for it any more
		}
	}
}
