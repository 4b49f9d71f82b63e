package house

import (
	"context"
	"fmt"
	"net/url"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
)

// openTransport returns what carries messages between the services: the log itself, or the broker that was named. One
// that is set up so that it may lose what it confirms is refused.
func openTransport(ctx context.Context, cfg Config, store func(string) driver.Store) (driver.Transport, error) {
	if cfg.Broker == "" {
		return logbus.New(logbus.Config{Store: store, Logger: cfg.Logger}), nil
	}
	at, err := url.Parse(cfg.Broker)
	if err != nil {
		return nil, fmt.Errorf("broker: its address is not a URL") // without the address, which may hold a password
	}
	switch at.Scheme {
	default:
		return nil, fmt.Errorf("broker: there is no transport for %s://", at.Scheme)
	}
}

// Backlogs is what tells how much waits at the broker, nil where there is none.
func (h *House) Backlogs() func(context.Context) ([]driver.Backlog, error) {
	if b, ok := h.bus.(driver.Backlogger); ok {
		return b.Backlogs
	}
	return nil
}
