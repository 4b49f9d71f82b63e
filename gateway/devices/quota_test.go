package devices

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// written is what was logged.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) count(text string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.b.String(), text)
}

// tills has logins for till-1 and till-2, and returns what opens a gateway for them, on a listener that may be wrapped, and does what is to be done before
// it serves.
func tills(t *testing.T, c Config) (begin func(wrap func(net.Listener) net.Listener, first ...func(*Gateway)) *Gateway) {
	t.Helper()
	b := backbonetest.Tables(t, "sqlite", ":memory:", migrations)
	for _, device := range []string{"till-1", "till-2"} {
		e := DeviceAdded{Device: device, Store: "market", Kind: Till, Hash: HashOf("password of " + device)}
		if err := logins.Apply(t.Context(), b.Tx(&backbone.Message{}), e); err != nil {
			t.Fatal(err)
		}
	}
	c.Reader = b.Reader()
	return func(wrap func(net.Listener) net.Listener, first ...func(*Gateway)) *Gateway {
		t.Helper()
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if c.Listener = l; wrap != nil {
			c.Listener = wrap(l)
		}
		g, err := Open(c)
		if err == nil {
			for _, do := range first {
				do(g)
			}
			err = g.Serve(t.Context(), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = g.Close() })
		return g
	}
}

// until waits for what the server does a moment later.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-ctx.Done():
			t.Fatalf("it never came true that %s", what)
		case <-tick.C:
		}
	}
}

// FAILURES 21, for devices: sessions are bounded, in all and of one device, and so are the filters of a device; who asks for more is told so in the
// words that the protocol has, and who has one keeps it. Red where one more is let in, where a session that comes back counts again, where one that
// ended still counts, and where those of before a restart do not count.
func TestSessionsAndFiltersAreBounded(t *testing.T) {
	t.Parallel()
	for version, refused := range map[byte]struct{ connect, filter byte }{
		4: {packets.Err3ServerUnavailable.Code, packets.ErrUnspecifiedError.Code},
		5: {packets.ErrQuotaExceeded.Code, packets.ErrQuotaExceeded.Code},
	} {
		t.Run(map[byte]string{4: "3.1.1", 5: "5"}[version], func(t *testing.T) {
			t.Parallel()
			log := &written{}
			begin := tills(t, Config{
				Sessions: filepath.Join(t.TempDir(), "sessions"), MostSessions: 3, MostOfOne: 2, MostFilters: 3, Logger: slog.New(slog.NewTextHandler(log, nil)),
			})
			g := begin(nil)
			in := func(device, id string, lasts bool) *raw {
				t.Helper()
				c, answer := knock(t, g, version, device, id, lasts)
				if answer.ReasonCode != 0 {
					t.Fatalf("%s/%s is told %#x", device, id, answer.ReasonCode)
				}
				return c
			}
			out := func(device, id string, lasts bool) {
				t.Helper()
				before := log.count("as many sessions as there may be")
				c, answer := knock(t, g, version, device, id, lasts)
				if answer.ReasonCode != refused.connect {
					t.Errorf("%s/%s is told %#x, want %#x", device, id, answer.ReasonCode, refused.connect)
				}
				c.closed()
				if n := log.count("as many sessions as there may be") - before; n != 1 {
					t.Errorf("%d lines are in the log", n)
				}
			}
			eventually := func(device, id string, lasts bool) *raw { // the server learns a moment later that a session has ended
				t.Helper()
				var c *raw
				until(t, device+"/"+id+" is let in", func() bool {
					var answer packets.Packet
					c, answer = knock(t, g, version, device, id, lasts)
					return answer.ReasonCode == 0
				})
				return c
			}
			// Of one device: those that are there and those that wait for it.
			in("till-1", "a", true).leave()
			second := in("till-1", "b", true)
			out("till-1", "c", true)
			out("till-1", "c", false)
			first := in("till-1", "a", true) // is not a new one
			// Of all: the third is the last that stays.
			in("till-2", "a", true)
			out("till-2", "b", true)
			in("till-2", "b", false).leave()
			eventually("till-2", "c", false)

			// Filters, in all sessions of a device.
			own := "souk/v1/market/till/till-1/"
			if got := first.subscribe(own+"a/+", own+"b/+"); !bytes.Equal(got, []byte{1, 1}) {
				t.Errorf("%#x", got)
			}
			if got := second.subscribe(own+"c/+", own+"d/+", "souk/v1/market/till/till-2/+"); !bytes.Equal(got, []byte{1, refused.filter, refused.filter}) {
				t.Errorf("beyond what it may have: %#x", got)
			}
			if got := first.subscribe(own+"b/+", own+"e/+"); !bytes.Equal(got, []byte{1, refused.filter}) {
				t.Errorf("one that it has, and one more: %#x", got)
			}
			if log.count("was refused filters") != 2 {
				t.Error("the log does not tell of it")
			}
			first.unsubscribe(own + "b/+")
			if got := second.subscribe(own + "d/+"); !bytes.Equal(got, []byte{1}) {
				t.Errorf("in the place of another: %#x", got)
			}

			// What waits counts after a restart; what is ended counts no more.
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			g = begin(nil)
			out("till-1", "c", true)
			out("till-2", "b", true)
			in("till-1", "a", false).leave()
			eventually("till-1", "c", true)
			out("till-2", "b", true)
		})
	}
}

// FAILURES 17: sessions belong to devices, so that one that names itself as another does takes nothing over, and the other stays. Red where a session
// goes by what the client calls itself alone.
func TestNobodyTakesOverAnothersSession(t *testing.T) {
	t.Parallel()
	begin := tills(t, Config{})
	for _, version := range []byte{4, 5} {
		g := begin(nil)
		owner, _ := knock(t, g, version, "till-1", "desk", true)
		for _, name := range []string{"desk", "till-1/desk"} {
			other, answer := knock(t, g, version, "till-2", name, true)
			if answer.ReasonCode != 0 || answer.SessionPresent {
				t.Errorf("%s: %+v", name, answer)
			}
			if got := other.subscribe("souk/v1/market/till/till-1/+"); got[0] < packets.ErrUnspecifiedError.Code {
				t.Errorf("%s is granted what is the other's: %#x", name, got)
			}
			other.leave()
		}
		if got := owner.subscribe("souk/v1/market/till/till-1/+"); !bytes.Equal(got, []byte{1}) {
			t.Errorf("the owner is told %#x", got)
		}
		owner.leave()
	}
}

// bounded notes until when its connections may take.
type bounded struct {
	net.Listener
	last *atomic.Int64 // of the deadlines; 0 for none
}

func (b bounded) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	return boundedConn{c, b.last}, err
}

type boundedConn struct {
	net.Conn
	last *atomic.Int64
}

func (c boundedConn) SetDeadline(t time.Time) error {
	at := int64(0)
	if !t.IsZero() {
		at = t.UnixNano()
	}
	c.last.Store(at)
	return c.Conn.SetDeadline(t)
}

// FAILURES 21: who does not finish saying who they are, is too long-winded, or goes too deep is sent away or refused. Red where a connection may say
// nothing for ever: it would take a place from others.
func TestWhoSaysTooLittleOrTooMuch(t *testing.T) {
	t.Parallel()
	var last atomic.Int64
	g := tills(t, Config{})(func(l net.Listener) net.Listener { return bounded{l, &last} })
	silent, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := silent.Write([]byte{0x10, 0x20, 0, 4, 'M', 'Q'}); err != nil {
		t.Fatal(err)
	}
	until(t, "its time is bounded", func() bool { return last.Load() != 0 })
	if left := time.Until(time.Unix(0, last.Load())); left > helloWithin {
		t.Errorf("who says half of who they are may take %s", left)
	}
	deep := "souk/v1/market/till/till-1/" + strings.Repeat("a/", 1000)
	for _, version := range []byte{4, 5} {
		c, _ := knock(t, g, version, "till-1", "deep", false)
		if got := c.subscribe(deep+"#", deep+"b"); got[0] < packets.ErrUnspecifiedError.Code || got[1] < packets.ErrUnspecifiedError.Code {
			t.Errorf("a deep filter is granted: %#x", got)
		}
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, ProtocolVersion: version, PacketID: 9, TopicName: deep + "state"}
		c.send(pk.PublishEncode)
		if version == 4 {
			if said, err := io.ReadAll(c.in); err != nil || len(said) > 0 && said[0]>>4 == packets.Puback {
				t.Errorf("a deep topic is answered with %x, %v", said, err)
			}
		} else if answer := c.answer(); answer.FixedHeader.Type == packets.Puback && answer.PubackDecode(answer.Payload) == nil && answer.ReasonCode < packets.ErrUnspecifiedError.Code {
			t.Errorf("a deep topic is taken: %+v", answer)
		}
		c, _ = knock(t, g, version, "till-1", "long", false)
		if _, err := c.conn.Write([]byte{0x32, 0xff, 0xff, 0xff, 0x7f}); err != nil { // 256 MiB are to follow
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c.in); errors.Is(err, os.ErrDeadlineExceeded) { // after a DISCONNECT, where there is one
			t.Error("who announces too long a message is not sent away")
		}
	}
}

// Bounds that nobody could work with are refused.
func TestSenselessBounds(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{MostSessions: -1}, {MostOfOne: -1}, {MostFilters: -1}, {MostSessions: 10, MostOfOne: 11}, {MostSessions: 31}} {
		if _, err := Open(c); err == nil {
			t.Errorf("%d of all, %d of one, %d filters are taken", c.MostSessions, c.MostOfOne, c.MostFilters)
		}
	}
}
