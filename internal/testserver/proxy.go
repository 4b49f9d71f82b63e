package testserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Direction is a way through a [Proxy].
type Direction int

// The two directions of a connection.
const (
	Upstream   Direction = iota // from the client to the server
	Downstream                  // from the server to the client
)

// Proxy carries TCP connections to a server and fails on demand. Its methods may be called from several goroutines;
// what they switch on holds for the connections that exist and for those to come, until it is switched off.
type Proxy struct {
	t      testing.TB
	target string
	addr   string

	mu       sync.Mutex
	listener net.Listener // nil while down
	links    map[*link]bool
	latency  time.Duration
	flowing  chan struct{} // closed while bytes flow; open, so that waiters wait, while paused
	cuts     [2]cut
	done     int // cuts that CutAfter asked for and that were made
	running  sync.WaitGroup
}

// cut is how many more bytes pass in one direction before the connection is cut.
type cut struct {
	armed bool
	left  int64
}

// NewProxy starts a proxy on a loopback port that carries connections to target, a host:port. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	flowing := make(chan struct{})
	close(flowing)
	p := &Proxy{
		t:       t,
		target:  target,
		addr:    fmt.Sprintf("127.0.0.1:%d", port),
		links:   map[*link]bool{},
		flowing: flowing,
	}
	p.Up()
	t.Cleanup(func() {
		p.Down()
		p.running.Wait()
	})
	return p
}

// Addr returns the host:port that clients connect to.
func (p *Proxy) Addr() string { return p.addr }

// Through returns the URL of a server with its host and port replaced by the proxy's.
func (p *Proxy) Through(address string) string {
	p.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	u.Host = p.addr
	return u.String()
}

// Latency delays every byte by d in each direction, so that a round trip takes 2d longer. It does not limit how much
// is on its way. Zero switches it off.
func (p *Proxy) Latency(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = d
}

// Down closes every connection and refuses new ones, as a server that has been stopped.
func (p *Proxy) Down() {
	p.mu.Lock()
	listener := p.listener
	p.listener = nil
	links := p.takeLinks()
	p.mu.Unlock()
	if listener != nil {
		// Nothing is lost with a listener that will not close; the refused connections show it.
		_ = listener.Close()
	}
	for _, l := range links {
		l.close()
	}
}

// Up accepts connections again after Down, on the same port.
func (p *Proxy) Up() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		return
	}
	listener, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatalf("proxy: %v", err)
	}
	p.listener = listener
	p.running.Go(func() { p.accept(listener) })
}

// Reset resets every connection (TCP RST, what was on its way is gone) and goes on accepting new ones.
func (p *Proxy) Reset() {
	p.mu.Lock()
	links := p.takeLinks()
	p.mu.Unlock()
	for _, l := range links {
		l.reset()
	}
}

// CutAfter lets n more bytes pass in a direction, over all connections together, and then resets the connection that
// carried the last of them. That happens once: connections made afterwards work. With n = 0 the next byte cuts.
func (p *Proxy) CutAfter(direction Direction, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts[direction] = cut{armed: true, left: n}
}

// Cuts returns how many connections CutAfter has cut, so that a test can tell whether its cut was made.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Pause lets no byte pass in either direction. Connections stay open and new ones are accepted: a network that
// swallows everything, which only a time-out notices.
func (p *Proxy) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flowing:
		p.flowing = make(chan struct{})
	default:
	}
}

// Resume lets the bytes flow again that Pause has held back.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flowing:
	default:
		close(p.flowing)
	}
}

// Connections returns how many connections are open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

func (p *Proxy) takeLinks() []*link {
	var links []*link
	for l := range p.links {
		links = append(links, l)
	}
	clear(p.links)
	return links
}

func (p *Proxy) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // Down has closed it
		}
		p.running.Go(func() { p.carry(listener, client.(*net.TCPConn)) })
	}
}

// carry joins a client to the server until either side, or the proxy, ends the connection.
func (p *Proxy) carry(listener net.Listener, client *net.TCPConn) {
	conn, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{client: client, server: conn.(*net.TCPConn), ended: make(chan struct{})}
	p.mu.Lock()
	if p.listener != listener { // taken down while we dialled
		p.mu.Unlock()
		l.close()
		return
	}
	p.links[l] = true
	p.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { p.pump(l, Upstream, l.server, l.client) })
	both.Go(func() { p.pump(l, Downstream, l.client, l.server) })
	both.Wait()
	l.close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// chunk is what was read at once, and when it may go on.
type chunk struct {
	data []byte
	due  time.Time
}

// pump carries the bytes of one direction. Reading goes on while earlier bytes wait, so that latency does not become
// a limit of throughput.
func (p *Proxy) pump(l *link, direction Direction, to, from *net.TCPConn) {
	chunks := make(chan chunk, 256)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(chunks)
		for {
			data := make([]byte, 16<<10)
			n, err := from.Read(data)
			if n > 0 {
				p.mu.Lock()
				due := time.Now().Add(p.latency)
				p.mu.Unlock()
				select {
				case chunks <- chunk{data[:n], due}:
				case <-l.ended:
					return
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					l.reset() // pass the abrupt end on as one
				}
				return
			}
		}
	})
	defer reading.Wait()
	for c := range chunks {
		if !p.hold(l, c.due) {
			return
		}
		data, last := p.allow(direction, c.data)
		if _, err := to.Write(data); err != nil {
			l.close()
			return
		}
		if last {
			l.resetAfterDelivery(direction)
			return
		}
	}
	// The sender has finished; the other direction may still have something to say.
	_ = to.CloseWrite()
}

// hold waits until a chunk is due and the proxy is not paused. It returns false when the connection ends before.
func (p *Proxy) hold(l *link, due time.Time) bool {
	if wait := time.Until(due); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.ended:
			return false
		}
	}
	p.mu.Lock()
	flowing := p.flowing
	p.mu.Unlock()
	select {
	case <-flowing:
		return true
	case <-l.ended:
		return false
	}
}

// allow returns what of data may pass, and whether the connection is to be cut behind it.
func (p *Proxy) allow(direction Direction, data []byte) (allowed []byte, last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &p.cuts[direction]
	if !c.armed {
		return data, false
	}
	if int64(len(data)) < c.left {
		c.left -= int64(len(data))
		return data, false
	}
	allowed = data[:c.left]
	*c = cut{}
	p.done++
	return allowed, true
}

// link is one connection through the proxy: both of its halves.
type link struct {
	client, server *net.TCPConn
	once           sync.Once
	ended          chan struct{}
}

func (l *link) close() { l.end(false, false) }

func (l *link) reset() { l.end(true, true) }

// resetAfterDelivery cuts the connection behind bytes that are still to arrive: a reset towards their receiver could
// overtake them, so that side is closed in order and only the sender sees the reset.
func (l *link) resetAfterDelivery(direction Direction) {
	l.end(direction == Upstream, direction == Downstream)
}

func (l *link) end(resetClient, resetServer bool) {
	l.once.Do(func() {
		close(l.ended)
		for conn, reset := range map[*net.TCPConn]bool{l.client: resetClient, l.server: resetServer} {
			if reset {
				// Linger 0 turns the close into a reset. It fails only on a socket that is gone already.
				_ = conn.SetLinger(0)
			}
			_ = conn.Close()
		}
	})
}
