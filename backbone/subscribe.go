package backbone

import (
	"context"
	"reflect"
	"time"
)

// Tx is what an event handler writes through. Everything takes effect together
// with the record that the message was handled, or not at all. A handler may run
// several times for one message and only its last run counts, so it keeps
// nothing in memory and cannot reach the outside. A Tx is used by one goroutine
// and only while its handler runs.
type Tx interface {
	// Message returns the envelope of the message that is handled.
	Message() *Message
	// Exec queues a statement on the service's own tables, whose names stand in
	// braces: INSERT INTO {points} ... with $N parameters. It runs when the
	// handler is done; an error is then charged to this message.
	Exec(ctx context.Context, sql string, args ...any) error
	// Query runs what was queued and then a statement that returns rows. The
	// handler waits for the database's writer and holds it from here to its end:
	// be short. The next message of its key waits until this one is committed.
	Query(ctx context.Context, sql string, args ...any) (Rows, error)
	// QueryCommitted runs a statement that returns rows on what was committed
	// before, beside the writer. It sees neither what was queued nor what messages
	// before this one wrote that are not committed yet. It is for what is looked
	// up: nobody waits, and the messages of a key go on sharing transactions. What a
	// view shows of others is there up to this message where Subscriber.After says so.
	QueryCommitted(ctx context.Context, sql string, args ...any) (Rows, error)
	// Do adds effects: Send, SetTimer, CancelTimer, MakeCall, DropCalls.
	Do(effects ...Effect)
}

// Rows is the result of a query, as in database/sql.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// Subscriber is an entry of Service.Subscribes, made by On or Whenever.
type Subscriber struct {
	event   string
	typ     reflect.Type
	decoder *eventDecoder
	err     error
	handle  func(context.Context, Tx, Event) error // On
	react   func(Event, Meta) []Effect             // Whenever
	keyed   func(Event) string
	from    From
	after   string // a view that the handler waits for
}

// On handles events of type E from whichever service owns them.
func On[E Event](fn func(context.Context, Tx, E) error) Subscriber {
	s := subscriberOf[E]()
	if fn != nil {
		s.handle = func(ctx context.Context, tx Tx, e Event) error { return fn(ctx, tx, e.(E)) }
	}
	return s
}

// Whenever is a policy: whenever an event of type E happens, these effects
// follow. It is pure, so it can be tested in a line and runs at no cost beside
// the event. Listed under Service.Reacts it sees the service's own events, public
// and private, and its effects commit with them; under Service.Subscribes it sees
// the events of others.
func Whenever[E Event](fn func(E, Meta) []Effect) Subscriber {
	s := subscriberOf[E]()
	if fn != nil {
		s.react = func(e Event, m Meta) []Effect { return fn(e.(E), m) }
	}
	return s
}

func subscriberOf[E Event]() Subscriber {
	var zero E
	d, err := newEventDecoder(zero)
	return Subscriber{event: zero.EventType(), typ: reflect.TypeFor[E](), decoder: d, err: err}
}

// lacks reports whether there is nothing that handles the event.
func (s Subscriber) lacks() bool { return s.handle == nil && s.react == nil }

// EventType returns the wire name of the event.
func (s Subscriber) EventType() string { return s.event }

// Effects runs a Whenever policy on an event, for tests.
func (s Subscriber) Effects(e Event, m Meta) []Effect { return s.react(e, m) }

// Effect is something that a policy, a handler or a saga wants to happen beside
// its own events. It is a value: it can be printed and compared.
type Effect interface{ effect() }

type sendEffect struct {
	Command Command
}

type setTimerEffect struct {
	Name    string
	Due     time.Time
	Command Command
}

type cancelTimerEffect struct{ Name string }

type callEffect struct {
	Call     string
	Key      string
	Stream   string
	Request  any
	Deadline time.Time
}

type dropCallsEffect struct{ Call, Stream string }

func (sendEffect) effect()        {}
func (setTimerEffect) effect()    {}
func (cancelTimerEffect) effect() {}
func (callEffect) effect()        {}
func (dropCallsEffect) effect()   {}

// Send sends a command to the service that handles it.
func Send(c Command) Effect { return sendEffect{c} }

// SetTimer has the service receive its own command c at the given instant, never
// earlier by the database's clock. Setting a name again replaces it. The command's
// actor is the service itself, "service:" and its name.
func SetTimer(name string, due time.Time, c Command) Effect {
	return setTimerEffect{name, due, c}
}

// CancelTimer removes a timer. A cancel that is committed before the timer fired
// wins.
func CancelTimer(name string) Effect { return cancelTimerEffect{name} }

// MakeCall asks for a call to the outside. key identifies it to the outside and
// never changes; calls of one stream are made in order; after the deadline it is
// given up, and the outcome says so.
func MakeCall(call, key, stream string, request any, deadline time.Time) Effect {
	return callEffect{call, key, stream, request, deadline}
}

// DropCalls takes away the calls of a kind that a stream waits for, since what they
// came to is known by another way, such as a report of the outside. They are not
// made again, and the stream's next call goes on at once. One that is out may still
// take effect; what it comes to is told to nobody. Where none waits nothing happens.
func DropCalls(call, stream string) Effect { return dropCallsEffect{call, stream} }

// From says where a new subscription or view begins.
type From int

// Where a subscription begins that has never run before.
const (
	FromNow   From = iota // after the last record of each source
	FromFirst             // at the first record of each source
)

// From sets where this subscriber begins when it is new. Start refuses FromFirst where
// the service has read the log of the event's owner before, and has passed such events.
func (s Subscriber) From(f From) Subscriber {
	s.from = f
	return s
}
