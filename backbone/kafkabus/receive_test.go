package kafkabus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/internal/testserver"
)

func TestOrderAndContentOfTenThousand(t *testing.T) {
	t.Parallel()
	_, c := shared(t)
	const partitions, each, batch = 4, 2500, 500
	topic := declared(t, c, partitions)
	g := group(topic, partitions)
	join(t, c, g)
	keys := []string{"", "a", "Ünïcode-鍵-🛒", "with space", "\x00\xff\n", strings.Repeat("k", 300)}
	sent := map[string]broker.Outgoing{}
	for n := 0; n < each; n += batch {
		var ms []broker.Outgoing
		for p := range partitions {
			for _, m := range messages(topic, p, n, n+batch) {
				m.Key = keys[len(ms)%len(keys)]
				m.Attributes = append(m.Attributes, broker.Attribute{Name: "subject", Value: m.Key + "→✓"}, broker.Attribute{Name: "empty", Value: ""})
				m.Body = append(m.Body, "\x00\xfe ähm 🧾"...)
				sent[m.ID] = m
				ms = append(ms, m)
			}
		}
		send(t, c, ms...)
	}
	for p := range partitions {
		r := receive(t, c, g, p, all)
		got := r.wait(each)
		r.stop()
		ordered(t, got, topic, p, 0, each)
		for i, in := range got {
			m := sent[attribute(in, "id")]
			if string(in.Body) != string(m.Body) || !slices.Equal(in.Attributes, m.Attributes) || in.ContentType != "application/json" ||
				in.Topic != topic || in.Sequence != int64(i+1) || in.Redelivered {
				t.Fatalf("message %d came as %+v, was sent as %+v", i, in, m)
			}
		}
	}
	backlog, err := c.Backlog(t.Context(), g)
	if err != nil || !slices.Equal(backlog, make([]int64, partitions)) {
		t.Errorf("backlog %v, %v", backlog, err)
	}
}

func TestTypesAreFiltered(t *testing.T) {
	t.Parallel()
	_, c := shared(t)
	topic := declared(t, c, 1)
	types := []string{"test.A.v1", "test.B.v2", "test.C.v1", "test.B.v1"}
	g := group(topic, 1, "test.B.v*", "test.C.v1")
	join(t, c, g)
	var ms []broker.Outgoing
	for n := range 3000 {
		m := message(topic, 0, n)
		m.Type = types[n%len(types)]
		m.Attributes[3].Value = m.Type
		ms = append(ms, m)
	}
	send(t, c, ms...)
	r := receive(t, c, g, 0, all)
	got := r.wait(2250)
	r.stop()
	for _, in := range got {
		if attribute(in, "type") == "test.A.v1" {
			t.Fatalf("%s came", attribute(in, "type"))
		}
	}
	// What was left out is settled too, also behind the last that was taken.
	if backlog, err := c.Backlog(t.Context(), g); err != nil || backlog[0] != 0 {
		t.Errorf("backlog %v, %v", backlog, err)
	}
}

func TestTwoInputsInOneGroup(t *testing.T) {
	t.Parallel()
	_, c := shared(t)
	a, b := declared(t, c, 2), declared(t, c, 1)
	g := broker.Group{Name: name("group"), Inputs: []broker.Input{{Topic: a}, {Topic: b}}, Partitions: 2}
	join(t, c, g)
	send(t, c, append(messages(a, 0, 0, 50), messages(b, 0, 0, 50)...)...)
	send(t, c, messages(a, 1, 0, 10)...)
	r := receive(t, c, g, 0, all)
	got := r.wait(100)
	r.stop()
	for _, topic := range []string{a, b} {
		ordered(t, slices.DeleteFunc(slices.Clone(got), func(in broker.Incoming) bool { return in.Topic != topic }), topic, 0, 0, 50)
	}
	backlog, err := c.Backlog(t.Context(), g)
	if err != nil || !slices.Equal(backlog, []int64{0, 10}) {
		t.Errorf("backlog %v, %v", backlog, err)
	}
	if err := c.Join(t.Context(), broker.Group{Name: g.Name, Inputs: g.Inputs, Partitions: 1}); err == nil || !strings.Contains(err.Error(), "2 partitions") {
		t.Errorf("a group with fewer partitions than its topic: %v", err)
	}
}

func TestWholeGroupTakesAllPartitions(t *testing.T) {
	t.Parallel()
	_, c := shared(t)
	topic := declared(t, c, 4)
	g := group(topic, 1)
	g.Whole = true
	join(t, c, g)
	for p := range 4 {
		send(t, c, messages(topic, p, 0, 500)...)
	}
	if backlog, err := c.Backlog(t.Context(), g); err != nil || !slices.Equal(backlog, []int64{2000}) {
		t.Errorf("backlog %v, %v", backlog, err)
	}
	r := receive(t, c, g, 0, all)
	got := r.wait(2000)
	r.stop()
	for p := range 4 {
		part := fmt.Sprintf("%s/%d/", topic, p)
		ordered(t, slices.DeleteFunc(slices.Clone(got), func(in broker.Incoming) bool { return !strings.HasPrefix(attribute(in, "id"), part) }), topic, p, 0, 500)
	}
}

func TestGroupsBeginWhereTheyAskedTo(t *testing.T) {
	t.Parallel()
	_, c := shared(t)
	topic := declared(t, c, 1)
	send(t, c, messages(topic, 0, 0, 10)...)
	now, first := group(topic, 1), group(topic, 1)
	first.FromFirst = true
	if backlog, err := c.Backlog(t.Context(), now); err != nil || backlog[0] != -1 {
		t.Errorf("the backlog of a group that was not joined: %v, %v", backlog, err)
	}
	if err := c.Receive(t.Context(), now, 0, nil); !errors.Is(err, kafkabus.ErrNoPlace) {
		t.Errorf("a group that was not joined receives: %v", err)
	}
	join(t, c, now)
	join(t, c, first)
	// Nobody receives while these are published.
	send(t, c, messages(topic, 0, 10, 20)...)
	join(t, c, now)
	r := receive(t, c, now, 0, all)
	ordered(t, r.wait(10), topic, 0, 10, 20)
	r.stop()
	r = receive(t, c, first, 0, all)
	ordered(t, r.wait(20), topic, 0, 0, 20)
	r.stop()

	// A new input begins likewise, and what the group had is left alone.
	second := declared(t, c, 1)
	send(t, c, messages(second, 0, 0, 5)...)
	now.Inputs = append(now.Inputs, broker.Input{Topic: second})
	join(t, c, now)
	send(t, c, messages(second, 0, 5, 8)...)
	r = receive(t, c, now, 0, all)
	ordered(t, r.wait(3), second, 0, 5, 8)
	r.stop()
}

func TestUnsettledComeAgainFirstAndInOrder(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	send(t, c, messages(topic, 0, 0, 100)...)
	r := receive(t, c, g, 0, func(in broker.Incoming) bool { return in.Sequence != 41 })
	r.wait(100)
	r.stop()
	send(t, c, messages(topic, 0, 100, 110)...)
	// The same process knows what it has seen; another is told at a clean end.
	r = receive(t, c, g, 0, func(in broker.Incoming) bool { return in.Sequence <= 60 })
	got := r.wait(70)
	r.stop()
	ordered(t, got, topic, 0, 40, 110)
	if !got[0].Redelivered || !got[59].Redelivered || got[60].Redelivered {
		t.Error("what comes again is not marked, or what is new is")
	}
	got[69].Done() // behind the end: without effect
	other := connect(t, server.Addresses())
	r = receive(t, other, g, 0, all)
	got = r.wait(50)
	ordered(t, got, topic, 0, 60, 110)
	if !got[0].Redelivered || !got[49].Redelivered {
		t.Error("another process is not told what was handed over before")
	}
	r.stop()
	r = receive(t, c, g, 0, all)
	send(t, c, messages(topic, 0, 110, 111)...)
	got = r.wait(1)
	ordered(t, got, topic, 0, 110, 111)
	if got[0].Redelivered {
		t.Error("what is new is marked")
	}
	r.stop()
}

func TestWindowIsKept(t *testing.T) {
	t.Parallel()
	_, c := shared(t)
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	const many = 20 * broker.Window
	for n := 0; n < many; n += broker.Window {
		send(t, c, messages(topic, 0, n, n+broker.Window)...)
	}
	r := receive(t, c, g, 0, nil)
	settled := 0
	for settled < many {
		got := r.wait(min(settled+broker.Window, many))
		if len(got)-settled > broker.Window {
			t.Fatalf("%d are unsettled", len(got)-settled)
		}
		// The last of the window first: order of settling does not matter.
		for i := len(got) - 1; i >= settled; i-- {
			got[i].Done()
		}
		settled = len(got)
	}
	r.stop()
	ordered(t, r.received(), topic, 0, 0, many)
}

func TestTapSeesFromNowOnAndLeavesNothing(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 2)
	send(t, c, messages(topic, 0, 0, 10)...)
	g := group(topic, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &receiver{t: t, cancel: cancel, ended: make(chan error, 1), grown: make(chan struct{}, 1)}
	ready := make(chan struct{})
	go func() { r.ended <- c.Tap(ctx, g, func() { close(ready) }, r.taker(nil)) }()
	<-ready
	send(t, c, append(messages(topic, 0, 10, 60), messages(topic, 1, 0, 50)...)...)
	got := r.wait(100)
	r.stop()
	for p, from := range []int{10, 0} {
		part := fmt.Sprintf("%s/%d/", topic, p)
		ordered(t, slices.DeleteFunc(slices.Clone(got), func(in broker.Incoming) bool { return !strings.HasPrefix(attribute(in, "id"), part) }), topic, p, from, from+50)
	}
	groups, err := admin(t, server.Addresses()).ListGroups(t.Context())
	must(t, err)
	if slices.Contains(groups.Groups(), g.Name) {
		t.Error("it left a group behind")
	}
}

func TestGapIsNamed(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	send(t, c, messages(topic, 0, 0, 20)...)
	raw := admin(t, server.Addresses())
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 15})
	deleted, err := raw.DeleteRecords(t.Context(), offsets)
	must(t, err, deleted.Error())
	err = c.Receive(t.Context(), g, 0, nil)
	if !errors.Is(err, kafkabus.ErrGap) || !strings.Contains(err.Error(), "offset 0, and the first that is there is 15") {
		t.Errorf("receive: %v", err)
	}
	// Somebody decides to go on behind the gap, with a tool of the server's.
	must(t, raw.CommitAllOffsets(t.Context(), g.Name, offsets))
	r := receive(t, c, g, 0, nil)
	ordered(t, r.wait(5), topic, 0, 15, 20)

	// It is named also while it is received.
	for i := range 30 {
		send(t, c, messages(topic, 0, 20+i*1000, 20+i*1000+1000)...)
	}
	offsets = nil
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 30000})
	deleted, err = raw.DeleteRecords(t.Context(), offsets)
	must(t, err, deleted.Error())
	r.wait(broker.Window)
	settled := 0
	for {
		select {
		case err := <-r.ended:
			if !errors.Is(err, kafkabus.ErrGap) {
				t.Errorf("receive ended with %v", err)
			}
			return
		case <-r.grown:
			got := r.received()
			for ; settled < len(got); settled++ {
				got[settled].Done()
			}
		case <-time.After(patience):
			t.Fatalf("received %d and no error", len(r.received()))
		}
	}
}

func TestStaleReceiverDoesNoHarm(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	send(t, c, messages(topic, 0, 0, 100)...)
	stale := receive(t, c, g, 0, nil)
	held := stale.wait(100)
	other := connect(t, server.Addresses())
	r := receive(t, other, g, 0, all)
	ordered(t, r.wait(100), topic, 0, 0, 100)
	r.stop()
	// The first one wakes up and settles what it had: it must not set the group back, and it ends.
	for _, in := range held[:50] {
		in.Done()
	}
	if err := stale.end(); !errors.Is(err, kafkabus.ErrTaken) {
		t.Errorf("the stale receiver ended with %v", err)
	}
	if backlog, err := c.Backlog(t.Context(), g); err != nil || backlog[0] != 0 {
		t.Errorf("backlog %v, %v", backlog, err)
	}
	if err := c.Receive(canceled(t), g, 0, nil); err != nil {
		t.Errorf("receive with a ctx that has ended: %v", err)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestConnectionsOfManyPartitions(t *testing.T) {
	t.Parallel()
	server := testserver.KafkaOwn(t, 1)
	proxy := testserver.NewProxy(t, server.Addresses()[0])
	c := connect(t, server.Addresses(), through(proxy))
	const partitions = 16
	topic := declared(t, c, partitions)
	g := group(topic, partitions)
	join(t, c, g)
	var rs []*receiver
	for p := range partitions {
		rs = append(rs, receive(t, c, g, p, all))
		send(t, c, messages(topic, p, 0, 10)...)
	}
	for p, r := range rs {
		ordered(t, r.wait(10), topic, p, 0, 10)
	}
	t.Logf("%d connections for %d partitions that are received, and what was sent", proxy.Connections(), partitions)
	if n := proxy.Connections(); n > 12 {
		t.Errorf("%d connections", n)
	}
	for _, r := range rs {
		r.stop()
	}
	must(t, c.Close())
	eventually(t, "closed, the client has no connection", func() bool { return proxy.Connections() == 0 })
	if _, err := c.Send(t.Context(), messages(topic, 0, 0, 1)); !errors.Is(err, kafkabus.ErrClosed) {
		t.Errorf("send on a closed client: %v", err)
	}
	must(t, c.Close())
}

func TestClusterOfThree(t *testing.T) {
	t.Parallel()
	server := testserver.KafkaOwn(t, 3)
	c := connect(t, server.Addresses()[:1])
	topic := declared(t, c, 6)
	g, whole := group(topic, 6), group(topic, 1)
	whole.Whole = true
	join(t, c, g)
	join(t, c, whole)
	for p := range 6 {
		anchor := send(t, c, messages(topic, p, 0, 100)...)[0]
		if held, err := c.Holds(t.Context(), anchor); !held || err != nil {
			t.Errorf("partition %d: held %v, %v", p, held, err)
		}
	}
	for p := range 6 {
		r := receive(t, c, g, p, all)
		ordered(t, r.wait(100), topic, p, 0, 100)
		r.stop()
	}
	r := receive(t, c, whole, 0, all)
	r.wait(600)
	r.stop()
	infos, err := c.Describe(t.Context(), topic)
	must(t, err)
	for p, info := range infos {
		if info != (broker.PartitionInfo{Partition: p, First: 1, Next: 101, Messages: 100}) {
			t.Errorf("described as %+v", info)
		}
	}
}

// commits counts the commits that a client makes.
type commits struct{ atomic.Int64 }

func (n *commits) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.OffsetCommit) {
		n.Add(1)
	}
}

// A group without members loses places that nobody commits: those of an idle group are committed again.
func TestPlacesOfAnIdleGroupAreKept(t *testing.T) {
	t.Parallel()
	server := testserver.Kafka(t)
	var made commits
	c := connect(t, server.Addresses(), func(c *kafkabus.ClientConfig) {
		c.MinRetention = 2 * time.Second
		c.Options = append(c.Options, kgo.WithHooks(&made))
	})
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	r := receive(t, c, g, 0, all)
	eventually(t, "places that do not move are committed", func() bool { return made.Load() > 6 })
	r.stop()
}

// What is settled one by one is committed together.
func TestCommitsAreCoalesced(t *testing.T) {
	t.Parallel()
	server := testserver.Kafka(t)
	var made commits
	c := connect(t, server.Addresses(), func(c *kafkabus.ClientConfig) { c.Options = append(c.Options, kgo.WithHooks(&made)) })
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	send(t, c, messages(topic, 0, 0, 5000)...)
	begun := time.Now()
	r := receive(t, c, g, 0, all)
	r.wait(5000)
	r.stop()
	if most := int64(4 + time.Since(begun)/(100*time.Millisecond)); made.Load() > most {
		t.Errorf("%d commits within %v", made.Load(), time.Since(begun))
	}
}

// A connection that is cut in the middle of a fetch costs nothing but time: no copy, no gap.
func TestReceiveAcrossCutConnections(t *testing.T) {
	t.Parallel()
	server, direct := shared(t)
	proxy := testserver.NewProxy(t, server.Addresses()[0])
	c := connect(t, server.Addresses(), through(proxy))
	topic := declared(t, direct, 1)
	g := group(topic, 1)
	join(t, c, g)
	const rounds, each = 8, 1000
	r := receive(t, c, g, 0, all)
	for round := range rounds {
		switch round % 4 {
		case 1:
			proxy.CutAfter(testserver.Downstream, 5000)
		case 2:
			proxy.Reset()
		case 3:
			proxy.Latency(time.Duration(round) * 5 * time.Millisecond)
		}
		send(t, direct, messages(topic, 0, round*each, (round+1)*each)...)
		r.wait((round + 1) * each)
	}
	r.stop()
	ordered(t, r.received(), topic, 0, 0, rounds*each)
	if proxy.Cuts() == 0 {
		t.Error("nothing was cut")
	}
}
