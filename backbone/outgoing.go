package backbone

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.org/souk/backbone/driver"
)

// À la carte: a program that is not built on a Runtime appends events within a
// transaction of its own (sqlitestore.Append, pgstore.Append, pgstore.AppendSQL)
// and keeps what it has handled (Inbox, InboxSQL there). What it appends is what a
// service would have appended: Service.Publishes names the types, and every
// subscription gets them.

// NewStream as Outgoing.Expect says that the stream has no events yet.
const NewStream int64 = -1

// Outgoing is what a program appends to one stream of a service's log.
type Outgoing struct {
	// Stream is the unit of order, a kind and an id as aggregates write it:
	// "order/o1". The id is [A-Za-z0-9_-]{1,64}; the kind is lower-case letters and
	// digits. A stream has one writer: what a program appends to is not a stream
	// that a service decides on.
	Stream string
	// Expect is the version that the stream must have, NewStream for none, or 0 to
	// append wherever it stands. Another version is a *VersionError.
	Expect int64
	// Events are public and stand in the stream in this order. At least one.
	Events []Event
	// Time is when it happened. It is cut to microseconds. Required.
	Time time.Time
	// Actor says who caused it, "customer:C1"; Causation is the id of the message
	// that did; Trace is a W3C traceparent. Each may be empty.
	Actor, Causation, Trace string
	// Correlation is the id of the first message of the conversation; empty makes
	// it the id of the first event.
	Correlation string
}

// VersionError says that a stream does not stand where Outgoing.Expect wants it.
// It is a driver.ErrConflict. Nothing was written and the transaction still stands.
type VersionError struct {
	Stream            string
	Expected, Version int64
}

// Error implements error.
func (e *VersionError) Error() string {
	if e.Expected == NewStream {
		return fmt.Sprintf("stream %s is at version %d, expected none", e.Stream, e.Version)
	}
	return fmt.Sprintf("stream %s is at version %d, expected %d", e.Stream, e.Version, e.Expected)
}

// Unwrap returns driver.ErrConflict.
func (e *VersionError) Unwrap() error { return driver.ErrConflict }

var outgoingIDs idSource

// Records makes the records of o at the place behind the stream's version and
// sequence. Databases call it, with the stream locked; programs do not.
func (o *Outgoing) Records(version, sequence int64) ([]driver.Record, error) {
	kind, id, _ := strings.Cut(o.Stream, "/")
	switch {
	case !validName(kind) || !ValidID(id):
		return nil, fmt.Errorf("stream %q: want a kind of lower-case letters and digits and an id of [A-Za-z0-9_-]{1,64}, such as \"order/o1\"", o.Stream)
	case len(o.Events) == 0:
		return nil, fmt.Errorf("stream %s: no events to append", o.Stream)
	case o.Time.IsZero():
		return nil, fmt.Errorf("stream %s: the events have no time", o.Stream)
	case o.Expect < NewStream:
		return nil, fmt.Errorf("stream %s: version %d cannot be expected", o.Stream, o.Expect)
	case o.Expect != 0 && max(o.Expect, 0) != version:
		return nil, &VersionError{Stream: o.Stream, Expected: o.Expect, Version: version}
	}
	m := Meta{Time: o.Time.UTC(), Actor: o.Actor, Correlation: o.Correlation, Causation: o.Causation, Trace: o.Trace}
	records := make([]driver.Record, len(o.Events))
	for i, e := range o.Events {
		if e == nil {
			return nil, fmt.Errorf("stream %s: event %d is nil", o.Stream, i+1)
		}
		if _, err := newEventDecoder(e); err != nil {
			return nil, fmt.Errorf("stream %s: %w", o.Stream, err)
		}
		eventID := outgoingIDs.next(m.Time)
		if m.Correlation == "" {
			m.Correlation = eventID
		}
		r, err := eventRecord(e, eventID, o.Stream, &m)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", o.Stream, err)
		}
		r.Version, r.Sequence = version+int64(i)+1, sequence+int64(i)+1
		records[i] = r
	}
	return records, nil
}

// eventRecord is the record of a public event, without its place in the stream.
// m is what stands beside the data; its ID is not used.
func eventRecord(e Event, id, stream string, m *Meta) (driver.Record, error) {
	wire := e.EventType()
	data, err := json.Marshal(e)
	if err != nil {
		return driver.Record{}, Permanent(fmt.Errorf("encode %s: %w", wire, err))
	}
	if len(data) > MaxData {
		return driver.Record{}, Permanent(fmt.Errorf("%s has %d bytes; the most is %d", wire, len(data), MaxData))
	}
	return driver.Record{
		Kind: driver.KindEvent, ID: id, Stream: stream, Type: wire, Data: data,
		Meta: encodeMeta(m), Time: m.Time.UnixMicro(),
	}, nil
}

// RecordMessage returns a record of a service's log as its subscribers see it.
func RecordMessage(service string, r *driver.Record) (*Message, error) { return MessageOf(service, r) }

// Incoming is a message that a program is about to handle, for the inbox in its
// database.
type Incoming struct {
	// Subscription names who handles it. One message is new once for each.
	Subscription string
	// Message is what came. Its Source, ID, Type and Data count; a message of a
	// system that is not built on the backbone names itself in the first two.
	Message *Message
	// Time is when it is handled. Rows are pruned by it, so that no message may be
	// delivered again after more than the time that rows are kept. Required.
	Time time.Time
}

// DifferentMessageError says that a message of the same source and id, but of
// another type or with other data, was handled before. Nothing was written and
// the transaction still stands.
type DifferentMessageError struct{ Subscription, Source, ID string }

// Error implements error.
func (e *DifferentMessageError) Error() string {
	return fmt.Sprintf("%s has handled another message %s of %s", e.Subscription, e.ID, e.Source)
}

// Row makes the inbox's row. Databases call it; programs do not.
func (in *Incoming) Row() (driver.InboxRow, error) {
	m := in.Message
	switch {
	case in.Subscription == "":
		return driver.InboxRow{}, errors.New("inbox: no subscription")
	case m == nil || m.Source == "" || m.ID == "":
		return driver.InboxRow{}, errors.New("inbox: the message has no source or no id")
	case in.Time.IsZero():
		return driver.InboxRow{}, errors.New("inbox: the message has no time at which it is handled")
	}
	return inboxRow(in.Subscription, m.Source, &driver.Record{ID: m.ID, Type: m.Type, Data: m.Data}, in.Time), nil
}
