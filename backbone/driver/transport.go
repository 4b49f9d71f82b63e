package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrNoPower is returned by a method whose power the driver does not declare.
var ErrNoPower = errors.New("the transport does not have this power")

// ErrTooLarge is returned, wrapped, by Publish where the broker does not take one of the records because of its size. Behind that
// record nothing of its stream has come to the broker by this call.
var ErrTooLarge = errors.New("too large for the broker")

// Message is a record on its way, with the service whose log it stands in.
type Message struct {
	Source string
	Record
}

// Powers says what a transport can do. The conformance suite tests what is
// declared, and that what is not is refused.
type Powers struct {
	// LogPositions: messages carry their log's position, and the subscription's
	// checkpoint in the effect's own transaction is the dedupe. Without it the
	// inbox is, and Publish and Delivery.Ack carry messages.
	LogPositions bool
	// Shared: subscriptions of one name in several processes share the work.
	Shared bool
	// Broadcast: every process sees everything and nothing durable stays behind.
	Broadcast bool
	// FromFirst: a new subscription may begin at the first record.
	FromFirst bool
	// KeyOrder: a subscription with a Key of its own gets all messages of one key in
	// the order in which their source has them. Without it only those of one stream
	// keep their order among each other; they are still handled one at a time.
	KeyOrder bool
	// KindOrder: events and what is addressed to a service, of one stream, keep the
	// order of their log among each other too.
	KindOrder bool
}

// Interest is what a subscription takes from one source.
type Interest struct {
	Source string
	Types  []string // public events, each a wire name or an AnyVersion; empty for none
	// Addressed takes the source's commands and replies whose target is this service.
	Addressed string
}

// Wants reports whether the interest covers a record.
func (i *Interest) Wants(r *Record) bool {
	switch r.Kind {
	case KindEvent:
		for _, t := range i.Types {
			if MatchType(t, r.Type) {
				return true
			}
		}
		return false
	case KindCommand, KindReply:
		return i.Addressed != "" && r.Target == i.Addressed
	default:
		return false
	}
}

// AnyVersion returns the pattern of an event type in whichever version: for a.b.C.v2
// it is a.b.C.v*. A wire name without a version stands for itself.
func AnyVersion(wire string) string {
	if i := strings.LastIndex(wire, ".v"); i > 0 {
		return wire[:i+2] + "*"
	}
	return wire
}

// MatchType reports whether a wire name is the one that is asked for, or begins as a
// pattern that ends in * does.
func MatchType(pattern, wire string) bool {
	if n := len(pattern) - 1; n >= 0 && pattern[n] == '*' {
		return strings.HasPrefix(wire, pattern[:n])
	}
	return pattern == wire
}

// Subscription is a named set of interests with one checkpoint a source and slice.
type Subscription struct {
	Service   string // whose store holds the checkpoints
	Name      string
	Interests []Interest
	Slices    int // default 64
	// Key returns a message's partition key; nil takes the record's stream. An empty
	// key says that this program cannot tell it, as the message is of a newer version:
	// the message and what follows it in its source wait for a program that can.
	Key func(*Message) string
	// FromFirst begins a new subscription at each source's first record, else
	// after its last.
	FromFirst bool
	// Broadcast delivers everything to this process alone, from now on.
	Broadcast bool
	// Reads reports whether this program reads a type of event or command in that very
	// version; nil: it reads all. What others met that could not read it, this process is
	// given only if it can.
	Reads func(wire string) bool
}

// Partitions names, among the checkpoints of a service, those that say who works which
// part of a subscription over a broker.
func Partitions(subscription string) string { return subscription + "/partitions" }

// DefaultSlices is the number of slices of a subscription that asks for none.
const DefaultSlices = 64

// Check returns what is wrong with a subscription and its sink, and fills in the
// default number of slices. Every transport calls it first.
func (s *Subscription) Check(sink Sink) error {
	switch {
	case sink == nil:
		return errors.New("subscribe: no sink")
	case s.Service == "" || s.Name == "":
		return errors.New("subscribe: a subscription needs a service and a name")
	case s.Slices < 0:
		return fmt.Errorf("subscription %q: %d slices", s.Name, s.Slices)
	case len(s.Interests) == 0:
		return fmt.Errorf("subscription %q: no interests", s.Name)
	}
	sources := map[string]bool{}
	for _, i := range s.Interests {
		switch {
		case i.Source == "":
			return fmt.Errorf("subscription %q: an interest without a source", s.Name)
		case sources[i.Source]:
			return fmt.Errorf("subscription %q: two interests in %q", s.Name, i.Source)
		case len(i.Types) == 0 && i.Addressed == "":
			return fmt.Errorf("subscription %q: takes nothing from %q", s.Name, i.Source)
		}
		sources[i.Source] = true
	}
	if s.Slices == 0 {
		s.Slices = DefaultSlices
	}
	return nil
}

// Delivery is a message handed to a subscription.
type Delivery struct {
	Message
	Slice int
	Epoch int64
	// Prev is the position from which the slice's checkpoint moves when this
	// message is done (LogPositions).
	Prev int64
	// Ack settles the message at the broker: nil after the effect's commit, an
	// error to have it delivered again. Nil where the transport has LogPositions.
	Ack func(error)
	// Redelivered: it may have been handed over before, by any process, and what came
	// of that was not settled at the broker. It is looked up whether it was handled
	// before its handler runs.
	Redelivered bool
	// Guard, where the transport has no LogPositions, is written with the effect in
	// its transaction, if it is not nil: it holds as long as nobody else was given
	// the slice.
	Guard *Guard
}

// Sink receives what a subscription asked for. A transport calls it from one
// goroutine at a time per slice.
type Sink interface {
	// Assign tells of slices that this process works from now on.
	Assign(slices []Checkpoint)
	// Revoke tells of slices that it has lost or gives up, and returns when
	// nothing of them is in flight.
	Revoke(slices []int)
	// Deliver hands messages of one slice over in order. It blocks as long as the
	// subscription has no room, or until ctx ends.
	Deliver(ctx context.Context, slice int, ds []Delivery) error
}

// Transport carries records from logs to subscriptions. Its methods may be
// called concurrently.
type Transport interface {
	Powers() Powers

	// Subscribe feeds the sink until ctx ends or the subscription cannot go on.
	// ready is closed once the subscription exists, so that what is published
	// afterwards reaches it. On return nothing of the sink is called any more.
	Subscribe(ctx context.Context, s Subscription, sink Sink, ready chan<- struct{}) error

	// Publish carries records of one log, in their order, to the broker and returns
	// when it has confirmed all of them, with an anchor that says where the broker
	// keeps the last ones, nil if it cannot be asked for them. After an error any of
	// them may be there; ErrTooLarge says that one of them is not, and will not be as long as the broker's limit stands. Where ctx ends before the broker has answered, the records may still be read. A transport with
	// LogPositions returns ErrNoPower.
	Publish(ctx context.Context, source string, rs []Record) (Anchor, error)

	// Close releases what the transport holds.
	Close() error
}

// Anchor is a transport's own note, as JSON, of where the broker keeps what it has
// confirmed.
type Anchor []byte

// Anchored is implemented by transports whose broker can be asked whether it still
// has what it confirmed.
type Anchored interface {
	// Holds reports whether the broker still keeps what an anchor names.
	Holds(ctx context.Context, a Anchor) (bool, error)
	// Newest returns an anchor that names what both name, the newer of them for each
	// place where the broker keeps records apart. older may be nil.
	Newest(older, newer Anchor) (Anchor, error)
}

// Preparer is implemented by transports whose broker keeps messages only for
// subscriptions that it knows of.
type Preparer interface {
	// Prepare makes the subscriptions exist at the broker, also those of services
	// that run elsewhere or nowhere yet, so that what is published afterwards waits
	// for them.
	Prepare(ctx context.Context, subscriptions []Subscription) error
}

// Committed is implemented by transports that publish nothing and want to be handed what this
// process has just committed, in log order, before anyone else reads it back.
type Committed interface {
	Committed(source string, rs []Record)
}

// Rechecker is implemented by transports whose slices are leased.
type Rechecker interface {
	// Recheck has the subscriptions of a service look soon at which slices are theirs:
	// some may be free, or another process's. It does not block.
	Recheck(service string)
}

// Yielder is implemented by transports whose slices are leased.
type Yielder interface {
	// Yield gives a slice of a subscription up, at which this process met a message in a
	// version that it does not read: wire. A process that reads it takes the slice. While
	// there is none, nobody has it, and after some leases it is tried again. With "" for
	// wire any process may take it, this one too, and reads then where it stands. It does
	// not block, and does nothing where the database has no other process.
	Yield(service, subscription string, slice int, wire string)
}

// Backlogger is implemented by transports whose broker can be asked how many messages
// the subscriptions of this process have not settled.
type Backlogger interface {
	Backlogs(ctx context.Context) ([]Backlog, error)
}

// Backlog is what a subscription has not settled, over all processes that share it.
type Backlog struct {
	Service, Subscription string
	Messages              int64 // at the broker
	// Unknown says that the broker could not tell all of it: it has lost the subscription.
	Unknown bool
	// Ahead is how many positions of its sources' logs are still to be read before the broker is, summed over the parts
	// that the subscription is divided into.
	Ahead int64
}

// Topiced is implemented by transports over a broker that keeps what it carries in
// topics.
type Topiced interface {
	// System names the broker: nats, rabbitmq, kafka.
	System() string
	// Topics returns the topics that the subscriptions and their services have at the
	// broker, by name. It makes nothing there: a topic that nobody has used yet is left
	// out.
	Topics(ctx context.Context, subscriptions []Subscription) ([]Topic, error)
}

// Topic is what a broker says of one of its topics.
type Topic struct {
	Name       string
	Partitions []Partition
	// Groups are the subscriptions that take from it.
	Groups []Group
}

// Partition is a partition of a topic: the numbers of the first message that it holds and
// of the next one to come, and how many it holds. All are 0 where the broker hands messages to
// the groups when they come and keeps none in the topic.
type Partition struct{ First, Next, Messages int64 }

// Group is a subscription at a broker.
type Group struct {
	Name, Service, Subscription string
	// Lag is how many messages it has not settled, by partition; one number where the
	// group reads all of them as one (Whole). -1 stands for one that the broker does not tell; nil
	// for a group that it does not know. Where Pooled, the messages of all topics that it
	// takes from are in it, since the broker keeps those as one.
	Lag           []int64
	Whole, Pooled bool
}

// Behinder is implemented by transports that know how many committed records the
// subscriptions of this process have not been offered yet. Over one that does not
// nobody can tell whether a process is idle.
type Behinder interface {
	Behind(ctx context.Context) (int64, error)
}
