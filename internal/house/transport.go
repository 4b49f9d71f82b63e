package house

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/backbone/rabbitbus"
)

// openTransport returns what carries messages between the services: the log itself, or the broker that was named. One
// that is set up so that it may lose what it confirms is refused.
func openTransport(ctx context.Context, cfg Config, owner string, stores *databases) (driver.Transport, error) {
	if cfg.Broker == "" {
		return logbus.New(logbus.Config{Store: stores.of, Owner: owner, Logger: cfg.Logger}), nil
	}
	address, now, err := login(cfg.Broker)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	at, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("broker: its address is not a URL") // without the address, which may hold a password
	}
	var bus checked
	switch at.Scheme {
	case "kafka":
		if now != nil {
			return nil, errors.New("broker: signing in at Kafka is not supported")
		}
		bus, err = kafkabus.New(kafkabus.Config{
			Client: kafkabus.ClientConfig{Brokers: strings.Split(at.Host, ",")}, Store: stores.of, Log: stores.log, Owner: owner, Logger: cfg.Logger,
		})
	case "nats", "tls":
		bus, err = natsbus.New(natsbus.Config{
			Client: natsbus.ClientConfig{URL: address, Login: now}, Store: stores.of, Log: stores.log, Owner: owner, Logger: cfg.Logger,
		})
	case "amqp", "amqps":
		bus, err = rabbitbus.New(rabbitbus.Config{
			Client: rabbitbus.ClientConfig{URL: address, Login: now}, Store: stores.of, Log: stores.log, Owner: owner, Logger: cfg.Logger,
		})
	default:
		return nil, fmt.Errorf("broker: there is no transport for %s://; there is one for nats://, amqp://, amqps:// and kafka://", at.Scheme)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Quiet {
		return bus, nil
	}
	if err := bus.Check(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("broker: %w", err), bus.Close())
	}
	return bus, nil
}

// checked is a transport that can say whether its broker is set up safely.
type checked interface {
	driver.Transport
	Check(ctx context.Context) error
}

// Backlogs is what tells how much waits at the broker, nil where there is none.
func (h *House) Backlogs() func(context.Context) ([]driver.Backlog, error) {
	if b, ok := h.bus.(driver.Backlogger); ok {
		return b.Backlogs
	}
	return nil
}
