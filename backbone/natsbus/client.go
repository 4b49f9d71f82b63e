package natsbus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"example.org/souk/backbone/internal/broker"
)

// ErrClosed is returned by the methods of a Client that was closed.
var ErrClosed = errors.New("natsbus: the client is closed")

// patience is how long a method waits for a server that does not answer.
const patience = 10 * time.Second

// leastPayload is the largest event, 256 KiB, with room for its attributes.
const leastPayload = 320 << 10

// minVersion is the oldest server without known security holes.
var minVersion = [3]int{2, 14, 5}

// ClientConfig says where the server is and what topics are made with. The zero value of a field is its default.
type ClientConfig struct {
	// URL is the server's address, or a list with commas; default nats://127.0.0.1:4222.
	URL string
	// Login returns the user and the password of now, before each connection, for an address that holds none. Default: none.
	Login func() (user, password string, err error)
	// Prefix stands before the names of all streams, so that several systems can share an account: letters, digits and '-'.
	Prefix string
	// MaxAge is how long a topic keeps a message; default 24 hours. It must be below the window of the inboxes: a message
	// that comes again later than that would take effect twice.
	MaxAge time.Duration
	// MaxBytes is how much a topic holds; what is published to a full one is refused. Default: as much as the server has.
	MaxBytes int64
	// Replicas is how many servers of a cluster hold a topic; default 1.
	Replicas int
	// Flushed says that the server flushes what it confirms (sync_interval: always). Batches are atomic then, since the
	// server flushes one of those at once, and every message of another one by itself.
	Flushed bool
	// Options are further ones for the connection, such as credentials and TLS.
	Options []nats.Option
}

// place is where the server is, without the login that URL may hold: errors are told to more people than may know it.
func (c *ClientConfig) place() string {
	servers := strings.Split(c.URL, ",")
	for i, s := range servers {
		scheme, host, found := strings.Cut(s, "://")
		if !found {
			scheme, host = "nats", s
		}
		servers[i] = strings.TrimSpace(scheme) + "://" + host[strings.LastIndexByte(host, '@')+1:]
	}
	return strings.Join(servers, ",")
}

// Client is a broker.Client of NATS JetStream. It has one connection, made when it is first needed and again after it
// was lost.
type Client struct {
	config ClientConfig
	gather gather

	mu      sync.Mutex
	closed  bool
	current *session
	dialing *dialing
	running sync.WaitGroup // methods under way, and the dialling
}

var _ broker.Client = (*Client)(nil)

// dialing is a connection that is being made; whoever needs it waits for done.
type dialing struct {
	done chan struct{}
	s    *session
	err  error
}

// NewClient returns a client. It does not connect yet.
func NewClient(config ClientConfig) (*Client, error) {
	if config.URL == "" {
		config.URL = nats.DefaultURL
	}
	if config.MaxAge == 0 {
		config.MaxAge = 24 * time.Hour
	}
	if config.MaxBytes == 0 {
		config.MaxBytes = -1
	}
	if config.Replicas == 0 {
		config.Replicas = 1
	}
	if config.Prefix != "" && token(config.Prefix) != config.Prefix {
		return nil, fmt.Errorf("natsbus: the prefix %q has other characters than letters, digits and '-'", config.Prefix)
	}
	if config.MaxAge < minAge {
		return nil, fmt.Errorf("natsbus: MaxAge is %v, and must be at least %v", config.MaxAge, minAge)
	}
	c := &Client{config: config}
	c.gather.send, c.gather.flights = c.send, flights
	return c, nil
}

// System returns nats.
func (c *Client) System() string { return "nats" }

// Close ends the connection and with it whatever is under way, and returns when all methods have.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	s := c.current
	c.mu.Unlock()
	if s != nil {
		s.close()
	}
	c.running.Wait()
	return nil
}

// enter counts a method as under way. The caller calls leave.
func (c *Client) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.running.Add(1)
	return nil
}

func (c *Client) leave() { c.running.Done() }

// session returns the connection, and makes one where there is none.
func (c *Client) session(ctx context.Context) (*session, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	if s := c.current; s != nil && s.ctx.Err() == nil {
		c.mu.Unlock()
		return s, nil
	}
	d := c.dialing
	if d == nil {
		d = &dialing{done: make(chan struct{})}
		c.dialing = d
		// In a goroutine of its own: the library's dialling knows no context, and others wait for it too.
		c.running.Go(func() { c.dial(d) })
	}
	c.mu.Unlock()
	select {
	case <-d.done:
		return d.s, d.err
	case <-ctx.Done():
		return nil, fmt.Errorf("natsbus: connect to %s: %w", c.config.place(), context.Cause(ctx))
	}
}

func (c *Client) dial(d *dialing) {
	d.s, d.err = connect(&c.config)
	c.mu.Lock()
	c.dialing = nil
	if c.closed && d.err == nil {
		d.s.close()
		d.s, d.err = nil, ErrClosed
	}
	if d.err == nil {
		c.current = d.s
	}
	c.mu.Unlock()
	close(d.done)
}

// do runs f with a connection, and no longer than a server may take that does not answer.
func (c *Client) do(ctx context.Context, what string, f func(context.Context, *session) error) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := c.session(limited)
	if err != nil {
		return err
	}
	limited, release := s.bound(limited)
	defer release()
	return s.explain(ctx, what, f(limited, s))
}

// Check connects and looks at what the server shows of its settings: its version, whether JetStream may keep files, how
// large a message may be, and the stream of positions, where it exists. How often the server flushes is not shown; a
// lazy one is allowed (see the package's documentation).
func (c *Client) Check(ctx context.Context) error {
	return c.do(ctx, "check the server", func(ctx context.Context, s *session) error {
		version := s.nc.ConnectedServerVersion()
		if !recent(version) {
			return fmt.Errorf("version: the server is %s, and %d.%d.%d is the oldest without known security holes",
				version, minVersion[0], minVersion[1], minVersion[2])
		}
		account, err := s.js.AccountInfo(ctx)
		if err != nil {
			return fmt.Errorf("jetstream: %w", err)
		}
		var found []error
		unsafe := func(format string, args ...any) {
			found = append(found, fmt.Errorf("%w: "+format, append([]any{broker.ErrUnsafe}, args...)...))
		}
		if account.Limits.MaxStore == 0 && len(account.Tiers) == 0 {
			unsafe("max_file of the account is 0, so that nothing can be kept on disk; it should be set")
		}
		if most := s.nc.MaxPayload(); most < leastPayload {
			unsafe("max_payload is %d, and should be at least %d", most, leastPayload)
		}
		found = append(found, s.checkPositions(ctx))
		return errors.Join(found...)
	})
}

// recent tells whether a server's version is one that is not refused.
func recent(version string) bool {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	parts := strings.SplitN(version, ".", 3)
	for i, least := range minVersion {
		if i >= len(parts) {
			return false
		}
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < least {
			return false
		}
		if n > least {
			return true
		}
	}
	return true
}
