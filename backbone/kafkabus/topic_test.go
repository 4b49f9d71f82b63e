package kafkabus_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/internal/testserver"
)

func TestTopicIsDeclaredOnce(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 3)
	other := connect(t, server.Addresses())
	for _, client := range []*kafkabus.Client{c, other} {
		if n, err := client.DeclareTopic(t.Context(), topic, 8); err != nil || n != 3 {
			t.Errorf("declared again with 8 partitions it has %d, %v", n, err)
		}
	}
	infos, err := c.Describe(t.Context(), topic)
	if err != nil || len(infos) != 3 || infos[2] != (broker.PartitionInfo{Partition: 2, First: 1, Next: 1}) {
		t.Errorf("described as %+v, %v", infos, err)
	}
	if list := server.Kcat(t, "", "-L", "-t", topic); !strings.Contains(list, "with 3 partitions") {
		t.Errorf("kcat sees\n%s", list)
	}
}

func TestUnsafeTopicIsRefusedByName(t *testing.T) {
	t.Parallel()
	server := testserver.KafkaOwn(t, 3)
	c := connect(t, server.Addresses())
	must(t, c.Check(t.Context()))
	raw := admin(t, server.Addresses())
	for setting, replicas := range map[string]int16{
		"min.insync.replicas=1":               3,
		"unclean.leader.election.enable=true": 1,
		"cleanup.policy=compact":              1,
		"cleanup.policy=compact,delete":       1,
		"retention.ms=60000":                  1,
		"retention.bytes=1000000":             1,
	} {
		topic := name("unsafe")
		key, value, _ := strings.Cut(setting, "=")
		if _, err := raw.CreateTopic(t.Context(), 1, replicas, map[string]*string{key: kadm.StringPtr(value)}, topic); err != nil {
			t.Fatal(err)
		}
		_, err := c.DeclareTopic(t.Context(), topic, 1)
		if !errors.Is(err, broker.ErrUnsafe) || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s: %v", setting, err)
		}
	}
	// The control: what is safe, made by somebody else, is taken.
	for topic, set := range map[string]map[string]*string{
		name("safe"):  {"min.insync.replicas": kadm.StringPtr("2"), "retention.ms": kadm.StringPtr("-1")},
		name("safer"): {"min.insync.replicas": kadm.StringPtr("3")},
	} {
		if _, err := raw.CreateTopic(t.Context(), 2, 3, set, topic); err != nil {
			t.Fatal(err)
		}
		if n, err := c.DeclareTopic(t.Context(), topic, 1); n != 2 || err != nil {
			t.Errorf("%s: %d, %v", topic, n, err)
		}
	}
	// What DeclareTopic makes is safe in its own eyes, and has what the documentation says.
	topic := declared(t, c, 2)
	set, err := raw.DescribeTopicConfigs(t.Context(), topic)
	must(t, err)
	for _, s := range set[0].Configs {
		if s.Key == "min.insync.replicas" && s.MaybeValue() != "2" {
			t.Errorf("min.insync.replicas is %s", s.MaybeValue())
		}
	}
	details, err := raw.ListTopics(t.Context(), topic)
	must(t, err)
	if n := details[topic].Partitions.NumReplicas(); n != 3 {
		t.Errorf("it has %d replicas", n)
	}
	if n, err := connect(t, server.Addresses()).DeclareTopic(t.Context(), topic, 2); n != 2 || err != nil {
		t.Errorf("to another client it is %d, %v", n, err)
	}
}

func TestUnsafeServerIsRefusedByName(t *testing.T) {
	t.Parallel()
	server := testserver.KafkaOwn(t, 1, "offsets.retention.minutes=60")
	err := connect(t, server.Addresses()).Check(t.Context())
	if !errors.Is(err, broker.ErrUnsafe) || !strings.Contains(err.Error(), "offsets.retention.minutes=60") {
		t.Errorf("check: %v", err)
	}
	patient := connect(t, server.Addresses(), func(c *kafkabus.ClientConfig) { c.MinRetention = 60 * 60e9 })
	if err := patient.Check(t.Context()); err != nil {
		t.Errorf("with an hour as the minimum: %v", err)
	}
}

func TestTopicThatTakesLessIsRefused(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := name("small")
	_, err := admin(t, server.Addresses()).CreateTopic(t.Context(), 1, 1, map[string]*string{"max.message.bytes": kadm.StringPtr("1000")}, topic)
	must(t, err)
	if _, err := c.DeclareTopic(t.Context(), topic, 1); err == nil || !strings.Contains(err.Error(), "max.message.bytes=1000") {
		t.Errorf("declare: %v", err)
	}
}
