package rabbitbus

import (
	"log/slog"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/broker"
)

// Config configures a Bus. Client.URL and Store are required; other zero fields mean their defaults.
type Config struct {
	Client ClientConfig
	// Store returns the database that a service's checkpoints and log are in, or nil if it cannot be reached from here.
	Store func(service string) driver.Store
	// Namespace is the first part of the names of topics and groups. Default souk.
	Namespace string
	// Partitions is how many partitions a topic has that this Bus makes; it divides the slices of every subscription.
	// Default 8.
	Partitions int
	// Owner names this Bus where partitions are claimed. No two that run at the same time may share it. Default: random.
	Owner string
	// Lease is how long partitions stay with a process that does not renew. Default 15 s.
	Lease time.Duration
	// Logger hears of what is tried again. Default slog.Default().
	Logger *slog.Logger
}

// Bus is a transport over RabbitMQ. It implements driver.Transport, and driver's Anchored, Preparer, Behinder and
// Backlogger; its methods may be called concurrently.
type Bus struct{ *broker.Bus }

// New returns a Bus. It connects when something is asked of it; Check does so at once.
func New(c Config) (*Bus, error) {
	client, err := NewClient(c.Client)
	if err != nil {
		return nil, err
	}
	return &Bus{broker.New(broker.Config{
		Client: client, Store: c.Store, Namespace: c.Namespace, Partitions: c.Partitions, Owner: c.Owner, Lease: c.Lease, Logger: c.Logger,
	})}, nil
}

var _ driver.Transport = (*Bus)(nil)

// OrderedWhole implements broker.Ordered: one consumer gets what a topic holds in the order in which it was sent.
func (*Client) OrderedWhole() {}

// PooledBacklog implements broker.Pooled: a group has one queue a partition, for all its topics.
func (*Client) PooledBacklog() {}

var (
	_ broker.Ordered = (*Client)(nil)
	_ broker.Pooled  = (*Client)(nil)
)
