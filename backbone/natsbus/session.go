package natsbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.org/souk/backbone/internal/broker"
)

// session is one connection for as long as it lasts, with what is known of the server meanwhile: it may be another
// server, or one that has lost what it had, after the next connection.
type session struct {
	config *ClientConfig
	nc     *nats.Conn
	js     jetstream.JetStream
	// ctx ends with the connection; its cause says why.
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when the library has told everybody

	// inbox is where the server's confirmations go, and id is unique among all connections to it.
	inbox, id string

	mu      sync.Mutex
	trouble error // what the library last complained of on its own
	topics  map[string]*topic
	calls   map[string]*call
	serial  uint64
	// positions is the stream of positions once it is known to exist.
	positions jetstream.Stream
}

// connect makes a connection, in five seconds at most. A lost one is not mended: what was under way fails, and whoever
// comes next connects again.
func connect(config *ClientConfig) (*session, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	s := &session{
		config: config, ctx: ctx, cancel: cancel, ended: make(chan struct{}),
		topics: map[string]*topic{}, calls: map[string]*call{},
	}
	options := []nats.Option{
		nats.Name("souk"), nats.Timeout(5 * time.Second), nats.NoReconnect(),
		// A server that stands still is noticed after three pings, and a full wire after one flush.
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), nats.FlusherTimeout(5 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.mu.Lock()
			s.trouble = err
			s.mu.Unlock()
		}),
		nats.ClosedHandler(func(nc *nats.Conn) {
			err := nc.LastError()
			if err == nil {
				err = nats.ErrConnectionClosed
			}
			s.cancel(fmt.Errorf("the connection is lost: %w", err))
			close(s.ended)
		}),
	}
	if config.Login != nil {
		user, password, err := config.Login()
		if err != nil {
			cancel(err)
			return nil, fmt.Errorf("natsbus: connect to %s: %w", config.place(), err)
		}
		options = append(options, nats.UserInfo(user, password))
	}
	nc, err := nats.Connect(config.URL, append(options, config.Options...)...)
	if err != nil {
		var wrong *url.Error
		if errors.As(err, &wrong) {
			err = errors.New("this is not a URL") // the library's error repeats it, login and all
		}
		cancel(err)
		return nil, fmt.Errorf("natsbus: connect to %s: %w", config.place(), err)
	}
	s.nc = nc
	s.inbox = nats.NewInbox()
	s.id = s.inbox[strings.LastIndexByte(s.inbox, '.')+1:]
	if s.js, err = jetstream.New(nc); err == nil {
		_, err = nc.Subscribe(s.inbox+".>", s.confirmed)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("natsbus: connect to %s: %w", config.place(), err)
	}
	return s, nil
}

// close ends the connection and waits until the library is done with it.
func (s *session) close() {
	s.nc.Close()
	<-s.ended
}

// bound returns a context that ends with the connection too.
func (s *session) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// explain says what an error of a method comes from, which the library calls a time-out or a cancelled context in all
// cases. The caller's context is ctx.
func (s *session) explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	var refused *jetstream.APIError
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrStreamNotFound) || errors.As(err, &refused) || errors.Is(err, broker.ErrTooLarge) {
		// A topic that was known is gone, or the whole of JetStream; or the topic takes more or less than when it was looked at, which the server
		// does not say where a batch is stored as a whole.
		s.mu.Lock()
		clear(s.topics)
		s.positions = nil
		s.mu.Unlock()
	}
	var broken *net.OpError
	if errors.As(err, &broken) || errors.Is(err, nats.ErrConnectionClosed) {
		// The library has not told us yet; who comes next must not meet this connection.
		s.cancel(fmt.Errorf("the connection is lost: %w", err))
		s.nc.Close()
	}
	s.mu.Lock()
	trouble := s.trouble
	s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("natsbus: %s: %w", what, ctx.Err())
	case s.ctx.Err() != nil:
		return fmt.Errorf("natsbus: %s: %w", what, context.Cause(s.ctx))
	case trouble != nil && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("natsbus: %s: %w (%w)", what, err, trouble)
	}
	return fmt.Errorf("natsbus: %s: %w", what, err)
}
