package natsbus_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/internal/testserver"
)

func holds(t *testing.T, c *natsbus.Client, a broker.Anchor, want bool) {
	t.Helper()
	if got, err := c.Holds(t.Context(), a); err != nil || got != want {
		t.Errorf("holds message %s: %v, %v, want %v", a.ID, got, err, want)
	}
}

func TestAnchors(t *testing.T) {
	t.Parallel()
	server := testserver.NATSOwn(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c := openWith(t, config)
	declare(t, c, "orders", 2)
	first := send(t, c, series("orders", 2, 0, 10)...)[0]
	single := send(t, c, message("orders", 1, "10", thing))[0]
	long := send(t, c, series("orders", 2, 11, 2500)...)[0]
	if first.Sequence != 10 || single.Sequence != 11 || long.Sequence != 2511 || first.Identity == "" {
		t.Errorf("anchors %+v %+v %+v", first, single, long)
	}
	all := func(want bool) {
		t.Helper()
		for _, a := range []broker.Anchor{first, single, long} {
			holds(t, c, a, want)
		}
	}
	all(true)
	wrong := single
	wrong.ID = "another"
	holds(t, c, wrong, false)
	server.Kill()
	server.Restart()
	all(true)
	server.Stop()
	server.Restart()
	all(true)

	js := raw(t, server.URL())
	if err := js.DeleteStream(t.Context(), config.Prefix+"orders"); err != nil {
		t.Fatal(err)
	}
	all(false)
	if _, err := c.Send(t.Context(), series("orders", 2, 0, 10)); err == nil {
		t.Error("a topic that has gone takes messages")
	}
	if _, err := c.Send(t.Context(), series("orders", 2, 0, 1)); err == nil {
		t.Error("a topic that has gone takes a message")
	}
	declare(t, c, "orders", 2)
	again := send(t, c, series("orders", 2, 0, 10)...)[0]
	if again.Sequence != first.Sequence || again.ID != first.ID {
		t.Errorf("anchor %+v", again)
	}
	holds(t, c, again, true)
	all(false)

	// Somebody else deletes it and makes it again, which this client does not see.
	if err := js.DeleteStream(t.Context(), config.Prefix+"orders"); err != nil {
		t.Fatal(err)
	}
	declare(t, openWith(t, config), "orders", 2)
	holds(t, c, again, false)
	holds(t, c, send(t, c, series("orders", 2, 0, 3)...)[0], true)
}

// streamDir is where the server keeps a stream.
func streamDir(server *testserver.NATSServer, stream string) string {
	return filepath.Join(server.StoreDir(), "jetstream", "$G", "streams", stream)
}

// A server that flushes lazily loses the end of a topic in a power cut, and what it numbers next is something else.
func TestLostTail(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, server *testserver.NATSServer, dir string){
		// The whole stream as it was before.
		"restored": func(t *testing.T, server *testserver.NATSServer, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(dir, os.DirFS(dir+".before")); err != nil {
				t.Fatal(err)
			}
		},
		// Its newest file ends earlier.
		"cut off": func(t *testing.T, server *testserver.NATSServer, dir string) {
			blocks, err := filepath.Glob(filepath.Join(dir, "msgs", "*.blk"))
			if err != nil || len(blocks) == 0 {
				t.Fatal(err, blocks)
			}
			newest := slices.MaxFunc(blocks, func(a, b string) int { return len(a) - len(b) })
			before, err := os.Stat(filepath.Join(dir+".before", "msgs", filepath.Base(newest)))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(newest, before.Size()+100); err != nil { // in the midst of a message
				t.Fatal(err)
			}
			_ = os.Remove(filepath.Join(dir, "msgs", "index.db"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testserver.NATSOwn(t)
			config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
			c := openWith(t, config)
			declare(t, c, "orders", 1)
			first, late := group("mail.news", 1, "orders"), group("mail.late", 1, "orders")
			late.FromFirst = false
			join(t, c, first)
			kept := send(t, c, series("orders", 1, 0, 100)...)[0]
			dir := streamDir(server, config.Prefix+"orders")
			server.Stop()
			if err := os.CopyFS(dir+".before", os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			server.Restart()
			join(t, c, late)
			lost := send(t, c, series("orders", 1, 100, 100)...)[0]
			for _, g := range []broker.Group{first, late} {
				r := receive(t, c, g, 0)
				var got []broker.Incoming
				for len(got) == 0 || idOf(got[len(got)-1]) != "199" {
					got = append(got, r.next(1)...)
					settle(got[len(got)-1])
				}
				r.stop()
			}
			holds(t, c, lost, true)

			server.Kill()
			lose(t, server, dir)
			if err := os.RemoveAll(dir + ".before"); err != nil {
				t.Fatal(err)
			}
			server.Restart()
			holds(t, c, kept, true)
			holds(t, c, lost, false)

			// The relay publishes again from the anchor that holds, and more: the same numbers, and behind them.
			ms := series("orders", 1, 100, 50)
			for i := range 100 {
				ms = append(ms, message("orders", 0, fmt.Sprintf("new-%d", i), thing))
			}
			send(t, c, ms...)
			holds(t, c, kept, true)
			holds(t, c, lost, false) // its number is another event's now

			for _, g := range []broker.Group{first, late} {
				r := receive(t, c, g, 0)
				var got []string
				for len(got) == 0 || got[len(got)-1] != "new-99" {
					got = append(got, ids(r.next(1))...)
				}
				var want []string
				for i := range ms {
					want = append(want, ms[i].ID)
				}
				// Copies of what is older may come before, where the group began with them.
				if g.Name == late.Name {
					same(t, "a group from now", got, want)
				} else {
					same(t, "a group from the first", got[len(got)-len(want):], want)
				}
				r.stop()
			}
		})
	}
}

// A server that was new may have lost the whole stream.
func TestLostStream(t *testing.T) {
	t.Parallel()
	server := testserver.NATSOwn(t)
	config := natsbus.ClientConfig{URL: server.URL(), Prefix: server.Name()}
	c := openWith(t, config)
	declare(t, c, "orders", 1)
	g := group("mail.news", 1, "orders")
	g.FromFirst = false
	join(t, c, g)
	lost := send(t, c, series("orders", 1, 0, 10)...)[0]
	r := receive(t, c, g, 0)
	settle(r.next(10)...)
	r.stop()
	server.Kill()
	if err := os.RemoveAll(streamDir(server, config.Prefix+"orders")); err != nil {
		t.Fatal(err)
	}
	server.Restart()
	holds(t, c, lost, false)
	if _, err := c.Send(t.Context(), series("orders", 1, 0, 10)); err == nil {
		t.Error("a topic that is lost takes messages")
	}
	if err := c.Receive(context.Background(), g, 0, nil); err == nil {
		t.Error("a topic that is lost is received")
	}
	declare(t, c, "orders", 1)
	send(t, c, series("orders", 1, 0, 5)...)
	same(t, "what was published again", ids(receive(t, c, g, 0).next(5)), numbers(0, 5))
	holds(t, c, lost, false)
}
