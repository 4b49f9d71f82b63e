package rabbitbus_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/rabbitbus"
)

func TestTopicKeepsItsPartitions(t *testing.T) {
	t.Parallel()
	url := server(t)
	topic := names(t, url, 1)[0]
	declare(t, connect(t, url), topic, 3)
	for _, n := range []int{3, 8, 1} {
		// Another client knows nothing of it yet; more often than a message may come back, should anybody limit that.
		c := connect(t, url)
		for range 2 {
			if got, err := c.DeclareTopic(t.Context(), topic, n); err != nil || got != 3 {
				t.Errorf("declared again with %d: %d, %v", n, got, err)
			}
		}
	}
}

func TestTopicIsMadeOnce(t *testing.T) {
	t.Parallel()
	url := server(t)
	topic := names(t, url, 1)[0]
	const clients = 8
	var all sync.WaitGroup
	var got [clients]int
	var anchors [clients]string
	for i := range clients {
		c := connect(t, url)
		all.Go(func() {
			var err error
			if got[i], err = c.DeclareTopic(t.Context(), topic, i+1); err != nil {
				t.Error(err)
				return
			}
			sent, err := c.Send(t.Context(), numbered(topic, 0, 0, 1))
			if err != nil {
				t.Error(err)
				return
			}
			anchors[i] = sent[0].Identity
		})
	}
	all.Wait()
	for i := range clients {
		if got[i] != got[0] || anchors[i] != anchors[0] || anchors[i] == "" {
			t.Errorf("made at once: %v partitions, identities %v", got, anchors)
			break
		}
	}
}

// A marker is read far more often than a message may be delivered where somebody limits that.
func TestMarkerOutlivesItsReaders(t *testing.T) {
	t.Parallel()
	url := server(t)
	topic := names(t, url, 1)[0]
	c := connect(t, url)
	declare(t, c, topic, 2)
	anchor := send(t, c, numbered(topic, 0, 0, 1))[0]
	for range 300 {
		if holds, err := c.Holds(t.Context(), anchor); err != nil || !holds {
			t.Fatalf("holds: %v, %v", holds, err)
		}
	}
	ch := raw(t, url)
	most := int64(0)
	for {
		d, ok, err := ch.Get("topic:"+topic, false)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		n, _ := d.Headers["x-delivery-count"].(int64)
		most = max(most, n)
	}
	if most == 0 || most > 15 {
		t.Errorf("a message of the marker was delivered %d times", most)
	}
}

func TestUnsafeSettingsAreRefused(t *testing.T) {
	t.Parallel()
	url := server(t)
	ch := raw(t, url)
	own := names(t, url, 8)
	c := connect(t, url)

	refused := func(what string, err error, words ...string) {
		t.Helper()
		if !errors.Is(err, broker.ErrUnsafe) {
			t.Errorf("%s: %v", what, err)
			return
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error does not name %s: %v", what, word, err)
			}
		}
	}
	exchange := func(name, kind string, durable, autoDelete bool) {
		t.Helper()
		if err := ch.ExchangeDeclare(name, kind, durable, autoDelete, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	exchange(own[0], "topic", false, false)
	_, err := c.DeclareTopic(t.Context(), own[0], 2)
	refused("an exchange that is not durable", err, own[0], "durable")
	exchange(own[1], "fanout", true, false)
	_, err = c.DeclareTopic(t.Context(), own[1], 2)
	refused("an exchange of another type", err, own[1], "type")
	exchange(own[2], "topic", true, true)
	_, err = c.DeclareTopic(t.Context(), own[2], 2)
	refused("an exchange that deletes itself", err, own[2], "auto_delete")

	topic := own[3]
	declare(t, c, topic, 1)
	// A queue that is as it should be but for one thing.
	but := func(name string, value any) amqp.Table {
		return amqp.Table{
			"x-queue-type": "quorum", "x-single-active-consumer": true, "x-overflow": "reject-publish",
			"x-delivery-limit": int32(1_000_000_000), "x-dead-letter-exchange": "souk.dead",
			"x-dead-letter-strategy": "at-least-once", name: value,
		}
	}
	for i, other := range []struct {
		durable bool
		args    amqp.Table
		word    string
	}{
		{false, nil, "durable"},
		{true, but("x-max-length", 10), "x-max-length"},
		{true, but("x-message-ttl", 1000), "x-message-ttl"},
		{true, but("x-delivery-limit", 20), "x-delivery-limit"},
	} {
		name := own[4+i]
		if _, err := ch.QueueDeclare(name+".0", other.durable, false, false, false, other.args); err != nil {
			t.Fatal(err)
		}
		err := c.Join(t.Context(), groupOf(name, 1, topic))
		refused("a queue with other settings", err, name+".0", other.word)
	}
}

func TestAnchorsKnowTheirTopic(t *testing.T) {
	t.Parallel()
	url := server(t)
	own := names(t, url, 3)
	c := connect(t, url)
	other := connect(t, url)
	holds := func(c *rabbitbus.Client, a broker.Anchor, want bool) {
		t.Helper()
		if got, err := c.Holds(t.Context(), a); err != nil || got != want {
			t.Errorf("holds %v: %v, %v", a, got, err)
		}
	}
	declare(t, c, own[0], 2)
	declare(t, c, own[1], 2)
	anchors := send(t, c, append(append(numbered(own[0], 0, 0, 3), numbered(own[1], 1, 0, 2)...), outgoing(own[0], 1, 9)))
	if len(anchors) != 2 {
		t.Fatalf("anchors: %v", anchors)
	}
	for _, a := range anchors {
		last := map[string]string{own[0]: own[0] + "-1-9", own[1]: own[1] + "-1-1"}
		if a.ID != last[a.Topic] || a.Partition != 1 {
			t.Errorf("the anchor %v is not the last message's", a)
		}
		holds(c, a, true)
		holds(other, a, true)
	}

	// The exchange alone is deleted: what was bound to it is bound no more.
	ch := raw(t, url)
	if err := ch.ExchangeDelete(own[0], false, false); err != nil {
		t.Fatal(err)
	}
	first := anchors[0]
	if first.Topic != own[0] {
		first = anchors[1]
	}
	holds(other, first, false)
	if _, err := c.Send(t.Context(), numbered(own[0], 0, 0, 1)); err == nil {
		t.Error("a message to an exchange that is gone was sent")
	}
	if _, err := c.Send(t.Context(), numbered(own[0], 0, 0, 1)); err == nil {
		t.Error("a message to an exchange that is gone was sent")
	}
	declare(t, other, own[0], 4)
	holds(c, first, false)
	declare(t, c, own[0], 4)
	again := send(t, c, numbered(own[0], 3, 0, 1))[0]
	holds(other, again, true)

	// A group whose queue is gone had messages in it: who publishes is to look again.
	g := groupOf(own[2], 4, own[0])
	join(t, c, g)
	join(t, other, g)
	holds(c, again, true)
	if _, err := ch.QueueDelete(own[2]+".3", false, false, false); err != nil {
		t.Fatal(err)
	}
	if err := c.Receive(t.Context(), g, 3, nil); err == nil || !strings.Contains(err.Error(), own[2]+".3") {
		t.Errorf("received from a queue that is gone: %v", err)
	}
	join(t, other, g)
	holds(c, again, false)
	if n, err := connect(t, url).DeclareTopic(t.Context(), own[0], 9); err != nil || n != 4 {
		t.Errorf("the topic has %d partitions, %v", n, err)
	}
}

func TestCheckAcceptsTheServer(t *testing.T) {
	t.Parallel()
	url := server(t)
	if err := connect(t, url).Check(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := rabbitbus.NewClient(rabbitbus.ClientConfig{URL: "nats://user:secret@x"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an address of another kind: %v", err)
	}
	wrong := strings.Replace(url, "guest:guest", "guest:wrong", 1)
	if err := connect(t, wrong).Check(t.Context()); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if err := connect(t, url).Check(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context that has ended: %v", err)
	}
}
