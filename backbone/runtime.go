package backbone

import (
	"context"
	"log/slog"
	"time"

	"example.org/souk/backbone/driver"
)

// Clock tells the time that messages are stamped with.
type Clock interface{ Now() time.Time }

// Config says what a Runtime runs and on what. Parts, Store and Transport are required.
type Config struct {
	// Parts lists every service of the system, whether it runs here or not.
	Parts []*Service
	// Run names those that run here; nil runs all.
	Run []string
	// Store returns the database of a service. Services may share one.
	Store func(service string) driver.Store
	// Log returns what reads a service's log, also where its database cannot be reached
	// from here and another process is asked; nil where nothing can. Default: Store.
	Log func(service string) driver.Log
	// Transport carries events and commands between the services.
	Transport driver.Transport
	// Clock defaults to the system's.
	Clock Clock
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Hooks observe; the zero value observes nothing.
	Hooks Hooks
	// MaxWaiting bounds the direct commands that wait for a writer; more are
	// refused with ErrOverloaded. Default 4,096.
	MaxWaiting int
	// MaxBatch bounds the units of one transaction. Default 512.
	MaxBatch int
	// CacheStates bounds the aggregates whose state is kept in memory, a service.
	// Default 16,384.
	CacheStates int
	// Retention is how long answers, inbox rows and done requests are kept: the
	// window within which a repeated command gets its first answer. Commands,
	// replies and calls are kept in the logs as long, and until every subscription
	// has passed them. Events are never deleted. Default 7 days; below 0 nothing is
	// removed.
	Retention time.Duration
	// SealHead is told of each seal, so that heads are kept in a second place.
	SealHead func(service string, head Seal) error
	// Owner names this process in leases; default a random id.
	Owner string
	// Lease is how long a task that one process at a time has, to keep a log or to relay
	// it, stays with a process that does not renew it, by the database's clock. Default
	// 15 s.
	Lease time.Duration
}

// DoOption modifies one call of Runtime.Do.
type DoOption func(*Meta)

// WithID gives the command its id: every later command of that id gets the first
// one's answer. Without it, or with an empty id, the command gets a new one, and a
// repetition is another command. Ids are the service's: where callers are strangers to
// each other, put who calls in front.
func WithID(id string) DoOption { return func(m *Meta) { m.ID = id } }

// By names who acts.
func By(actor string) DoOption { return func(m *Meta) { m.Actor = actor } }

// WithTrace carries a W3C traceparent.
func WithTrace(traceparent string) DoOption { return func(m *Meta) { m.Trace = traceparent } }

// CausedBy continues a conversation.
func CausedBy(correlation, causation string) DoOption {
	return func(m *Meta) { m.Correlation, m.Causation = correlation, causation }
}

// Hooks observe a runtime. Each function may be nil; it is called on the path of
// the work and must be quick and not call back.
type Hooks struct {
	// Batch is called after each commit or rollback.
	Batch func(BatchStats)
	// Handled is called once for each message that a subscription has handled, and once
	// for each attempt that failed. Of a message that waits behind a parked one it hears
	// when its turn has come.
	Handled func(ctx context.Context, h HandledStats)
	// Decided is called for each command that was answered.
	Decided func(d DecidedStats)
	// Called is called for each attempt of an outside call.
	Called func(c CalledStats)
	// Saga is called whenever an instance changes its state.
	Saga func(s SagaStats)
	// Alarm is called for what an operator should look at.
	Alarm func(a Alarm)
}

// BatchStats describes one batch.
type BatchStats struct {
	Units, Records int
	Commit, Total  time.Duration
	Reruns         int
	Err            error
}

// HandledStats describes one message that was handled, or an attempt at it that failed.
type HandledStats struct {
	Service      string // whose subscription it is
	Subscription string
	Message      *Message
	Attempts     int           // failed attempts before this one
	Lag          time.Duration // from the message's time to now
	Duration     time.Duration // from when a lane took it up to its commit; 0 where Err is set
	Err          error         // why it was parked or will be tried again
	Parked       bool          // it will not be tried again by itself
	Duplicate    bool          // it had been handled before and had no effect
}

// DecidedStats describes one answered command.
type DecidedStats struct {
	Service, Command string
	Outcome          Outcome
	Repeated         bool
	Meta             Meta
}

// CalledStats describes one attempt of a call.
type CalledStats struct {
	Service, Call, Key string
	Attempt            int
	Duration           time.Duration
	Meta               Meta
	Err                error
}

// SagaStats describes a change of a saga.
type SagaStats struct {
	Service, Saga, ID, State, Step string
}

// Alarm is something that an operator should look at.
type Alarm struct {
	Service, Subject, Text string
}
