package driver

// Kind says what a record of a log is. Its number is what databases store and
// never changes.
type Kind int16

// The kinds of records. Only events travel to every subscription that asks for
// their type; commands and replies go to their target.
const (
	KindEvent   Kind = 1 // a public event: relayed, numbered by Version and Sequence
	KindPrivate Kind = 2 // an event that its aggregate keeps to itself: stored, not relayed
	KindCommand Kind = 3 // an order to one service: Target; Ref is the command's id
	KindReply   Kind = 4 // the answer to a command, to its sender: Target; Ref is the command's id
	KindCall    Kind = 5 // an outside call to be made; Ref is the call's id
	KindSeal    Kind = 6 // a link of the audit chain
)

// Unreadable is the type under which a transport hands over what others have put into a
// topic and it cannot read, so that it is parked: an event whose data is an
// UnreadableData.
const Unreadable = "backbone.Unreadable.v1"

// UnreadableData says what could not be read, and why.
type UnreadableData struct {
	Topic       string `json:"topic"`
	ContentType string `json:"contentType"`
	Body        string `json:"body"`
	Cause       string `json:"cause"`
}

// String returns the kind's name as the command line and the console show it.
func (k Kind) String() string {
	switch k {
	case KindEvent:
		return "event"
	case KindPrivate:
		return "private"
	case KindCommand:
		return "command"
	case KindReply:
		return "reply"
	case KindCall:
		return "call"
	case KindSeal:
		return "seal"
	}
	return "unknown"
}

// Record is one row of a service's log. A record is never changed once it is
// committed; nobody writes to the slices of a record that was handed out.
type Record struct {
	Position int64  // 1, 2, 3, ... per log, dense, in commit order; assigned by Tx.Apply
	Kind     Kind   //
	ID       string // unique per log, forever
	Ref      string // the command's or call's id, else empty
	Stream   string // unit of order and consistency; the partition key
	Version  int64  // dense per stream over events and private events, from 1; else 0
	Sequence int64  // dense per stream over public events, from 1; else 0
	Type     string // wire name
	Data     []byte // JSON
	Meta     []byte // JSON: actor, correlation, causation, trace; written by backbone
	Time     int64  // when it was decided, microseconds since 1970 UTC
	Target   string // service that a command or reply is for, else empty
}
