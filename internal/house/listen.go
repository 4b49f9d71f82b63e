package house

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/souk/gateway/door"
)

// defaultConnections is how many connections one address may have at each listener, where nobody says another number. Programs that
// measure a mall open a thousand from here.
const defaultConnections = 4096

// What listens, as metrics name it.
const (
	listensWeb       = "web"       // browsers, programs, robots
	listensProcesses = "processes" // other processes of the mall
	listensDevices   = "devices"   // MQTT
)

// bind opens a port at which one address has a bounded number of connections.
func (h *House) bind(ctx context.Context, what, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	most := h.cfg.ConnectionsEach
	if most == 0 {
		most = defaultConnections
	}
	return &bounded{Listener: l, most: most, inside: map[string]int{}, refused: func() { h.metrics.refused.WithLabelValues(what).Inc() }}, nil
}

func newRefused() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "souk_connections_refused_total", Help: "Connections that were closed unheard, since their address had as many as it may, by listener.",
	}, []string{"listener"})
}

// bounded is a listener of TCP at which one address has a number of connections at most, whether anything was said over them yet or not. One more
// is closed unheard. Of IPv6 an address is what a host has, see door.AddressOf.
type bounded struct {
	net.Listener
	most    int
	refused func() // is told of each

	mu     sync.Mutex
	inside map[string]int // by address
}

// Accept implements net.Listener.
func (l *bounded) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return nil, fmt.Errorf("a connection of %T, which is no TCP", c)
		}
		from := door.AddressOf(c.RemoteAddr().String())
		if l.enter(from) {
			return &guest{tcp, sync.OnceFunc(func() { l.exit(from) })}, nil
		}
		l.refused()
		_ = c.Close() // nothing was said yet
	}
}

func (l *bounded) enter(from string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inside[from] >= l.most {
		return false
	}
	l.inside[from]++
	return true
}

func (l *bounded) exit(from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inside[from]--; l.inside[from] == 0 {
		delete(l.inside, from)
	}
}

// guest is a connection that is counted until it is closed.
type guest struct {
	*net.TCPConn
	leave func()
}

// Close implements net.Conn.
func (g *guest) Close() error {
	g.leave()
	return g.TCPConn.Close()
}
