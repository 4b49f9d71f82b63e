package natsbus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/internal/testserver"
)

func TestTopicKeepsItsPartitions(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c, other := openWith(t, config), openWith(t, config)
	declare(t, c, "shop.orders", 4)
	for _, again := range []*natsbus.Client{c, other} {
		for _, n := range []int{4, 7, 0} {
			if got, err := again.DeclareTopic(t.Context(), "shop.orders", n); err != nil || got != 4 {
				t.Errorf("declared again with %d: %d, %v", n, got, err)
			}
		}
	}
	if _, err := c.DeclareTopic(t.Context(), "shop.none", 0); err == nil {
		t.Error("a topic without partitions can be declared")
	}
	// Names that would be one if a character were dropped.
	for i, name := range []string{"a.b", "a_b", "a-b", "a=b", "a..b", "a.B", "ü", "a b", "a/b"} {
		declare(t, c, name, i+1)
	}
}

func TestTopicDeclaredByManyAtOnce(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	got := make(chan string, 8)
	for i := range cap(got) {
		c := openWith(t, config)
		go func() {
			n, err := c.DeclareTopic(t.Context(), "orders", i+1)
			got <- fmt.Sprint(n, err)
		}()
	}
	first := <-got
	for range cap(got) - 1 {
		if again := <-got; again != first || strings.Contains(again, "0") {
			t.Errorf("one declared %s and another %s", first, again)
		}
	}
}

func TestUnsafeTopicIsRefused(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	js := raw(t, server.URL())
	for setting, change := range map[string]func(*jetstream.StreamConfig){
		"storage":              func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"retention":            func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"discard":              func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"max_age":              func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"max_msgs_per_subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 10 },
		"persist_mode": func(c *jetstream.StreamConfig) {
			c.PersistMode, c.AllowAtomicPublish = jetstream.AsyncPersistMode, false
		},
		"no_ack":        func(c *jetstream.StreamConfig) { c.NoAck = true },
		"deny_delete":   func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"deny_purge":    func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"allow_atomic":  func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false },
		"allow_batched": func(c *jetstream.StreamConfig) { c.AllowBatchPublish = false },
		"subjects":      func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, c.Name+"x.>") },
		"metadata":      func(c *jetstream.StreamConfig) { c.Metadata = nil },
	} {
		t.Run(setting, func(t *testing.T) {
			prefix := server.Name()
			config := jetstream.StreamConfig{
				Name: prefix + "orders", Subjects: []string{prefix + "orders.>"}, Storage: jetstream.FileStorage,
				Discard: jetstream.DiscardNew, MaxAge: 24 * time.Hour, DenyDelete: true, DenyPurge: true, AllowBatchPublish: true, AllowAtomicPublish: true,
				Metadata: map[string]string{"souk.partitions": "3"},
			}
			c := openWith(t, natsbus.ClientConfig{URL: server.URL(), Prefix: prefix})
			change(&config)
			if _, err := js.CreateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = js.DeleteStream(context.Background(), config.Name) })
			_, err := c.DeclareTopic(t.Context(), "orders", 3)
			if !errors.Is(err, broker.ErrUnsafe) || !strings.Contains(err.Error(), setting) || strings.Contains(err.Error(), "\n") {
				t.Errorf("declared: %v", err)
			}
			if _, err := c.Send(t.Context(), series("orders", 3, 0, 3)); !errors.Is(err, broker.ErrUnsafe) {
				t.Errorf("sent: %v", err)
			}
		})
	}
}

func TestDescribeAndBacklog(t *testing.T) {
	t.Parallel()
	c := open(t, testserver.NATS(t))
	declare(t, c, "orders", 3)
	declare(t, c, "stock", 3)
	describe := func(want ...broker.PartitionInfo) {
		t.Helper()
		if got, err := c.Describe(t.Context(), "orders"); err != nil || !slices.Equal(got, want) {
			t.Errorf("described: %v, %v, want %v", got, err, want)
		}
	}
	describe(broker.PartitionInfo{Partition: 0, First: 1, Next: 1}, broker.PartitionInfo{Partition: 1, First: 1, Next: 1},
		broker.PartitionInfo{Partition: 2, First: 1, Next: 1})

	g := group("mail.news", 3, "orders", "stock")
	g.Inputs[1].Types = []string{"shop.stock.Low.v*"}
	whole := g
	whole.Name, whole.Whole = "mail.all", true
	join(t, c, g)
	join(t, c, whole)
	backlog := func(g broker.Group, want ...int64) {
		t.Helper()
		var got []int64
		var err error
		eventually(t, fmt.Sprintf("a backlog of %v", want), func() bool {
			got, err = c.Backlog(t.Context(), g)
			return err != nil || slices.Equal(got, want)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	backlog(g, 0, 0, 0)
	send(t, c, message("orders", 0, "a", thing), message("orders", 2, "b", thing), message("orders", 2, "c", thing))
	send(t, c, message("stock", 1, "d", "shop.stock.Low.v2"), message("stock", 1, "e", "shop.stock.High.v2"))
	describe(broker.PartitionInfo{Partition: 0, First: 1, Next: 4, Messages: 1}, broker.PartitionInfo{Partition: 1, First: 4, Next: 4},
		broker.PartitionInfo{Partition: 2, First: 2, Next: 4, Messages: 2})
	backlog(g, 1, 1, 2)
	backlog(whole, 4)

	r := receive(t, c, g, 2)
	got := r.next(2)
	settle(got[1])
	backlog(g, 1, 1, 2) // what follows one that is not settled may come again
	settle(got[0])
	backlog(g, 1, 1, 0)
	if _, err := c.Backlog(t.Context(), group("never.joined", 3, "orders")); err == nil {
		t.Error("a group that does not exist has a backlog")
	}
}
