package devices

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// due is a notice of what is due for a visit.
func due(visit int) Notice {
	return Notice{Due: &event.PaymentDue{Store: "market", Visit: fmt.Sprintf("v%05d", visit), Total: mall.Money{Amount: 100, Currency: "EUR"}}}
}

// A notice that is told while the gateway begins waits until the sessions are back, and then for who is away. Red where it goes out to the
// sessions that are there, which are none.
func TestToldBeforeItServes(t *testing.T) {
	t.Parallel()
	begin := tills(t, Config{Sessions: filepath.Join(t.TempDir(), "sessions")})
	g := begin(nil)
	till, _ := knock(t, g, 4, "till-1", "desk", true)
	till.subscribe("payment-due")
	till.leave()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	told := make(chan error)
	g = begin(nil, func(g *Gateway) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.tell(ctx, due(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("a notice was told before there were sessions: %v", err)
		}
		go func() { told <- g.tell(t.Context(), due(2)) }()
	})
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	till, answer := knock(t, g, 4, "till-1", "desk", true)
	if !answer.SessionPresent {
		t.Error("the session is gone")
	}
	if got := till.dues(1); got["v00002"] == 0 {
		t.Errorf("told of %v", got)
	}
}

// narrow is a listener whose connections hold little of what is not read at the other end.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return conn, err
}

// What waits for a device is given to it when it comes, up to as much as is kept; that it misses what is more is logged. Red where a thousand are kept, or
// where the rest is dropped without a word.
// A device that is there and does not read is waited for by nobody, and is given all when it comes again. Red where the server waits for who does not read.
func TestMuchWaits(t *testing.T) {
	t.Parallel()
	var log written
	g := tills(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})(func(l net.Listener) net.Listener { return narrow{l} })
	go g.Watch(t.Context())
	till, _ := knock(t, g, 4, "till-1", "desk", true)
	till.subscribe("payment-due")
	till.leave()
	visits := 0
	tell := func(n int) {
		t.Helper()
		for range n {
			if err := g.tell(t.Context(), due(visits)); err != nil {
				t.Fatal(err)
			}
			visits++
		}
	}
	tell(maxWaiting)
	till, _ = knock(t, g, 4, "till-1", "desk", true)
	told := till.dues(maxWaiting)
	if n := log.count("miss"); n != 0 {
		t.Errorf("logged %d times that devices miss something", n)
	}
	till.leave()
	tell(maxWaiting + 1)
	until(t, "it is logged that a device misses something", func() bool { return log.count("miss what they were to be told") == 1 })
	till, _ = knock(t, g, 4, "till-1", "desk", true)
	for len(told) < 2*maxWaiting {
		till.take(told)
	}
	till.leave()
	knock(t, g, 4, "till-1", "desk", true) // it is there and does not read
	tell(maxWaiting)
	till, _ = knock(t, g, 4, "till-1", "desk", true)
	for len(told) < visits-1 {
		till.take(told)
	}
	cl, _ := g.server.Clients.Get("till-1/desk")
	(&hook{g: g}).OnPublishDropped(cl, packets.Packet{})
	if log.count("is cut off") == 0 || !cl.Closed() {
		t.Error("one that the server has no room for is not cut off")
	}
}

// Who takes only a few messages at a time is told of all of them, also of those that it was sent and had not taken when its connection ended. Red where
// the server does as it would by itself.
func TestToldAFewAtATime(t *testing.T) {
	t.Parallel()
	g := tills(t, Config{Sessions: filepath.Join(t.TempDir(), "sessions")})(nil)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { g.Watch(ctx) })
	t.Cleanup(func() { cancel(); watching.Wait() })
	few := func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = 20 }
	till, _ := knock(t, g, 5, "till-1", "desk", true, few)
	till.subscribe("payment-due")
	tell := func(from, until int) {
		t.Helper()
		for i := from; i < until; i++ {
			if err := g.tell(t.Context(), due(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tell(0, 100)
	told := till.dues(75)
	till.answer() // it does not say that it has this one
	if err := till.conn.Close(); err != nil {
		t.Fatal(err)
	}
	till, answer := knock(t, g, 5, "till-1", "desk", true, few)
	if !answer.SessionPresent {
		t.Error("the session is gone")
	}
	tell(100, 200)
	for len(told) < 200 {
		till.take(told)
	}
	until(t, "nothing waits any more", func() bool { return len(g.sessions.waits("till-1/desk")) == 0 })
}

// Whoever connects again while notices are told is told of each that was told. Red where a notice counts as told that went to the connection
// before, after it had handed its session on.
func TestToldWhileItConnectsAgain(t *testing.T) {
	t.Parallel()
	g := tills(t, Config{Sessions: filepath.Join(t.TempDir(), "sessions")})(nil)
	till, _ := knock(t, g, 4, "till-1", "desk", true)
	till.subscribe("payment-due")
	const connections, each, ahead = 300, 10, 100
	turns := make(chan struct{}, connections*each+ahead)
	for range ahead {
		turns <- struct{}{}
	}
	var again, sent int
	var telling sync.WaitGroup
	telling.Go(func() {
		for range turns {
			tries := 0
			until(t, "a notice is told", func() bool {
				tries++
				err := g.tell(t.Context(), due(sent))
				if err != nil && !errors.Is(err, errMissed) {
					t.Error(err)
				}
				return err == nil
			})
			again += tries - 1
			sent++
		}
	})
	told := map[string]int{}
	for range connections {
		till, _ = knock(t, g, 4, "till-1", "desk", true)
		for before := len(told); len(told) < before+each; {
			till.take(told)
		}
		for range each {
			turns <- struct{}{}
		}
	}
	close(turns)
	telling.Wait()
	for len(told) < sent {
		till.take(told)
	}
	t.Logf("%d notices, %d of them told again", sent, again)
}
