package kafkabus

import (
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/broker"
)

// Config configures a Bus: Client, Store (by service; nil where it cannot be reached from here), Namespace, Partitions, Owner, Lease and
// Logger. Client.Brokers and Store are required; other zero fields mean their defaults: Namespace, the first part of the
// names of topics and groups, souk (two systems at one broker need two); Partitions of a topic that is made here, 8 (it divides Service.Slices, 64); Lease,
// for which partitions stay with a process that does not renew, 15 s; Owner, random; Logger, slog.Default().
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
