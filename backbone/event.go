package backbone

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"example.org/souk/backbone/driver"
)

// Event is a fact. The method returns its wire name, a constant such as
// "souk.orders.OrderPlaced.v1" that never changes. An Event is a struct value
// that encoding/json carries; it is never changed once it was appended. The
// interface is structural, so that a package of events needs no import.
type Event interface{ EventType() string }

// Command is an order to the one service that handles its type. Stream returns
// the id that it is decided on; commands of one stream are decided in order.
type Command interface {
	CommandType() string
	Stream() string
}

// Upcaster is implemented by an event type (on its pointer or value) that reads
// older versions of itself: raw, written as version, is turned into the JSON of
// the type's own version.
type Upcaster interface {
	Upcast(version int, raw []byte) ([]byte, error)
}

// Meta is what a decision may know beside its state and its command. Time is
// stamped once, when the message was accepted; it is the only time there is.
type Meta struct {
	ID          string    // of the message: a command's id, an event's id
	Time        time.Time // UTC, microseconds
	Actor       string    // who caused it: "customer:C1", "service:orders"
	Correlation string    // id of the first message of the conversation
	Causation   string    // id of the record that caused this one
	Trace       string    // W3C traceparent
	ReplyTo     string    // where the answer to a command goes: a saga's step
}

// Message is a record as a subscriber sees it.
type Message struct {
	Meta
	Source   string // service whose log it stands in
	Kind     driver.Kind
	Type     string
	Stream   string // partition key
	Position int64  // in the source's log
	Version  int64  // in its stream; 0 for commands and replies
	Sequence int64  // among the stream's public events
	Target   string
	Ref      string
	Data     []byte // JSON
}

// wireMeta is how Meta stands in a record.
type wireMeta struct {
	Actor       string `json:"actor,omitempty"`
	Correlation string `json:"correlationid,omitempty"`
	Causation   string `json:"causationid,omitempty"`
	Trace       string `json:"traceparent,omitempty"`
	ReplyTo     string `json:"replyto,omitempty"`
}

func encodeMeta(m *Meta) []byte {
	b := make([]byte, 0, 160)
	b = append(b, '{')
	b = appendMember(b, "actor", m.Actor)
	b = appendMember(b, "correlationid", m.Correlation)
	b = appendMember(b, "causationid", m.Causation)
	b = appendMember(b, "traceparent", m.Trace)
	b = appendMember(b, "replyto", m.ReplyTo)
	return append(b, '}')
}

func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

// appendString writes a JSON string; the plain characters that ids consist of
// take the short way.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, _ := json.Marshal(s) // a string always encodes
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// decodeMeta reads what encodeMeta wrote. Every message of every subscription passes
// here, so what needs no unquoting is read at once and only the rest by encoding/json.
func decodeMeta(data []byte) (wireMeta, error) {
	if len(data) == 0 {
		return wireMeta{}, nil
	}
	if w, ok := plainMeta(string(data)); ok {
		return w, nil
	}
	var w wireMeta
	err := json.Unmarshal(data, &w)
	return w, err
}

// plainMeta reads an object without white space, of known members, each once and not empty, with values in ASCII without
// escapes. It says so when it is anything else.
func plainMeta(s string) (w wireMeta, ok bool) {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return w, false
	}
	for rest := s[1 : len(s)-1]; rest != ""; {
		name, tail, ok := plainString(rest)
		if !ok || !strings.HasPrefix(tail, ":") {
			return w, false
		}
		value, tail, ok := plainString(tail[1:])
		if !ok {
			return w, false
		}
		var field *string
		switch name {
		case "actor":
			field = &w.Actor
		case "correlationid":
			field = &w.Correlation
		case "causationid":
			field = &w.Causation
		case "traceparent":
			field = &w.Trace
		case "replyto":
			field = &w.ReplyTo
		default:
			return w, false
		}
		if *field != "" || value == "" {
			return w, false
		}
		*field = value
		if tail == "" {
			return w, true
		}
		if tail[0] != ',' || len(tail) == 1 {
			return w, false
		}
		rest = tail[1:]
	}
	return w, true
}

// plainString cuts a quoted string without escapes off the front.
func plainString(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[1:i], s[i+1:], true
		case c == '\\' || c < ' ' || c > '~':
			return "", "", false
		}
	}
	return "", "", false
}

// MessageOf reads a record of a service's log.
func MessageOf(source string, r *driver.Record) (*Message, error) {
	m := new(Message) // the caller's, where it is inlined
	if err := m.read(source, r); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Message) read(source string, r *driver.Record) error {
	w, err := decodeMeta(r.Meta)
	if err != nil {
		return fmt.Errorf("meta of record %s/%d: %w", source, r.Position, err)
	}
	*m = Message{
		Meta: Meta{
			ID: r.ID, Time: time.UnixMicro(r.Time).UTC(), Actor: w.Actor, Correlation: w.Correlation,
			Causation: w.Causation, Trace: w.Trace, ReplyTo: w.ReplyTo,
		},
		Source: source, Kind: r.Kind, Type: r.Type, Stream: r.Stream, Position: r.Position,
		Version: r.Version, Sequence: r.Sequence, Target: r.Target, Ref: r.Ref, Data: r.Data,
	}
	return nil
}

// RecordOf is the inverse of MessageOf.
func RecordOf(m *Message) driver.Record {
	return driver.Record{
		Position: m.Position, Kind: m.Kind, ID: m.ID, Ref: m.Ref, Stream: m.Stream, Version: m.Version, Sequence: m.Sequence,
		Type: m.Type, Data: m.Data, Meta: encodeMeta(&m.Meta), Time: m.Time.UnixMicro(), Target: m.Target,
	}
}

// splitVersion takes a wire name apart: "a.b.C.v3" is "a.b.C" and 3.
func splitVersion(wire string) (base string, version int, err error) {
	i := strings.LastIndex(wire, ".v")
	if i > 0 {
		if n, err := strconv.Atoi(wire[i+2:]); err == nil && n > 0 {
			return wire[:i], n, nil
		}
	}
	return "", 0, fmt.Errorf("wire name %q does not end in .vN", wire)
}

// baseOf returns a wire name without its version.
func baseOf(wire string) string {
	if i := strings.LastIndex(wire, ".v"); i > 0 {
		return wire[:i]
	}
	return wire
}

// A decoder reads one event type in any version up to its own.
type eventDecoder struct {
	wire    string
	base    string
	version int
	typ     reflect.Type
}

func newEventDecoder(e Event) (*eventDecoder, error) {
	base, version, err := splitVersion(e.EventType())
	if err != nil {
		return nil, err
	}
	t := reflect.TypeOf(e)
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("event %s must be a struct value, not %s", e.EventType(), t)
	}
	return &eventDecoder{wire: e.EventType(), base: base, version: version, typ: t}, nil
}

// decode reads data that was written as wire. Unknown fields are passed over.
func (d *eventDecoder) decode(wire string, data []byte) (Event, error) {
	v := reflect.New(d.typ)
	if wire != d.wire {
		base, version, err := splitVersion(wire)
		if err != nil || base != d.base {
			return nil, fmt.Errorf("%s cannot be read as %s", wire, d.wire)
		}
		if version > d.version {
			return nil, &NewerVersionError{Type: wire, Known: d.version}
		}
		up, ok := v.Interface().(Upcaster)
		if !ok {
			return nil, fmt.Errorf("%s is an old version and %s has no Upcast method", wire, d.typ)
		}
		if data, err = up.Upcast(version, data); err != nil {
			return nil, fmt.Errorf("upcast %s: %w", wire, err)
		}
	}
	if err := json.Unmarshal(data, v.Interface()); err != nil {
		return nil, fmt.Errorf("decode %s: %w", wire, err)
	}
	return v.Elem().Interface().(Event), nil
}

// NewerVersionError says that a message is written in a version that this
// program does not know, or moves a saga that runs on such a version. A message
// that is written so is neither skipped nor parked: its slice waits for a program
// that knows it. One that moves such a saga is parked and tried again until a
// program that knows the saga has the slice; the messages of other keys go on.
type NewerVersionError struct {
	Type  string
	Known int
}

// Error implements error.
func (e *NewerVersionError) Error() string {
	return fmt.Sprintf("%s is newer than version %d, which is the newest this program reads", e.Type, e.Known)
}

func newerVersion(err error) bool {
	_, newer := errors.AsType[*NewerVersionError](err)
	return newer
}
