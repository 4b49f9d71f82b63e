package rabbitbus

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/internal/broker"
)

// patience is how long a server may say nothing to a question before it is taken to be gone.
const patience = 10 * time.Second

// ClientConfig says where the server is. The zero value of a field other than URL is the default.
type ClientConfig struct {
	// URL is the address, amqp://user:password@host:port/vhost, or amqps for TLS.
	URL string
	// Login returns the user and the password of now, before each connection. Default: those of URL.
	Login func() (user, password string, err error)
	// TLS is for amqps addresses; default: the system's certificates.
	TLS *tls.Config
	// Name is shown by the server beside the connections; default: souk.
	Name string
	// MaxBytes is the largest body that is sent; default 16 MiB. A server's own limit (max_message_size, 128 MiB unless
	// it was set) should not be below: one that is too large there costs a channel.
	MaxBytes int
	// Heartbeat is the time within which both sides say that they are there; default 5 s. The client gives a silent
	// server up after one and a half of it, and the server hands the messages of a silent client to the next one after
	// two to three.
	Heartbeat time.Duration
}

// Client is a broker.Client for RabbitMQ. Its methods may be called from several goroutines.
type Client struct {
	config ClientConfig

	// The server stops reading a connection that publishes when it runs short of memory or disk; acknowledgements and
	// questions must not wait for that, so they have a connection of their own.
	publishing, consuming line

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	known   known
	held    map[string]int64        // by queue: received here and not settled
	groups  map[string]broker.Group // those that this client has joined
	locks   map[string]chan struct{}

	closing context.Context // ends when Close begins
	cancel  context.CancelFunc
}

var _ broker.Client = (*Client)(nil)

var errClosed = errors.New("rabbitmq: the client is closed")

// NewClient returns a client that connects when it is first needed. It fails on an address that is none.
func NewClient(config ClientConfig) (*Client, error) {
	if _, err := amqp.ParseURI(config.URL); err != nil {
		// The library's error may hold the address, and so the password.
		return nil, errors.New("rabbitmq: ClientConfig.URL is not an address like amqp://user:password@host:5672/")
	}
	if config.Name == "" {
		config.Name = "souk"
	}
	if config.MaxBytes == 0 {
		config.MaxBytes = 16 << 20
	}
	if config.Heartbeat == 0 {
		config.Heartbeat = 5 * time.Second
	}
	c := &Client{
		config: config,
		held:   map[string]int64{},
		groups: map[string]broker.Group{},
		locks:  map[string]chan struct{}{},
	}
	c.closing, c.cancel = context.WithCancel(context.Background())
	c.publishing = line{client: c, name: config.Name + " publishing"}
	c.consuming = line{client: c, name: config.Name + " consuming"}
	return c, nil
}

// System returns the name that metrics and traces have for the broker.
func (c *Client) System() string { return "rabbitmq" }

// Close ends everything that is under way and both connections, and returns when nothing runs any more.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.publishing.close()
	c.consuming.close()
	c.running.Wait()
	return nil
}

// run does f in a goroutine that Close waits for; false once the client is closed.
func (c *Client) run(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.running.Go(f)
	return true
}

// Check connects and finds out whether the server keeps what a group needs: it is no older than 3.10, and a queue made
// as the queues of groups are keeps a message that comes back more often than the twenty times that are the limit of
// some versions. It cannot see policies that apply to queues of certain names only.
func (c *Client) Check(ctx context.Context) error {
	cn, err := c.consuming.get(ctx)
	if err != nil {
		return err
	}
	product, _ := cn.amqp.Properties["product"].(string)
	version, _ := cn.amqp.Properties["version"].(string)
	if product == "RabbitMQ" && older(version, 3, 10) {
		return fmt.Errorf("rabbitmq: the server is version %s; 3.10 or newer is needed", version)
	}
	capabilities, _ := cn.amqp.Properties["capabilities"].(amqp.Table)
	for _, name := range []string{"publisher_confirms", "basic.nack", "consumer_cancel_notify"} {
		if able, _ := capabilities[name].(bool); !able {
			return fmt.Errorf("rabbitmq: the server (%s %s) cannot do %s", product, version, name)
		}
	}
	return c.probe(ctx, cn)
}

// comesBack is how often the probe hands its message back: more than the twenty times after which quorum queues of
// RabbitMQ 4 drop a message unless told otherwise.
const comesBack = 25

func (c *Client) probe(ctx context.Context, cn *conn) error {
	queue := "souk.check." + rand.Text()
	args := groupQueue()
	delete(args, amqp.SingleActiveConsumerArg)                // such a queue gives nothing to those who ask once
	args["x-expires"] = int32(time.Minute / time.Millisecond) // should we end before it is deleted
	if err := cn.do(ctx, func(ch *channel) error { return ch.declare(queue, args) }); err != nil {
		return unsafely(err)
	}
	defer func() {
		// It expires anyway.
		_ = cn.do(context.WithoutCancel(ctx), func(ch *channel) error { return ch.remove(queue) })
	}()
	probe := publication{key: queue, wanted: true, message: amqp.Publishing{DeliveryMode: amqp.Persistent}}
	if err := c.publish(ctx, []publication{probe}); err != nil {
		return err
	}
	return cn.do(ctx, func(ch *channel) error {
		for n := range comesBack {
			d, ok, err := ch.get(queue)
			if err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("rabbitmq: a message is gone after it came back %d times; a policy sets delivery-limit or message-ttl, which should not apply to the queues of groups: %w", n, broker.ErrUnsafe)
			}
			if err := d.Nack(false, true); err != nil {
				return err
			}
		}
		return nil
	})
}

// older tells whether a version is below major.minor. What is no version is not.
func older(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA == nil && errB == nil && (a < major || a == major && b < minor)
}
