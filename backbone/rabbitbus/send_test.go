package rabbitbus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/rabbitbus"
)

func TestSendAndReceiveKeepOrderAndBytes(t *testing.T) {
	t.Parallel()
	url := server(t)
	own := names(t, url, 2)
	c := connect(t, url)
	const partitions, total = 4, 10_000
	declare(t, c, own[0], partitions)
	g := groupOf(own[1], partitions, own[0])
	join(t, c, g)

	odd := []string{"", "plain", "größe", "客户/42", "a b\tc\n", "\x00\xff\xfe", "🛒", strings.Repeat("long", 300), "a.b.*.#"}
	sent := make([][]broker.Outgoing, partitions)
	var ms []broker.Outgoing
	for i := range total {
		m := outgoing(own[0], i*7%partitions, i)
		m.Key = odd[i%len(odd)]
		m.Attributes = append(m.Attributes, broker.Attribute{Name: "partitionkey", Value: m.Key}, broker.Attribute{Name: "subject", Value: odd[(i+1)%len(odd)]})
		sortByName(m.Attributes)
		m.Body = append([]byte(odd[(i+2)%len(odd)]), fmt.Sprint(i)...)
		if i%1000 == 0 {
			m.Body = bytes.Repeat([]byte{byte(i), 0, 255}, 100_000) // in several frames
		}
		ms = append(ms, m)
		sent[m.Partition] = append(sent[m.Partition], m)
	}
	for batch := range slices.Chunk(ms, 1300) {
		send(t, c, batch)
	}
	for p := range partitions {
		got := receive(t, c, g, p, true).wait(len(sent[p]))
		for i, m := range got {
			want := sent[p][i]
			sortByName(m.Attributes)
			if !bytes.Equal(m.Body, want.Body) || !slices.Equal(m.Attributes, want.Attributes) || m.Topic != own[0] || m.ContentType != "application/json" || m.Redelivered || m.Done == nil {
				t.Fatalf("partition %d, message %d: got %q %q, want %q %q", p, i, m.Attributes, m.Body, want.Attributes, want.Body)
			}
		}
	}
	eventually(t, "all are settled", func() bool { return slices.Max(backlog(t, c, g)) == 0 })
}

func TestTypesAreFilteredByTheServer(t *testing.T) {
	t.Parallel()
	url := server(t)
	own := names(t, url, 2)
	c := connect(t, url)
	topic := own[0]
	declare(t, c, topic, 2)
	g := broker.Group{Name: own[1], Partitions: 2, Inputs: []broker.Input{{Topic: topic, Types: []string{"souk.orders.OrderPlaced.v*", "souk.orders.OrderPaid.v1"}}}}
	join(t, c, g)
	typed := func(number int, name string) broker.Outgoing {
		m := outgoing(topic, 1, number)
		m.Type = name
		return m
	}
	all := []broker.Outgoing{
		typed(0, "souk.orders.OrderPlaced.v1"), typed(1, "souk.orders.OrderPaid.v2"), typed(2, "souk.orders.OrderPlaced.v2"),
		typed(3, "souk.orders.OrderPaid.v1"), typed(4, "souk.orders.OrderPlacedTwice.v1"), typed(5, "souk.orders.OrderShipped.v1"),
	}
	send(t, c, all)
	if got := backlog(t, c, g); !slices.Equal(got, []int64{0, 3}) {
		t.Errorf("the queues hold %v", got)
	}

	// The inputs change: what is no longer wanted comes no more, what is new does, and what waits stays.
	g.Inputs = []broker.Input{{Topic: topic, Types: []string{"souk.orders.OrderShipped.v*"}}}
	join(t, connect(t, url), g)
	send(t, c, all)
	if got := backlog(t, c, g); !slices.Equal(got, []int64{0, 4}) {
		t.Errorf("after the change the queues hold %v", got)
	}
	r := receive(t, c, g, 1, true)
	sameNumbers(t, "received", bodies(t, r.wait(4)), []int{0, 2, 3, 5})
	if err := r.stop(); err != nil {
		t.Error(err)
	}

	g.Inputs = []broker.Input{{Topic: topic}}
	join(t, c, g)
	join(t, c, g)
	send(t, c, all)
	held := backlog(t, c, g)
	if held[0] != 0 || held[1] != 6 {
		t.Errorf("with everything wanted the queues hold %v", held)
	}
}

func TestTwoTopicsInOneGroup(t *testing.T) {
	t.Parallel()
	url := server(t)
	own := names(t, url, 3)
	c := connect(t, url)
	declare(t, c, own[0], 1)
	declare(t, c, own[1], 1)
	g := groupOf(own[2], 1, own[0], own[1])
	join(t, c, g)
	for i := range 50 {
		send(t, c, append(numbered(own[i%2], 0, i*10, 10), numbered(own[1-i%2], 0, i*10, 10)...))
	}
	byTopic := map[string][]broker.Incoming{}
	for _, m := range receive(t, c, g, 0, true).wait(1000) {
		byTopic[m.Topic] = append(byTopic[m.Topic], m)
	}
	for _, topic := range own[:2] {
		sameNumbers(t, topic, bodies(t, byTopic[topic]), span(0, 500))
	}
}

func TestWholeGroupsHaveOneQueue(t *testing.T) {
	t.Parallel()
	url := server(t)
	own := names(t, url, 2)
	c := connect(t, url)
	declare(t, c, own[0], 8)
	g := groupOf(own[1], 1, own[0])
	g.Whole = true
	join(t, c, g)
	var ms []broker.Outgoing
	for i := range 4000 {
		ms = append(ms, outgoing(own[0], i*5%8, i))
	}
	for batch := range slices.Chunk(ms, 700) {
		send(t, c, batch)
	}
	sameNumbers(t, "one publisher's messages of all partitions", bodies(t, receive(t, c, g, 0, true).wait(4000)), span(0, 4000))
	g.Whole, g.Partitions = false, 8
	if err := c.Join(t.Context(), g); err == nil || !strings.Contains(err.Error(), "keeps its partitions") {
		t.Errorf("a group that was whole was given partitions: %v", err)
	}
}

func TestNewGroupsBeginNow(t *testing.T) {
	t.Parallel()
	url := server(t)
	own := names(t, url, 2)
	c := connect(t, url)
	declare(t, c, own[0], 1)
	send(t, c, numbered(own[0], 0, 0, 10))
	g := groupOf(own[1], 1, own[0])
	g.FromFirst = true
	if err := c.Join(t.Context(), g); !errors.Is(err, rabbitbus.ErrNoPast) {
		t.Errorf("a new group from the first message: %v", err)
	}
	g.FromFirst = false
	join(t, c, g)
	send(t, c, numbered(own[0], 0, 10, 10)) // nobody receives yet
	g.FromFirst = true
	join(t, connect(t, url), g) // it exists
	sameNumbers(t, "from now on", bodies(t, receive(t, c, g, 0, true).wait(10)), span(10, 10))

	small := groupOf(own[1]+"x", 1, own[0])
	declare(t, c, own[1], 2)
	small.Inputs[0].Topic = own[1]
	if err := c.Join(t.Context(), small); err == nil || !strings.Contains(err.Error(), "partitions") {
		t.Errorf("a group with fewer partitions than its topic: %v", err)
	}
	small.Inputs[0].Topic = own[1] + "-absent"
	if err := c.Join(t.Context(), small); err == nil {
		t.Error("a group joined a topic that does not exist")
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	url := server(t)
	own := names(t, url, 2)
	c, err := rabbitbus.NewClient(rabbitbus.ClientConfig{URL: url, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	declare(t, c, own[0], 1)
	g := groupOf(own[1], 1, own[0])
	join(t, c, g)

	var others sync.WaitGroup
	others.Go(func() {
		for i := range 200 {
			if _, err := c.Send(t.Context(), numbered(own[0], 0, i, 1)); err != nil {
				t.Errorf("a small message beside large ones: %v", err)
			}
		}
	})
	large := map[string]broker.Outgoing{}
	m := outgoing(own[0], 0, -1)
	m.Body = make([]byte, 1<<20+1)
	large["body"] = m
	m = outgoing(own[0], 0, -1)
	m.Attributes = append(m.Attributes, broker.Attribute{Name: "subject", Value: strings.Repeat("x", 140_000)})
	large["attributes"] = m
	m = outgoing(own[0], 0, -1)
	m.Type = strings.Repeat("x.", 130)
	large["type"] = m
	for what, m := range large {
		if _, err := c.Send(t.Context(), []broker.Outgoing{outgoing(own[0], 0, -1), m}); !errors.Is(err, broker.ErrTooLarge) || !strings.Contains(err.Error(), what) {
			t.Errorf("too large a %s: %v", what, err)
		}
	}
	// What just fits does.
	m = outgoing(own[0], 0, 200)
	m.ID = strings.Repeat("i", 300)
	m.Attributes = append(m.Attributes, broker.Attribute{Name: "subject", Value: strings.Repeat("x", 120_000)})
	send(t, c, []broker.Outgoing{m})
	others.Wait()
	m = outgoing(own[0], 0, 201)
	m.Body = make([]byte, 1<<20)
	send(t, c, []broker.Outgoing{m})
	got := receive(t, c, g, 0, true).wait(202)
	if len(got[201].Body) != 1<<20 {
		t.Errorf("the last has %d bytes", len(got[201].Body))
	}
}

func TestWhatNobodyTakes(t *testing.T) {
	t.Parallel()
	url := server(t)
	topic := names(t, url, 1)[0]
	c := connect(t, url)
	commands := strings.TrimSuffix(topic, ".events") + ".commands"
	t.Cleanup(func() {
		ch := raw(t, url)
		_ = ch.ExchangeDelete(commands, false, false)
		_, _ = ch.QueueDelete("topic:"+commands, false, false, false)
	})
	declare(t, c, topic, 1)
	declare(t, c, commands, 1)
	send(t, c, numbered(topic, 0, 0, 2000)) // more than may be unconfirmed, and all come back
	if _, err := c.Send(t.Context(), numbered(commands, 0, 0, 2000)); err == nil || !strings.Contains(err.Error(), "no queue takes") {
		t.Errorf("commands that nobody takes: %v", err)
	}
	mixed := append(numbered(topic, 0, 0, 3), append(numbered(commands, 0, 0, 1), numbered(topic, 0, 3, 3)...)...)
	if _, err := c.Send(t.Context(), mixed); err == nil || !strings.Contains(err.Error(), commands) {
		t.Errorf("a command that nobody takes among events: %v", err)
	}
	send(t, c, numbered(topic, 0, 0, 1)) // what came back before is no matter of this one's
	if _, err := c.Send(t.Context(), []broker.Outgoing{outgoing(topic, 1, 0)}); err == nil {
		t.Error("sent to a partition that the topic has not")
	}
	if _, err := c.Send(t.Context(), numbered(topic+"-absent", 0, 0, 1)); err == nil {
		t.Error("sent to a topic that does not exist")
	}
}

func TestCallersAtOnce(t *testing.T) {
	t.Parallel()
	url := server(t)
	own := names(t, url, 2)
	c := connect(t, url)
	declare(t, c, own[0], 8)
	g := groupOf(own[1], 8, own[0])
	join(t, c, g)
	var all sync.WaitGroup
	for p := range 8 {
		all.Go(func() {
			for i := range 50 {
				if _, err := c.Send(t.Context(), numbered(own[0], p, i*4, 4)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	for p := range 8 {
		sameNumbers(t, fmt.Sprint("partition ", p), bodies(t, receive(t, c, g, p, true).wait(200)), span(0, 200))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Send(ctx, numbered(own[0], 0, 0, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

func TestCloudEvents(t *testing.T) {
	t.Parallel()
	url := server(t)
	own := names(t, url, 2)
	c := connect(t, url)
	declare(t, c, own[0], 1)
	g := groupOf(own[1], 1, own[0])
	join(t, c, g)
	ch := raw(t, url)
	spy, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(spy.Name, "#", own[0], false, nil); err != nil {
		t.Fatal(err)
	}
	send(t, c, numbered(own[0], 0, 7, 1))
	d, ok, err := ch.Get(spy.Name, true)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if d.Headers["cloudEvents_id"] != own[0]+"-0-7" || d.Headers["cloudEvents_specversion"] != "1.0" || d.ContentType != "application/json" || d.DeliveryMode != amqp.Persistent || d.RoutingKey != "0.souk.test.Happened.v1" {
		t.Errorf("on the wire: %+v", d)
	}
	for _, m := range []amqp.Publishing{
		{ContentType: "text/plain", Headers: amqp.Table{"cloudEvents:id": "a", "cloudEvents:ready": true, "cloudEvents:count": int32(-5), "other": "x"}, Body: []byte("1")},
		{ContentType: "application/cloudevents+json; charset=utf-8", Body: []byte(`{"specversion":"1.0"}`)},
	} {
		if err := ch.Publish(own[0], "0.x", true, false, m); err != nil {
			t.Fatal(err)
		}
	}
	got := receive(t, c, g, 0, true).wait(3)
	sortByName(got[1].Attributes)
	if want := []broker.Attribute{{Name: "count", Value: "-5"}, {Name: "id", Value: "a"}, {Name: "ready", Value: "true"}}; !slices.Equal(got[1].Attributes, want) || got[1].ContentType != "text/plain" {
		t.Errorf("with the other prefix: %+v", got[1])
	}
	if got[2].ContentType != "application/cloudevents+json; charset=utf-8" || string(got[2].Body) != `{"specversion":"1.0"}` || len(got[2].Attributes) != 0 {
		t.Errorf("structured: %+v", got[2])
	}
}
