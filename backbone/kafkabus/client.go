package kafkabus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.org/souk/backbone/internal/broker"
)

var (
	// ErrGap is what Receive ends with, wrapped, where the topic no longer has what the group would get next: retention,
	// or somebody by hand, has deleted messages that were not settled. The text names the group, the topic, the partition
	// and the gap. Nothing is passed over in silence: the group goes on once somebody has set its place, with Kafka's own
	// kafka-consumer-groups --reset-offsets or another tool.
	ErrGap = errors.New("messages that the group had not settled are gone")

	// ErrNoPlace is what Receive ends with, wrapped, where the cluster has no place for the group: it was never joined, or
	// was away for longer than offsets.retention.minutes.
	ErrNoPlace = errors.New("the group has no place in the topic")

	// ErrTaken is what Receive ends with, wrapped, where somebody else has begun to receive the same partition for the
	// same group, or has set its place. What was settled here since the last commit may come again there.
	ErrTaken = errors.New("the group's place was set by somebody else")

	// ErrLost is what Receive ends with, wrapped, where a partition has lost its tail while it was received. Send returns it
	// once where a partition no longer has what it had confirmed to this client: then it is time to look at the anchors.
	ErrLost = errors.New("the partition has lost messages at its end")

	// ErrClosed is returned once the client was closed.
	ErrClosed = errors.New("the kafka client is closed")
)

// Client is a broker.Client over the Kafka protocol. See the package's documentation for how it maps.
type Client struct {
	config ClientConfig
	ctx    context.Context // until Close
	cancel context.CancelFunc
	admin  *kgo.Client // for everything that neither publishes nor consumes
	adm    *kadm.Client

	mu       sync.Mutex
	closed   bool
	topics   map[string]topicInfo // those known to exist and to be safe
	producer *kgo.Client          // nil until the first Send, and after one that failed
	feeds    map[string]*feed     // by group
	joins    map[groupTopic][16]byte
	// What was confirmed last, by partition.
	confirmed map[part]confirmed
	cuts      cuts
	running   sync.WaitGroup // methods and goroutines that Close waits for
}

var _ broker.Client = (*Client)(nil)

// NewClient returns a client. It connects when it is used, not before.
func NewClient(config ClientConfig) (*Client, error) {
	if err := config.fill(); err != nil {
		return nil, err
	}
	admin, err := kgo.NewClient(config.options()...)
	if err != nil {
		return nil, fmt.Errorf("kafkabus: %w", err)
	}
	c := &Client{
		config: config, admin: admin, adm: kadm.NewClient(admin),
		topics: map[string]topicInfo{}, feeds: map[string]*feed{},
		joins: map[groupTopic][16]byte{}, confirmed: map[part]confirmed{},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// System returns "kafka".
func (c *Client) System() string { return "kafka" }

// Close ends everything and returns when nothing runs any more.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		c.running.Wait()
		return nil
	}
	c.closed = true
	producer := c.producer
	c.producer = nil
	c.cancel()
	c.mu.Unlock()
	if producer != nil {
		producer.Close()
	}
	c.running.Wait()
	c.admin.Close()
	return nil
}

// enter begins a method that ends with the client. The returned function must be called.
func (c *Client) enter(ctx context.Context) (context.Context, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, ErrClosed
	}
	c.running.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
		c.running.Done()
	}, nil
}

// ask is enter for a method that asks the cluster something: it does so for no longer than the patience, and a little
// for the answer that is on its way.
func (c *Client) ask(ctx context.Context) (context.Context, func(), error) {
	ctx, leave, err := c.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.Patience+time.Second,
		fmt.Errorf("the cluster at %s has not answered within %v", strings.Join(c.config.Brokers, ","), c.config.Patience+time.Second))
	return ctx, func() {
		cancel()
		leave()
	}, nil
}

// failed says what was being done, and why it ended where that is a time limit of ours.
func failed(ctx context.Context, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
	}
	return fmt.Errorf("kafka: %s: %w", fmt.Sprintf(format, args...), err)
}

// oldest is the version of the metadata request that knows topics by their ids: Kafka 2.8.
const oldest = 10

// Check connects and asks each broker for its version and for the settings that can lose messages or places.
func (c *Client) Check(ctx context.Context) error {
	ctx, leave, err := c.ask(ctx)
	if err != nil {
		return err
	}
	defer leave()
	brokers, _, err := c.metadata(ctx, nil)
	if err != nil {
		return failed(ctx, err, "connect")
	}
	versions, err := c.adm.ApiVersions(ctx)
	if err != nil {
		return failed(ctx, err, "ask for the version")
	}
	var found []error
	for node, v := range versions {
		if v.Err != nil {
			return failed(ctx, v.Err, "ask broker %d for its version", node)
		}
		if newest, ok := v.KeyMaxVersion(int16(kmsg.Metadata)); !ok || newest < oldest {
			found = append(found, fmt.Errorf("broker %d is too old (it says %s): topics have ids since Kafka 2.8, which is needed",
				node, v.VersionGuess()))
		}
	}
	described, err := c.adm.DescribeBrokerConfigs(ctx, brokers...)
	if err != nil {
		return failed(ctx, err, "ask for the brokers' settings")
	}
	for _, d := range described {
		if d.Err != nil {
			return failed(ctx, d.Err, "ask broker %s for its settings", d.Name)
		}
		for _, text := range c.unsafeBroker(settingsOf(d), len(brokers)) {
			found = append(found, fmt.Errorf("%w: broker %s has %s", broker.ErrUnsafe, d.Name, text))
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("kafka: %w", errors.Join(found...))
	}
	return nil
}

// unsafeBroker returns what is wrong with a broker's settings, each with what it should be. A setting that a server does
// not tell is passed over.
func (c *Client) unsafeBroker(set map[string]string, brokers int) []string {
	var wrong []string
	if set["unclean.leader.election.enable"] == "true" {
		wrong = append(wrong, "unclean.leader.election.enable=true: it must be false, or a replica that lacks messages may become the leader")
	}
	if minutes, err := strconv.ParseInt(set["offsets.retention.minutes"], 10, 64); err == nil && time.Duration(minutes)*time.Minute < c.config.MinRetention {
		wrong = append(wrong, fmt.Sprintf("offsets.retention.minutes=%d: it must be at least %d, or a group that is away loses its place before the messages are gone",
			minutes, int64(c.config.MinRetention/time.Minute)))
	}
	if brokers > 1 {
		if n, err := strconv.Atoi(set["offsets.topic.replication.factor"]); err == nil && n < 2 {
			wrong = append(wrong, fmt.Sprintf("offsets.topic.replication.factor=%d: it must be at least 2, or the places of groups are lost with one broker", n))
		}
	}
	return wrong
}

func settingsOf(r kadm.ResourceConfig) map[string]string {
	set := make(map[string]string, len(r.Configs))
	for i := range r.Configs {
		set[r.Configs[i].Key] = r.Configs[i].MaybeValue()
	}
	return set
}

// topicInfo is what is known of a topic.
type topicInfo struct {
	id          [16]byte
	partitions  int
	replication int
	leaders     []int32 // by partition; -1 for none
}

// metadata asks for the brokers and for topics; a topic that does not exist is missing in the answer. It goes past the
// library's cache, which may remember a topic that was made again.
func (c *Client) metadata(ctx context.Context, topics []string) ([]int32, map[string]topicInfo, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, topic := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, c.admin)
	if err != nil {
		return nil, nil, err
	}
	brokers := make([]int32, len(resp.Brokers))
	for i := range resp.Brokers {
		brokers[i] = resp.Brokers[i].NodeID
	}
	found := make(map[string]topicInfo, len(topics))
	for i := range resp.Topics {
		t := &resp.Topics[i]
		err := kerr.ErrorForCode(t.ErrorCode)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("topic %s: %w", *t.Topic, err)
		}
		info := topicInfo{id: t.TopicID, partitions: len(t.Partitions), leaders: make([]int32, len(t.Partitions))}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if p.Partition < 0 || int(p.Partition) >= len(info.leaders) {
				return nil, nil, fmt.Errorf("topic %s has no dense partitions", *t.Topic)
			}
			info.leaders[p.Partition] = p.Leader
			info.replication = max(info.replication, len(p.Replicas))
		}
		found[*t.Topic] = info
	}
	return brokers, found, nil
}
