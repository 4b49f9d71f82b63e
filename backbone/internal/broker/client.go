package broker

import (
	"context"
	"errors"

	"example.org/souk/backbone/driver"
)

// ErrUnsafe is returned, wrapped, where a server is set up so that it may lose what it has confirmed. The text names
// the setting and what it should be.
var ErrUnsafe = errors.New("unsafe setting of the broker")

// ErrTooLarge is returned, wrapped, for a message that the server does not take because of its size.
var ErrTooLarge = driver.ErrTooLarge

// ErrNoPast is returned, wrapped, by Join for a new group FromFirst where the broker keeps nothing for groups to come.
var ErrNoPast = errors.New("the broker has nothing from before the group")

// A Client speaks to one broker through its client library. It does no more than is said here: who works what, order
// within a slice, copies, retries and pauses are the business of Bus. Its methods may be called concurrently.
//
// A lost connection is an error of the methods that were under way. The next call connects again; no method waits for a
// server that is gone for longer than its ctx, or about ten seconds.
type Client interface {
	// System names the broker in metrics, traces and errors: nats, rabbitmq, kafka.
	System() string

	// Check connects and returns an error that names each setting of the server that is unsafe (ErrUnsafe), or a
	// version that is too old.
	Check(ctx context.Context) error

	// DeclareTopic makes a durable topic of that many partitions exist and returns the number that it has: a topic that
	// exists keeps its own. One that exists with settings that lose messages is ErrUnsafe. It is called often and is
	// cheap where the topic is known to exist.
	DeclareTopic(ctx context.Context, topic string, partitions int) (int, error)

	// Join makes a group exist in all its partitions, so that what is published afterwards reaches it, whether anybody
	// receives or not. Its topics exist. A group that exists takes the inputs that it is given now. A new one begins
	// with what is published from now on, or, FromFirst, with the first message that the broker has.
	Join(ctx context.Context, g Group) error

	// Send publishes and returns when the broker has confirmed every message durably; after an error any of them may be
	// there. Messages of one partition come to the topic in the order of ms, also where some are tried again. The topics
	// exist; one that has gone since is an error, never made silently. It returns an Anchor for the last message of each
	// topic of ms, or of each partition where those are stored apart. Of a message that is ErrTooLarge nothing is there, nor of what
	// follows it in its partition; a limit that was raised since is met by the next call, or the one after it.
	Send(ctx context.Context, ms []Outgoing) ([]Anchor, error)

	// Receive hands what the group has not settled in one partition to take, until ctx ends (nil) or it cannot go on
	// (an error). Within a topic the messages come in their order, beginning with the oldest that is not settled: what
	// somebody received and did not settle comes again, before what follows it. take blocks while there is no room, and
	// is called from one goroutine at a time. The caller sees to it that one process at a time receives a partition; the
	// client makes the server hold to that too where it can. At most Window messages are unsettled at once.
	Receive(ctx context.Context, g Group, partition int, take func([]Incoming) error) error

	// Tap hands everything that is published to the group's inputs from now on to take, in order within a topic and
	// partition, until ctx ends (nil). It leaves nothing behind at the broker. ready is called once it listens.
	Tap(ctx context.Context, g Group, ready func(), take func([]Incoming) error) error

	// Holds reports whether the broker still holds the very message that an anchor names, or has let it go by its age.
	// Where it may have been consumed, it says whether it is the very storage that confirmed it.
	Holds(ctx context.Context, a Anchor) (bool, error)

	// Backlog returns how many messages the group has not settled, a partition; -1 where the broker cannot tell.
	Backlog(ctx context.Context, g Group) ([]int64, error)

	// Describe returns what the broker says of a topic, a partition.
	Describe(ctx context.Context, topic string) ([]PartitionInfo, error)

	// Close ends everything and returns when nothing runs any more.
	Close() error
}

// Window is how many messages of one partition may be received and not settled.
const Window = 1024

// Group is a subscription as a broker knows it.
type Group struct {
	Name       string // SERVICE.SUBSCRIPTION, of letters, digits, '.', '-' and '_'
	Inputs     []Input
	Partitions int
	// Whole groups have one partition, 0, that stands for all partitions of the topics.
	Whole bool
	// FromFirst groups begin with the oldest message that the broker has.
	FromFirst bool
}

// Input is what a group takes from a topic.
type Input struct {
	Topic string `json:"topic"`
	// Types are the events that it takes, each a wire name or a pattern that ends in ".v*"; nil takes everything. A
	// client has the broker filter where that can, and may hand over more than was asked for.
	Types []string `json:"types,omitempty"`
}

// Attribute is a context attribute of a CloudEvent: its name without the prefix of any protocol binding, and its value.
type Attribute struct{ Name, Value string }

// Outgoing is a message to be published: a CloudEvent in binary mode. The client writes the attributes as its protocol
// binding says; datacontenttype is not among them and is application/json.
type Outgoing struct {
	Topic      string
	Partition  int
	Key        string // the stream; may be any text
	ID         string // the message's, the same whenever it is published
	Type       string
	Attributes []Attribute
	Body       []byte
}

// Incoming is a message that was received.
type Incoming struct {
	Topic string
	// ContentType and Attributes are what stands in the protocol's place for them; in structured mode, which the
	// content type tells, Body holds all.
	ContentType string
	Attributes  []Attribute
	Body        []byte
	// Sequence is the message's place in its topic and partition, 0 where the broker numbers nothing.
	Sequence    int64
	Redelivered bool
	// Done settles the message at the broker. It is called at most once, from any goroutine and in any order, does not
	// block on the network, and has no effect when the receiving that it belongs to has ended.
	Done func()
}

// Anchor says where a broker keeps a message that it has confirmed.
type Anchor struct {
	Topic     string `json:"topic"`
	Identity  string `json:"identity"` // of the topic's storage: another one once that was made again
	Partition int    `json:"partition"`
	Sequence  int64  `json:"sequence,omitempty"` // 0 where the broker numbers nothing
	ID        string `json:"id"`                 // the message's
}

// PartitionInfo is what a broker says of a partition: the numbers of the first message that it has and of the next one
// to come, or how many it has where it numbers nothing.
type PartitionInfo struct {
	Partition   int   `json:"partition"`
	First, Next int64 `json:",omitempty"`
	Messages    int64 `json:"messages"`
}
