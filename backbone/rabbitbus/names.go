package rabbitbus

import (
	"fmt"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
)

// Names at the server. A colon is in no name of a topic or a group, so none of these is another's.
const (
	deadLetters  = "souk.dead" // the exchange and the queue of the safety net
	topicMarker  = "topic:"    // the queue that says what a topic is
	groupMarker  = "group:"    // the queue that says what a group is bound to
	sealPrefix   = "bound:"    // the exchanges that say that a group is bound to a topic as it is to be
	markPrefix   = "queue:"    // the exchanges that say that a queue is the one that was made for its group
	lockPrefix   = "lock:"
	commandTopic = ".commands" // the end of the names of topics whose messages somebody has to take
)

// longest is how long the protocol's short strings may be: names, routing keys and most properties.
const longest = 255

// deliveryLimit is in effect none. Versions differ in what says so outright.
const deliveryLimit = int32(1_000_000_000)

// checkName refuses what is no name of a topic or a group.
func checkName(what, name string) error {
	if name == "" || len(name) > 200 {
		return fmt.Errorf("rabbitmq: %q is no name of a %s: it has 1 to 200 characters", name, what)
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
		default:
			return fmt.Errorf("rabbitmq: %q is no name of a %s: it is of letters, digits, '.', '-' and '_'", name, what)
		}
	}
	return nil
}

func queueOf(group string, partition int) string { return group + "." + strconv.Itoa(partition) }

func routingKey(partition int, eventType string) string {
	return strconv.Itoa(partition) + "." + eventType
}

// bindingKeys are the patterns of routing keys that bring an input's messages of a partition ("*" for every one).
func bindingKeys(partition string, types []string) []string {
	if types == nil {
		return []string{partition + ".#"}
	}
	var keys []string
	for _, t := range types {
		if base, ok := strings.CutSuffix(t, ".v*"); ok {
			t = base + ".*" // a pattern has no part of a word: any last word, of which there are versions only
		}
		keys = append(keys, partition+"."+t)
	}
	return keys
}

// groupQueue returns the arguments of the queues of groups. A queue whose length somebody limits by a policy refuses
// what is too much instead of dropping what is oldest; what leaves it by a policy's limit of deliveries goes to the
// safety net, and stays until that has it.
func groupQueue() amqp.Table {
	return amqp.Table{
		amqp.QueueTypeArg:            amqp.QueueTypeQuorum,
		amqp.SingleActiveConsumerArg: true,
		amqp.QueueOverflowArg:        amqp.QueueOverflowRejectPublish,
		"x-delivery-limit":           deliveryLimit,
		"x-dead-letter-exchange":     deadLetters,
		"x-dead-letter-strategy":     "at-least-once",
	}
}

// markerQueue returns the arguments of the queues that hold what a topic or a group is.
func markerQueue() amqp.Table {
	return amqp.Table{
		amqp.QueueTypeArg:     amqp.QueueTypeQuorum,
		amqp.QueueOverflowArg: amqp.QueueOverflowRejectPublish,
		"x-delivery-limit":    deliveryLimit,
	}
}

// partitionsOf returns how many queues a group has.
func partitionsOf(g broker.Group) int {
	if g.Whole {
		return 1
	}
	return g.Partitions
}
