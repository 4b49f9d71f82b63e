package bench

import (
	"fmt"
	"strconv"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

const (
	bodySize = 256
	// streams is how many streams the messages belong to.
	streams = 1000
	// source is the service in whose name the raw clients and Watermill publish.
	source    = "shop"
	eventType = "bench.shop.OrderPlaced.v1"
)

// attribute is one of souk's envelope.
type attribute struct{ name, value string }

// message is what is sent: as souk has it in its log, and as the others take it.
type message struct {
	record     driver.Record
	attributes []attribute // none for the bare client
}

// body returns a JSON object of bodySize bytes that says when it was made.
func body(n int, at time.Time) []byte {
	b := fmt.Appendf(make([]byte, 0, bodySize), `{"at":"%019d","order":"%09d","rest":"`, at.UnixNano(), n)
	for len(b) < bodySize-2 {
		b = append(b, 'a'+byte(len(b)%26))
	}
	return append(b, '"', '}')
}

// madeAt reads from a body when it was made.
func madeAt(b []byte) (time.Time, error) {
	if len(b) != bodySize {
		return time.Time{}, fmt.Errorf("a body of %d bytes, not %d", len(b), bodySize)
	}
	ns, err := strconv.ParseInt(string(b[7:26]), 10, 64)
	return time.Unix(0, ns), err
}

// numberOf reads from a body which message it is.
func numberOf(b []byte) (int, error) {
	if len(b) != bodySize {
		return 0, fmt.Errorf("a body of %d bytes, not %d", len(b), bodySize)
	}
	return strconv.Atoi(string(b[37:46]))
}

// newMessage returns the n-th message, made now.
func newMessage(n int, envelope bool) (message, error) {
	now := time.Now()
	m := message{record: driver.Record{
		Position: int64(n + 1), Kind: driver.KindEvent, ID: fmt.Sprintf("01j%023d", n), Stream: fmt.Sprintf("order/F%05d", n%streams),
		Version: int64(n/streams + 1), Sequence: int64(n/streams + 1), Type: eventType, Data: body(n, now), Time: now.UnixMicro(),
		Meta: fmt.Appendf(nil, `{"actor":"customer:F%05d","correlationid":"01j%023d","causationid":"01j%023d",`+
			`"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`, n%streams, n, n),
	}}
	if !envelope {
		return m, nil
	}
	decoded, err := backbone.MessageOf(source, &m.record)
	if err != nil {
		return m, err
	}
	backbone.RangeCloudEvent(decoded, func(name, value string) {
		if name != "datacontenttype" {
			m.attributes = append(m.attributes, attribute{name, value})
		}
	})
	return m, nil
}

// newMessages returns n messages, with envelopes or without.
func newMessages(n int, envelope bool) ([]message, error) {
	ms := make([]message, n)
	for i := range ms {
		var err error
		if ms[i], err = newMessage(i, envelope); err != nil {
			return nil, err
		}
	}
	return ms, nil
}
