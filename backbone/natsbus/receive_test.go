package natsbus_test

import (
	"bytes"
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

func TestSendAndReceiveInOrder(t *testing.T) {
	t.Parallel()
	const partitions, n = 4, 10_000
	c := open(t, testserver.NATS(t))
	declare(t, c, "shop.orders", partitions)
	g := group("mail.news", partitions, "shop.orders")
	join(t, c, g)
	odd := []string{
		"plain", "with space", " at both ends ", "ünï/cödé € 😀", "%41 % %%", `"quoted"`, "line\nfeed\r\n\ttab", "a:b,c;d", "\x7f\x01", "*.>",
	}
	var all []broker.Outgoing
	for i := range n {
		m := message("shop.orders", i%partitions, fmt.Sprintf("%05d-%s", i, odd[i%len(odd)]), thing)
		m.Key = odd[i/3%len(odd)]
		m.Attributes = append(m.Attributes, broker.Attribute{Name: "partitionkey", Value: m.Key}, broker.Attribute{Name: "subject", Value: m.Key})
		m.Body = bytes.Repeat([]byte{byte(i), 0, '\r', '\n', 0xff}, i%50)
		all = append(all, m)
	}
	want := make([][]broker.Outgoing, partitions)
	for batch := range slices.Chunk(all, 777) {
		anchors := send(t, c, batch...)
		last := batch[len(batch)-1]
		if len(anchors) != 1 || anchors[0].ID != last.ID || anchors[0].Partition != last.Partition || anchors[0].Topic != "shop.orders" {
			t.Fatalf("anchors %+v after %s", anchors, last.ID)
		}
		for _, m := range batch {
			want[m.Partition] = append(want[m.Partition], m)
		}
	}
	for p := range partitions {
		r := receive(t, c, g, p)
		var before int64
		for i := range want[p] {
			m := r.next(1)[0]
			w := &want[p][i]
			w.Attributes = slices.Clone(w.Attributes)
			sortByName(w.Attributes)
			sortByName(m.Attributes)
			if m.Topic != "shop.orders" || m.ContentType != "application/json" || !slices.Equal(m.Attributes, w.Attributes) || !bytes.Equal(m.Body, w.Body) {
				t.Fatalf("partition %d, message %d: got %+v, want %+v", p, i, m, w)
			}
			if m.Sequence <= before || m.Redelivered {
				t.Fatalf("message %d has number %d after %d, redelivered %v", i, m.Sequence, before, m.Redelivered)
			}
			before = m.Sequence
			m.Done()
		}
		r.stop()
	}
}

func TestTypesAreFilteredAtTheServer(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c := openWith(t, config)
	declare(t, c, "orders", 2)
	g := group("mail.news", 2, "orders")
	g.Inputs[0].Types = []string{"shop.Placed.v1", "shop.Placed.v*", "shop.Paid.v2", "plain", "shop.Paid.v2"}
	join(t, c, g)
	wires := []string{"shop.Placed.v1", "shop.Placed.v12", "shop.Paid.v1", "shop.Paid.v2", "shop.PaidBack.v2", "plain", "plain.v1", "shop.Placed", "other.v1"}
	for i, wire := range wires {
		send(t, c, message("orders", 1, fmt.Sprint(i, wire), wire), message("orders", 0, "elsewhere", wire))
	}
	r := receive(t, c, g, 1)
	var got []string
	for _, m := range r.next(5) {
		settle(m)
		got = append(got, attribute(m, "type"))
	}
	// A pattern takes also what has no version.
	same(t, "types", got, []string{"shop.Placed.v1", "shop.Placed.v12", "shop.Paid.v2", "plain", "shop.Placed"})
	stream, err := raw(t, server.URL()).Stream(t.Context(), config.Prefix+"orders")
	if err != nil {
		t.Fatal(err)
	}
	for info := range stream.ListConsumers(t.Context()).Info() {
		if len(info.Config.FilterSubjects) != 3 {
			t.Errorf("the server filters by %v", info.Config.FilterSubjects)
		}
	}

	// The group takes something else now, from where it is.
	eventually(t, "everything is settled", func() bool {
		left, err := c.Backlog(t.Context(), g)
		return err == nil && left[1] == 0
	})
	r.stop()
	g.Inputs[0].Types = []string{"other.v1"}
	join(t, c, g)
	send(t, c, message("orders", 1, "old", "shop.Placed.v1"), message("orders", 1, "new", "other.v1"))
	r = receive(t, c, g, 1)
	for _, m := range r.next(1) {
		if id := idOf(m); id != "new" && !strings.HasSuffix(id, "other.v1") {
			t.Errorf("got %s", id)
		}
	}
	g.Inputs[0].Types = nil
	r.stop()
	r = receive(t, c, g, 1)
	eventually(t, "everything is taken", func() bool { return slices.Contains(ids(r.next(1)), "old") })

	// More types than a consumer takes filters for.
	g = group("many.types", 2, "orders")
	for i := range 300 {
		g.Inputs[0].Types = append(g.Inputs[0].Types, fmt.Sprintf("some.Type%d.v1", i))
	}
	join(t, c, g)
	receive(t, c, g, 1).next(1)
}

func TestTwoInputsAndWholeGroups(t *testing.T) {
	t.Parallel()
	c := open(t, testserver.NATS(t))
	declare(t, c, "orders", 3)
	declare(t, c, "stock", 3)
	g := group("mail.news", 3, "orders", "stock")
	whole := group("audit.all", 3, "orders")
	whole.Whole = true
	join(t, c, g)
	join(t, c, whole)
	if err := c.Join(t.Context(), group("too.few", 2, "orders")); err == nil {
		t.Error("a group may have fewer partitions than its topics")
	}
	orders, stock := series("orders", 3, 0, 600), series("stock", 3, 1000, 600)
	anchors := send(t, c, append(append([]broker.Outgoing{}, orders...), stock...)...)
	if len(anchors) != 2 || anchors[0].Topic != "orders" || anchors[1].Topic != "stock" || anchors[1].ID != "1599" {
		t.Errorf("anchors %+v", anchors)
	}
	r := receive(t, c, g, 2)
	by := map[string][]string{}
	for _, m := range r.next(400) {
		by[m.Topic] = append(by[m.Topic], idOf(m))
		m.Done()
	}
	for topic, first := range map[string]int{"orders": 2, "stock": 1001} {
		var want []string
		for i := first; len(want) < 200; i += 3 {
			want = append(want, fmt.Sprint(i))
		}
		same(t, topic, by[topic], want)
	}
	same(t, "the whole topic, in total order", ids(receive(t, c, whole, 0).next(600)), numbers(0, 600))
}

func TestGroupsBeginWhereTheyShould(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c := openWith(t, config)
	declare(t, c, "orders", 1)
	early, first, now := group("a.early", 1, "orders"), group("a.first", 1, "orders"), group("a.now", 1, "orders")
	early.FromFirst, now.FromFirst = false, false
	join(t, c, early)
	send(t, c, series("orders", 1, 0, 5)...)
	join(t, c, first)
	join(t, c, now)
	if err := c.Receive(t.Context(), group("never.joined", 1, "orders"), 0, nil); err == nil {
		t.Error("a group that does not exist receives")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	// Nobody has received yet, and the process that has joined is gone.
	c = openWith(t, config)
	send(t, c, series("orders", 1, 5, 5)...)
	join(t, c, now) // again, which moves nothing
	now.FromFirst = true
	join(t, c, now)
	same(t, "from the first", ids(receive(t, c, first, 0).next(10)), numbers(0, 10))
	same(t, "from an empty topic", ids(receive(t, c, early, 0).next(10)), numbers(0, 10))
	same(t, "from now", ids(receive(t, c, now, 0).next(5)), numbers(5, 5))
}

func TestWhatIsNotSettledComesAgainFirst(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c := openWith(t, config)
	declare(t, c, "orders", 1)
	g := group("mail.news", 1, "orders")
	join(t, c, g)
	send(t, c, series("orders", 1, 0, 10)...)
	r := receive(t, c, g, 0)
	got := r.next(10)
	settle(got[0], got[1], got[2], got[5])
	r.stop()
	settle(got[3]) // too late
	send(t, c, series("orders", 1, 10, 5)...)

	r = receive(t, c, g, 0)
	got = r.next(12)
	same(t, "after the receiver ended", ids(got), numbers(3, 12))
	for i, m := range got {
		if m.Redelivered != (i < 7) {
			t.Errorf("message %s says redelivered: %v", idOf(m), m.Redelivered)
		}
	}
	slices.Reverse(got)
	settle(got...)
	r.stop()

	// After a clean end nothing that was settled comes again.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openWith(t, config)
	send(t, c, series("orders", 1, 15, 1)...)
	same(t, "after everything was settled", ids(receive(t, c, g, 0).next(1)), numbers(15, 1))
}

func TestWindowBoundsWhatIsUnsettled(t *testing.T) {
	t.Parallel()
	c := open(t, testserver.NATS(t))
	declare(t, c, "orders", 1)
	declare(t, c, "stock", 1)
	g := group("mail.news", 1, "orders", "stock")
	join(t, c, g)
	send(t, c, append(series("orders", 1, 0, 2000), series("stock", 1, 0, 2000)...)...)
	r := receive(t, c, g, 0)
	held := r.next(broker.Window)
	for range 3 {
		select {
		case m := <-r.got:
			t.Fatalf("%s is beyond the window", idOf(m))
		case <-time.After(50 * time.Millisecond):
		}
		settle(held[:100]...)
		held = append(held[100:], r.next(100)...)
	}
	for len(held) > 0 {
		settle(held[len(held)-1])
		held = held[:len(held)-1]
	}
	for range 4000 - broker.Window - 300 {
		settle(r.next(1)...)
	}
}

// A receiver that is told to end while it waits for room must not hand out what comes behind what it holds back.
func TestEndsInOrder(t *testing.T) {
	t.Parallel()
	c := open(t, testserver.NATS(t))
	declare(t, c, "orders", 1)
	g := group("mail.news", 1, "orders")
	join(t, c, g)
	const n = 6000
	send(t, c, series("orders", 1, 0, n)...)
	var got []string
	for round := 0; len(firsts(got)) < n; round++ {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		from := len(got)
		err := c.Receive(ctx, g, 0, func(ms []broker.Incoming) error {
			got = append(got, ids(ms)...)
			settle(ms...)
			if len(got)-from > round%7*100 || len(got) >= n {
				cancel()
			}
			return nil
		})
		late := errors.Is(ctx.Err(), context.DeadlineExceeded)
		cancel()
		if err != nil || late {
			t.Fatalf("%d of %d messages came, %v", len(got), n, err)
		}
	}
	same(t, "after many ends", got, numbers(0, n)) // nothing twice: each end was a clean one
}

func TestTapLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c := openWith(t, config)
	declare(t, c, "orders", 3)
	declare(t, c, "stock", 1)
	send(t, c, series("orders", 3, 0, 30)...)
	g := group("online.feed", 3, "orders", "stock")
	g.Inputs[1].Types = []string{"shop.Low.v*"}
	ready := make(chan struct{})
	r := run(t, func(ctx context.Context, take func([]broker.Incoming) error) error {
		return c.Tap(ctx, g, func() { close(ready) }, take)
	})
	<-ready
	send(t, c, series("orders", 3, 30, 3000)...)
	got := r.next(3000)
	same(t, "the tap", ids(got), numbers(30, 3000))
	settle(got...)
	send(t, c, message("stock", 0, "no", "shop.High.v1"), message("stock", 0, "yes", "shop.Low.v1"))
	same(t, "the other input", ids(r.next(1)), []string{"yes"})
	r.stop()
	js := raw(t, server.URL())
	streams := 0
	for info := range js.ListStreams(t.Context()).Info() {
		if !strings.HasPrefix(info.Config.Name, config.Prefix) {
			continue
		}
		streams++
		if info.State.Consumers != 0 {
			t.Errorf("stream %s has %d consumers", info.Config.Name, info.State.Consumers)
		}
	}
	if streams != 2 {
		t.Errorf("%d streams", streams)
	}
}

// consumers returns the names of a stream's consumers.
func consumers(t *testing.T, js jetstream.JetStream, stream string) []string {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range s.ConsumerNames(t.Context()).Name() {
		names = append(names, name)
	}
	return names
}
