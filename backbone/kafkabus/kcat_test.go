package kafkabus_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"example.org/souk/backbone/internal/broker"
)

// kcat is librdkafka's: what it reads and writes is what others read and write.

func TestKcatReadsWhatWeSend(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 3)
	m := message(topic, 2, 7)
	m.Key = "order-Ünï/7"
	m.Attributes = append(m.Attributes, broker.Attribute{Name: "subject", Value: "Ünï ✓"}, broker.Attribute{Name: "partitionkey", Value: m.Key})
	send(t, c, m)
	out := server.Kcat(t, "", "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J")
	var got struct {
		Topic     string   `json:"topic"`
		Partition int      `json:"partition"`
		Offset    int64    `json:"offset"`
		Headers   []string `json:"headers"`
		Key       string   `json:"key"`
		Payload   string   `json:"payload"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := []string{
		"ce_specversion", "1.0", "ce_id", m.ID, "ce_source", "test", "ce_type", "test.Counted.v1",
		"ce_subject", "Ünï ✓", "ce_partitionkey", m.Key, "content-type", "application/json",
	}
	if got.Topic != topic || got.Partition != 2 || got.Offset != 0 || got.Key != m.Key || got.Payload != string(m.Body) || !slices.Equal(got.Headers, want) {
		t.Errorf("kcat reads %+v", got)
	}
}

func TestWeReceiveWhatKcatProduces(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 1)
	g := group(topic, 1, "partner.Said.v1")
	join(t, c, g)
	server.Kcat(t, `{"said":"hello"}`, "-P", "-t", topic, "-p", "0", "-k", "key",
		"-H", "ce_specversion=1.0", "-H", "ce_id=k1", "-H", "ce_source=//kcat", "-H", "ce_type=partner.Said.v1", "-H", "content-type=application/json")
	const event = `{"specversion":"1.0","id":"k2","source":"//kcat","type":"partner.Other.v1","data":{"said":"ünï"}}`
	server.Kcat(t, event, "-P", "-t", topic, "-p", "0", "-z", "gzip", "-H", "content-type=application/cloudevents+json; charset=UTF-8")
	r := receive(t, c, g, 0, all)
	got := r.wait(2)
	r.stop()
	binary, structured := got[0], got[1]
	if attribute(binary, "id") != "k1" || attribute(binary, "type") != "partner.Said.v1" || binary.ContentType != "application/json" ||
		string(binary.Body) != `{"said":"hello"}` || len(binary.Attributes) != 4 {
		t.Errorf("binary: %+v", binary)
	}
	// Its type is inside, so it is handed over whatever the group takes.
	if !strings.HasPrefix(structured.ContentType, "application/cloudevents+json") || string(structured.Body) != event || len(structured.Attributes) != 0 {
		t.Errorf("structured: %+v", structured)
	}
}

// The group's place and lag are where Kafka's own tools look for them.
func TestPlacesAreThoseOfAKafkaGroup(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	send(t, c, messages(topic, 0, 0, 30)...)
	r := receive(t, c, g, 0, func(in broker.Incoming) bool { return in.Sequence <= 10 })
	r.wait(30)
	r.stop()
	lags, err := admin(t, server.Addresses()).Lag(t.Context(), g.Name)
	must(t, err, lags.Error())
	if lag, ok := lags[g.Name].Lag.Lookup(topic, 0); !ok || lag.Lag != 20 || lag.Commit.At != 10 {
		t.Errorf("the lag is %+v", lag)
	}
	// A consumer of Kafka's own kind goes on at that place.
	out := server.Kcat(t, "", "-G", g.Name, "-c", "20", "-q", "-f", "%o\n", topic)
	if !strings.HasPrefix(out, "10\n11\n") || strings.Count(out, "\n") != 20 {
		t.Errorf("kcat goes on with\n%s", out)
	}
}
