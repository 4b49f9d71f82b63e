package rabbitbus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/rabbitbus"
	"example.org/souk/internal/testserver"
)

// limit is how long a method may take with a server that is gone: about ten seconds, on a busy machine.
const limit = 40 * time.Second

// keepSending sends numbers in batches, each again from its first unconfirmed message, until stop; what was confirmed
// is then known.
func keepSending(c *rabbitbus.Client, topic string, stop <-chan struct{}) (confirmed int) {
	for {
		select {
		case <-stop:
			return confirmed
		default:
		}
		if _, err := c.Send(context.Background(), numbered(topic, 0, confirmed, 50)); err == nil {
			confirmed += 50
		}
	}
}

// withoutCopies drops numbers that came before. A message that was sent again may come again, but none may come for
// the first time behind a later one.
func withoutCopies(t testing.TB, got []int) []int {
	t.Helper()
	var all []int
	for i, n := range got {
		switch {
		case n == len(all):
			all = append(all, n)
		case n > len(all):
			t.Fatalf("message %d came and %d has not; around it %v", n, len(all), got[max(0, i-5):min(len(got), i+5)])
		}
	}
	return all
}

// A connection that is cut anywhere in a batch: Send fails, what was sent again comes, in order, with copies at most.
func TestConnectionsAreCut(t *testing.T) {
	t.Parallel()
	server := testserver.Rabbit(t)
	proxy := testserver.NewProxy(t, server.Addr())
	direct := connect(t, server.URL())
	c := connect(t, proxy.Through(server.URL()))
	topic, g := one(t, direct, server.URL())
	next, failed := 0, 0
	for i := range 12 {
		direction := testserver.Direction(i % 2)
		proxy.CutAfter(direction, int64(1+i*i*137))
		for {
			_, err := c.Send(t.Context(), numbered(topic, 0, next, 600))
			if err == nil {
				break
			}
			failed++
		}
		next += 600
	}
	if failed == 0 || proxy.Cuts() < 6 {
		t.Errorf("%d sends failed, %d connections were cut", failed, proxy.Cuts())
	}
	proxy.CutAfter(testserver.Upstream, 1<<40)
	proxy.CutAfter(testserver.Downstream, 1<<40)
	// Receiving is cut as well, again and again.
	var got []int
	settled := 0
	for round := 0; settled < next; round++ {
		r := receive(t, c, g, 0, false)
		if round < 5 {
			proxy.CutAfter(testserver.Downstream, int64(3000+round*40_000))
			eventually(t, "the receiving ends", func() bool { return len(r.ended) == 1 })
			if err := r.stop(); err == nil {
				t.Error("a receiver whose connection was cut ended without an error")
			}
			continue
		}
		for _, m := range r.wait(min(broker.Window, 1)) {
			_ = m
		}
		eventually(t, "all come", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, m := range r.got[len(got):] {
				m.Done()
			}
			got = bodies(t, r.got)
			return len(got) >= next && got[len(got)-1] == next-1
		})
		settled = next
	}
	sameNumbers(t, "received", withoutCopies(t, got), span(0, next))
}

func TestSlowAndSilentConnections(t *testing.T) {
	t.Parallel()
	server := testserver.Rabbit(t)
	proxy := testserver.NewProxy(t, server.Addr())
	c := connect(t, proxy.Through(server.URL()))
	topic, g := one(t, connect(t, server.URL()), server.URL())
	proxy.Latency(20 * time.Millisecond)
	send(t, c, numbered(topic, 0, 0, 1200))
	r := receive(t, c, g, 0, true)
	r.wait(1200)
	proxy.Latency(0)

	proxy.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	before := time.Now()
	if _, err := c.Send(ctx, numbered(topic, 0, 1200, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a send through a dead wire: %v", err)
	}
	if took := time.Since(before); took > 15*time.Second {
		t.Errorf("it waited %v after its context had ended", took)
	}
	before = time.Now()
	var all sync.WaitGroup
	for what, f := range map[string]func() error{
		"send":    func() error { _, err := c.Send(t.Context(), numbered(topic, 0, 1200, 1)); return err },
		"backlog": func() error { _, err := c.Backlog(t.Context(), g); return err },
		"holds":   func() error { _, err := c.Holds(t.Context(), broker.Anchor{Topic: topic}); return err },
		"receive": func() error { err := <-r.ended; r.ended <- err; return err },
	} {
		all.Go(func() {
			if err := f(); err == nil {
				t.Errorf("%s through a dead wire succeeded", what)
			}
			if took := time.Since(before); took > limit {
				t.Errorf("%s took %v", what, took)
			}
		})
	}
	all.Wait()
	proxy.Resume()
	send(t, c, numbered(topic, 0, 1200, 1))
	receive(t, c, g, 0, true).wait(1)
}

// TestOwnServer does to one server what the tests that share one cannot: it takes ten seconds to start.
func TestOwnServer(t *testing.T) {
	t.Parallel()
	server := testserver.RabbitOwn(t)
	url := server.URL()
	c := connect(t, url)

	t.Run("killed under load", func(t *testing.T) {
		topic, g := one(t, c, url)
		stop := make(chan struct{})
		confirmed := make(chan int, 1)
		go func() { confirmed <- keepSending(c, topic, stop) }()
		r := receive(t, c, g, 0, false)
		got := r.wait(600)
		for _, m := range got[:300] {
			m.Done()
		}
		for _, i := range []int{310, 305, 400} { // out of order
			got[i].Done()
		}
		eventually(t, "the settlements are written", func() bool { return r.count() > 900 })
		server.Flushed()
		server.Kill()
		if err := <-r.ended; err == nil {
			t.Error("receiving from a killed server ended without an error")
		} else {
			r.ended <- err
		}
		before := time.Now()
		if _, err := c.Backlog(t.Context(), g); err == nil || time.Since(before) > limit {
			t.Errorf("asking a server that is down: %v after %v", err, time.Since(before))
		}
		if err := connect(t, url).Check(t.Context()); err == nil {
			t.Error("a server that is down was checked")
		}
		server.Restart()
		anchor := send(t, connect(t, url), unnumbered(topic))[0]
		if holds, err := c.Holds(t.Context(), anchor); err != nil || !holds {
			t.Errorf("after the restart: %v, %v", holds, err)
		}
		close(stop)
		total := <-confirmed
		// Everything confirmed comes, the unsettled first and in order.
		var all []int
		again := receive(t, c, g, 0, false)
		next := 0
		eventually(t, "all that was confirmed comes", func() bool {
			n := again.count()
			ms := again.wait(n)
			for _, m := range ms[next:] {
				if string(m.Body) != "marker" {
					all = append(all, bodies(t, []broker.Incoming{m})...)
				}
				m.Done()
			}
			next = n
			return slices.Contains(all, total-1)
		})
		if all[0] > 300 {
			t.Errorf("the first to come again is %d, and 300 was not settled", all[0])
		}
		t.Logf("%d confirmed; the first to come again is %d, and of the three settled out of order came %v", total, all[0],
			slices.DeleteFunc([]int{305, 310, 400}, func(n int) bool { return !slices.Contains(all, n) }))
		gone := map[int]bool{305: true, 310: true, 400: true}
		expect := all[0]
		for _, n := range all {
			for gone[expect] && n != expect {
				expect++
			}
			if n > expect {
				t.Fatalf("message %d came and %d has not", n, expect)
			}
			if n == expect {
				expect++
			}
		}
	})

	t.Run("settled at a clean end stays settled", func(t *testing.T) {
		topic, g := one(t, c, url)
		send(t, c, numbered(topic, 0, 0, 1000))
		r := receive(t, c, g, 0, false)
		got := r.wait(1000)
		for i, m := range got {
			if i%7 != 3 {
				m.Done()
			}
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		server.Flushed()
		server.Kill()
		server.Restart()
		want := slices.DeleteFunc(span(0, 1000), func(i int) bool { return i%7 != 3 })
		sameNumbers(t, "after the restart", bodies(t, receive(t, c, g, 0, true).wait(len(want))), want)
		eventually(t, "nothing is left", func() bool { return backlog(t, c, g)[0] == 0 })
	})

	t.Run("paused", func(t *testing.T) {
		topic, g := one(t, c, url)
		anchor := send(t, c, numbered(topic, 0, 0, 10))[0]
		r := receive(t, c, g, 0, false)
		r.wait(10)
		server.Pause()
		before := time.Now()
		var all sync.WaitGroup
		for what, f := range map[string]func() error{
			"send":     func() error { _, err := c.Send(t.Context(), numbered(topic, 0, 10, 1)); return err },
			"holds":    func() error { _, err := c.Holds(t.Context(), anchor); return err },
			"join":     func() error { return c.Join(t.Context(), g) },
			"describe": func() error { _, err := c.Describe(t.Context(), topic); return err },
			"declare":  func() error { _, err := c.DeclareTopic(t.Context(), topic+"x", 1); return err },
			"receive":  func() error { err := <-r.ended; r.ended <- err; return err },
		} {
			all.Go(func() {
				if err := f(); err == nil {
					t.Errorf("%s with a server that stands still succeeded", what)
				}
				if took := time.Since(before); took > limit {
					t.Errorf("%s took %v", what, took)
				}
			})
		}
		all.Wait()
		server.Resume()
		var err error
		eventually(t, "it can be used again", func() bool { _, err = c.Send(t.Context(), numbered(topic, 0, 10, 1)); return err == nil })
		got := withoutCopies(t, bodies(t, receive(t, c, g, 0, true).wait(11)))
		sameNumbers(t, "after the pause", got[:10], span(0, 10))
	})

	t.Run("short of memory", func(t *testing.T) {
		topic, g := one(t, c, url)
		send(t, c, numbered(topic, 0, 0, 10))
		server.Control("set_vm_memory_high_watermark", "absolute", "1MB")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		before := time.Now()
		if _, err := c.Send(ctx, numbered(topic, 0, 10, 10)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a second to wait: %v", err)
		}
		if took := time.Since(before); took > 20*time.Second {
			t.Errorf("it waited %v", took)
		}
		large := outgoing(topic, 0, 10)
		large.Body = make([]byte, 8<<20) // more than the sockets hold
		before = time.Now()
		if _, err := c.Send(t.Context(), slices.Repeat([]broker.Outgoing{large}, 4)); err == nil || time.Since(before) > 2*limit {
			t.Errorf("without an end: %v after %v", err, time.Since(before))
		} else if !strings.Contains(err.Error(), "memory") {
			t.Errorf("the error does not say what the server is short of: %v", err)
		}
		// Those who receive go on.
		receive(t, c, g, 0, true).wait(10)
		server.Control("set_vm_memory_high_watermark", "0.4")
		send(t, c, numbered(topic, 0, 10, 10))
	})

	// FAILURES 43: the user has a new password, and its connections are cut. Red where the password is asked for once.
	t.Run("a new password under load", func(t *testing.T) {
		var password atomic.Pointer[string]
		set := func(text string) { password.Store(&text) }
		set("first")
		server.Control("eval", `rabbit_auth_backend_internal:add_user(<<"mall">>, <<"first">>, <<"test">>),
			rabbit_auth_backend_internal:set_permissions(<<"mall">>, <<"/">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>).`)
		c, err := rabbitbus.NewClient(rabbitbus.ClientConfig{
			URL: "amqp://" + server.Addr() + "/", Login: func() (string, string, error) { return "mall", *password.Load(), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}()
		topic, g := one(t, c, url)
		stop := make(chan struct{})
		confirmed := make(chan int, 1)
		go func() { confirmed <- keepSending(c, topic, stop) }()
		receive(t, c, g, 0, false).wait(300)
		server.Control("change_password", "mall", "second")
		server.Control("close_all_user_connections", "mall", "the password has changed")
		set("second")
		eventually(t, "the client is let in again", func() bool { _, err := c.Backlog(t.Context(), g); return err == nil })
		again := receive(t, c, g, 0, true) // from the first message on, since none was settled
		again.wait(600)
		close(stop)
		total := <-confirmed
		var got []int
		eventually(t, "everything that was confirmed comes", func() bool {
			got = bodies(t, again.wait(again.count()))
			return slices.Contains(got, total-1)
		})
		sameNumbers(t, "after the change", withoutCopies(t, got)[:total], span(0, total))
	})

	t.Run("a tap leaves nothing behind", func(t *testing.T) {
		topic, g := one(t, c, url)
		ctx, cancel := context.WithCancel(t.Context())
		var during string
		if err := c.Tap(ctx, g, func() { during = server.Control("list_queues", "name"); cancel() }, nil); err != nil {
			t.Fatal(err)
		}
		after := server.Control("list_queues", "name")
		if !strings.Contains(during, "amq.gen") || strings.Contains(after, "amq.gen") || !strings.Contains(after, topic) {
			t.Errorf("the queues during the tap: %s\nand after it: %s", during, after)
		}
	})

	t.Run("policies that lose messages", func(t *testing.T) {
		server.Control("set_policy", "all", ".*", `{"delivery-limit": 20}`, "--apply-to", "queues")
		if err := c.Check(t.Context()); !errors.Is(err, broker.ErrUnsafe) || !strings.Contains(err.Error(), "delivery-limit") {
			t.Errorf("with a limit of deliveries: %v", err)
		}
		// What the limit takes away is in the safety net.
		topic, g := one(t, c, url)
		send(t, c, numbered(topic, 0, 0, 1))
		ch := raw(t, url)
		for range 21 {
			r := receive(t, c, g, 0, false)
			r.wait(1)
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the message is in the safety net", func() bool {
			d, ok, err := ch.Get("souk.dead", true)
			if err != nil {
				t.Fatal(err)
			}
			return ok && string(d.Body) == "0" && d.Headers["x-first-death-queue"] == g.Name+".0"
		})
		server.Control("clear_policy", "all")
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// unnumbered is a message that is none of the numbered ones.
func unnumbered(topic string) []broker.Outgoing {
	m := outgoing(topic, 0, 0)
	m.Body = []byte("marker")
	return []broker.Outgoing{m}
}
