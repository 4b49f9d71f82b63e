package kafkabus

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/internal/testserver"
)

// A partition that begins to be received at about the same time as another, in which there is nothing yet, is fetched with it: the cluster holds the fetch of what is
// empty open for a second, and who came after its start would wait for that. Red when what is received changes with each call: then the second
// one always comes after the fetch. How busy the machine is makes some rounds slow; one that is not is enough.
func TestPartitionsBeginTogether(t *testing.T) {
	t.Parallel()
	out := make(fetching, 1)
	client, err := NewClient(ClientConfig{Brokers: testserver.Kafka(t).Addresses(), Options: []kgo.Opt{kgo.WithHooks(out)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	var took []time.Duration
	for range 8 {
		took = append(took, beginTogether(t, client, out))
		if took[len(took)-1] < client.feedHolds()/2 {
			return
		}
	}
	t.Errorf("a message that was there came after %v", took)
}

// fetching has a value when a fetch was sent.
type fetching chan struct{}

// OnBrokerWrite is called by the library behind each request.
func (f fetching) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key != int16(kmsg.Fetch) {
		return
	}
	select {
	case f <- struct{}{}:
	default:
	}
}

// feedHolds is how long the cluster holds a fetch open that finds nothing.
func (c *Client) feedHolds() time.Duration { return min(time.Second, c.config.Patience/4) }

// beginTogether begins to receive an empty partition and then, as soon as that is asked for, one with a message, and returns after what time it comes.
func beginTogether(t *testing.T, c *Client, out fetching) time.Duration {
	t.Helper()
	ctx := t.Context()
	g := broker.Group{Name: rand.Text(), Inputs: []broker.Input{{Topic: rand.Text()}}, Partitions: 2}
	topic := g.Inputs[0].Topic
	if _, err := c.DeclareTopic(ctx, topic, g.Partitions); err != nil {
		t.Fatal(err)
	}
	if err := c.Join(ctx, g); err != nil {
		t.Fatal(err)
	}
	m := broker.Outgoing{Topic: topic, Partition: 1, Key: "k", ID: "1", Type: "test.Counted.v1", Body: []byte("{}")}
	if _, err := c.Send(ctx, []broker.Outgoing{m}); err != nil {
		t.Fatal(err)
	}
	f, err := c.feed(g.Name)
	if err != nil {
		t.Fatal(err)
	}
	var rs [2]*receiving
	for p := range rs {
		rs[p] = &receiving{feed: f, owner: rand.Text(), types: typesOf(&g), shares: map[part]*share{}, changed: make(chan struct{}, 1)}
		if _, _, err := rs[p].start(ctx, &g, p); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-out: // of another round
	default:
	}
	added := make(chan error, len(rs))
	go func() { added <- f.add(rs[0]) }()
	for asked := false; !asked; runtime.Gosched() { // at once: there are milliseconds only
		f.mu.Lock()
		asked = len(f.todo) > 0 || len(f.parts) > 0
		f.mu.Unlock()
		if ctx.Err() != nil {
			t.Fatal("the first is not begun")
		}
	}
	select {
	case <-out:
	case <-time.After(gather / 2):
	}
	began := time.Now()
	go func() { added <- f.add(rs[1]) }()
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	got := 0
	if err := rs[1].run(limited, func(batch []broker.Incoming) error {
		got += len(batch)
		cancel()
		return nil
	}); err != nil || got != 1 {
		t.Fatal(fmt.Errorf("%d messages came: %w", got, err))
	}
	took := time.Since(began)
	for _, r := range rs {
		if err := <-added; err != nil {
			t.Error(err)
		}
		r.end()
		f.remove(r)
	}
	return took
}
