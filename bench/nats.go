package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	millnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.org/souk/backbone/driver"
)

// window is how many messages a consumer may hold without having settled them, for all contenders.
const window = 1024

// partitions is how many partitions souk's topics have on NATS and RabbitMQ, its default.
const partitions = 8

// partitionOf returns the one that souk puts a message into.
func partitionOf(m *message, partitions int) int { return driver.SliceOf(m.record.Stream, partitions) }

// rawNATS is the client library of NATS: a stream with one subject and one consumer a topic, or, divided, with a subject and
// a consumer a partition.
type rawNATS struct {
	nc         *nats.Conn
	js         jetstream.JetStream
	partitions int // 1, or those of the divided
}

func newRawNATS(url string, partitions int) (*rawNATS, error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	return &rawNATS{nc, js, partitions}, err
}

func (r *rawNATS) stream(ctx context.Context, name string) error {
	_, err := r.js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name, name + ".*"}, Storage: jetstream.FileStorage})
	return err
}

func (r *rawNATS) topic(ctx context.Context, name string) (topic, error) {
	if err := r.stream(ctx, name); err != nil {
		return nil, err
	}
	for p := range r.partitions {
		config := jetstream.ConsumerConfig{
			Durable: consumerName(name, p), AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: window,
		}
		if r.partitions > 1 {
			config.FilterSubject = subject(name, p)
		}
		if _, err := r.js.CreateConsumer(ctx, name, config); err != nil {
			return nil, err
		}
	}
	return rawNATSTopic{r, name}, nil
}

func consumerName(topic string, partition int) string { return fmt.Sprintf("%s-%d", topic, partition) }

func subject(topic string, partition int) string { return topic + "." + strconv.Itoa(partition) }

func (r *rawNATS) close() error {
	r.nc.Close()
	return nil
}

type rawNATSTopic struct {
	*rawNATS
	name string
}

func (t rawNATSTopic) message(m *message) *nats.Msg {
	msg := &nats.Msg{Subject: t.name, Data: m.record.Data}
	if t.partitions > 1 {
		msg.Subject = subject(t.name, partitionOf(m, t.partitions))
	}
	if len(m.attributes) > 0 {
		msg.Header = make(nats.Header, len(m.attributes)+1)
		for _, a := range m.attributes {
			msg.Header["ce-"+a.name] = []string{a.value}
		}
		msg.Header["ce-datacontenttype"] = []string{"application/json"}
	}
	return msg
}

func (t rawNATSTopic) publish(ctx context.Context, ms []message) error {
	if len(ms) == 1 {
		_, err := t.js.PublishMsg(ctx, t.message(&ms[0]))
		return err
	}
	return publishAsync(ctx, t.js, len(ms), func(i int) (*nats.Msg, error) { return t.message(&ms[i]), nil })
}

// publishAsync publishes n messages and waits for all confirmations.
func publishAsync(ctx context.Context, js jetstream.JetStream, n int, next func(int) (*nats.Msg, error)) error {
	futures := make([]jetstream.PubAckFuture, n)
	for i := range futures {
		m, err := next(i)
		if err != nil {
			return err
		}
		if futures[i], err = js.PublishMsgAsync(m); err != nil {
			return err
		}
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (t rawNATSTopic) fill(ctx context.Context, ms []message) error { return t.publish(ctx, ms) }

func (t rawNATSTopic) consume(ctx context.Context, lanes int, handle func([]byte)) error {
	return divided(t.partitions, lanes, func(partition, lanes int) error { return t.part(ctx, partition, lanes, handle) })
}

// divided consumes partitions side by side and divides the lanes among them.
func divided(partitions, lanes int, consume func(partition, lanes int) error) error {
	errs := make([]error, partitions)
	var all sync.WaitGroup
	for p := range partitions {
		all.Go(func() { errs[p] = consume(p, max(1, lanes/partitions)) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (t rawNATSTopic) part(ctx context.Context, partition, lanes int, handle func([]byte)) error {
	consumer, err := t.js.Consumer(ctx, t.name, consumerName(t.name, partition))
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(window / 2))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, messages.Stop)()
	defer messages.Stop()
	return inLanes(lanes, func(hand func(jetstream.Msg) error) error {
		for {
			m, err := messages.Next()
			if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				return nil
			}
			if err == nil {
				err = hand(m)
			}
			if err != nil {
				return err
			}
		}
	}, func(m jetstream.Msg) error {
		handle(m.Data())
		return m.Ack()
	})
}

// inLanes has what receive hands over worked by so many goroutines, or at once where that is one.
func inLanes[M any](lanes int, receive func(hand func(M) error) error, work func(M) error) error {
	if lanes == 1 {
		return receive(work)
	}
	queue := make(chan M)
	errs := make([]error, lanes)
	var all sync.WaitGroup
	for i := range lanes {
		all.Go(func() {
			for m := range queue {
				errs[i] = errors.Join(errs[i], work(m))
			}
		})
	}
	err := receive(func(m M) error {
		queue <- m
		return nil
	})
	close(queue)
	all.Wait()
	return errors.Join(append(errs, err)...)
}

// millNATS is Watermill over JetStream; its streams are made before, so that it does not ask for them with each message.
type millNATS struct {
	raw       *rawNATS
	url       string
	publisher *millnats.Publisher
	tuned     bool
}

func newMillNATS(url string, tuned bool) (*millNATS, error) {
	raw, err := newRawNATS(url, 1)
	if err != nil {
		return nil, err
	}
	publisher, err := millnats.NewPublisher(millnats.PublisherConfig{URL: url}, watermill.NopLogger{})
	return &millNATS{raw, url, publisher, tuned}, err
}

func (w *millNATS) topic(ctx context.Context, name string) (topic, error) {
	return millNATSTopic{millTopic{w.publisher, name}, w}, w.raw.stream(ctx, name)
}

func (w *millNATS) close() error { return errors.Join(w.publisher.Close(), w.raw.close()) }

type millNATSTopic struct {
	millTopic
	w *millNATS
}

func (t millNATSTopic) fill(ctx context.Context, ms []message) error {
	return publishAsync(ctx, t.w.raw.js, len(ms), func(i int) (*nats.Msg, error) {
		return (&millnats.NATSMarshaler{}).Marshal(t.name, millMessage(&ms[i]))
	})
}

func (t millNATSTopic) consume(ctx context.Context, lanes int, handle func([]byte)) error {
	config := millnats.SubscriberConfig{
		URL: t.w.url, SubscribersCount: lanes,
		JetStream: millnats.JetStreamConfig{
			DurablePrefix: t.name, SubscribeOptions: []nats.SubOpt{nats.DeliverAll(), nats.AckExplicit()},
		},
	}
	pending := window
	if lanes > 1 {
		// The server gives the first of a queue group all that it may have before the others are there.
		config.QueueGroupPrefix, pending = t.name, 4*lanes
	}
	if t.w.tuned {
		config.JetStream.AckAsync = true // else each acknowledgement is waited for
		config.JetStream.SubscribeOptions = append(config.JetStream.SubscribeOptions, nats.MaxAckPending(pending))
	}
	subscriber, err := millnats.NewSubscriber(config, watermill.NopLogger{})
	if err != nil {
		return err
	}
	return millConsume(ctx, subscriber, t.name, 1, lanes, handle)
}
