package rabbitbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
)

// line is a connection that is made when somebody needs it, and made again when it was lost.
type line struct {
	client *Client
	name   string

	mu      sync.Mutex
	conn    *conn
	dialing *dial
}

type dial struct {
	done chan struct{}
	conn *conn // after done
	err  error
}

// get returns the connection, and makes it where there is none. Those who ask meanwhile wait for the same attempt.
func (l *line) get(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.conn != nil && l.conn.alive() {
		defer l.mu.Unlock()
		return l.conn, nil
	}
	d := l.dialing
	if d == nil {
		d = &dial{done: make(chan struct{})}
		if !l.client.run(func() { l.dial(d) }) {
			l.mu.Unlock()
			return nil, errClosed
		}
		l.dialing = d
	}
	l.mu.Unlock()
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *line) dial(d *dial) {
	d.conn, d.err = l.connect()
	l.mu.Lock()
	l.conn, l.dialing = d.conn, nil
	l.mu.Unlock()
	close(d.done)
	if d.conn != nil && l.client.closing.Err() != nil {
		d.conn.close()
	}
}

func (l *line) connect() (*conn, error) {
	cn := &conn{
		client: l.client, gone: make(chan struct{}),
		flow: make(chan struct{}),
	}
	close(cn.flow)
	config := amqp.Config{
		Heartbeat:       l.client.config.Heartbeat,
		TLSClientConfig: l.client.config.TLS,
		Properties:      amqp.NewConnectionProperties(),
		Dial: func(network, addr string) (net.Conn, error) {
			dialer := net.Dialer{Timeout: patience}
			tcp, err := dialer.DialContext(l.client.closing, network, addr)
			if err != nil {
				return nil, err
			}
			// For the greeting; the library lifts it afterwards.
			if err := tcp.SetDeadline(time.Now().Add(patience)); err != nil {
				return nil, errors.Join(err, tcp.Close())
			}
			cn.mu.Lock()
			cn.wire = tcp
			cn.mu.Unlock()
			return &wire{tcp.(*net.TCPConn)}, nil
		},
	}
	config.Properties.SetClientConnectionName(l.name)
	if l.client.config.Login != nil {
		user, password, err := l.client.config.Login()
		if err != nil {
			cn.kill(err)
			return nil, fmt.Errorf("rabbitmq: connect: %w", err)
		}
		config.SASL = []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}
	}
	// A client that is closed during the greeting does not wait for its end.
	stop := context.AfterFunc(l.client.closing, func() { cn.kill(errClosed) })
	defer stop()
	var err error
	if cn.amqp, err = amqp.DialConfig(l.client.config.URL, config); err != nil {
		cn.kill(err)
		if l.client.closing.Err() != nil {
			return nil, errClosed
		}
		return nil, fmt.Errorf("rabbitmq: connect: %w", err)
	}
	closes := cn.amqp.NotifyClose(make(chan *amqp.Error, 1))
	blocks := cn.amqp.NotifyBlocked(make(chan amqp.Blocking, 8))
	go cn.mind(closes, blocks)
	return cn, nil
}

// close ends the connection in order, where the server answers.
func (l *line) close() {
	l.mu.Lock()
	cn, d := l.conn, l.dialing
	l.mu.Unlock()
	if d != nil {
		<-d.done
		cn = d.conn
	}
	if cn != nil {
		cn.close()
	}
}

// wire is a connection of TCP that a server which reads nothing cannot hold a writer at for ever.
type wire struct{ *net.TCPConn }

func (w *wire) Write(b []byte) (int, error) {
	if err := w.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return w.TCPConn.Write(b)
}

// conn is a connection that was made.
type conn struct {
	client *Client
	amqp   *amqp.Connection
	wire   net.Conn

	gone chan struct{} // closed when it has ended

	mu     sync.Mutex
	cause  error
	flow   chan struct{} // closed unless the server has asked to send nothing
	reason string        // why it has
	idle   []*publisher
}

var errSilent = fmt.Errorf("the server has not answered for %v", patience)

// mind follows what the server says of the connection until that ends.
func (cn *conn) mind(closes <-chan *amqp.Error, blocks <-chan amqp.Blocking) {
	defer close(cn.gone)
	for {
		select {
		case b, ok := <-blocks:
			if !ok {
				blocks = nil
				continue
			}
			cn.mu.Lock()
			select {
			case <-cn.flow:
				if b.Active {
					cn.flow, cn.reason = make(chan struct{}), b.Reason
				}
			default:
				if !b.Active {
					close(cn.flow)
				}
			}
			cn.mu.Unlock()
		case err, ok := <-closes:
			if ok {
				cn.because(err)
				continue // it is closed next
			}
			cn.because(amqp.ErrClosed)
			return
		}
	}
}

// because notes why the connection ended; the first cause counts.
func (cn *conn) because(err error) {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.cause == nil {
		cn.cause = err
	}
}

func (cn *conn) alive() bool {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	return cn.cause == nil && !cn.amqp.IsClosed()
}

// kill drops the connection without a word: everything that waits for it fails at once.
func (cn *conn) kill(err error) {
	cn.because(err)
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.wire != nil {
		_ = cn.wire.Close()
	}
}

// close ends the connection and waits for its end, for a while in order and then without a word.
func (cn *conn) close() {
	cn.because(errClosed)
	// An error says that it is closed already, or that the server did not answer; the socket is closed in any case.
	_ = cn.amqp.CloseDeadline(time.Now().Add(2 * time.Second))
	_ = cn.wire.Close()
	<-cn.gone
}

// failed says why something on the connection failed: the library tells only the first who asks.
func (cn *conn) failed(err error) error {
	if err == nil {
		return nil
	}
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.cause != nil && !errors.Is(cn.cause, errClosed) {
		return fmt.Errorf("rabbitmq: the connection is lost: %w", cn.cause)
	}
	if cn.cause != nil {
		return cn.cause
	}
	if said, ok := errors.AsType[*amqp.Error](err); ok {
		return fmt.Errorf("rabbitmq: %w", said)
	}
	return err
}

// silence says why the server does not answer, as far as it has said so.
func (cn *conn) silence() error {
	flow, reason := cn.blocked()
	select {
	case <-flow:
		return errSilent
	default:
		return fmt.Errorf("the server takes no messages: %s", reason)
	}
}

// blocked returns a channel that is closed once the server takes messages, and why it takes none.
func (cn *conn) blocked() (flow <-chan struct{}, reason string) {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	return cn.flow, cn.reason
}

// channel is a channel of the protocol whose questions drop the connection when the server does not answer them.
type channel struct {
	*amqp.Channel
	conn  *conn
	alarm *time.Timer
}

// do opens a channel, does f on it and closes it. The library's calls know no context, so that happens in a goroutine
// of its own: when ctx ends, do returns and f goes on to its end.
func (cn *conn) do(ctx context.Context, f func(*channel) error) error {
	_, err := cn.open(ctx, false, f)
	return err
}

// open is do with a channel that stays open when f has succeeded, for the caller to close; unless keep is false.
func (cn *conn) open(ctx context.Context, keep bool, f func(*channel) error) (*channel, error) {
	type result struct {
		ch  *channel
		err error
	}
	done, left := make(chan result), make(chan struct{})
	started := cn.client.run(func() {
		ch, err := cn.channel()
		if err == nil {
			if err = f(ch); err != nil || !keep {
				err = errors.Join(err, ch.close())
			}
			ch.rest()
		}
		select {
		case done <- result{ch, err}:
		case <-left:
			if err == nil && keep {
				// Nobody waits for it any more.
				_ = ch.close()
			}
		}
	})
	if !started {
		return nil, errClosed
	}
	select {
	case r := <-done:
		return r.ch, cn.failed(r.err)
	case <-ctx.Done():
		close(left)
		return nil, ctx.Err()
	}
}

func (cn *conn) channel() (*channel, error) {
	alarm := time.AfterFunc(patience, func() { cn.kill(cn.silence()) })
	ch, err := cn.amqp.Channel()
	if err != nil {
		alarm.Stop()
		return nil, err
	}
	return &channel{Channel: ch, conn: cn, alarm: alarm}, nil
}

// step gives the server its time for the next question; rest ends that.
func (ch *channel) step() { ch.alarm.Reset(patience) }
func (ch *channel) rest() { ch.alarm.Stop() }

func (ch *channel) close() error {
	ch.step()
	defer ch.rest()
	if err := ch.Close(); err != nil && !errors.Is(err, amqp.ErrClosed) {
		return err
	}
	return nil
}

func (ch *channel) declare(queue string, args amqp.Table) error {
	ch.step()
	_, err := ch.QueueDeclare(queue, true, false, false, false, args)
	return err
}

// count returns how many messages of a queue wait to be received.
func (ch *channel) count(queue string) (int64, error) {
	ch.step()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	return int64(q.Messages), err
}

func (ch *channel) remove(queue string) error {
	ch.step()
	_, err := ch.QueueDelete(queue, false, false, false)
	return err
}

func (ch *channel) get(queue string) (amqp.Delivery, bool, error) {
	ch.step()
	return ch.Get(queue, false)
}

// is tells whether an error is the server's answer with that code.
func is(err error, code int) bool {
	said, ok := errors.AsType[*amqp.Error](err)
	return ok && said.Code == code && said.Server
}

// unsafely marks the server's answer that something is there with other settings: it names them.
func unsafely(err error) error {
	if is(err, amqp.PreconditionFailed) || is(err, amqp.ResourceLocked) {
		return fmt.Errorf("%w: %w", err, broker.ErrUnsafe)
	}
	return err
}
