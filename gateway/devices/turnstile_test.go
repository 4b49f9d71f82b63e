package devices

import (
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"example.org/souk/backbone/backbonetest"
	"example.org/souk/gateway/door"
)

// standing is a clock that stands until it is turned.
func standing() *backbonetest.Clock {
	c := &backbonetest.Clock{}
	c.Set(time.Unix(1_800_000_000, 0))
	return c
}

// arrivals is a listener at which connections of given addresses come in, one after another.
type arrivals struct {
	net.Listener
	from []string
}

func (a *arrivals) Accept() (net.Conn, error) {
	if len(a.from) == 0 {
		return nil, io.EOF
	}
	next := a.from[0]
	a.from = a.from[1:]
	return &connection{address: next}, nil
}

type connection struct {
	net.Conn
	address string
	closed  bool
}

func (c *connection) SetDeadline(time.Time) error { return nil }

func (c *connection) RemoteAddr() net.Addr { return addr(c.address) }

func (c *connection) Close() error {
	c.closed = true
	return nil
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

// accepted lets all come that wait, and returns where they came from.
func accepted(t *testing.T, l *turnstile, from ...string) (in []string, conns []net.Conn) {
	t.Helper()
	l.Listener = &arrivals{from: from}
	for {
		c, err := l.Accept()
		if errors.Is(err, io.EOF) {
			return in, conns
		}
		if err != nil {
			t.Fatal(err)
		}
		in, conns = append(in, c.RemoteAddr().String()), append(conns, c)
	}
}

// FAILURES 28 and 21, for devices: an address connects at a bounded rate and pays for nobody else, and there are so many connections at most,
// those that say nothing included.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	c := standing()
	l := &turnstile{clock: c, tries: door.NewLimiter(door.Rate{PerSecond: 1, Burst: 2}, 100), most: 1000}
	a, b := "10.0.0.1:1", "10.0.0.2:1"
	if in, _ := accepted(t, l, a, "10.0.0.1:2", "10.0.0.1:3", b, "10.0.0.1:4"); !slices.Equal(in, []string{a, "10.0.0.1:2", b}) {
		t.Errorf("let in: %v", in)
	}
	c.Advance(time.Second)
	if in, _ := accepted(t, l, a, a); len(in) != 1 {
		t.Errorf("a second later: %v", in)
	}
	l = &turnstile{clock: c, tries: door.NewLimiter(door.Rate{PerSecond: 1000, Burst: 1000}, 100), most: 2}
	in, conns := accepted(t, l, a, a, b)
	if len(in) != 2 {
		t.Fatalf("let in: %v", in)
	}
	_ = conns[0].Close()
	_ = conns[0].Close() // a place is given back once
	if in, _ := accepted(t, l, b, b); len(in) != 1 {
		t.Errorf("when one has left: %v", in)
	}
}

// A device that says too much is cut off, without an acknowledgement; others are not.
func TestADeviceThatSaysTooMuch(t *testing.T) {
	t.Parallel()
	c := standing()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	g, err := Open(Config{Listener: listener, Clock: c, Rate: door.Rate{PerSecond: 1, Burst: 3}})
	if err != nil {
		t.Fatal(err)
	}
	h := &hook{g: g}
	says := func(device string) error {
		t.Helper()
		g.logins[device] = Login{Device: device, Store: "market", Kind: Gate}
		near, far := net.Pipe()
		defer far.Close()
		cl := g.server.NewClient(near, "devices", device, false)
		cl.Properties.Username = []byte(device)
		_, err := h.OnPublish(cl, packets.Packet{TopicName: "souk/v1/market/gate/" + device + "/state", FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}})
		if cl.Closed() != (err != nil) {
			t.Errorf("%v, and the connection is closed: %v", err, cl.Closed())
		}
		return err
	}
	for n := range 3 {
		if err := says("gate-1"); err != nil {
			t.Errorf("message %d: %v", n, err)
		}
	}
	if err := says("gate-1"); !errors.Is(err, packets.ErrRejectPacket) {
		t.Errorf("a fourth at once: %v", err)
	}
	if err := says("gate-2"); err != nil {
		t.Errorf("another device: %v", err)
	}
	c.Advance(time.Second)
	if err := says("gate-1"); err != nil {
		t.Errorf("a second later: %v", err)
	}
}
