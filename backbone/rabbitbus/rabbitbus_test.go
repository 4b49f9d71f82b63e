package rabbitbus_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/internal/brokertest"
	"example.org/souk/backbone/rabbitbus"
	"example.org/souk/internal/testserver"
)

func TestMain(m *testing.M) {
	brokertest.Child(openBus)
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what should happen soon.
const patience = 30 * time.Second

// connect returns a client that the test closes.
func connect(t testing.TB, url string) *rabbitbus.Client {
	t.Helper()
	c, err := rabbitbus.NewClient(rabbitbus.ClientConfig{URL: url})
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

// raw returns a channel of the client library, for what other programs do.
func raw(t testing.TB, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// names returns names of topics or groups that are this test's own; what has them is removed with the test.
func names(t testing.TB, url string, n int) []string {
	t.Helper()
	own := "t" + strings.ToLower(rand.Text()[:10])
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s-%d.events", own, i)
	}
	t.Cleanup(func() {
		conn, err := amqp.Dial(url)
		if err != nil {
			return // a server that the test has ended
		}
		defer conn.Close()
		ch, err := conn.Channel()
		if err != nil {
			return
		}
		for _, name := range all {
			queues := []string{"topic:" + name, "group:" + name}
			for p := range 8 {
				queues = append(queues, name+"."+strconv.Itoa(p))
			}
			for _, queue := range queues {
				_, _ = ch.QueueDelete(queue, false, false, false)
			}
			_ = ch.ExchangeDelete(name, false, false)
		}
	})
	return all
}

func declare(t testing.TB, c *rabbitbus.Client, topic string, partitions int) {
	t.Helper()
	if n, err := c.DeclareTopic(t.Context(), topic, partitions); err != nil || n != partitions {
		t.Fatalf("declare %s: %d partitions, %v", topic, n, err)
	}
}

func join(t testing.TB, c *rabbitbus.Client, g broker.Group) {
	t.Helper()
	if err := c.Join(t.Context(), g); err != nil {
		t.Fatalf("join %s: %v", g.Name, err)
	}
}

func groupOf(name string, partitions int, topics ...string) broker.Group {
	g := broker.Group{Name: name, Partitions: partitions}
	for _, topic := range topics {
		g.Inputs = append(g.Inputs, broker.Input{Topic: topic})
	}
	return g
}

// numbered returns messages whose bodies are numbers from first on, all of one partition.
func numbered(topic string, partition, first, n int) []broker.Outgoing {
	ms := make([]broker.Outgoing, n)
	for i := range ms {
		ms[i] = outgoing(topic, partition, first+i)
	}
	return ms
}

func outgoing(topic string, partition, number int) broker.Outgoing {
	id := fmt.Sprintf("%s-%d-%d", topic, partition, number)
	return broker.Outgoing{
		Topic: topic, Partition: partition, Key: "k" + strconv.Itoa(partition), ID: id, Type: "souk.test.Happened.v1",
		Attributes: []broker.Attribute{{Name: "id", Value: id}, {Name: "specversion", Value: "1.0"}, {Name: "type", Value: "souk.test.Happened.v1"}},
		Body:       []byte(strconv.Itoa(number)),
	}
}

func send(t testing.TB, c *rabbitbus.Client, ms []broker.Outgoing) []broker.Anchor {
	t.Helper()
	anchors, err := c.Send(t.Context(), ms)
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	return anchors
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

// receive starts to receive. With settle every message is settled as it comes.
func receive(t testing.TB, c *rabbitbus.Client, g broker.Group, partition int, settle bool) *receiver {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &receiver{t: t, cancel: cancel, ended: make(chan error, 1), grown: make(chan struct{})}
	go func() {
		r.ended <- c.Receive(ctx, g, partition, func(ms []broker.Incoming) error { r.add(ms, settle); return nil })
	}()
	t.Cleanup(func() { _ = r.stop() }) // what it ended with is asked for where it matters
	return r
}

func (r *receiver) add(ms []broker.Incoming, settle bool) {
	if settle {
		for _, m := range ms {
			m.Done()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, ms...)
	close(r.grown)
	r.grown = make(chan struct{})
}

// stop ends the receiving and returns how it ended.
func (r *receiver) stop() error {
	r.cancel()
	err := <-r.ended
	r.ended <- err
	return err
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// wait returns the first n messages once they are there.
func (r *receiver) wait(n int) []broker.Incoming {
	r.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		r.mu.Lock()
		got, grown := r.got, r.grown
		r.mu.Unlock()
		if len(got) >= n {
			return slices.Clone(got[:n])
		}
		select {
		case <-grown:
		case err := <-r.ended:
			r.ended <- err
			r.t.Fatalf("receiving ended after %d of %d messages: %v", len(got), n, err)
		case <-timer.C:
			r.t.Fatalf("%d of %d messages came", len(got), n)
		}
	}
}

// bodies returns the numbers that messages carry.
func bodies(t testing.TB, ms []broker.Incoming) []int {
	t.Helper()
	all := make([]int, len(ms))
	for i, m := range ms {
		var err error
		if all[i], err = strconv.Atoi(string(m.Body)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func span(first, n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = first + i
	}
	return all
}

func sameNumbers(t testing.TB, what string, got, want []int) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: number %d is %d, want %d (%d came, want %d); around it %v", what, i, got[i], want[i], len(got), len(want), got[max(0, i-3):min(len(got), i+8)])
		}
	}
	t.Fatalf("%s: %d came, want %d", what, len(got), len(want))
}

// eventually waits until what holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-tick.C
	}
}

func backlog(t testing.TB, c *rabbitbus.Client, g broker.Group) []int64 {
	t.Helper()
	counts, err := c.Backlog(t.Context(), g)
	if err != nil {
		t.Fatalf("backlog: %v", err)
	}
	return counts
}

func server(t testing.TB) string { return testserver.Rabbit(t).URL() }

// sortByName brings attributes into an order, in which they do not come.
func sortByName(all []broker.Attribute) {
	slices.SortFunc(all, func(a, b broker.Attribute) int { return strings.Compare(a.Name, b.Name) })
}
