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

// headerOf writes an event's attributes in binary mode.
func headerOf(m *broker.Outgoing) nats.Header {
	h := make(nats.Header, len(m.Attributes)+4)
	values := make([]string, 0, len(m.Attributes)+3)
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	for _, a := range m.Attributes {
		set(prefixCE+a.Name, escape(a.Value))
	}
	if _, ok := h[headerID]; !ok {
		set(headerID, escape(m.ID))
	}
	if _, ok := h[headerType]; !ok {
		set(headerType, escape(m.Type))
	}
	set(headerContent, contentJSON)
	return h
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
