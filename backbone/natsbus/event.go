package natsbus

import (
	"strings"

	"github.com/nats-io/nats.go"

	"example.org/souk/backbone/internal/broker"
)

// The CloudEvents binding of NATS, version 1.0.3: attributes are headers with the prefix ce-, datacontenttype among
// them; a Content-Type that begins with application/cloudevents tells structured mode, and so does an object of JSON
// without any of these headers.
const (
	prefixCE      = "ce-"
	headerID      = prefixCE + "id"
	headerType    = prefixCE + "type"
	headerContent = prefixCE + "datacontenttype"
	contentType   = "Content-Type"
	structured    = "application/cloudevents"
	contentJSON   = "application/json"
)

// envelope writes headers, one over the other: the library has copied one when it has published its message, and events that follow each
// other have the same attributes nearly always, so that nothing but values changes. The zero envelope is ready.
type envelope struct {
	header nats.Header
	names  []string // of the attributes of the last event
	values []string // theirs, its id and its type; those of header are parts of this
}

// of writes an event's attributes in binary mode. The header stands until the next one is asked for.
func (e *envelope) of(m *broker.Outgoing) nats.Header {
	if !e.fits(m) {
		e.lay(m)
	}
	for i := range m.Attributes {
		e.values[i] = escape(m.Attributes[i].Value)
	}
	n := len(m.Attributes)
	e.values[n], e.values[n+1] = escape(m.ID), escape(m.Type)
	return e.header
}

// fits reports whether an event has the attributes of the last one.
func (e *envelope) fits(m *broker.Outgoing) bool {
	if e.header == nil || len(e.names) != len(m.Attributes) {
		return false
	}
	for i, name := range e.names {
		if m.Attributes[i].Name != name {
			return false
		}
	}
	return true
}

// lay makes a header with room for an event's attributes.
func (e *envelope) lay(m *broker.Outgoing) {
	n := len(m.Attributes)
	e.header, e.names, e.values = make(nats.Header, n+4), make([]string, n), make([]string, n+2)
	at := func(name string, i int) { e.header[name] = e.values[i : i+1 : i+1] }
	at(headerID, n)
	at(headerType, n+1)
	for i, a := range m.Attributes {
		e.names[i] = a.Name
		at(prefixCE+a.Name, i)
	}
	e.header[headerContent] = []string{contentJSON}
}

// incoming reads a message of either mode. Its attributes are in no order, as headers are.
func incoming(topic string, m *nats.Msg) broker.Incoming {
	in := broker.Incoming{Topic: topic, Body: m.Data}
	in.Attributes = make([]broker.Attribute, 0, len(m.Header))
	content := ""
	for name, values := range m.Header {
		if len(values) == 0 {
			continue
		}
		switch {
		case strings.EqualFold(name, headerContent):
			in.ContentType = unescape(values[0])
		case len(name) > len(prefixCE) && strings.EqualFold(name[:len(prefixCE)], prefixCE):
			in.Attributes = append(in.Attributes, broker.Attribute{Name: strings.ToLower(name[len(prefixCE):]), Value: unescape(values[0])})
		case strings.EqualFold(name, contentType):
			content = values[0]
		}
	}
	if in.ContentType == "" || len(content) >= len(structured) && strings.EqualFold(content[:len(structured)], structured) {
		in.ContentType = content
	}
	if in.ContentType == "" && len(in.Attributes) == 0 && len(m.Data) > 0 && m.Data[0] == '{' {
		in.ContentType = structured + "+json" // older servers have no headers, and clients that speak to those send events so
	}
	return in
}

// idOf returns the event's id where the header has it.
func idOf(h nats.Header) string {
	if values, ok := h[headerID]; ok && len(values) > 0 {
		return unescape(values[0])
	}
	for name, values := range h {
		if strings.EqualFold(name, headerID) && len(values) > 0 {
			return unescape(values[0])
		}
	}
	return ""
}

// plain tells whether a byte stands for itself in a header: the printable ones of ASCII, without space, quote and
// percent.
func plain(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' }

// escape percent-encodes a value as the binding says.
func escape(value string) string {
	i := 0
	for i < len(value) && plain(value[i]) {
		i++
	}
	if i == len(value) {
		return value
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(value)+16)
	b = append(b, value[:i]...)
	for ; i < len(value); i++ {
		if c := value[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// unescape takes back what escape did, and before it the quotes that older versions of the binding allowed. What is no
// encoding stands for itself.
func unescape(value string) string {
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		inner := value[1 : n-1]
		b := make([]byte, 0, len(inner))
		for i := 0; i < len(inner); i++ {
			if inner[i] == '\\' && i+1 < len(inner) {
				i++
			}
			b = append(b, inner[i])
		}
		value = string(b)
	}
	if strings.IndexByte(value, '%') < 0 {
		return value
	}
	b := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+2 < len(value) {
			high, low := nibble(value[i+1]), nibble(value[i+2])
			if high >= 0 && low >= 0 {
				b = append(b, byte(high<<4|low))
				i += 2
				continue
			}
		}
		b = append(b, value[i])
	}
	return string(b)
}

func nibble(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
