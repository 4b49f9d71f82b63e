// Package brokertest is the world in which the transports over brokers show their contract: logs, checkpoints and effects in
// PostgreSQL, and a server that the test may kill.
package brokertest

import (
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// Broker is a transport with its server.
type Broker struct {
	// Name is the package's, and Version that of the server, for the transport's card.
	Name, Version string
	// Address is the server's.
	Address string
	// Open makes a transport as one more process has it.
	Open Open
	// Server is nil where it is not the test's to harm.
	Server *drivertest.TransportServer
}

// Open makes a transport to the server at an address.
type Open func(address string, p Process) (driver.Transport, error)

// Process is what differs between the transports that a world opens.
type Process struct {
	Store     func(service string) driver.Store
	Namespace string
	Lease     time.Duration
	Logger    *slog.Logger
}

// worlds numbers the namespaces of this process. It begins with the time, since a server of somebody's own still holds what earlier runs left
// there, and what its owner keeps.
var worlds = func() *atomic.Int64 {
	var n atomic.Int64
	n.Store(time.Now().UnixMicro())
	return &n
}()

// namespace returns a name that nothing else at any server has.
func namespace() string { return "souktest" + strconv.FormatInt(worlds.Add(1), 36) }

// Leases of processes that the suite cuts off end soon; those of a steady process outlast a slow machine.
const lease, steadyLease = 2 * time.Second, 30 * time.Second

// Contract runs the transports' suite, each test in a database and a namespace of its own.
func Contract(t *testing.T, b Broker) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	drivertest.RunTransport(t, func(t *testing.T) drivertest.TransportWorld {
		url := testserver.Postgres(t).Database(t)
		namespace := namespace()
		open := func(lease time.Duration) func(t *testing.T) drivertest.TransportInstance {
			return func(t *testing.T) drivertest.TransportInstance {
				store, err := pgstore.Open(t.Context(), pgstore.Config{URL: url, Log: quiet})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = store.Close() })
				faulty := &drivertest.FaultyStore{Store: store}
				bus, err := b.Open(b.Address, Process{func(string) driver.Store { return faulty }, namespace, lease, quiet})
				if err != nil {
					t.Fatal(err)
				}
				return drivertest.TransportInstance{Transport: bus, Store: faulty, Crash: faulty.Crash, Isolate: faulty.Isolate}
			}
		}
		return drivertest.TransportWorld{
			Name: b.Name, Version: b.Version, Many: true, Open: open(lease), Steady: open(steadyLease), Server: b.Server, Foreign: b.Server == nil,
		}
	})
}
