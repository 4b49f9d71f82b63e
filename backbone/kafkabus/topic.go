package kafkabus

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.org/souk/backbone/internal/broker"
)

// DeclareTopic makes the topic where it does not exist, and otherwise looks at its settings, once until it is found to
// be gone.
func (c *Client) DeclareTopic(ctx context.Context, topic string, partitions int) (int, error) {
	if info, ok := c.known(topic); ok {
		return info.partitions, nil
	}
	ctx, leave, err := c.ask(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	info, err := c.declare(ctx, topic, partitions)
	if err != nil {
		return 0, failed(ctx, err, "declare topic %s", topic)
	}
	return info.partitions, nil
}

func (c *Client) declare(ctx context.Context, topic string, partitions int) (topicInfo, error) {
	brokers, found, err := c.metadata(ctx, []string{topic})
	if err != nil {
		return topicInfo{}, err
	}
	info, ok := found[topic]
	if !ok {
		if err := c.create(ctx, topic, partitions, len(brokers)); err != nil {
			return topicInfo{}, err
		}
	}
	// A cluster tells of a new topic before all of its brokers know of it, and before its partitions have leaders.
	for !ok || slices.Contains(info.leaders, -1) {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return topicInfo{}, err
		}
		if _, found, err = c.metadata(ctx, []string{topic}); err != nil {
			return topicInfo{}, err
		}
		info, ok = found[topic]
	}
	described, err := c.adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return topicInfo{}, err
	}
	for _, d := range described {
		if d.Err != nil {
			return topicInfo{}, fmt.Errorf("ask for its settings: %w", d.Err)
		}
		if err := c.unsafeTopic(settingsOf(d), info.replication); err != nil {
			return topicInfo{}, err
		}
	}
	c.mu.Lock()
	c.topics[topic] = info
	c.mu.Unlock()
	return info, nil
}

func (c *Client) create(ctx context.Context, topic string, partitions, brokers int) error {
	factor, minInsync := c.config.replication(brokers)
	settings := map[string]*string{}
	for name, value := range map[string]string{
		"cleanup.policy":                 "delete",
		"retention.ms":                   strconv.FormatInt(c.config.Retention.Milliseconds(), 10),
		"retention.bytes":                "-1",
		"min.insync.replicas":            strconv.Itoa(minInsync),
		"unclean.leader.election.enable": "false",
		// Kafka's own default where that is enough: a batch is a little larger than the messages in it.
		"max.message.bytes": strconv.Itoa(max(1_048_588, c.config.MaxMessage+1024)),
	} {
		settings[name] = &value
	}
	resp, err := c.adm.CreateTopic(ctx, int32(partitions), int16(factor), settings, topic)
	if errors.Is(err, kerr.TopicAlreadyExists) { // somebody else was faster
		return nil
	}
	if err != nil && resp.ErrMessage != "" {
		return fmt.Errorf("make it: %w (%s)", err, resp.ErrMessage)
	}
	return err
}

// unsafeTopic returns what is wrong with a topic's settings.
func (c *Client) unsafeTopic(set map[string]string, replication int) error {
	var found []error
	wrong := func(name, should string) {
		found = append(found, fmt.Errorf("%w: %s=%s: it must be %s", broker.ErrUnsafe, name, set[name], should))
	}
	if n, err := strconv.Atoi(set["min.insync.replicas"]); err == nil && n < 2 && replication > 1 {
		wrong("min.insync.replicas", "at least 2 where a topic has several replicas, or a message that one broker has counts as confirmed")
	}
	if set["unclean.leader.election.enable"] == "true" {
		wrong("unclean.leader.election.enable", "false, or a replica that lacks messages may become the leader")
	}
	if policy := set["cleanup.policy"]; policy != "" && policy != "delete" {
		wrong("cleanup.policy", "delete: compaction takes away all but the last message of a key")
	}
	if ms, err := strconv.ParseInt(set["retention.ms"], 10, 64); err == nil && ms >= 0 && time.Duration(ms)*time.Millisecond < c.config.MinRetention {
		wrong("retention.ms", fmt.Sprintf("at least %d, or -1", c.config.MinRetention.Milliseconds()))
	}
	if size, err := strconv.ParseInt(set["retention.bytes"], 10, 64); err == nil && size >= 0 {
		wrong("retention.bytes", "-1: a size trims what nobody has read yet")
	}
	if size, err := strconv.Atoi(set["max.message.bytes"]); err == nil && size < c.config.MaxMessage {
		found = append(found, fmt.Errorf("max.message.bytes=%d: it must be at least %d (ClientConfig.MaxMessage)", size, c.config.MaxMessage))
	}
	return errors.Join(found...)
}

// known returns what is known of a topic that was declared.
func (c *Client) known(topic string) (topicInfo, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, ok := c.topics[topic]
	return info, ok
}

// forget drops what is known of a topic, which seems to be gone.
func (c *Client) forget(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.topics, topic)
}

// existing returns what is known of topics, asking for those that are not known. A topic that is missing is an error.
func (c *Client) existing(ctx context.Context, topics []string) (map[string]topicInfo, error) {
	all := make(map[string]topicInfo, len(topics))
	var unknown []string
	for _, topic := range topics {
		if info, ok := c.known(topic); ok {
			all[topic] = info
		} else {
			unknown = append(unknown, topic)
		}
	}
	if len(unknown) == 0 {
		return all, nil
	}
	found, err := c.current(ctx, unknown)
	if err != nil {
		return nil, err
	}
	for topic, info := range found {
		all[topic] = info
	}
	return all, nil
}

// current asks for topics, all of which must exist.
func (c *Client) current(ctx context.Context, topics []string) (map[string]topicInfo, error) {
	_, found, err := c.metadata(ctx, topics)
	if err != nil {
		return nil, err
	}
	for _, topic := range topics {
		if _, ok := found[topic]; !ok {
			c.forget(topic)
			return nil, fmt.Errorf("topic %s: %w", topic, kerr.UnknownTopicOrPartition)
		}
	}
	return found, nil
}

// Describe returns the numbers of the first message that each partition has and of the next to come, which are their
// offsets and 1.
func (c *Client) Describe(ctx context.Context, topic string) ([]broker.PartitionInfo, error) {
	ctx, leave, err := c.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	first, next, err := c.bounds(ctx, []string{topic})
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		err = fmt.Errorf("%w: %w", broker.ErrNoTopic, err)
	}
	if err != nil {
		return nil, failed(ctx, err, "describe topic %s", topic)
	}
	infos := make([]broker.PartitionInfo, len(next[topic]))
	for i := range infos {
		f, n := first[topic][int32(i)].Offset, next[topic][int32(i)].Offset
		infos[i] = broker.PartitionInfo{Partition: i, First: f + 1, Next: n + 1, Messages: n - f}
	}
	return infos, nil
}

// bounds returns the first offset of each partition, and the next to come.
func (c *Client) bounds(ctx context.Context, topics []string) (first, next kadm.ListedOffsets, err error) {
	if first, err = c.adm.ListStartOffsets(ctx, topics...); err != nil {
		return nil, nil, err
	}
	if next, err = c.adm.ListEndOffsets(ctx, topics...); err != nil {
		return nil, nil, err
	}
	return first, next, errors.Join(first.Error(), next.Error())
}

// Holds compares the topic's id, and the id of the message that stands at the anchor's place. A message that retention
// has deleted counts as held: the place is the one that confirmed it.
func (c *Client) Holds(ctx context.Context, a broker.Anchor) (bool, error) {
	ctx, leave, err := c.ask(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	held, err := c.holds(ctx, a)
	if err != nil {
		return false, failed(ctx, err, "look for message %s in topic %s", a.ID, a.Topic)
	}
	return held, nil
}

func (c *Client) holds(ctx context.Context, a broker.Anchor) (bool, error) {
	for {
		_, found, err := c.metadata(ctx, []string{a.Topic})
		if err != nil {
			return false, err
		}
		info, ok := found[a.Topic]
		if !ok || hex.EncodeToString(info.id[:]) != a.Identity || a.Partition >= info.partitions || a.Sequence < 1 {
			return false, nil
		}
		held, err := c.holdsAt(ctx, a, info)
		if !kerr.IsRetriable(err) {
			return held, err
		}
		// The leader has moved, or is being elected.
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return false, err
		}
	}
}

// holdsAt reads the record at the anchor's place from the partition's leader.
func (c *Client) holdsAt(ctx context.Context, a broker.Anchor, info topicInfo) (bool, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes = 1 << 20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = a.Topic, info.id
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition = int32(a.Partition)
	part.FetchOffset = a.Sequence - 1
	part.PartitionMaxBytes = 1 << 20
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	resp, err := c.admin.Broker(int(info.leaders[a.Partition])).RetriableRequest(ctx, req)
	if err != nil {
		return false, err
	}
	fetched := resp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(fetched.ErrorCode); err != nil {
		return false, err
	}
	for i := range fetched.Topics {
		for j := range fetched.Topics[i].Partitions {
			p := &fetched.Topics[i].Partitions[j]
			if p.ErrorCode == kerr.OffsetOutOfRange.Code {
				first, next, err := c.bounds(ctx, []string{a.Topic})
				if err != nil {
					return false, err
				}
				f, _ := first.Lookup(a.Topic, int32(a.Partition))
				n, _ := next.Lookup(a.Topic, int32(a.Partition))
				return a.Sequence-1 < f.Offset && a.Sequence <= n.Offset, nil
			}
			records, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
				Offset: a.Sequence - 1, Topic: a.Topic, Partition: int32(a.Partition),
			}, p, kgo.DefaultDecompressor(), nil)
			if records.Err != nil {
				return false, records.Err
			}
			for _, r := range records.Records {
				if r.Offset == a.Sequence-1 {
					id, _ := header(r, prefix+"id")
					return id == a.ID, nil
				}
			}
		}
	}
	return false, nil
}

// pause waits, or returns why ctx has ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
