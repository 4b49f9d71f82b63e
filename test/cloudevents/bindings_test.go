package cloudevents

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	amqp1 "github.com/Azure/go-amqp"
	"github.com/IBM/sarama"
	ceamqp "github.com/cloudevents/sdk-go/protocol/amqp/v2"
	cekafka "github.com/cloudevents/sdk-go/protocol/kafka_sarama/v2"
	cenats "github.com/cloudevents/sdk-go/protocol/nats_jetstream/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/backbone/rabbitbus"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/testserver"
)

// Told is what the teller publishes, when it is asked to Tell; the hearer takes it.
type Told struct {
	Text string `json:"text"`
}

// EventType returns the wire name.
func (Told) EventType() string { return "test.teller.Told.v1" }

// Tell asks for a Told.
type Tell struct {
	To   string `json:"to"`
	Text string `json:"text"`
}

// CommandType returns the wire name.
func (Tell) CommandType() string { return "test.teller.Tell.v1" }

// Stream returns who is told.
func (c Tell) Stream() string { return c.To }

func teller() *backbone.Service {
	book := &backbone.Aggregate[int]{Name: "book", Public: []backbone.Event{Told{}}, Evolve: func(n int, _ backbone.Event) int { return n + 1 }}
	return &backbone.Service{Name: "teller", Handles: []backbone.Handler{
		backbone.Decide(book, func(_ int, c Tell, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{Told{c.Text}}, nil
		}),
	}}
}

// heard keeps what the hearer took, by its id.
type heard struct {
	mu     sync.Mutex
	list   map[string]backbone.Message
	parked func() any
}

func (h *heard) service() *backbone.Service {
	return &backbone.Service{Name: "hearer", Subscribes: []backbone.Subscriber{
		backbone.On(func(_ context.Context, tx backbone.Tx, _ Told) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.list[tx.Message().ID] = *tx.Message()
			return nil
		}),
	}}
}

// await returns the message of an id once the hearer has it.
func (h *heard) await(t *testing.T, id string) (m backbone.Message) {
	t.Helper()
	if !testserver.Await(t.Context(), time.Minute, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		var found bool
		m, found = h.list[id]
		return found
	}) {
		t.Fatalf("%s has not come; parked is %+v", id, h.parked())
	}
	return m
}

// started runs the two services with a transport between them.
func started(t *testing.T, open func(store func(string) driver.Store) (driver.Transport, error)) (*backbone.Runtime, *heard) {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(t.TempDir(), "souk.db")})
	if err != nil {
		t.Fatal(err)
	}
	storeOf := func(string) driver.Store { return store }
	bus, err := open(storeOf)
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{list: map[string]backbone.Message{}}
	runtime, err := backbone.New(backbone.Config{Parts: []*backbone.Service{teller(), h.service()}, Store: storeOf, Transport: bus})
	if err == nil {
		err = runtime.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	h.parked = func() any {
		list, err := runtime.Parked(context.Background(), "hearer", "", 10)
		return []any{list, err}
	}
	t.Cleanup(func() {
		for _, err := range []error{runtime.Stop(context.Background()), bus.Close(), store.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return runtime, h
}

// both checks a broker's binding both ways. received returns the next message that souk has published, as the SDK sees it; send has the SDK publish one to
// where that came from.
func both(t *testing.T, runtime *backbone.Runtime, h *heard, received func() binding.Message, send func(ctx context.Context, m binding.Message)) {
	t.Helper()
	answer, err := runtime.Do(t.Context(), Tell{To: "anna", Text: "a \"b\" ü ✓"}, backbone.By("customer:C1"))
	if err != nil {
		t.Fatal(err)
	}
	theirs := received()
	if theirs.ReadEncoding() != binding.EncodingBinary {
		t.Errorf("the SDK reads the encoding %v", theirs.ReadEncoding())
	}
	e, err := binding.ToEvent(t.Context(), theirs)
	if err != nil {
		t.Fatalf("the SDK cannot read what souk publishes: %v", err)
	}
	ours := h.await(t, answer.Refs[0].ID)
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
	attributes := backbone.CloudEventAttributes(&ours)
	for name, got := range map[string]string{
		"specversion": e.SpecVersion(), "id": e.ID(), "source": e.Source(), "type": e.Type(), "subject": e.Subject(),
		"time": e.Time().UTC().Format(time.RFC3339Nano), "datacontenttype": e.DataContentType(),
	} {
		if got != attributes[name] {
			t.Errorf("of souk's event the SDK reads %s as %q, want %q", name, got, attributes[name])
		}
		delete(attributes, name)
	}
	for name, want := range attributes {
		if got := fmt.Sprint(e.Extensions()[name]); got != want {
			t.Errorf("of souk's event the SDK reads %s as %q, want %q", name, got, want)
		}
	}
	if string(e.Data()) != string(ours.Data) {
		t.Errorf("the SDK reads the data %s, want %s", e.Data(), ours.Data)
	}

	for _, mode := range []string{"binary", "structured"} {
		ctx := binding.WithForceBinary(t.Context())
		if mode == "structured" {
			ctx = binding.WithForceStructured(t.Context())
		}
		e := event.New()
		e.SetID("sdk-" + mode)
		e.SetSource("teller")
		e.SetType(Told{}.EventType())
		e.SetSubject("bert")
		e.SetTime(time.Date(2026, 11, 2, 5, 0, 7, 0, time.FixedZone("east", 7200))) // times of AMQP 0-9-1 have whole seconds
		e.SetExtension("correlationid", "c-"+mode)
		e.SetExtension("partitionkey", "bert")
		e.SetExtension("severity", 9) // which souk does not know
		if err := e.SetData("application/json", Told{"by the SDK ü"}); err != nil {
			t.Fatal(err)
		}
		send(ctx, binding.ToMessage(&e))
		got := h.await(t, e.ID())
		if got.Source != "teller" || got.Type != (Told{}).EventType() || got.Stream != "bert" || got.Correlation != "c-"+mode ||
			!got.Time.Equal(e.Time()) || string(got.Data) != string(e.Data()) {
			t.Errorf("%s: souk reads the SDK's event as %+v", mode, got)
		}
	}
}

// The NATS binding. Red where the prefix of headers is another, and where structured mode is not told.
func TestNATS(t *testing.T) {
	t.Parallel()
	server := testserver.NATSOwn(t)
	conn, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	published, err := conn.SubscribeSync(">")
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	runtime, h := started(t, func(store func(string) driver.Store) (driver.Transport, error) {
		return natsbus.New(natsbus.Config{Client: natsbus.ClientConfig{URL: server.URL()}, Store: store})
	})
	subject := ""
	both(t, runtime, h, func() binding.Message {
		for {
			m, err := published.NextMsg(time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if m.Header.Get("ce-type") == (Told{}).EventType() { // beside it goes what JetStream says to itself
				subject = m.Subject
				return cenats.NewMessage(m)
			}
		}
	}, func(ctx context.Context, m binding.Message) {
		var body bytes.Buffer
		header, err := cenats.WriteMsg(ctx, m, &body)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.PublishMsg(&nats.Msg{Subject: subject, Header: header, Data: body.Bytes()}); err != nil {
			t.Fatal(err)
		}
	})
}

// The Kafka binding, with the SDK's client. Red where the prefix of headers is another, and where structured mode is not told.
func TestKafka(t *testing.T) {
	t.Parallel()
	server := testserver.KafkaOwn(t, 1)
	runtime, h := started(t, func(store func(string) driver.Store) (driver.Transport, error) {
		return kafkabus.New(kafkabus.Config{Client: kafkabus.ClientConfig{Brokers: server.Addresses()}, Store: store, Partitions: 1})
	})
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	client, err := sarama.NewClient(server.Addresses(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	reading, err := consumer.ConsumePartition("souk.teller", 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reading.Close() })
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	both(t, runtime, h, func() binding.Message {
		select {
		case m := <-reading.Messages():
			return cekafka.NewMessageFromConsumerMessage(m)
		case <-time.After(time.Minute):
			t.Fatal("souk has published nothing")
			return nil
		}
	}, func(ctx context.Context, m binding.Message) {
		out := &sarama.ProducerMessage{Topic: "souk.teller"}
		err := cekafka.WriteProducerMessage(ctx, m, out)
		if err == nil {
			_, _, err = producer.SendMessage(out)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

// The AMQP binding, which is one of AMQP 1.0. The SDK's encoder and decoder work on messages in memory, and what is between them and the 0-9-1 that souk
// speaks is what RabbitMQ does for clients of both: headers are application properties. The SDK reads and writes the prefix with a colon; souk reads
// either, and writes the other one that the binding has. Red where souk does not read the SDK's prefix, and where structured mode is not told.
func TestRabbitMQ(t *testing.T) {
	t.Parallel()
	url := testserver.Rabbit(t).URL()
	namespace := fmt.Sprint("t", time.Now().UnixNano())
	runtime, h := started(t, func(store func(string) driver.Store) (driver.Transport, error) {
		return rabbitbus.New(rabbitbus.Config{Client: rabbitbus.ClientConfig{URL: url}, Store: store, Namespace: namespace, Partitions: 1})
	})
	conn, err := amqp091.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	channel, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	exchange := namespace + ".teller"
	queue, err := channel.QueueDeclare("", false, true, true, false, nil)
	if err == nil {
		err = channel.QueueBind(queue.Name, "#", exchange, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	deliveries, err := channel.Consume(queue.Name, "", true, true, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	key := ""
	both(t, runtime, h, func() binding.Message {
		select {
		case d := <-deliveries:
			key = d.RoutingKey
			in := &amqp1.Message{Data: [][]byte{d.Body}, Properties: &amqp1.MessageProperties{ContentType: &d.ContentType}, ApplicationProperties: map[string]any{}}
			for name, value := range d.Headers {
				in.ApplicationProperties[strings.Replace(name, "cloudEvents_", "cloudEvents:", 1)] = value
			}
			return ceamqp.NewMessage(in, nil)
		case <-time.After(time.Minute):
			t.Fatal("souk has published nothing")
			return nil
		}
	}, func(ctx context.Context, m binding.Message) {
		var out amqp1.Message
		if err := ceamqp.WriteMessage(ctx, m, &out); err != nil {
			t.Fatal(err)
		}
		p := amqp091.Publishing{ContentType: *out.Properties.ContentType, Headers: amqp091.Table{}, Body: out.GetData()}
		for name, value := range out.ApplicationProperties {
			p.Headers[name] = value
		}
		if err := channel.PublishWithContext(ctx, exchange, key, true, false, p); err != nil {
			t.Fatal(err)
		}
	})
}
