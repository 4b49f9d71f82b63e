package backbone

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"

	"example.org/souk/backbone/driver"
)

// A Message as a CloudEvent 1.0, the form in which it leaves the house: the id,
// source (the service), type, subject and partitionkey (the stream), time and
// data that the specification knows, its published extensions (partitionkey,
// sequence, recordedtime, traceparent, correlation), and extensions for what only
// this log knows. Nothing of a message is lost on the way there and back.

// CloudEventsSpec is the version of the specification.
const CloudEventsSpec = "1.0"

const dataJSON = "application/json"

// ErrNotCloudEvent is returned for a text that is no CloudEvent 1.0 that can be read as a Message.
var ErrNotCloudEvent = errors.New("not a CloudEvent 1.0 with JSON data")

// Names of context attributes. Those behind partitionkey are extensions.
const (
	attrSpec        = "specversion"
	attrID          = "id"
	attrSource      = "source"
	attrType        = "type"
	attrSubject     = "subject"
	attrTime        = "time"
	attrContent     = "datacontenttype"
	attrKey         = "partitionkey"
	attrSequence    = "sequence"
	attrCorrelation = "correlationid"
	attrCausation   = "causationid"
	attrTrace       = "traceparent"
	attrRecorded    = "recordedtime"
	attrActor       = "actor"
	attrKind        = "recordkind"    // absent for public events
	attrVersion     = "streamversion" // among all events of the stream
	attrPosition    = "logposition"   // in the source's log
	attrRef         = "ref"           // the command's or call's id
	attrTarget      = "target"        // the service that a command or reply is for
	attrReplyTo     = "replyto"       // where a command's answer goes
)

// attribute is a context attribute in its canonical string form.
type attribute struct{ name, value string }

// attributeCount is how many attributes a message has at most.
const attributeCount = 20

// attributes appends the attributes that have a value to list, in a fixed order.
func (m *Message) attributes(list []attribute) []attribute {
	content, kind := "", ""
	if len(m.Data) > 0 {
		content = dataJSON
	}
	if m.Kind != driver.KindEvent && m.Kind != 0 {
		kind = m.Kind.String()
	}
	at, sequence, version, position := m.numbers()
	for _, a := range []attribute{
		{attrSpec, CloudEventsSpec},
		{attrID, m.ID},
		{attrSource, m.Source},
		{attrType, m.Type},
		{attrSubject, m.Stream},
		{attrTime, at},
		{attrContent, content},
		{attrKey, m.Stream},
		{attrSequence, sequence},
		{attrCorrelation, m.Correlation},
		{attrCausation, m.Causation},
		{attrTrace, m.Trace},
		// A message is recorded in the transaction that decided it.
		{attrRecorded, at},
		{attrActor, m.Actor},
		{attrKind, kind},
		{attrVersion, version},
		{attrPosition, position},
		{attrRef, m.Ref},
		{attrTarget, m.Target},
		{attrReplyTo, m.ReplyTo},
	} {
		if a.value != "" {
			list = append(list, a)
		}
	}
	return list
}

// numbers returns time, sequence, version and position as attributes have them, "" for what is zero. They are parts of one string: every
// message that is published passes here.
func (m *Message) numbers() (at, sequence, version, position string) {
	b := make([]byte, 0, 96)
	if !m.Time.IsZero() {
		b = m.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	}
	i := len(b)
	b = appendPadded(b, m.Sequence)
	j := len(b)
	b = appendNumber(b, m.Version)
	k := len(b)
	b = appendNumber(b, m.Position)
	all := string(b)
	return all[:i], all[i:j], all[j:k], all[k:]
}

func appendNumber(b []byte, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(b, n, 10)
}

// appendPadded writes a number so that texts compare as the numbers do, as the sequence
// extension demands. None is negative.
func appendPadded(b []byte, n int64) []byte {
	if n <= 0 {
		return b
	}
	b = append(b, "0000000000000000000"...)
	for i := len(b) - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// EncodeCloudEvent returns the message in structured mode: one JSON object, of
// media type application/cloudevents+json, with its members in a fixed order.
func EncodeCloudEvent(m *Message) ([]byte, error) {
	if m.ID == "" || m.Source == "" || m.Type == "" {
		return nil, fmt.Errorf("encode a message as CloudEvent: id %q, source %q and type %q must not be empty", m.ID, m.Source, m.Type)
	}
	b := append(make([]byte, 0, 512+len(m.Data)), '{')
	var room [attributeCount]attribute
	for _, a := range m.attributes(room[:0]) {
		b = appendMember(b, a.name, a.value)
	}
	if len(m.Data) > 0 {
		if !json.Valid(m.Data) {
			return nil, fmt.Errorf("encode %s %s as CloudEvent: its data is not JSON", m.Type, m.ID)
		}
		b = append(b, `,"data":`...)
		b = append(b, m.Data...)
	}
	return append(b, '}'), nil
}

// DecodeCloudEvent is the inverse of EncodeCloudEvent. It reads the CloudEvents of
// others too: attributes that it does not know are passed over. What it cannot
// read is ErrNotCloudEvent.
func DecodeCloudEvent(structured []byte) (*Message, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(structured, &members); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotCloudEvent, err)
	}
	if members["data_base64"] != nil {
		return nil, fmt.Errorf("%w: its data is binary", ErrNotCloudEvent)
	}
	attributes := make(map[string]string, len(members))
	for name, raw := range members {
		if name == "data" || string(raw) == "null" {
			continue
		}
		value := string(raw) // a number or boolean is its own canonical string
		if raw[0] == '"' {
			if err := json.Unmarshal(raw, &value); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrNotCloudEvent, name, err)
			}
		}
		attributes[name] = value
	}
	return MessageFromCloudEvent(attributes, members["data"])
}

// CloudEventAttributes returns the context attributes of binary mode: the names
// stand without the prefix that a protocol binding gives them, datacontenttype
// becomes the protocol's own content type, and the message's Data is the body.
func CloudEventAttributes(m *Message) map[string]string {
	var room [attributeCount]attribute
	list := m.attributes(room[:0])
	attributes := make(map[string]string, len(list))
	for _, a := range list {
		attributes[a.name] = a.value
	}
	return attributes
}

// RangeCloudEvent calls f with each of CloudEventAttributes, in a fixed order.
func RangeCloudEvent(m *Message, f func(name, value string)) {
	var room [attributeCount]attribute
	for _, a := range m.attributes(room[:0]) {
		f(a.name, a.value)
	}
}

// MessageFromCloudEvent is the inverse of CloudEventAttributes; data becomes the
// message's Data as it is.
func MessageFromCloudEvent(attributes map[string]string, data []byte) (*Message, error) {
	fail := func(name string) error {
		return fmt.Errorf("%w: %s is %q", ErrNotCloudEvent, name, attributes[name])
	}
	if attributes[attrSpec] != CloudEventsSpec {
		return nil, fail(attrSpec)
	}
	for _, name := range []string{attrID, attrSource, attrType} {
		if attributes[name] == "" {
			return nil, fail(name)
		}
	}
	if content := attributes[attrContent]; content != "" && content != dataJSON && !isJSON(content) {
		return nil, fail(attrContent)
	}
	m := &Message{
		Meta: Meta{
			ID: attributes[attrID], Actor: attributes[attrActor], Correlation: attributes[attrCorrelation],
			Causation: attributes[attrCausation], Trace: attributes[attrTrace], ReplyTo: attributes[attrReplyTo],
		},
		Source: attributes[attrSource], Kind: driver.KindEvent, Type: attributes[attrType], Stream: attributes[attrKey],
		Target: attributes[attrTarget], Ref: attributes[attrRef], Data: data,
	}
	if m.Stream == "" {
		m.Stream = attributes[attrSubject]
	}
	if at := attributes[attrTime]; at != "" {
		t, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			return nil, fail(attrTime)
		}
		m.Time = t.UTC()
	}
	if kind := attributes[attrKind]; kind != "" {
		for m.Kind = driver.KindSeal; m.Kind > 0 && m.Kind.String() != kind; {
			m.Kind--
		}
		if m.Kind == 0 {
			return nil, fail(attrKind)
		}
	}
	for name, into := range map[string]*int64{attrSequence: &m.Sequence, attrVersion: &m.Version, attrPosition: &m.Position} {
		if attributes[name] == "" {
			continue
		}
		n, err := strconv.ParseInt(attributes[name], 10, 64)
		if err != nil || n < 0 {
			if name == attrSequence && attributes[attrPosition] == "" {
				continue // of others, who may number by any text that sorts
			}
			return nil, fail(name)
		}
		*into = n
	}
	return m, nil
}

// isJSON reports whether a media type is JSON by its name or its suffix.
func isJSON(content string) bool {
	media, _, err := mime.ParseMediaType(content)
	if err != nil {
		return false
	}
	return media == dataJSON || media == "text/json" || strings.HasSuffix(media, "+json")
}
