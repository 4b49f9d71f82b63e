package broker

import (
	"log/slog"
	"time"

	"example.org/souk/backbone/driver"
)

// Settings configure a transport over a broker whose client is configured by C. The Client's address and Store are required; other zero
// fields mean their defaults.
type Settings[C any] struct {
	Client C
	// Store returns the database that a service's checkpoints and log are in, or nil if it cannot be reached from here.
	Store func(service string) driver.Store
	// Log returns what reads a service's log, also where its database cannot be reached from here; nil where nothing can.
	// Default: Store.
	Log func(service string) driver.Log
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

// Bus returns the transport over a client that was made from the settings.
func (s *Settings[C]) Bus(client Client) *Bus {
	return New(Config{
		Client: client, Store: s.Store, Log: s.Log, Namespace: s.Namespace, Partitions: s.Partitions, Owner: s.Owner, Lease: s.Lease, Logger: s.Logger,
	})
}
