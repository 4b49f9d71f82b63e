package kafkabus

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/broker"
)

// The Kafka protocol binding of CloudEvents 1.0: binary mode has the attributes in headers with a prefix, and
// datacontenttype in the header content-type. In structured mode that header names the format of the whole event.
const (
	prefix      = "ce_"
	contentType = "content-type"
	jsonType    = "application/json"
)

// recordOf returns the record of a message.
func recordOf(m *broker.Outgoing) *kgo.Record {
	headers := make([]kgo.RecordHeader, 0, len(m.Attributes)+3)
	id, kind := false, false
	for _, a := range m.Attributes {
		headers = append(headers, kgo.RecordHeader{Key: prefix + a.Name, Value: []byte(a.Value)})
		id, kind = id || a.Name == "id", kind || a.Name == "type"
	}
	// Anchors and filters go by these two.
	if !id {
		headers = append(headers, kgo.RecordHeader{Key: prefix + "id", Value: []byte(m.ID)})
	}
	if !kind {
		headers = append(headers, kgo.RecordHeader{Key: prefix + "type", Value: []byte(m.Type)})
	}
	headers = append(headers, kgo.RecordHeader{Key: contentType, Value: []byte(jsonType)})
	r := &kgo.Record{Topic: m.Topic, Partition: int32(m.Partition), Value: m.Body, Headers: headers}
	if m.Key != "" {
		r.Key = []byte(m.Key)
	}
	return r
}

// sizeOf returns what a message takes at most in a batch of its own: each length is a varint.
func sizeOf(r *kgo.Record) int {
	const batch, record, varint = 61, 16, 5
	size := batch + record + 3*varint + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		size += 2*varint + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return size
}

func header(r *kgo.Record, name string) (string, bool) {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return string(r.Headers[i].Value), true
		}
	}
	return "", false
}

// incomingOf returns the message of a record.
func incomingOf(r *kgo.Record, done func()) broker.Incoming {
	in := broker.Incoming{Topic: r.Topic, Body: r.Value, Sequence: r.Offset + 1, Done: done}
	in.Attributes = make([]broker.Attribute, 0, len(r.Headers))
	for i := range r.Headers {
		h := &r.Headers[i]
		if name, ok := strings.CutPrefix(h.Key, prefix); ok {
			in.Attributes = append(in.Attributes, broker.Attribute{Name: name, Value: string(h.Value)})
		} else if strings.EqualFold(h.Key, contentType) {
			in.ContentType = string(h.Value)
		}
	}
	return in
}

// wanted tells whether an input takes a record. Kafka filters nothing, so this is done here, where it spares the caller
// the decoding; an event in structured mode does not show its type and is handed over.
func wanted(types []string, r *kgo.Record) bool {
	if types == nil {
		return true
	}
	name, ok := header(r, prefix+"type")
	if !ok {
		return true
	}
	for _, t := range types {
		if driver.MatchType(t, name) {
			return true
		}
	}
	return false
}
