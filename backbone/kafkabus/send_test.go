package kafkabus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/internal/testserver"
)

func TestTooLargeHurtsNobodyElse(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	var others sync.WaitGroup
	for k := range 4 {
		others.Go(func() {
			for n := range 50 {
				if _, err := c.Send(t.Context(), []broker.Outgoing{message(topic, 0, k*1000+n)}); err != nil {
					t.Errorf("another Send: %v", err)
				}
			}
		})
	}
	large := message(topic, 0, 9999)
	large.Body = []byte(strings.Repeat("x", 1<<20))
	for range 10 {
		// Neither what stands before it nor what stands behind it is sent.
		_, err := c.Send(t.Context(), []broker.Outgoing{message(topic, 0, 9998), large, message(topic, 0, 10000)})
		if !errors.Is(err, broker.ErrTooLarge) {
			t.Errorf("a megabyte: %v", err)
		}
	}
	others.Wait()
	// What just fits, fits.
	large.Body = large.Body[:999_000]
	send(t, c, large)
	infos, err := c.Describe(t.Context(), topic)
	if err != nil || infos[0].Messages != 201 {
		t.Errorf("the topic has %+v, %v", infos, err)
	}

	// A server that takes less since is told apart too.
	_, err = admin(t, server.Addresses()).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: kadm.StringPtr("2000")}}, topic)
	must(t, err)
	if _, err := c.Send(t.Context(), []broker.Outgoing{large}); !errors.Is(err, broker.ErrTooLarge) {
		t.Errorf("more than the topic takes: %v", err)
	}
	send(t, c, message(topic, 0, 10001))
	// Nothing that follows it is there, though the server would take that, since it is nothing but zeros; and what comes next is taken.
	_, err = admin(t, server.Addresses()).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: kadm.StringPtr("90000")}}, topic)
	must(t, err)
	before, err := c.Describe(t.Context(), topic)
	must(t, err)
	ms := []broker.Outgoing{large}
	for n := range 40 { // several batches of the library
		m := message(topic, 0, 10002+n)
		m.Body = make([]byte, 100_000)
		ms = append(ms, m)
	}
	ms[0].Body = make([]byte, 100_000)
	_, _ = rand.Read(ms[0].Body)
	if _, err := c.Send(t.Context(), ms); !errors.Is(err, broker.ErrTooLarge) {
		t.Errorf("more than the topic takes, and others behind it: %v", err)
	}
	after, err := c.Describe(t.Context(), topic)
	if err != nil || after[0].Messages != before[0].Messages {
		t.Errorf("%d messages are there, and there were %d (%v)", after[0].Messages, before[0].Messages, err)
	}
	send(t, c, ms[1:]...)
}

func TestTopicThatHasGoneIsAnError(t *testing.T) {
	t.Parallel()
	server, c := shared(t)
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	anchor := send(t, c, messages(topic, 0, 0, 10)...)[0]
	r := receive(t, c, g, 0, all)
	r.wait(10)
	r.stop()
	if held, err := c.Holds(t.Context(), anchor); !held || err != nil {
		t.Fatalf("held: %v, %v", held, err)
	}
	raw := admin(t, server.Addresses())
	_, err := raw.DeleteTopic(t.Context(), topic)
	must(t, err)
	if _, err := c.Send(t.Context(), messages(topic, 0, 10, 20)); err == nil {
		t.Error("sent to a topic that is gone")
	}
	if held, err := c.Holds(t.Context(), anchor); held || err != nil {
		t.Errorf("held by a topic that is gone: %v, %v", held, err)
	}
	topics, err := raw.ListTopics(t.Context())
	must(t, err)
	if topics.Has(topic) {
		t.Error("it was made silently")
	}
	// Made again it is another one, also with the same numbers of the same messages.
	if _, err := c.DeclareTopic(t.Context(), topic, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), messages(topic, 0, 0, 12)); !errors.Is(err, kafkabus.ErrLost) {
		t.Errorf("the first time sent to the topic that was made again: %v", err)
	}
	again := send(t, c, messages(topic, 0, 0, 12)...)[0]
	if held, err := c.Holds(t.Context(), anchor); held || err != nil || again.Identity == anchor.Identity {
		t.Errorf("held by a topic that was made again: %v, %v", held, err)
	}
	if held, err := c.Holds(t.Context(), again); !held || err != nil {
		t.Errorf("the new topic's: %v, %v", held, err)
	}
	// The group begins at its first message: everything in it is new to the group, joined again or not.
	r = receive(t, c, g, 0, nil)
	ordered(t, r.wait(12), topic, 0, 0, 12)
	r.stop()
	join(t, c, g)
	r = receive(t, c, g, 0, all)
	ordered(t, r.wait(12), topic, 0, 0, 12)
	r.stop()
}

func TestAnchorsSurviveARestartAndNotALostTail(t *testing.T) {
	t.Parallel()
	server := testserver.KafkaOwn(t, 1)
	c := connect(t, server.Addresses())
	a, b := declared(t, c, 2), declared(t, c, 1)
	anchors := send(t, c, append(messages(a, 0, 0, 5), append(messages(b, 0, 0, 3), messages(a, 1, 0, 7)...)...)...)
	if len(anchors) != 3 || anchors[0].Topic != a || anchors[0].Partition != 0 || anchors[0].Sequence != 5 ||
		anchors[2].Topic != a || anchors[2].Partition != 1 || anchors[2].Sequence != 7 || anchors[2].ID != a+"/1/6" ||
		anchors[1].Topic != b || anchors[1].Sequence != 3 {
		t.Fatalf("anchors %+v", anchors)
	}
	server.Restart()
	for _, anchor := range anchors {
		if held, err := c.Holds(t.Context(), anchor); !held || err != nil {
			t.Errorf("after a restart: %v, %v", held, err)
		}
	}
	for what, change := range map[string]func(*broker.Anchor){
		"a message that is not there yet": func(a *broker.Anchor) { a.Sequence++ },
		"another message":                 func(a *broker.Anchor) { a.ID += "x" },
		"another topic":                   func(a *broker.Anchor) { a.Topic += "x" },
		"a partition too many":            func(a *broker.Anchor) { a.Partition = 2 },
	} {
		other := anchors[2]
		change(&other)
		if held, err := c.Holds(t.Context(), other); held || err != nil {
			t.Errorf("%s: %v, %v", what, held, err)
		}
	}
	// A message that retention has taken since counts as held.
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: b, Partition: 0, At: 3})
	_, err := admin(t, server.Addresses()).DeleteRecords(t.Context(), offsets)
	must(t, err)
	if held, err := c.Holds(t.Context(), anchors[1]); !held || err != nil {
		t.Errorf("a message that retention has taken: %v, %v", held, err)
	}

	g := group(a, 2)
	g.FromFirst = true
	join(t, c, g)
	r := receive(t, c, g, 1, all)
	r.wait(7)
	r.stop()
	before := send(t, c, messages(a, 1, 7, 8)...)[0]
	r = receive(t, c, g, 1, all)
	r.wait(1)
	r.stop()
	server.Kill()
	server.LoseTail(a, 1)
	server.Restart()
	if held, err := c.Holds(t.Context(), before); held || err != nil {
		t.Errorf("after its tail was lost: %v, %v", held, err)
	}
	if held, err := c.Holds(t.Context(), anchors[2]); !held || err != nil {
		t.Errorf("before the lost tail: %v, %v", held, err)
	}
	// What is published again takes the place of what was lost, and reaches the group, which was behind it.
	must(t, insist(t.Context(), c, messages(a, 1, 7, 9)))
	r = receive(t, c, g, 1, all)
	r.until("what took the place of the lost tail", func(got []broker.Incoming) bool {
		return len(got) > 0 && attribute(got[len(got)-1], "id") == a+"/1/8"
	})
	r.stop()
}

// Whatever cuts the connection in the middle of a batch, whoever sends again until it is confirmed gets everything into
// each partition, the first of each in order.
func TestOrderAcrossCutConnections(t *testing.T) {
	t.Parallel()
	server := testserver.KafkaOwn(t, 1)
	proxy := testserver.NewProxy(t, server.Addresses()[0])
	c := connect(t, server.Addresses(), through(proxy), func(c *kafkabus.ClientConfig) { c.Patience = 2 * time.Second })
	const partitions, rounds, batch = 2, 12, 200
	topic := declared(t, c, partitions)
	g := group(topic, partitions)
	join(t, c, g)
	failed := 0
	for round := range rounds {
		var ms []broker.Outgoing
		for n := range batch {
			for p := range partitions {
				m := message(topic, p, round*batch+n)
				m.Body = []byte(strings.Repeat("x", 400))
				ms = append(ms, m)
			}
		}
		switch round % 4 {
		case 0:
			proxy.CutAfter(testserver.Upstream, int64(3000*round))
		case 1:
			proxy.CutAfter(testserver.Downstream, int64(20*round))
		case 2:
			proxy.Latency(20 * time.Millisecond)
		case 3:
			proxy.Latency(0)
			proxy.Pause() // a black hole, until a Send has noticed
		}
		_, err := c.Send(t.Context(), ms)
		if err != nil {
			failed++
		}
		proxy.Resume()
		if err != nil {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			must(t, insist(ctx, c, ms))
			cancel()
		}
	}
	if failed == 0 || proxy.Cuts() == 0 {
		t.Errorf("%d cuts, %d sends failed: the test has not tested", proxy.Cuts(), failed)
	}
	t.Logf("%d cuts, %d sends failed", proxy.Cuts(), failed)
	for p := range partitions {
		r := receive(t, c, g, p, all)
		r.until("the last", func(got []broker.Incoming) bool { return len(firsts(got)) == rounds*batch })
		r.stop()
		got := r.received()
		t.Logf("partition %d: %d copies", p, len(got)-rounds*batch)
		ordered(t, firsts(got), topic, p, 0, rounds*batch)
	}
}

func TestServerDown(t *testing.T) {
	t.Parallel()
	server := testserver.KafkaOwn(t, 1)
	c := connect(t, server.Addresses())
	topic := declared(t, c, 1)
	g := group(topic, 1)
	join(t, c, g)
	anchor := send(t, c, messages(topic, 0, 0, 10)...)[0]
	for what, gone := range map[string]struct{ leave, come func() }{
		"killed": {server.Kill, server.Restart},
		"paused": {server.Pause, server.Resume},
	} {
		r := receive(t, c, g, 0, nil)
		r.wait(10)
		gone.leave()
		var asking sync.WaitGroup
		begun := time.Now()
		for method, call := range map[string]func(context.Context) error{
			"Check":    c.Check,
			"Declare":  func(ctx context.Context) error { _, err := c.DeclareTopic(ctx, name("new"), 1); return err },
			"Join":     func(ctx context.Context) error { return c.Join(ctx, g) },
			"Send":     func(ctx context.Context) error { _, err := c.Send(ctx, messages(topic, 0, 10, 20)); return err },
			"Holds":    func(ctx context.Context) error { _, err := c.Holds(ctx, anchor); return err },
			"Backlog":  func(ctx context.Context) error { _, err := c.Backlog(ctx, g); return err },
			"Describe": func(ctx context.Context) error { _, err := c.Describe(ctx, topic); return err },
			"Tap": func(ctx context.Context) error {
				return c.Tap(ctx, g, func() { t.Error("ready") }, func([]broker.Incoming) error { return nil })
			},
			"Receive under way": func(context.Context) error { return r.end() },
			"Receive": func(ctx context.Context) error {
				other := g
				other.Name += "-other"
				return c.Receive(ctx, other, 0, nil)
			},
		} {
			asking.Go(func() {
				err := call(t.Context())
				if took := time.Since(begun); err == nil || took > 30*time.Second {
					t.Errorf("%s: %s has taken %v: %v", what, method, took.Round(time.Millisecond), err)
				} else {
					t.Logf("%s: %s has taken %v: %v", what, method, took.Round(time.Millisecond), err)
				}
			})
		}
		asking.Wait()
		gone.come()
		back := time.Now()
		for method, call := range map[string]func() error{
			"Check": func() error { return c.Check(t.Context()) },
			"Send":  func() error { _, err := c.Send(t.Context(), messages(topic, 0, 10, 20)); return err },
			"Holds": func() error { _, err := c.Holds(t.Context(), anchor); return err },
			"Join":  func() error { return c.Join(t.Context(), g) },
		} {
			if err := call(); err != nil {
				t.Errorf("%s, and back: %s: %v", what, method, err)
			}
		}
		r = receive(t, c, g, 0, nil)
		r.wait(20)
		t.Logf("%s, and back: works again after %v", what, time.Since(back).Round(time.Millisecond))
		r.stop()
	}
}

func TestConcurrentSendersKeepTheirOrder(t *testing.T) {
	t.Parallel()
	_, c := shared(t)
	topic := declared(t, c, 4)
	g := group(topic, 4)
	join(t, c, g)
	var senders sync.WaitGroup
	for k := range 32 {
		senders.Go(func() {
			for n := range 50 {
				m := message(topic, k%4, n)
				m.Attributes[1].Value = fmt.Sprintf("%d/%d", k, n)
				if _, err := c.Send(t.Context(), []broker.Outgoing{m}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	for p := range 4 {
		r := receive(t, c, g, p, all)
		next := map[int]int{}
		for _, in := range r.wait(400) {
			var k, n int
			_, err := fmt.Sscanf(attribute(in, "id"), "%d/%d", &k, &n)
			must(t, err)
			if n != next[k] {
				t.Fatalf("sender %d: message %d instead of %d", k, n, next[k])
			}
			next[k]++
		}
		r.stop()
	}
}
