package bench

import (
	"context"
	"errors"
	"sync"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kafkaPartitions is how many partitions a topic has, for all contenders: as many as there are lanes, since Watermill
// handles one message of a partition at a time.
const kafkaPartitions = 16

// rawKafka is franz-go: one idempotent producer without linger, a group of one member.
type rawKafka struct {
	addresses []string
	producer  *kgo.Client
}

func newRawKafka(addresses []string) (*rawKafka, error) {
	producer, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.ProducerLinger(0))
	return &rawKafka{addresses, producer}, err
}

func (r *rawKafka) create(ctx context.Context, name string) error {
	made, err := kadm.NewClient(r.producer).CreateTopic(ctx, kafkaPartitions, 1, nil, name)
	return errors.Join(err, made.Err)
}

func (r *rawKafka) topic(ctx context.Context, name string) (topic, error) {
	return rawKafkaTopic{r, name}, r.create(ctx, name)
}

func (r *rawKafka) close() error {
	r.producer.Close()
	return nil
}

type rawKafkaTopic struct {
	*rawKafka
	name string
}

func (t rawKafkaTopic) publish(ctx context.Context, ms []message) error {
	records := make([]*kgo.Record, len(ms))
	for i := range ms {
		m := &ms[i]
		records[i] = &kgo.Record{Topic: t.name, Key: []byte(m.record.Stream), Value: m.record.Data}
		if len(m.attributes) > 0 {
			records[i].Headers = make([]kgo.RecordHeader, 0, len(m.attributes)+1)
			for _, a := range m.attributes {
				records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: "ce_" + a.name, Value: []byte(a.value)})
			}
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: "content-type", Value: []byte("application/json")})
		}
	}
	return t.producer.ProduceSync(ctx, records...).FirstErr()
}

func (t rawKafkaTopic) fill(ctx context.Context, ms []message) error { return t.publish(ctx, ms) }

func (t rawKafkaTopic) consume(ctx context.Context, lanes int, handle func([]byte)) error {
	consumer, err := kgo.NewClient(kgo.SeedBrokers(t.addresses...), kgo.ConsumeTopics(t.name), kgo.ConsumerGroup(t.name),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer consumer.Close()
	for {
		// In lanes, what was polled is finished before the next poll, so that what is committed is handled.
		fetches := consumer.PollRecords(ctx, 2*window)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err0(); err != nil {
			return err
		}
		records := fetches.Records()
		if lanes == 1 {
			for _, r := range records {
				handle(r.Value)
			}
			continue
		}
		queue := make(chan *kgo.Record, len(records))
		for _, r := range records {
			queue <- r
		}
		close(queue)
		var all sync.WaitGroup
		for range lanes {
			all.Go(func() {
				for r := range queue {
					handle(r.Value)
				}
			})
		}
		all.Wait()
	}
}

// millKafka is Watermill over Kafka, through sarama.
type millKafka struct {
	raw       *rawKafka
	publisher *wkafka.Publisher
}

func newMillKafka(addresses []string) (*millKafka, error) {
	raw, err := newRawKafka(addresses)
	if err != nil {
		return nil, err
	}
	config := wkafka.DefaultSaramaSyncPublisherConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	publisher, err := wkafka.NewPublisher(wkafka.PublisherConfig{Brokers: addresses, OverwriteSaramaConfig: config}, watermill.NopLogger{})
	return &millKafka{raw, publisher}, err
}

func (w *millKafka) topic(ctx context.Context, name string) (topic, error) {
	return millKafkaTopic{millTopic{w.publisher, name}, w}, w.raw.create(ctx, name)
}

func (w *millKafka) close() error { return errors.Join(w.publisher.Close(), w.raw.close()) }

type millKafkaTopic struct {
	millTopic
	w *millKafka
}

func (t millKafkaTopic) fill(ctx context.Context, ms []message) error {
	records := make([]*kgo.Record, len(ms))
	for i := range ms {
		m, err := wkafka.DefaultMarshaler{}.Marshal(t.name, millMessage(&ms[i]))
		if err != nil {
			return err
		}
		value, err := m.Value.Encode()
		if err != nil {
			return err
		}
		records[i] = &kgo.Record{Topic: t.name, Key: []byte(ms[i].record.Stream), Value: value}
		for _, h := range m.Headers {
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: string(h.Key), Value: h.Value})
		}
	}
	return t.w.raw.producer.ProduceSync(ctx, records...).FirstErr()
}

func (t millKafkaTopic) consume(ctx context.Context, lanes int, handle func([]byte)) error {
	config := wkafka.DefaultSaramaSubscriberConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	subscriber, err := wkafka.NewSubscriber(wkafka.SubscriberConfig{
		Brokers: t.w.raw.addresses, ConsumerGroup: t.name, OverwriteSaramaConfig: config,
	}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	return millConsume(ctx, subscriber, t.name, 1, lanes, handle)
}
