package devices

import (
	"net"
	"sync"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
)

// turnstile is a listener that bounds how often an address may connect, and how many connections there are, those included that have not
// said who they are, for which they have helloWithin. What is too much is closed unheard: a device comes again.
type turnstile struct {
	net.Listener
	clock backbone.Clock
	tries *door.Limiter
	most  int
	sends sync.WaitGroup // of those to whom something is being sent

	mu     sync.Mutex
	inside int
}

// Accept implements net.Listener.
func (l *turnstile) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.tries.Take(door.AddressOf(c.RemoteAddr().String()), l.clock.Now()) == 0 && l.enter() {
			v := &visitor{Conn: c, leave: sync.OnceFunc(l.exit), sends: &l.sends}
			if err := c.SetDeadline(time.Now().Add(helloWithin)); err != nil { // the MQTT server sets its own when it knows who it is
				_ = v.Close()
				continue
			}
			return v, nil
		}
		_ = c.Close() // nothing was said yet
	}
}

func (l *turnstile) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inside >= l.most {
		return false
	}
	l.inside++
	return true
}

func (l *turnstile) exit() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside--
}
