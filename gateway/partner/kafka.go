package partner

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// kafkaPoll is how many messages are taken up before their place is committed.
	kafkaPoll = 256
	// kafkaLook is how long nothing may come before the connection is tried.
	kafkaLook = 5 * time.Second
	// kafkaWithin bounds one step.
	kafkaWithin = 5 * time.Second
	// kafkaSession is how long Kafka keeps the partitions of a process that is gone for its next start. Others get them then.
	kafkaSession = 10 * time.Second
)

// kafka is a cluster that speaks the Kafka protocol. All who read it are one group; each process is a static member of
// it, so that one that was killed goes on at once when it is started again.
type kafka struct {
	brokers  []string
	instance string

	mu       sync.Mutex
	producer *kgo.Client // nil until something is published, and after that failed
	reading  *kafkaReading
	closed   bool
}

// kafkaReading is a client that reads, and the messages that it has handed out and not committed.
type kafkaReading struct {
	client  *kgo.Client
	records []*kgo.Record
	settled []atomic.Bool // by record
}

var errKafkaLogin = errors.New("signing in at Kafka is not supported")

func newKafka(at *url.URL, instance string) (*kafka, error) {
	if at.User != nil {
		return nil, errKafkaLogin
	}
	return &kafka{brokers: strings.Split(at.Host, ","), instance: instance}, nil
}

func (k *kafka) open(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(k.brokers...),
		kgo.ClientID("souk-partner"),
		// By default a client looks for a leader that has come back only seconds later.
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.MetadataMaxAge(kafkaLook),
		kgo.RetryBackoffFn(func(try int) time.Duration { return min(firstWait<<min(try, 10), lastWait) }),
		kgo.RetryTimeout(kafkaWithin),
		kgo.DialTimeout(kafkaWithin),
		kgo.DisableClientMetrics(),
	}, opts...)...)
	if err != nil {
		return nil, err
	}
	// Topics that a broker makes by itself when somebody asks for them are not made by all brokers.
	made, err := kadm.NewClient(client).CreateTopics(ctx, -1, -1, nil, ordersName, placedName)
	if err != nil {
		client.Close()
		return nil, err
	}
	for _, topic := range made {
		if topic.Err != nil && !errors.Is(topic.Err, kerr.TopicAlreadyExists) {
			client.Close()
			return nil, fmt.Errorf("create the topic %s: %w", topic.Topic, topic.Err)
		}
	}
	return client, nil
}

// receive implements broker.
func (k *kafka) receive(ctx context.Context, up func(), give func(message) bool) (err error) {
	client, err := k.open(ctx, kgo.ConsumerGroup(groupName), kgo.InstanceID(k.instance), kgo.ConsumeTopics(ordersName),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), // what was sent before a mall ever came
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.SessionTimeout(kafkaSession), kgo.HeartbeatInterval(kafkaSession/10),
		kgo.FetchMaxWait(time.Second), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	r := &kafkaReading{client: client}
	k.mu.Lock()
	old := k.reading
	k.reading = r
	closed := k.closed
	k.mu.Unlock()
	if old != nil {
		old.client.CloseAllowingRebalance()
	}
	if closed {
		client.CloseAllowingRebalance()
		return errClosed
	}
	up()
	for {
		poll, cancel := context.WithTimeout(ctx, kafkaLook)
		fetches := client.PollRecords(poll, kafkaPoll)
		cancel()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whoever ended it does not ask how
		}
		if fetches.NumRecords() == 0 {
			client.AllowRebalance()
			for _, failed := range fetches.Errors() {
				if !errors.Is(failed.Err, context.DeadlineExceeded) {
					return failed.Err
				}
			}
			ping, cancel := context.WithTimeout(ctx, kafkaWithin)
			err := client.Ping(ping)
			cancel()
			if err != nil {
				return err
			}
			continue
		}
		records := fetches.Records()
		settled := make([]atomic.Bool, len(records))
		k.mu.Lock()
		r.records, r.settled = records, settled
		k.mu.Unlock()
		done := make(chan struct{}, len(records))
		for i, record := range records {
			own := slices.ContainsFunc(record.Headers, func(h kgo.RecordHeader) bool { return h.Key == markName })
			m := message{
				body: record.Value, own: own,
				// Offsets begin anew in a topic that was deleted and made again.
				receipt: fmt.Sprintf("%s/%d/%d/%d", record.Topic, record.Partition, record.Offset, record.Timestamp.UnixMilli()),
				done:    func() { settled[i].Store(true); done <- struct{}{} },
			}
			if !give(m) {
				return nil
			}
		}
		for range records {
			select {
			case <-done:
			case <-ctx.Done():
				return nil
			}
		}
		if err := r.commit(ctx, records); err != nil {
			return err
		}
		k.mu.Lock()
		r.records, r.settled = nil, nil
		k.mu.Unlock()
		client.AllowRebalance()
	}
}

func (r *kafkaReading) commit(ctx context.Context, records []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, kafkaWithin)
	defer cancel()
	if err := r.client.CommitRecords(ctx, records...); err != nil {
		return fmt.Errorf("commit the place in %s: %w", ordersName, err)
	}
	return nil
}

// end commits what was settled, up to the first of each partition that was not, and ends the client.
func (r *kafkaReading) end() {
	stopped := map[int32]bool{}
	var list []*kgo.Record
	for i, record := range r.records {
		if !r.settled[i].Load() {
			stopped[record.Partition] = true
		}
		if !stopped[record.Partition] {
			list = append(list, record)
		}
	}
	if len(list) > 0 {
		_ = r.commit(context.Background(), list) // without it they come again and are known as settled
	}
	r.client.CloseAllowingRebalance()
}

// publish implements broker.
func (k *kafka) publish(ctx context.Context, list []outgoing) error {
	producer, err := k.publishing(ctx)
	if err != nil {
		return err
	}
	records := make([]*kgo.Record, len(list))
	for i, m := range list {
		records[i] = &kgo.Record{
			Topic: m.Name, Key: []byte(m.Order), Value: m.Body,
			Headers: []kgo.RecordHeader{{Key: markName, Value: []byte(m.Order)}, {Key: "message-id", Value: []byte(m.ID)}},
		}
	}
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		k.mu.Lock()
		mine := k.producer == producer
		if mine {
			k.producer = nil // it may have lost its topic
		}
		k.mu.Unlock()
		if mine {
			go producer.Close() // which waits for what others publish through it
		}
		return err
	}
	return nil
}

func (k *kafka) publishing(ctx context.Context) (*kgo.Client, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, errClosed
	}
	if k.producer != nil {
		return k.producer, nil
	}
	producer, err := k.open(ctx, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordDeliveryTimeout(kafkaWithin),
		kgo.AllowIdempotentProduceCancellation())
	if err != nil {
		return nil, err
	}
	k.producer = producer
	return producer, nil
}

// close implements broker.
func (k *kafka) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.reading != nil {
		k.reading.end()
		k.reading = nil
	}
	if k.producer != nil {
		k.producer.Close()
		k.producer = nil
	}
}
