package rabbitbus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/rabbitbus"
	"example.org/souk/internal/testserver"
)

// one makes a topic and a group of one partition.
func one(t testing.TB, c *rabbitbus.Client, url string) (topic string, g broker.Group) {
	t.Helper()
	own := names(t, url, 2)
	declare(t, c, own[0], 1)
	g = groupOf(own[1], 1, own[0])
	join(t, c, g)
	return own[0], g
}

// What was not settled comes again before what follows it, in order, however often the receiving ends and whatever was
// settled in between.
func TestUnsettledComeAgainInOrder(t *testing.T) {
	t.Parallel()
	url := server(t)
	c := connect(t, url)
	topic, g := one(t, c, url)
	const total = 5000
	send(t, c, numbered(topic, 0, 0, total))
	chance := rand.New(rand.NewPCG(1, 2))
	left := span(0, total) // what is not settled
	seen := 0              // the messages from here on never came
	for round := 0; len(left) > 0; round++ {
		r := receive(t, c, g, 0, false)
		want := min(len(left), broker.Window)
		if round%3 == 1 {
			want = min(want, 1+chance.IntN(200)) // it ends in the midst of what it gets
		}
		got := r.wait(want)
		sameNumbers(t, fmt.Sprint("round ", round), bodies(t, got), left[:want])
		for i, m := range got {
			n := left[i]
			if n < seen && !m.Redelivered {
				t.Errorf("round %d: message %d came before and is not marked", round, n)
			}
		}
		// Some are settled, in any order.
		order := chance.Perm(want)
		settled := map[int]bool{}
		for _, i := range order[:1+want/2] {
			got[i].Done()
			settled[left[i]] = true
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if !settled[left[i]] {
				got[i].Done() // too late
			}
		}
		seen = max(seen, left[want-1]+1)
		left = slices.DeleteFunc(left, func(n int) bool { return settled[n] })
		// The server closes the channel first and has the messages back a moment later. The next receiver need not
		// wait for that: until then it is not the active one.
		if round%2 == 0 {
			eventually(t, fmt.Sprintf("round %d: the queue holds %d", round, len(left)), func() bool { n := backlog(t, c, g)[0]; return n == int64(len(left)) })
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	url := server(t)
	c := connect(t, url)
	topic, g := one(t, c, url)
	send(t, c, numbered(topic, 0, 0, broker.Window+500))
	r := receive(t, c, g, 0, false)
	got := r.wait(broker.Window)
	// All are there, those received here among them; the rest waits at the server.
	if n := backlog(t, c, g)[0]; n != broker.Window+500 {
		t.Errorf("the group has not settled %d", n)
	}
	if n := backlog(t, connect(t, url), g)[0]; n != 500 {
		t.Errorf("%d wait at the server", n)
	}
	for _, m := range got[100:200] {
		m.Done()
	}
	r.wait(broker.Window + 100)
	if r.count() != broker.Window+100 {
		t.Errorf("%d came", r.count())
	}
	described, err := c.Describe(t.Context(), topic)
	if err != nil || len(described) != 1 || described[0].Messages != broker.Window+400 {
		t.Errorf("described as %v, %v", described, err)
	}
}

func TestReceivingEndsWithTheErrorOfTake(t *testing.T) {
	t.Parallel()
	url := server(t)
	c := connect(t, url)
	topic, g := one(t, c, url)
	send(t, c, numbered(topic, 0, 0, 3))
	full := errors.New("full")
	if err := c.Receive(t.Context(), g, 0, func([]broker.Incoming) error { return full }); !errors.Is(err, full) {
		t.Errorf("it ended with %v", err)
	}
	sameNumbers(t, "again", bodies(t, receive(t, c, g, 0, true).wait(3)), span(0, 3))
}

// The second receiver of a partition waits until the first is gone, and goes on where that stopped.
func TestSecondReceiverWaits(t *testing.T) {
	t.Parallel()
	url := server(t)
	c, other := connect(t, url), connect(t, url)
	topic, g := one(t, c, url)
	first := receive(t, c, g, 0, false)
	send(t, c, numbered(topic, 0, 0, 10))
	got := first.wait(10)
	second := receive(t, other, g, 0, true)
	got[0].Done()
	got[4].Done()
	send(t, c, numbered(topic, 0, 10, 10))
	first.wait(20)
	if second.count() != 0 {
		t.Errorf("two receive at once: %v", bodies(t, second.wait(1)))
	}
	if err := first.stop(); err != nil {
		t.Error(err)
	}
	want := append([]int{1, 2, 3}, span(5, 15)...)
	sameNumbers(t, "the second receiver", bodies(t, second.wait(len(want))), want)
}

func TestUnsettledComeAgainFromAKilledProcess(t *testing.T) {
	t.Parallel()
	url := server(t)
	c := connect(t, url)
	topic, g := one(t, c, url)
	send(t, c, numbered(topic, 0, 0, 300))
	p := startChild(t, url, g.Name, "0,1,5,250")
	p.WaitLine("got 299 ")
	// What it has settled has reached the server by now.
	eventually(t, "the rest is unsettled", func() bool { return backlog(t, c, g)[0] == 0 })
	p.Kill9()
	send(t, c, numbered(topic, 0, 300, 10))
	// What the process had settled last may come again; the rest does, in order and before what is new.
	settled := func(n int) bool { return n < 2 || n == 5 || n == 250 }
	r := receive(t, c, g, 0, true)
	eventually(t, "all come", func() bool { n := r.count(); return n > 0 && bodies(t, r.wait(n))[n-1] == 309 })
	got := slices.DeleteFunc(bodies(t, r.wait(r.count())), settled)
	sameNumbers(t, "after the kill", got, slices.DeleteFunc(span(0, 310), settled))
}

// A process that stands still keeps its partition until the server misses its heartbeats; the next one then gets
// everything in order, and the first, when it goes on, settles nothing any more.
func TestReceiverThatStandsStill(t *testing.T) {
	t.Parallel()
	url := server(t)
	c := connect(t, url)
	topic, g := one(t, c, url)
	send(t, c, numbered(topic, 0, 0, 100))
	p := startChild(t, url, g.Name, "0,3")
	p.WaitLine("got 99 ")
	p.Pause()
	r := receive(t, c, g, 0, true)
	send(t, c, numbered(topic, 0, 100, 50))
	before := time.Now()
	// Whether it has told the server what it settled before it stood still is chance.
	settled := func(n int) bool { return n == 0 || n == 3 }
	eventually(t, "all come", func() bool { n := r.count(); return n > 0 && bodies(t, r.wait(n))[n-1] == 149 })
	t.Logf("it was given up after %v", time.Since(before))
	got := slices.DeleteFunc(bodies(t, r.wait(r.count())), settled)
	sameNumbers(t, "in its place", got, slices.DeleteFunc(span(0, 150), settled))
	p.Resume()
	p.WaitLine("ended:")
	send(t, c, numbered(topic, 0, 150, 50))
	eventually(t, "the rest comes here", func() bool { n := r.count(); return bodies(t, r.wait(n))[n-1] == 199 })
	got = slices.DeleteFunc(bodies(t, r.wait(r.count())), settled)
	sameNumbers(t, "when both go on", got, slices.DeleteFunc(span(0, 200), settled))
	if strings.Contains(p.Stdout(), "got 150 ") {
		t.Error("the receiver that stood still got what came later")
	}
}

func TestTap(t *testing.T) {
	t.Parallel()
	url := server(t)
	c := connect(t, url)
	own := names(t, url, 2)
	declare(t, c, own[0], 3)
	declare(t, c, own[1], 1)
	g := groupOf("tap", 3, own[0], own[1])
	g.Inputs[1].Types = []string{"souk.test.Else.v*"}
	send(t, c, numbered(own[0], 0, 0, 10))
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	r := &receiver{t: t, ended: ended, grown: make(chan struct{})}
	go func() {
		ended <- c.Tap(ctx, g, func() { close(ready) }, func(ms []broker.Incoming) error { r.add(ms, true); return nil })
	}()
	<-ready
	const total = 3 * broker.Window // more than may be unsettled at once
	for i := range 3 {
		send(t, c, numbered(own[0], i, 1000*i, broker.Window))
	}
	send(t, c, numbered(own[1], 0, 0, 5)) // of a type that it does not take
	got := r.wait(total)
	for i := range 3 {
		sameNumbers(t, "tapped", bodies(t, got[i*broker.Window:(i+1)*broker.Window]), span(1000*i, broker.Window))
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if r.count() != total {
		t.Errorf("%d came", r.count())
	}
}

// Close ends what is under way and leaves no connection; that no goroutine is left is what TestMain looks at.
func TestClose(t *testing.T) {
	t.Parallel()
	server := testserver.Rabbit(t)
	proxy := testserver.NewProxy(t, server.Addr())
	c := connect(t, proxy.Through(server.URL()))
	topic, g := one(t, c, server.URL())
	receive, tap := make(chan error, 1), make(chan error, 1)
	ready := make(chan struct{})
	take := func([]broker.Incoming) error { return nil }
	go func() { receive <- c.Receive(t.Context(), g, 0, take) }()
	go func() { tap <- c.Tap(t.Context(), g, func() { close(ready) }, take) }()
	<-ready
	send(t, c, numbered(topic, 0, 0, 10))
	if n := proxy.Connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-receive; err == nil {
		t.Error("receiving ended without an error when the client was closed")
	}
	if err := <-tap; err == nil {
		t.Error("tapping ended without an error when the client was closed")
	}
	eventually(t, "the connections are closed", func() bool { return proxy.Connections() == 0 })
	if _, err := c.Send(t.Context(), numbered(topic, 0, 0, 1)); err == nil {
		t.Error("a closed client sends")
	}
	if err := c.Receive(t.Context(), g, 0, take); err == nil {
		t.Error("a closed client receives")
	}
}
