package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	amqp "github.com/rabbitmq/amqp091-go"
)

// callers is how many publish at once.
const callers = 64

// rawRabbit is the client library of RabbitMQ: a channel a caller, and a quorum queue a topic; or, divided, a topic exchange
// and a queue a partition.
type rawRabbit struct {
	publishing, consuming *amqp.Connection
	idle                  chan *amqp.Channel
	partitions            int // 1, or those of the divided
}

func newRawRabbit(url string, partitions int) (*rawRabbit, error) {
	r := &rawRabbit{idle: make(chan *amqp.Channel, callers), partitions: partitions}
	var err error
	if r.publishing, err = amqp.Dial(url); err != nil {
		return nil, err
	}
	if r.consuming, err = amqp.Dial(url); err != nil {
		return nil, errors.Join(err, r.publishing.Close())
	}
	for range callers {
		ch, err := r.publishing.Channel()
		if err == nil {
			err = ch.Confirm(false)
		}
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.idle <- ch
	}
	return r, nil
}

func (r *rawRabbit) topic(_ context.Context, name string) (topic, error) {
	ch, err := r.consuming.Channel()
	if err != nil {
		return nil, err
	}
	if r.partitions > 1 {
		err = ch.ExchangeDeclare(name, amqp.ExchangeTopic, true, false, false, false, nil)
	}
	for p := 0; p < r.partitions && err == nil; p++ {
		if _, err = ch.QueueDeclare(subject(name, p), true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}); err != nil {
			break
		}
		if r.partitions > 1 {
			err = ch.QueueBind(subject(name, p), strconv.Itoa(p)+".#", name, false, nil)
		}
	}
	return rawRabbitTopic{r, name}, errors.Join(err, ch.Close())
}

func (r *rawRabbit) close() error { return errors.Join(r.publishing.Close(), r.consuming.Close()) }

// confirmed publishes messages on one channel and waits for all confirmations.
func (r *rawRabbit) confirmed(ctx context.Context, exchange string, n int, next func(int) (string, amqp.Publishing, error)) error {
	ch := <-r.idle
	defer func() { r.idle <- ch }()
	confirmations := make([]*amqp.DeferredConfirmation, n)
	for i := range confirmations {
		key, m, err := next(i)
		if err != nil {
			return err
		}
		if confirmations[i], err = ch.PublishWithDeferredConfirm(exchange, key, true, false, m); err != nil {
			return err
		}
	}
	for _, c := range confirmations {
		if ok, err := c.WaitContext(ctx); err != nil || !ok {
			return errors.Join(err, fmt.Errorf("confirmed: %v", ok))
		}
	}
	return nil
}

type rawRabbitTopic struct {
	*rawRabbit
	name string
}

func (t rawRabbitTopic) publish(ctx context.Context, ms []message) error {
	exchange := ""
	if t.partitions > 1 {
		exchange = t.name
	}
	return t.confirmed(ctx, exchange, len(ms), func(i int) (string, amqp.Publishing, error) {
		m, key := &ms[i], subject(t.name, 0)
		if t.partitions > 1 {
			key = strconv.Itoa(partitionOf(m, t.partitions)) + "." + m.record.Type
		}
		p := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: m.record.Data}
		if len(m.attributes) > 0 {
			p.ContentType, p.MessageId, p.Type = "application/json", m.record.ID, m.record.Type
			p.Headers = make(amqp.Table, len(m.attributes))
			for _, a := range m.attributes {
				p.Headers["cloudEvents_"+a.name] = a.value
			}
		}
		return key, p, nil
	})
}

func (t rawRabbitTopic) fill(ctx context.Context, ms []message) error { return t.publish(ctx, ms) }

// together is how many messages one acknowledgement covers where they are handled in order.
const together = 100

func (t rawRabbitTopic) consume(ctx context.Context, lanes int, handle func([]byte)) error {
	return divided(t.partitions, lanes, func(partition, lanes int) error { return t.part(ctx, partition, lanes, handle) })
}

func (t rawRabbitTopic) part(ctx context.Context, partition, lanes int, handle func([]byte)) error {
	ch, err := t.consuming.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(window, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(subject(t.name, partition), "raw", false, false, false, false, nil)
	if err != nil {
		return err
	}
	n, last := 0, uint64(0)
	err = inLanes(lanes, func(hand func(amqp.Delivery) error) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case d, ok := <-deliveries:
				if !ok {
					return nil
				}
				if err := hand(d); err != nil {
					return err
				}
			}
		}
	}, func(d amqp.Delivery) error {
		handle(d.Body)
		if lanes > 1 {
			return d.Ack(false)
		}
		last = d.DeliveryTag
		if n++; n%together != 0 {
			return nil
		}
		return d.Ack(true)
	})
	if lanes == 1 && n%together != 0 && err == nil {
		err = ch.Ack(last, true)
	}
	return errors.Join(err, ch.Close())
}

// millRabbit is Watermill over RabbitMQ, with quorum queues and confirmations, which it must be told. On its defaults it
// opens a channel for each call and receives one message at a time.
type millRabbit struct {
	raw       *rawRabbit
	config    wamqp.Config
	publisher *wamqp.Publisher
}

func newMillRabbit(url string, tuned bool) (*millRabbit, error) {
	raw, err := newRawRabbit(url, 1)
	if err != nil {
		return nil, err
	}
	config := wamqp.NewDurablePubSubConfig(url, wamqp.GenerateQueueNameTopicName)
	config.Queue.Arguments = amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}
	config.Publish.ConfirmDelivery = true
	if tuned {
		config.Publish.ChannelPoolSize = callers
		config.Consume.Qos.PrefetchCount = window
	}
	publisher, err := wamqp.NewPublisher(config, watermill.NopLogger{})
	return &millRabbit{raw, config, publisher}, err
}

func (w *millRabbit) topic(_ context.Context, name string) (topic, error) {
	subscriber, err := wamqp.NewSubscriber(w.config, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	err = errors.Join(subscriber.SubscribeInitialize(name), subscriber.Close())
	return millRabbitTopic{millTopic{w.publisher, name}, w}, err
}

func (w *millRabbit) close() error { return errors.Join(w.publisher.Close(), w.raw.close()) }

type millRabbitTopic struct {
	millTopic
	w *millRabbit
}

func (t millRabbitTopic) fill(ctx context.Context, ms []message) error {
	return t.w.raw.confirmed(ctx, t.name, len(ms), func(i int) (string, amqp.Publishing, error) {
		m, err := t.w.config.Marshaler.Marshal(millMessage(&ms[i]))
		return "", m, err
	})
}

func (t millRabbitTopic) consume(ctx context.Context, lanes int, handle func([]byte)) error {
	config := t.w.config
	if lanes > 1 {
		config.Consume.Qos.PrefetchCount = min(config.Consume.Qos.PrefetchCount, 4) // else the first of them gets all there is
	}
	subscriber, err := wamqp.NewSubscriber(config, watermill.NopLogger{})
	if err != nil {
		return err
	}
	return millConsume(ctx, subscriber, t.name, lanes, lanes, handle)
}
