package rabbitbus

import (
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
)

// CloudEvents has a binding for AMQP 1.0 and none for 0-9-1. Headers take the place of its application properties,
// under the prefix that the binding says for clients that cannot have a colon in a name; both are understood.
const (
	prefix      = "cloudEvents_"
	otherPrefix = "cloudEvents:"
	contentType = "application/json"
)

// publishing returns the message that carries an event in binary mode.
func publishing(m *broker.Outgoing) amqp.Publishing {
	headers := make(amqp.Table, len(m.Attributes))
	for _, a := range m.Attributes {
		headers[prefix+a.Name] = a.Value
	}
	p := amqp.Publishing{
		Headers:      headers,
		ContentType:  contentType,
		DeliveryMode: amqp.Persistent,
		Body:         m.Body,
	}
	// For the eyes of operators; the event has both among its attributes.
	if len(m.ID) <= longest {
		p.MessageId = m.ID
	}
	if len(m.Type) <= longest {
		p.Type = m.Type
	}
	return p
}

// headerBytes is how much the headers of a message take at most. They go in one frame, whatever the message's size.
func headerBytes(m *broker.Outgoing) int {
	n := 3*longest + 64
	for _, a := range m.Attributes {
		n += 1 + len(prefix) + len(a.Name) + 5 + len(a.Value)
	}
	return n
}

// attributes returns the attributes of an event in binary mode, in no order. Those that a publisher of another kind has
// written as something else than text are written as CloudEvents says.
func attributes(headers amqp.Table) []broker.Attribute {
	if len(headers) == 0 {
		return nil
	}
	all := make([]broker.Attribute, 0, len(headers))
	for header, value := range headers {
		name, ok := strings.CutPrefix(header, prefix)
		if !ok {
			if name, ok = strings.CutPrefix(header, otherPrefix); !ok {
				continue
			}
		}
		if text, ok := textOf(value); ok {
			all = append(all, broker.Attribute{Name: name, Value: text})
		}
	}
	return all
}

func textOf(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	case int64, int32, int16, int8, uint8:
		return strconv.FormatInt(number(v), 10), true
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), true
	}
	return "", false
}
