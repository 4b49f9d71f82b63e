package house

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/backbone/rabbitbus"
)

// TransportConfig says what carries messages between services. Store and Logger are required.
type TransportConfig struct {
	Broker    string // its URL; "": the log itself
	Owner     string // of what this process takes
	Store     func(service string) driver.Store
	Log       func(service string) driver.Log // default: Store
	Logger    *slog.Logger
	Unchecked bool // nobody publishes by it, so the broker's settings do not matter
}

// OpenTransport returns what carries messages between services: the log itself, or the broker that was named. One
// that is set up so that it may lose what it confirms is refused.
func OpenTransport(ctx context.Context, cfg TransportConfig) (driver.Transport, error) {
	if cfg.Broker == "" {
		return logbus.New(logbus.Config{Store: cfg.Store, Owner: cfg.Owner, Logger: cfg.Logger}), nil
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
			Client: kafkabus.ClientConfig{Brokers: strings.Split(at.Host, ",")}, Store: cfg.Store, Log: cfg.Log, Owner: cfg.Owner, Logger: cfg.Logger,
		})
	case "nats", "tls":
		bus, err = natsbus.New(natsbus.Config{
			Client: natsbus.ClientConfig{URL: address, Login: now}, Store: cfg.Store, Log: cfg.Log, Owner: cfg.Owner, Logger: cfg.Logger,
		})
	case "amqp", "amqps":
		bus, err = rabbitbus.New(rabbitbus.Config{
			Client: rabbitbus.ClientConfig{URL: address, Login: now}, Store: cfg.Store, Log: cfg.Log, Owner: cfg.Owner, Logger: cfg.Logger,
		})
	default:
		return nil, fmt.Errorf("broker: there is no transport for %s://; there is one for nats://, amqp://, amqps:// and kafka://", at.Scheme)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Unchecked {
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
