package kafkabus

import (
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/broker"
)

// Config configures a Bus: Client, Store (by service; nil where it cannot be reached from here), Namespace, Partitions, Owner, Lease and
// Logger. Client.Brokers and Store are required; other zero fields mean their defaults, which stand with broker.Settings.
type Config = broker.Settings[ClientConfig]

// Bus is a transport over the Kafka protocol. It implements driver.Transport, and driver's Anchored, Preparer, Behinder and
// Backlogger; its methods may be called concurrently.
type Bus struct{ *broker.Bus }

// New returns a Bus. It connects when something is asked of it; Check does so at once.
func New(c Config) (*Bus, error) {
	client, err := NewClient(c.Client)
	if err != nil {
		return nil, err
	}
	return &Bus{c.Bus(client)}, nil
}

var _ driver.Transport = (*Bus)(nil)
