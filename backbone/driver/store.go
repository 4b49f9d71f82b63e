package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Errors that a Store returns, wrapped; backbone asks with errors.Is.
var (
	// ErrConflict: another writer was faster (a stream's version, a checkpoint's
	// epoch or position, a timer's generation, a call's epoch, an answer that
	// exists already). Nothing of the transaction is left; running the units
	// again on fresh state is right.
	ErrConflict = errors.New("conflict with another writer")
	// ErrClaimLost is an ErrConflict of EndedCalls: the call is gone, or somebody
	// else has claimed it since. To run the unit again changes nothing.
	ErrClaimLost = fmt.Errorf("the claim of a call is lost: %w", ErrConflict)
	// ErrFull: the database has no room or is read-only. Nothing was committed.
	ErrFull = errors.New("database is full")
	// ErrUnavailable: the database cannot be reached or is locked by another
	// process. Nothing was committed, or Commit has established that.
	ErrUnavailable = errors.New("database is not available")
	// ErrBroken: the transaction no longer stands; only Rollback is left.
	ErrBroken = errors.New("transaction is broken")
)

// UnitError blames one unit of a batch for a failed statement.
type UnitError struct {
	Unit int // the Unit of the statement or row that failed
	Err  error
}

// Error implements error.
func (e *UnitError) Error() string { return e.Err.Error() }

// Unwrap returns the database's error.
func (e *UnitError) Unwrap() error { return e.Err }

// StorePowers says what a database can do.
type StorePowers struct {
	// Exclusive: this process is the database's only writer as long as the store
	// is open, and one write transaction runs at a time. State cached after a
	// commit stays true, and leases need no renewal. The exception is a program
	// that appends events to streams of its own in its own transactions: the log
	// may grow by itself.
	Exclusive bool
	// Notify: Listen wakes other processes after a commit.
	Notify bool
}

// Schema is what one service keeps in a database: the backbone's own tables (all
// named bb_*), and the tables of its migrations.
type Schema struct {
	Service string
	// Migrations holds goose SQL files NNNN_name.sql (or nil); an SQL file of another
	// name is an error. Table and index names stand in braces, {points}; the store
	// puts in the real names.
	Migrations fs.FS
}

// Log reads the logs of services, wherever they are kept. Its methods may be called
// concurrently. An error that wraps ErrUnavailable says that a log cannot be read now
// and may be later.
type Log interface {
	// Head returns the position of the last committed record of a log, 0 if none.
	Head(ctx context.Context, service string) (int64, error)

	// Read returns committed records of a log in position order.
	Read(ctx context.Context, service string, q ReadQuery) ([]Record, error)
}

// LogsIn returns what reads the logs that are kept in databases: nil for a service
// whose database cannot be reached.
func LogsIn(store func(service string) Store) func(service string) Log {
	return func(service string) Log { return store(service) }
}

// Looker is a Store that looks after many services at once, for less than it costs to ask for one after the other.
type Looker interface {
	// Look tells of each service how things stand.
	Look(ctx context.Context, services []string) (map[string]Look, error)
}

// Look is how things stand with a service, as far as it is told by a glance.
type Look struct {
	Head  int64 // position of the last committed record of its log, 0 if it has none
	Asked bool  // an operator's request is open
	// Paused says that the value of the service by the name PausedValue is "true".
	Paused bool
	Due    int64 // the earliest deadline of a timer or a saga in microseconds, 0 for none
	Calls  bool  // a call has not ended
}

// Blockers is a Store whose database can tell which transactions others wait for.
type Blockers interface {
	// Blockers returns the transactions for which others of this database have waited at least that long, those
	// left out that wait themselves, the longest wait first.
	Blockers(ctx context.Context, waited time.Duration) ([]Blocker, error)
}

// Blocker is a transaction that others wait for.
type Blocker struct {
	// Who says whose it is, as far as the database tells this process: its program, user, address and what it does.
	Who     string
	Process int           // by which the database ends it
	Waited  time.Duration // by the one who has waited longest
}

// PausedValue names the value that says whether a service is paused.
const PausedValue = "paused"

// Store is one database. It holds the logs and tables of any number of
// services, each under its own prefix or schema. Its methods may be called
// concurrently.
type Store interface {
	Powers() StorePowers

	// Migrate brings the tables of the services up to date. Two processes may do
	// it at once. It must have run before anything else is called for a service.
	Migrate(ctx context.Context, schemas []Schema) error

	// Begin opens a write transaction. With an Exclusive store it waits for the
	// one before; ctx bounds the wait only.
	Begin(ctx context.Context) (Tx, error)

	// Name returns the real name of a service's table, quoted for SQL.
	Name(service, table string) string

	// Now returns the database's clock. It never goes back as seen by one
	// process.
	Now(ctx context.Context) (time.Time, error)

	// Query runs a read-only statement outside any write transaction, against
	// committed data. sql has $N parameters and real names.
	Query(ctx context.Context, sql string, args ...any) (Rows, error)

	Log

	// Listen calls wake (never blocking, possibly coalesced or spurious) after a
	// transaction of any process appended to the service's log, and, freed, after any
	// process gave slices of the service's subscriptions up, until ctx ends. head is a
	// position that the log has reached, 0 where that is not known. It is
	// only a hint. Stores without the power Notify return an error.
	Listen(ctx context.Context, services []string, wake func(service string, head int64, freed bool)) error

	Slices
	Rebuilder

	// Close releases the database. Transactions in flight are rolled back.
	Close() error
}

// ReadQuery selects records of one log. Zero fields do not restrict.
type ReadQuery struct {
	After  int64 // positions above this one
	Until  int64 // positions up to and including this one
	Limit  int   // at most this many; default 1,000
	Bytes  int   // stop after about this many bytes of data; at least one record is returned
	Kinds  []Kind
	Types  []string // wire names, or patterns that end in *; see MatchType
	Stream string
	Target string
	ID     string
	Ref    string
	// Correlation selects records whose meta carries it. It may scan.
	Correlation string
	// Descending reads from the newest record down (After and Until still bound).
	Descending bool
}

// Rows iterates over a result as database/sql does.
type Rows interface {
	Next() bool
	// Scan copies the row into dest: *string, *[]byte, *int64, *int, *bool,
	// *float64, pointers to those for NULL, or *any.
	Scan(dest ...any) error
	Err() error
	Close() error
}

// Statement is SQL of a service, with $N parameters and real table names.
type Statement struct {
	Unit int // blamed when it fails
	SQL  string
	Args []any // string, []byte, int64, int, bool, float64, nil
}

// Tx is a write transaction. It is used by one goroutine at a time. After an
// error only Rollback may be called, unless a method says otherwise. A context
// handed to it bounds waiting, never the transaction's own life.
type Tx interface {
	// LoadStreams returns what a stream holds above the version that the caller
	// has. Where the store is not Exclusive it locks the streams' heads first, in
	// the order of their names, new streams included.
	LoadStreams(ctx context.Context, service string, wants []StreamWant) ([]StreamData, error)

	// Answers returns the recorded answers among the command ids.
	Answers(ctx context.Context, service string, ids []string) (map[string]Answer, error)

	// Inbox returns the hash that is recorded for each of the rows, which are
	// looked up by Subscription, Source and ID: "" where there is none.
	Inbox(ctx context.Context, service string, rows []InboxRow) ([]string, error)

	// Sagas returns the rows that exist among the keys.
	Sagas(ctx context.Context, service string, keys []SagaKey) (map[SagaKey]Saga, error)

	// ClaimCalls claims calls of one name that are due and free at now, which is the
	// database's clock (or whose lease has run out), the first of each stream only,
	// raising their epochs. The lease ends by now plus lease. A call that was claimed
	// before comes back with Attempts above 0.
	ClaimCalls(ctx context.Context, service, name string, now int64, lease time.Duration, limit int) ([]Call, error)

	// LockKeys has no other transaction pass that locks one of these keys of the
	// service, until this one ends: what it reads of a key afterwards stays true.
	// Transactions that lock all their keys in one call do not deadlock with each
	// other. With an Exclusive store there is nothing to do.
	LockKeys(ctx context.Context, service string, keys []string) error

	// Exec runs statements in order. A failure is a *UnitError.
	Exec(ctx context.Context, statements []Statement) error

	// Query runs a statement that returns rows; the rows must be closed before
	// the transaction is used again.
	Query(ctx context.Context, sql string, args ...any) (Rows, error)

	// Apply writes a batch's rows of one service and assigns the positions of
	// w.Records, dense and in order. The head of the log is locked last, so it is
	// called once per service, right before Commit. Every guard that does not
	// hold is ErrConflict (a *UnitError where the row carries a Unit).
	Apply(ctx context.Context, service string, w *Writes) error

	// Commit makes it durable. When the connection is lost at that moment it
	// finds out on another connection whether the transaction is in, and returns
	// nil or ErrUnavailable accordingly.
	Commit(ctx context.Context) error

	// Rollback ends the transaction without effect. It may be called after
	// Commit, and does nothing then.
	Rollback() error
}

// StreamWant asks for a stream's records above a version.
type StreamWant struct {
	Stream string
	After  int64 // version that the caller has already; 0 for none
	// Schema names the layout of snapshots that the caller reads. With After 0
	// the newest snapshot of that layout is returned and only records above it.
	Schema string
}

// StreamData is the answer to a StreamWant, in the same order.
type StreamData struct {
	Version  int64 // of the stream's last record, 0 if it has none
	Sequence int64 // of its last public event
	Snapshot *Snapshot
	Records  []Record // above After or the snapshot, in version order
}

// Snapshot is the state of an aggregate at a version.
type Snapshot struct {
	Stream  string
	Version int64
	Schema  string
	Data    []byte
}

// Writes are the rows that a batch writes for one service, beside the service's
// own SQL. The store writes them in an order of its own in which batches of
// several processes do not deadlock: inbox and answers, sagas, timers, calls,
// parked rows, checkpoints, last the log with its head.
type Writes struct {
	Records   []Record
	Snapshots []Snapshot
	Answers   []Answer // an id that exists is ErrConflict
	Inbox     []InboxRow
	Sagas     []Saga // of the revision below; one that stands elsewhere is ErrConflict
	SetTimers []Timer
	// CancelTimers names timers to be removed; one that does not exist is fine.
	CancelTimers []string
	// FiredTimers removes exactly these generations; one that is gone is ErrConflict.
	FiredTimers []Timer
	AddCalls    []Call
	// EndedCalls removes claimed calls; one whose epoch moved on is ErrClaimLost.
	EndedCalls []CallEnd
	// DropCalls removes all calls of a name and stream, claimed or not; where there
	// are none it is fine. It comes after EndedCalls and before AddCalls.
	DropCalls []CallDrop
	Park      []Parked // inserts
	Unpark    []ParkedKey
	// Retry sets attempts, due, cause and state of a parked row.
	Retry   []Parked
	Block   []BlockedKey // one that exists is fine
	Unblock []BlockedKey
	Moves   []Move
	// Guards change nothing; one that does not hold is ErrConflict.
	Guards []Guard
	// Amendments are edits and discards that rebuilds apply.
	Amendments []Amendment
	// DoneRequests are operators' requests that were carried out; one that was done
	// before is ErrConflict.
	DoneRequests []int64
	// Values are written over; see Slices.SetValue.
	Values []Value
}

// Value is a small fact beside the tables.
type Value struct {
	Name string
	Data []byte
}

// Empty reports whether there is nothing to write.
func (w *Writes) Empty() bool {
	return len(w.Records)+len(w.Snapshots)+len(w.Answers)+len(w.Inbox)+len(w.Sagas)+len(w.SetTimers)+len(w.CancelTimers)+
		len(w.FiredTimers)+len(w.AddCalls)+len(w.EndedCalls)+len(w.DropCalls)+len(w.Park)+len(w.Unpark)+len(w.Retry)+
		len(w.Block)+len(w.Unblock)+len(w.Moves)+len(w.Guards)+len(w.Amendments)+len(w.DoneRequests)+len(w.Values) == 0
}

// Answer is the recorded outcome of a command.
type Answer struct {
	Unit        int
	ID          string // the command's id
	Fingerprint string // hash over the command's type and data
	Outcome     int16  // 1 done, 2 refused
	Data        []byte // JSON: refs, or the refusal
	Time        int64  // microseconds; retention prunes by it
}

// InboxRow remembers a message that came from a broker.
type InboxRow struct {
	Unit         int
	Subscription string
	Source       string
	ID           string
	Hash         string // over the body: the same id with another body is refused
	Time         int64
}

// SagaKey names an instance of a saga.
type SagaKey struct{ Name, ID string }

// Saga is the row of a saga instance.
type Saga struct {
	SagaKey
	Definition int    // version of the definition that it runs on
	State      string // running, waiting, compensating, stuck, completed, compensated
	Data       []byte // JSON of backbone
	Due        int64  // next deadline in microseconds, 0 for none
	Started    int64
	Updated    int64
	// Revision counts the writes of the row, from 1. Who writes gives the one above
	// that which it has read.
	Revision int64
}

// Timer is a message that becomes due. Setting a name again raises its generation.
type Timer struct {
	Unit       int
	Name       string
	Generation int64 // given in SetTimers by the store, in FiredTimers by the caller
	Due        int64 // microseconds
	Stream     string
	Type       string // of the command that it appends
	Data       []byte
	Meta       []byte
}

// Call is a call to the outside that waits to be made.
type Call struct {
	Unit       int
	ID         string // stable: the key that the outside sees
	Name       string // which outside
	Request    []byte // JSON
	Stream     string // calls of one stream are made in order
	Meta       []byte
	Deadline   int64 // microseconds; after it the call is given up
	Due        int64 // not before
	Attempts   int
	Epoch      int64 // raised by each claim
	LeaseUntil int64 // 0: not claimed
	Cause      string
	Created    int64
}

// CallEnd removes a claimed call (Done) or hands it back for a later attempt.
type CallEnd struct {
	Unit  int
	ID    string
	Epoch int64
	Done  bool
	Due   int64  // if not Done
	Cause string // if not Done
}

// CallDrop names the calls of one name and stream.
type CallDrop struct{ Name, Stream string }

// Parked is a message that waits in a subscription's own tables: the head of a
// blocked key (with its attempts), or one that stands behind it.
type Parked struct {
	Unit         int
	Subscription string
	Key          string // the key that is blocked
	Seq          int64  // order within the key; the lowest is the head. In Park the store assigns it
	Slice        int
	Source       string
	ID           string
	Record       []byte // JSON of the record
	Cause        string
	Attempts     int
	Due          int64  // when the head is tried again; 0 for never by itself
	State        string // retrying, waiting, dead
	Time         int64
}

// ParkedKey names one parked row.
type ParkedKey struct {
	Unit         int
	Subscription string
	Key          string
	Seq          int64
}

// BlockedKey names a key whose messages queue up in parked rows.
type BlockedKey struct {
	Subscription string
	Slice        int
	Key          string
}

// Move advances a checkpoint of a slice that this process holds.
type Move struct {
	Unit         int
	Subscription string
	Source       string
	Slice        int
	Epoch        int64
	From, To     int64
}

// Guard holds as long as nobody else was given a slice since: its epoch stands. It
// names one source of the slice, whichever.
type Guard struct {
	Unit         int
	Subscription string
	Source       string
	Slice        int
	Epoch        int64
}

// Amendment is an operator's change to a message, which rebuilds apply too.
type Amendment struct {
	Subscription string
	Source       string
	ID           string
	Discard      bool
	Data         []byte // the new data, if not Discard
	Actor, Why   string
	Time         int64
}

// Request is what an operator asks the owner of a slice or saga to do.
type Request struct {
	ID           int64
	Subject      string // "parked", "saga", "view", ...
	Action       string // "redrive", "discard", "edit", "retry", "abort", "rebuild"
	Subscription string
	Key          string
	Seq          int64
	Data         []byte
	Actor, Why   string
	Time         int64
}

// Checkpoint is how far a subscription has come in one slice of one source.
type Checkpoint struct {
	Subscription string
	Source       string
	Slice        int
	Position     int64
	Epoch        int64
	Owner        string
	LeaseUntil   int64
	// Guard, in Sink.Assign and where slices are leased, is written with every effect
	// of the slice that does not move its checkpoint. It stands in no row.
	Guard *Guard
}

// Lease says who has a slice.
type Lease struct {
	Slice int
	Owner string // "" for nobody
	Until int64  // by the database's clock, in microseconds since 1970
}

// Standing is how things stand with a subscription.
type Standing struct {
	Leases []Lease
	Values map[string][]byte // see Slices.SetValue
}

// Slices hands out the slices of subscriptions, and the rows that their owners
// work on.
type Slices interface {
	// InitSubscription stores a subscription's number of slices and its starting
	// positions where it has none yet, and returns the stored number.
	InitSubscription(ctx context.Context, service, subscription string, slices int, from map[string]int64) (int, error)

	// Claim takes up to max slices of a subscription that are free, expired, or
	// owner's already, for all its sources at once; each taken slice's epoch is
	// raised before its positions are read. lease is measured by the database's
	// clock. Where only is given it takes none but those.
	Claim(ctx context.Context, service, subscription, owner string, max int, lease time.Duration, only ...int) ([]Checkpoint, error)

	// Renew prolongs what owner holds and returns the slices still held.
	Renew(ctx context.Context, service, subscription, owner string, lease time.Duration) ([]int, error)

	// Standing returns who has which slice, by slice, and the values of these names that exist, all of one moment.
	Standing(ctx context.Context, service, subscription string, values ...string) (Standing, error)

	// Release gives slices up without waiting for the lease.
	Release(ctx context.Context, service, subscription, owner string, slices []int) error

	// Checkpoints returns all rows of a subscription, or of all with "".
	Checkpoints(ctx context.Context, service, subscription string) ([]Checkpoint, error)

	// BlockedKeys returns the blocked keys of a subscription.
	BlockedKeys(ctx context.Context, service, subscription string) ([]BlockedKey, error)

	// ParkedRows returns parked rows: those of a key in order, or with an empty
	// key all heads (the lowest row of each key), up to limit.
	ParkedRows(ctx context.Context, service, subscription, key string, limit int) ([]Parked, error)

	// DueParked returns heads in state retrying whose due time has come.
	DueParked(ctx context.Context, service, subscription string, now int64, limit int) ([]Parked, error)

	// Amendments returns the amendments of a subscription, by source and id.
	Amendments(ctx context.Context, service, subscription string) ([]Amendment, error)

	// Handled returns the hashes of those of a source's messages that a subscription has
	// an inbox row of, by their ids. It looks at what is committed.
	Handled(ctx context.Context, service, subscription, source string, ids []string) (map[string]string, error)

	// SagaRows lists sagas by name, id and state ("" for all), oldest first.
	SagaRows(ctx context.Context, service, name, id, state string, limit int) ([]Saga, error)

	// DueSagas returns sagas whose due time has come.
	DueSagas(ctx context.Context, service string, now int64, limit int) ([]Saga, error)

	// DueTimers returns timers whose due time has come, oldest first, and the due
	// time of the next one after those (0 for none).
	DueTimers(ctx context.Context, service string, now int64, limit int) ([]Timer, int64, error)

	// Calls lists waiting calls, oldest first.
	Calls(ctx context.Context, service string, limit int) ([]Call, error)

	// PutRequest stores an operator's request; OpenRequests returns those not done.
	PutRequest(ctx context.Context, service string, r Request) (int64, error)
	OpenRequests(ctx context.Context, service string, limit int) ([]Request, error)

	// Prune deletes answers, inbox rows and done requests older than before, and
	// the commands, replies and calls in the log up to the position readersPassed
	// and below the first record of any kind that is not older than before. Events,
	// private events and seals stay, and so do all positions: those of what is gone
	// are holes. before is in microseconds. At most limit rows of each sort go at
	// once, and of the log a short piece is looked at, so that writers wait for
	// moments only. It returns the number of rows and whether there may be more to
	// do, and is cheap when there is nothing to do.
	Prune(ctx context.Context, service string, before int64, readersPassed int64, limit int) (n int64, more bool, err error)

	// Value and SetValue keep small facts beside the tables (world epoch, join
	// positions, signed heads). A value that does not exist is nil.
	Value(ctx context.Context, service, name string) ([]byte, error)
	SetValue(ctx context.Context, service, name string, value []byte) error
}

// Rebuilder builds the tables of a view again beside the live ones.
type Rebuilder interface {
	// CreateShadow makes an empty copy (columns, keys, indexes) of a service's
	// table under the name of Shadow(table), dropping one that is left over.
	CreateShadow(ctx context.Context, service string, tables []string) error
	// Shadow returns the shadow's table name for Name.
	Shadow(table string) string
	// Seize, within tx, waits for those who write the tables, keeps everybody else from
	// them until tx ends, and then takes all slices of the subscriptions away from
	// whoever has them: their epochs rise and they are nobody's, so that what is in hand
	// of them does not commit any more. It returns their checkpoints as they are then.
	Seize(ctx context.Context, tx Tx, service string, tables, subscriptions []string) ([]Checkpoint, error)
	// SwapShadow, within tx, puts the shadows in the place of the live tables.
	SwapShadow(ctx context.Context, tx Tx, service string, tables []string) error
	// DropShadow removes left-over shadows.
	DropShadow(ctx context.Context, service string, tables []string) error
}

// Backuper is the power to take a consistent copy while the store is in use.
type Backuper interface {
	// Backup writes a consistent copy to a new file at path.
	Backup(ctx context.Context, path string) error
}

// Resetter is the power to empty a service's tables, for worlds of tests.
type Resetter interface {
	// Reset deletes, within tx, every row of the service's own tables and of the
	// backbone's, except the head of its log (so that positions go on), its
	// checkpoints and its values.
	Reset(ctx context.Context, tx Tx, service string) error
}
