package natsbus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/internal/testserver"
)

// printed returns the ids that a child says it got, in order.
func printed(p *testserver.Process) []string {
	var list []string
	for line := range strings.Lines(p.Stdout()) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "got" {
			list = append(list, fields[1])
		}
	}
	return list
}

// firsts returns each id once, where it came first.
func firsts(ids []string) []string {
	var list []string
	seen := map[string]bool{}
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			list = append(list, id)
		}
	}
	return list
}

func TestAfterTheReceiverIsKilled(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c := openWith(t, config)
	declare(t, c, "orders", 1)
	g := group("mail.news", 1, "orders")
	join(t, c, g)
	send(t, c, series("orders", 1, 0, 10)...)
	p := startChild(t, settles, server, config.Prefix, g, 3)
	p.WaitLine("got 9 .")
	eventually(t, "what is settled is known", func() bool {
		left, err := c.Backlog(t.Context(), g)
		return err == nil && left[0] == 7
	})
	p.Kill9()
	send(t, c, series("orders", 1, 10, 5)...)
	got := receive(t, c, g, 0).next(12)
	same(t, "after the kill", ids(got), numbers(3, 12))
	if !got[0].Redelivered || got[11].Redelivered {
		t.Error("what was handed out before is not told from what was not")
	}
}

// A receiver may die at any moment while it takes a partition over or gives it back.
func TestKilledWhileTakingOver(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c := openWith(t, config)
	declare(t, c, "orders", 1)
	g := group("mail.news", 1, "orders")
	join(t, c, g)
	var got []string
	const rounds, each = 8, 200
	for round := range rounds {
		send(t, c, series("orders", 1, round*each, each)...)
		p := startChild(t, churns, server, config.Prefix, g, 7)
		p.WaitLine(fmt.Sprintf("got %d .", round*each+round*each/20))
		p.Kill9()
		got = append(got, printed(p)...)
	}
	send(t, c, message("orders", 0, "last", thing))
	r := receive(t, c, g, 0)
	for len(got) == 0 || got[len(got)-1] != "last" {
		m := r.next(1)[0]
		got = append(got, idOf(m))
		m.Done()
	}
	same(t, "in the order of their first coming", firsts(got), append(numbers(0, rounds*each), "last"))
}

// The states in which a kill can leave the server between the steps of a take-over.
func TestHalfTakenOver(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c := openWith(t, config)
	declare(t, c, "orders", 1)
	g := group("mail.news", 1, "orders")
	join(t, c, g)
	send(t, c, series("orders", 1, 0, 10)...)
	r := receive(t, c, g, 0)
	settle(r.next(10)[:4]...)
	r.stop()
	js := raw(t, server.URL())
	subject := config.Prefix + "=positions.mail_news.0.orders"
	book, err := js.Stream(t.Context(), config.Prefix+"=positions")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]any){
		"written and not made":     func(p map[string]any) { p["receiver"] = "somebody-who-died" },
		"of before there were any": func(p map[string]any) { delete(p, "receiver"); delete(p, "seen") },
	} {
		m, err := book.GetLastMsgForSubject(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		var p map[string]any
		if err := json.Unmarshal(m.Data, &p); err != nil {
			t.Fatal(err)
		}
		change(p)
		data, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), subject, data); err != nil {
			t.Fatal(err)
		}
		r := receive(t, c, g, 0)
		same(t, name, ids(r.next(6)), numbers(4, 6))
		r.stop()
	}
	if left := consumers(t, js, config.Prefix+"orders"); len(left) != 0 {
		t.Errorf("consumers are left: %v", left)
	}
}

func TestServerKilledUnderLoad(t *testing.T) {
	t.Parallel()
	for _, sync := range []string{"2m", "always"} {
		t.Run(sync, func(t *testing.T) {
			t.Parallel()
			underLoad(t, testserver.NATSOwn(t, "jetstream sync_interval: "+sync), sync == "always", func(s *testserver.NATSServer) {
				s.Kill()
				s.Restart()
			})
		})
	}
}

// underLoad sends and receives while something is done to the server, and holds that nothing is lost and that the
// messages of a partition come first in their order.
func underLoad(t *testing.T, server *testserver.NATSServer, flushed bool, disturb func(*testserver.NATSServer)) {
	const partitions, size = 2, 50
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name(), Flushed: flushed}
	c := openWith(t, config)
	declare(t, c, "orders", partitions)
	g := group("mail.news", partitions, "orders")
	join(t, c, g)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := make(chan int, 1)
	var failures, begins atomic.Int64
	go func() {
		n := 0
		for ctx.Err() == nil {
			batch := series("orders", partitions, n, size)
			for {
				// Until it is confirmed, the whole again: copies follow what they are copies of.
				_, err := c.Send(context.Background(), batch)
				if err == nil {
					break
				}
				failures.Add(1)
				<-time.After(10 * time.Millisecond)
			}
			n += size
		}
		sent <- n
	}()
	rs := make([]*receiving, partitions)
	for p := range rs {
		rs[p] = run(t, func(ctx context.Context, take func([]broker.Incoming) error) error {
			for ctx.Err() == nil {
				if begins.Add(1) > partitions {
					<-time.After(10 * time.Millisecond)
				}
				_ = c.Receive(ctx, g, p, func(ms []broker.Incoming) error {
					for _, m := range ms {
						m.Done()
					}
					return take(ms)
				})
			}
			return nil
		})
	}
	got := make([][]string, partitions)
	for range 4 {
		for p, r := range rs {
			got[p] = append(got[p], ids(r.next(500))...)
		}
		disturb(server)
	}
	for p, r := range rs {
		got[p] = append(got[p], ids(r.next(500))...)
	}
	cancel()
	n := <-sent
	for p, r := range rs {
		last := fmt.Sprint(n - partitions + p)
		for got[p][len(got[p])-1] != last {
			got[p] = append(got[p], ids(r.next(1))...)
		}
		var want []string
		for i := p; i < n; i += partitions {
			want = append(want, fmt.Sprint(i))
		}
		same(t, fmt.Sprintf("partition %d", p), firsts(got[p]), want)
		r.stop()
	}
	t.Logf("%d messages, %d and %d came; %d errors, %d times begun to receive", n, len(got[0]), len(got[1]), failures.Load(), begins.Load())
	if failures.Load() == 0 {
		t.Error("nothing was disturbed")
	}
}

func TestStaleReceiverIsHeldOff(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c := openWith(t, config)
	declare(t, c, "orders", 1)
	g := group("mail.news", 1, "orders")
	join(t, c, g)
	send(t, c, series("orders", 1, 0, 1500)...)
	p := startChild(t, gated, server, config.Prefix, g, 1)
	p.WaitLine("waiting")
	p.Pause()
	paused := time.Now()
	r := receive(t, c, g, 0)
	var got []string
	for len(got) == 0 || got[len(got)-1] != "1499" {
		m := r.next(1)[0]
		got = append(got, idOf(m))
		m.Done()
	}
	if got[0] == "1" { // the stale one had settled message 0, and may have written it
		got = append([]string{"0"}, got...)
	}
	same(t, "the new receiver", got, numbers(0, 1500))
	// Longer than a receiver goes on without asking whether the partition is still its own.
	eventually(t, "time passes", func() bool { return time.Since(paused) > 2500*time.Millisecond })
	p.Signal(syscall.SIGUSR1)
	p.Resume()
	if end := p.WaitLine("ended"); strings.Contains(end, "nil") {
		t.Errorf("the stale receiver %s", end)
	}
	// It had one call of take in hand, and is given no other.
	if n := len(printed(p)); n > 256 {
		t.Errorf("the stale receiver was given %d messages", n)
	}
	r.stop()
	send(t, c, series("orders", 1, 1500, 3)...)
	same(t, "what the stale one settled moves nothing", ids(receive(t, c, g, 0).next(3)), numbers(1500, 3))
}

func TestSecondReceiverEndsTheFirst(t *testing.T) {
	t.Parallel()
	c := open(t, testserver.NATS(t))
	declare(t, c, "orders", 1)
	g := group("mail.news", 1, "orders")
	join(t, c, g)
	send(t, c, series("orders", 1, 0, 10)...)
	first := receive(t, c, g, 0)
	settle(first.next(10)...)
	second := receive(t, c, g, 0)
	if err := first.fails(); err == nil {
		t.Error("the first receiver ended without a reason")
	}
	send(t, c, message("orders", 0, "last", thing))
	var got []string
	for len(got) == 0 || got[len(got)-1] != "last" {
		got = append(got, ids(second.next(1))...)
	}
	// What the first one had settled and not yet written comes again.
	if want := append(numbers(0, 10), "last"); strings.Join(got, " ") != strings.Join(want[len(want)-len(got):], " ") {
		t.Errorf("the second receiver got %v", got)
	}
}
