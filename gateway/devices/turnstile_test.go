package devices

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
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

// Nobody waits for who does not read what it is sent: what is too much ends the connection. What was said before a connection is closed is said, and who
// does not listen is not waited for.
func TestNobodyWaitsForWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	visit := func() (*visitor, net.Conn, <-chan struct{}) {
		near, far := net.Pipe() // which holds nothing
		left := make(chan struct{})
		return &visitor{Conn: near, greeted: true, sends: &sync.WaitGroup{}, leave: sync.OnceFunc(func() { close(left) })}, far, left
	}
	v, far, _ := visit()
	for sent := 0; ; sent += maxPacket {
		if _, err := v.Write(make([]byte, maxPacket)); err != nil {
			if !errors.Is(err, errSlow) || sent != maxAhead {
				t.Errorf("after %d bytes: %v", sent, err)
			}
			break
		}
	}
	if _, err := io.ReadAll(far); err != nil {
		t.Error(err)
	}
	v, far, left := visit()
	for _, text := range []string{"so ", "long"} {
		if _, err := v.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	<-left
	if text, err := io.ReadAll(far); err != nil || string(text) != "so long" {
		t.Errorf("it hears %q, %v", text, err)
	}
	if _, err := v.Write([]byte("and thanks")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after that: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		for _, closes := range []bool{false, true} {
			v, far, _ := visit()
			began := time.Now()
			if _, err := v.Write([]byte("anybody?")); err != nil {
				t.Fatal(err)
			}
			want := readWithin
			if closes {
				want = goodbyeWithin
				if err := v.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := v.Read(make([]byte, 1)); err == nil {
				t.Error("it says something")
			}
			if closes {
				<-time.After(want)
			}
			synctest.Wait()
			if _, err := v.Write([]byte("so?")); err == nil || time.Since(began) != want {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
			_ = far.Close()
		}
	})
}

// Whoever connects hears first that it is let in, though the server has messages for it before it says so.
func TestTheFirstIsTheAnswer(t *testing.T) {
	t.Parallel()
	const first, second, answer, third = "\x32\x03one", "\x32\x03two", "\x20\x02\x01\x00", "\x32\x05three"
	for _, writes := range [][]string{
		{answer, first, second, third}, {first, answer, second, third}, {first, second, answer, third}, {first + second + answer + third}, {first, second + answer + third},
	} {
		near, far := net.Pipe()
		v := &visitor{Conn: near, sends: &sync.WaitGroup{}, leave: func() {}}
		for _, w := range writes {
			if n, err := v.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(far); err != nil || string(text) != answer+first+second+third {
			t.Errorf("after %q it hears %q, %v", writes, text, err)
		}
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
