package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/internal/brokertest"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/internal/testserver"
)

func TestMain(m *testing.M) {
	brokertest.Child(openBus)
	if args := os.Getenv(childEnv); args != "" {
		if err := child(strings.Fields(args)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// soon is how long a test waits for something that takes milliseconds.
const soon = 30 * time.Second

// open returns a client of its own names at the server.
func open(t testing.TB, server *testserver.NATSServer) *natsbus.Client {
	t.Helper()
	return openWith(t, natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()})
}

func openWith(t testing.TB, config natsbus.ClientConfig) *natsbus.Client {
	t.Helper()
	c, err := natsbus.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// raw is the library itself, to look at the server with.
func raw(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(ended) })
	t.Cleanup(func() { nc.Close(); <-ended })
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func declare(t testing.TB, c *natsbus.Client, topic string, partitions int) {
	t.Helper()
	made := 0
	err := asked(t, func(ctx context.Context) (err error) { made, err = c.DeclareTopic(ctx, topic, partitions); return err })
	if err != nil || made != partitions {
		t.Fatalf("declare %s: %d, %v", topic, made, err)
	}
}

func join(t testing.TB, c *natsbus.Client, g broker.Group) {
	t.Helper()
	if err := asked(t, func(ctx context.Context) error { return c.Join(ctx, g) }); err != nil {
		t.Fatalf("join: %v", err)
	}
}

// asked asks again where the server did not answer in time, as whoever uses a client does: one that flushes everything can take
// longer to make a stream, where a disk is busy, than the client waits.
func asked(t testing.TB, f func(context.Context) error) (err error) {
	t.Helper()
	testserver.Await(t.Context(), 2*soon, func() bool {
		err = f(t.Context())
		return !errors.Is(err, context.DeadlineExceeded)
	})
	return err
}

func send(t testing.TB, c *natsbus.Client, ms ...broker.Outgoing) []broker.Anchor {
	t.Helper()
	anchors, err := c.Send(t.Context(), ms)
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	return anchors
}

// message is an event with the attributes that each has.
func message(topic string, partition int, id, wire string) broker.Outgoing {
	return broker.Outgoing{
		Topic: topic, Partition: partition, Key: "key-" + id, ID: id, Type: wire,
		Attributes: []broker.Attribute{
			{Name: "id", Value: id}, {Name: "source", Value: "shop"}, {Name: "specversion", Value: "1.0"}, {Name: "type", Value: wire},
		},
		Body: []byte(`{"id":"` + id + `"}`),
	}
}

const thing = "shop.things.Made.v1"

// series is n messages, numbered from first on, in partitions one after the other.
func series(topic string, partitions, first, n int) []broker.Outgoing {
	var ms []broker.Outgoing
	for i := first; i < first+n; i++ {
		ms = append(ms, message(topic, i%partitions, fmt.Sprint(i), thing))
	}
	return ms
}

func group(name string, partitions int, topics ...string) broker.Group {
	g := broker.Group{Name: name, Partitions: partitions, FromFirst: true}
	for _, topic := range topics {
		g.Inputs = append(g.Inputs, broker.Input{Topic: topic})
	}
	return g
}

func idOf(m broker.Incoming) string { return attribute(m, "id") }

func attribute(m broker.Incoming, name string) string {
	for _, a := range m.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// receiving is a Receive or Tap that runs. What it takes waits in got.
type receiving struct {
	t      testing.TB
	got    chan broker.Incoming
	cancel context.CancelFunc
	done   chan error
	stop   func()
}

// receive starts to receive; it ends with the test.
func receive(t testing.TB, c *natsbus.Client, g broker.Group, partition int) *receiving {
	t.Helper()
	return run(t, func(ctx context.Context, take func([]broker.Incoming) error) error {
		return c.Receive(ctx, g, partition, take)
	})
}

func run(t testing.TB, f func(context.Context, func([]broker.Incoming) error) error) *receiving {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &receiving{t: t, got: make(chan broker.Incoming, 1<<17), cancel: cancel, done: make(chan error, 1)}
	var one sync.Mutex
	go func() {
		r.done <- f(ctx, func(ms []broker.Incoming) error {
			if !one.TryLock() {
				return errors.New("take is called from two goroutines at once")
			}
			defer one.Unlock()
			for _, m := range ms {
				r.got <- m
			}
			return nil
		})
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-r.done; err != nil {
			t.Errorf("receiving ended: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		select {
		case <-r.done: //nolint:errcheck // it says only that receiving has ended
		case <-time.After(soon):
			t.Error("receiving does not end")
		default:
			r.stop()
		}
	})
	return r
}

// next waits for n messages.
func (r *receiving) next(n int) []broker.Incoming {
	r.t.Helper()
	var list []broker.Incoming
	limit := time.NewTimer(soon)
	defer limit.Stop()
	for len(list) < n {
		select {
		case m := <-r.got:
			list = append(list, m)
		case err := <-r.done:
			r.done <- err
			// What came before the end is still there.
			if len(r.got) == 0 {
				r.t.Fatalf("receiving ended after %d of %d messages: %v", len(list), n, err)
			}
		case <-limit.C:
			r.t.Fatalf("only %d of %d messages came", len(list), n)
		}
	}
	return list
}

// fails waits until it ends by itself, and returns why.
func (r *receiving) fails() error {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.stop = func() {}
		r.cancel()
		close(r.done)
		return err
	case <-time.After(soon):
		r.t.Fatal("receiving goes on")
		return nil
	}
}

func ids(ms []broker.Incoming) []string {
	var list []string
	for _, m := range ms {
		list = append(list, idOf(m))
	}
	return list
}

func settle(ms ...broker.Incoming) {
	for _, m := range ms {
		m.Done()
	}
}

func numbers(first, n int) []string {
	var list []string
	for i := first; i < first+n; i++ {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Fatalf("%s: got %d, want %d; behind the first %d, which are right, came %v, want %v",
			what, len(got), len(want), i, got[i:min(len(got), i+20)], want[i:min(len(want), i+20)])
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(soon); ; {
		if ok() {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: it does not happen", what)
		}
	}
}

// sortByName brings attributes into an order, in which they do not come.
func sortByName(all []broker.Attribute) {
	slices.SortFunc(all, func(a, b broker.Attribute) int { return strings.Compare(a.Name, b.Name) })
}
