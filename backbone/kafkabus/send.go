package kafkabus

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"example.org/souk/backbone/internal/broker"
)

// outcome is what became of one record.
type outcome struct {
	index int
	err   error
}

// confirmed is the last that a partition has confirmed to this client.
type confirmed struct {
	anchor broker.Anchor
	cuts   int64 // how many connections had been lost when it was last known to be there
}

// cuts counts the connections that the producers have lost.
type cuts struct{ n atomic.Int64 }

// OnBrokerDisconnect is called by the library behind each connection.
func (c *cuts) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { c.n.Add(1) }

// standing returns what the partitions of ms have confirmed last. Where a connection was lost since, it looks whether
// that is still there: the server may have been started again without its tail, and what is sent then would come before
// what is missing.
func (c *Client) standing(ctx context.Context, ms []broker.Outgoing, infos map[string]topicInfo) (map[part]confirmed, error) {
	before := map[part]confirmed{}
	for i := range ms {
		p := part{ms[i].Topic, int32(ms[i].Partition)}
		if _, ok := before[p]; ok {
			continue
		}
		c.mu.Lock()
		last, ok := c.confirmed[p]
		c.mu.Unlock()
		if !ok {
			continue
		}
		now, id := c.cuts.n.Load(), infos[p.topic].id
		held := last.anchor.Identity == hex.EncodeToString(id[:])
		if held && now != last.cuts {
			var err error
			if held, err = c.holds(ctx, last.anchor); err != nil {
				return nil, err
			}
		}
		if !held {
			return nil, c.lost(p, last)
		}
		last.cuts = now
		before[p] = last
	}
	return before, nil
}

// lost is the error of a partition that no longer has what it had confirmed. It is told once.
func (c *Client) lost(p part, last confirmed) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.confirmed, p)
	return fmt.Errorf("topic %s, partition %d: message %s with offset %d was confirmed: %w",
		p.topic, p.partition, last.anchor.ID, last.anchor.Sequence-1, ErrLost)
}

// confirm notes what was confirmed, and returns an error where a record stands before one that was confirmed earlier.
func (c *Client) confirm(ms []broker.Outgoing, records []*kgo.Record, infos map[string]topicInfo, before map[part]confirmed) error {
	last := map[part]confirmed{}
	for i, r := range records {
		p := part{ms[i].Topic, int32(ms[i].Partition)}
		if b, ok := before[p]; ok && r.Offset < b.anchor.Sequence {
			return c.lost(p, b)
		}
		id := infos[p.topic].id
		last[p] = confirmed{broker.Anchor{
			Topic: p.topic, Identity: hex.EncodeToString(id[:]), Partition: ms[i].Partition, Sequence: r.Offset + 1, ID: ms[i].ID,
		}, before[p].cuts}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, l := range last {
		if have, ok := c.confirmed[p]; !ok || have.anchor.Identity != l.anchor.Identity || have.anchor.Sequence < l.anchor.Sequence {
			c.confirmed[p] = l
		}
	}
	return nil
}

// Send publishes through one idempotent producer, which keeps the order of a partition however often it tries. Where it
// gives up, it gives up everything that waits for that partition, so that nothing later is confirmed before what failed;
// and it is replaced, so that what was on its way is a copy of the past and never mixes with what is sent next.
func (c *Client) Send(ctx context.Context, ms []broker.Outgoing) ([]broker.Anchor, error) {
	if len(ms) == 0 {
		return nil, nil
	}
	ctx, leave, err := c.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	records := make([]*kgo.Record, len(ms))
	var topics []string
	var parts []part
	last := map[part]int{}
	for i := range ms {
		records[i] = recordOf(&ms[i])
		// All are looked at before the first is sent: behind one that is refused, others of its partition would be taken.
		if size := sizeOf(records[i]); size > c.config.MaxMessage {
			return nil, fmt.Errorf("kafka: message %s of topic %s has %d bytes, and ClientConfig.MaxMessage is %d: %w",
				ms[i].ID, ms[i].Topic, size, c.config.MaxMessage, broker.ErrTooLarge)
		}
		if !slices.Contains(topics, ms[i].Topic) {
			topics = append(topics, ms[i].Topic)
		}
		p := part{ms[i].Topic, int32(ms[i].Partition)}
		if _, ok := last[p]; !ok {
			parts = append(parts, p)
		}
		last[p] = i
	}
	infos, err := c.existing(ctx, topics)
	if err != nil {
		return nil, failed(ctx, err, "send")
	}
	for i := range ms {
		if n := infos[ms[i].Topic].partitions; ms[i].Partition < 0 || ms[i].Partition >= n {
			return nil, fmt.Errorf("kafka: message %s is for partition %d of topic %s, which has %d", ms[i].ID, ms[i].Partition, ms[i].Topic, n)
		}
	}
	before, err := c.standing(ctx, ms, infos)
	if err != nil {
		return nil, failed(ctx, err, "send")
	}
	producer, err := c.producing()
	if err != nil {
		return nil, err
	}
	if err := c.produce(ctx, producer, ms, records); err != nil {
		return nil, failed(ctx, err, "send")
	}
	if err := c.confirm(ms, records, infos, before); err != nil {
		return nil, failed(ctx, err, "send")
	}
	// A partition may lose its end by itself, so each has an anchor.
	anchors := make([]broker.Anchor, 0, len(parts))
	for _, p := range parts {
		i := last[p]
		id := infos[p.topic].id
		anchors = append(anchors, broker.Anchor{
			Topic: p.topic, Identity: hex.EncodeToString(id[:]), Partition: ms[i].Partition,
			Sequence: records[i].Offset + 1, ID: ms[i].ID,
		})
	}
	return anchors, nil
}

// produce publishes the records and returns the error of the first one that has failed, in their order.
func (c *Client) produce(ctx context.Context, producer *kgo.Client, ms []broker.Outgoing, records []*kgo.Record) error {
	outcomes := make(chan outcome, len(records))
	for i, r := range records {
		// Not ctx: a record that is cancelled takes with it what others have put into the partition behind it.
		producer.Produce(context.Background(), r, func(_ *kgo.Record, err error) { outcomes <- outcome{i, err} })
	}
	first := outcome{index: len(records)}
	for range records {
		select {
		case o := <-outcomes:
			if o.err != nil && o.index < first.index {
				first = o
			}
		case <-ctx.Done():
			// What has no outcome yet may still be published: by a producer that publishes nothing else.
			c.replace(producer)
			return context.Cause(ctx)
		}
	}
	if first.err == nil {
		return nil
	}
	m := &ms[first.index]
	switch {
	case errors.Is(first.err, kerr.MessageTooLarge):
		return fmt.Errorf("message %s of topic %s: %w: %w", m.ID, m.Topic, broker.ErrTooLarge, first.err)
	case errors.Is(first.err, kerr.UnknownTopicOrPartition), errors.Is(first.err, kerr.UnknownTopicID):
		c.forget(m.Topic)
		// Otherwise the producer goes on asking for the topic under the id that is gone.
		producer.PurgeTopicsFromProducing(m.Topic)
	default:
		c.replace(producer)
	}
	return fmt.Errorf("message %s of topic %s: %w", m.ID, m.Topic, first.err)
}

// producing returns the producer, a new one where there is none.
func (c *Client) producing() (*kgo.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.producer != nil {
		return c.producer, nil
	}
	producer, err := kgo.NewClient(c.config.options(
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// What waits is sent at once; what comes meanwhile is sent together.
		kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(int32(c.config.MaxMessage)),
		kgo.ProduceRequestTimeout(c.config.Patience/2),
		kgo.RecordDeliveryTimeout(c.config.Patience),
		// Without it a record that was sent and not answered waits for as long as the cluster is gone.
		kgo.AllowIdempotentProduceCancellation(),
		// A broker that has lost what it had confirmed must not be sent what follows: whoever publishes looks at its
		// anchors first.
		kgo.StopProducerOnDataLossDetected(),
		// Each Send waits for its records, so callers bound what is buffered. A limit here would let the first records of
		// a Send fail while its last wait to be buffered.
		kgo.MaxBufferedRecords(math.MaxInt32),
		kgo.WithHooks(&c.cuts),
	)...)
	if err != nil {
		return nil, fmt.Errorf("kafkabus: %w", err)
	}
	c.producer = producer
	return producer, nil
}

// replace puts a producer out of use and ends it in the background, with everything that it still has.
func (c *Client) replace(producer *kgo.Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.producer != producer {
		return
	}
	c.producer = nil
	c.running.Go(producer.Close)
}
