package devices

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
)

// raw is a client that speaks MQTT by hand.
type raw struct {
	t       *testing.T
	version byte
	conn    net.Conn
	in      *bufio.Reader
	next    uint16
}

// knock connects as a session of a device, which outlives the connection where it lasts, and returns the answer.
func knock(t *testing.T, g *Gateway, version byte, device, id string, lasts bool) (*raw, packets.Packet) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &raw{t: t, version: version, conn: conn, in: bufio.NewReader(conn)}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: version, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), Clean: !lasts, Keepalive: 60, ClientIdentifier: id,
		UsernameFlag: true, Username: []byte(device), PasswordFlag: true, Password: []byte("password of " + device),
	}}
	if version == 5 && lasts {
		pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 600, true
	}
	c.send(pk.ConnectEncode)
	answer := c.answer()
	if err := answer.ConnackDecode(answer.Payload); err != nil {
		t.Fatal(err)
	}
	return c, answer
}

func (c *raw) send(encode func(*bytes.Buffer) error) {
	c.t.Helper()
	var b bytes.Buffer
	err := encode(&b)
	if err == nil {
		_, err = c.conn.Write(b.Bytes())
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// answer reads a packet, whose body is in its payload.
func (c *raw) answer() (pk packets.Packet) {
	c.t.Helper()
	pk.ProtocolVersion = c.version
	first, err := c.in.ReadByte()
	if err == nil {
		err = pk.FixedHeader.Decode(first)
	}
	if err == nil {
		pk.FixedHeader.Remaining, _, err = packets.DecodeLength(c.in)
	}
	if err == nil {
		pk.Payload = make([]byte, pk.FixedHeader.Remaining)
		_, err = io.ReadFull(c.in, pk.Payload)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return pk
}

// subscribe asks for filters and returns what is said to each.
func (c *raw) subscribe(filters ...string) []byte {
	c.t.Helper()
	c.next++
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, ProtocolVersion: c.version, PacketID: c.next}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: 1})
	}
	c.send(pk.SubscribeEncode)
	answer := c.answer()
	if err := answer.SubackDecode(answer.Payload); err != nil {
		c.t.Fatal(err)
	}
	return answer.ReasonCodes
}

func (c *raw) unsubscribe(filter string) {
	c.t.Helper()
	c.next++
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe, Qos: 1}, ProtocolVersion: c.version, PacketID: c.next,
		Filters: packets.Subscriptions{{Filter: filter}},
	}
	c.send(pk.UnsubscribeEncode)
	if pk := c.answer(); pk.FixedHeader.Type != packets.Unsuback {
		c.t.Fatalf("%+v", pk)
	}
}

// leave disconnects and returns when the server has closed the connection.
func (c *raw) leave() {
	c.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, ProtocolVersion: c.version}
	c.send(pk.DisconnectEncode)
	c.closed()
}

func (c *raw) closed() {
	c.t.Helper()
	if more, err := io.ReadAll(c.in); err != nil || len(more) > 0 {
		c.t.Errorf("after that the server says %x, %v", more, err)
	}
}

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
			b := backbonetest.Tables(t, "sqlite", ":memory:", migrations)
			for _, device := range []string{"till-1", "till-2"} {
				e := DeviceAdded{Device: device, Store: "market", Kind: Till, Hash: HashOf("password of " + device)}
				if err := logins.Apply(t.Context(), b.Tx(&backbone.Message{}), e); err != nil {
					t.Fatal(err)
				}
			}
			log := &written{}
			file := filepath.Join(t.TempDir(), "sessions")
			begin := func() *Gateway {
				t.Helper()
				l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				g, err := Open(Config{
					Listener: l, Reader: b.Reader(), Sessions: file, MostSessions: 3, MostOfOne: 2, MostFilters: 3, Logger: slog.New(slog.NewTextHandler(log, nil)),
				})
				if err == nil {
					err = g.Serve(t.Context(), nil)
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = g.Close() })
				return g
			}
			g := begin()
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
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				tick := time.NewTicker(5 * time.Millisecond)
				defer tick.Stop()
				for {
					c, answer := knock(t, g, version, device, id, lasts)
					if answer.ReasonCode == 0 {
						return c
					}
					select {
					case <-ctx.Done():
						t.Fatalf("%s/%s is still told %#x", device, id, answer.ReasonCode)
					case <-tick.C:
					}
				}
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
			g = begin()
			out("till-1", "c", true)
			out("till-2", "b", true)
			in("till-1", "a", false).leave()
			eventually("till-1", "c", true)
			out("till-2", "b", true)
		})
	}
}
