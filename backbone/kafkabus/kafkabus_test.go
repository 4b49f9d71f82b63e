package kafkabus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/internal/brokertest"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/internal/testserver"
)

func TestMain(m *testing.M) {
	brokertest.Child(openBus)
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is how long something may take that should take milliseconds.
const patience = 30 * time.Second

func connect(t testing.TB, addresses []string, change ...func(*kafkabus.ClientConfig)) *kafkabus.Client {
	t.Helper()
	config := kafkabus.ClientConfig{Brokers: addresses}
	for _, c := range change {
		c(&config)
	}
	client, err := kafkabus.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return client
}

// through leads every connection to a server of one broker through a proxy: the server tells its own address, so that of
// the proxy would serve for the first connection only.
func through(proxy *testserver.Proxy) func(*kafkabus.ClientConfig) {
	return func(c *kafkabus.ClientConfig) {
		c.Options = append(c.Options, kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 4 * time.Second}).DialContext(ctx, network, proxy.Addr())
		}))
	}
}

// admin returns the raw library's administration of a server.
func admin(t testing.TB, addresses []string) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// name returns a name that was never used before, also on a server that outlives the test.
func name(kind string) string { return "test." + kind + "-" + rand.Text()[:10] }

// declared makes a topic and returns its name.
func declared(t testing.TB, c *kafkabus.Client, partitions int) string {
	t.Helper()
	topic := name("topic")
	if n, err := c.DeclareTopic(t.Context(), topic, partitions); err != nil || n != partitions {
		t.Fatalf("declare %s: %d, %v", topic, n, err)
	}
	return topic
}

func group(topic string, partitions int, types ...string) broker.Group {
	return broker.Group{Name: name("group"), Inputs: []broker.Input{{Topic: topic, Types: types}}, Partitions: partitions}
}

func join(t testing.TB, c *kafkabus.Client, g broker.Group) {
	t.Helper()
	if err := c.Join(t.Context(), g); err != nil {
		t.Fatal(err)
	}
}

// message returns the message with a number, whose key decides nothing here.
func message(topic string, partition, n int) broker.Outgoing {
	id := fmt.Sprintf("%s/%d/%d", topic, partition, n)
	return broker.Outgoing{
		Topic: topic, Partition: partition, Key: fmt.Sprint("key-", partition), ID: id, Type: "test.Counted.v1",
		Attributes: []broker.Attribute{
			{Name: "specversion", Value: "1.0"},
			{Name: "id", Value: id},
			{Name: "source", Value: "test"},
			{Name: "type", Value: "test.Counted.v1"},
		},
		Body: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

func messages(topic string, partition, from, to int) []broker.Outgoing {
	var ms []broker.Outgoing
	for n := from; n < to; n++ {
		ms = append(ms, message(topic, partition, n))
	}
	return ms
}

func send(t testing.TB, c *kafkabus.Client, ms ...broker.Outgoing) []broker.Anchor {
	t.Helper()
	anchors, err := c.Send(t.Context(), ms)
	if err != nil {
		t.Fatal(err)
	}
	return anchors
}

// insist sends until it is confirmed, as whoever publishes does.
func insist(ctx context.Context, c *kafkabus.Client, ms []broker.Outgoing) error {
	for {
		_, err := c.Send(ctx, ms)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

func attribute(in broker.Incoming, name string) string {
	for _, a := range in.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// receiver is a Receive under way.
type receiver struct {
	t      testing.TB
	cancel context.CancelFunc
	ended  chan error

	mu    sync.Mutex
	got   []broker.Incoming
	grown chan struct{}
}

// receive receives a partition; settle says which messages are settled as they come.
func receive(t testing.TB, c *kafkabus.Client, g broker.Group, partition int, settle func(broker.Incoming) bool) *receiver {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &receiver{t: t, cancel: cancel, ended: make(chan error, 1), grown: make(chan struct{}, 1)}
	go func() {
		r.ended <- c.Receive(ctx, g, partition, r.taker(settle))
	}()
	t.Cleanup(cancel)
	return r
}

func (r *receiver) taker(settle func(broker.Incoming) bool) func([]broker.Incoming) error {
	return func(ins []broker.Incoming) error {
		r.mu.Lock()
		r.got = append(r.got, ins...)
		r.mu.Unlock()
		for _, in := range ins {
			if settle != nil && settle(in) {
				in.Done()
			}
		}
		select {
		case r.grown <- struct{}{}:
		default:
		}
		return nil
	}
}

func all(broker.Incoming) bool { return true }

func (r *receiver) received() []broker.Incoming {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]broker.Incoming(nil), r.got...)
}

// wait returns the messages once there are n.
func (r *receiver) wait(n int) []broker.Incoming {
	r.t.Helper()
	r.until(fmt.Sprint(n, " messages"), func(got []broker.Incoming) bool { return len(got) >= n })
	return r.received()
}

func (r *receiver) until(what string, holds func([]broker.Incoming) bool) {
	r.t.Helper()
	deadline := time.After(patience)
	for !holds(r.received()) {
		select {
		case <-r.grown:
		case err := <-r.ended:
			r.ended <- err
			if !holds(r.received()) {
				r.t.Fatalf("receive ended before %s with %d: %v", what, len(r.received()), err)
			}
		case <-deadline:
			r.t.Fatalf("no %s after %v: there are %d", what, patience, len(r.received()))
		}
	}
}

// stop ends the receiving cleanly.
func (r *receiver) stop() {
	r.t.Helper()
	r.cancel()
	if err := r.end(); err != nil {
		r.t.Errorf("receive: %v", err)
	}
}

func (r *receiver) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.t.Fatal("receive does not end")
		return nil
	}
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(5 * time.Millisecond); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// ordered checks that the ids of a partition are those from one number to another, in order, and without a copy.
func ordered(t testing.TB, got []broker.Incoming, topic string, partition, from, to int) {
	t.Helper()
	if len(got) != to-from {
		t.Fatalf("%d messages, want %d to %d", len(got), from, to)
	}
	for i, in := range got {
		if want := fmt.Sprintf("%s/%d/%d", topic, partition, from+i); attribute(in, "id") != want {
			t.Fatalf("message %d is %s, want %s", i, attribute(in, "id"), want)
		}
	}
}

// firsts drops all but the first of each message, as an inbox does.
func firsts(got []broker.Incoming) []broker.Incoming {
	seen := map[string]bool{}
	var list []broker.Incoming
	for _, in := range got {
		if id := attribute(in, "id"); !seen[id] {
			seen[id] = true
			list = append(list, in)
		}
	}
	return list
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func shared(t testing.TB) (*testserver.KafkaServer, *kafkabus.Client) {
	t.Helper()
	server := testserver.Kafka(t)
	return server, connect(t, server.Addresses())
}
