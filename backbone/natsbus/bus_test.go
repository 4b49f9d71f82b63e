package natsbus_test

import (
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/internal/brokertest"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/internal/testserver"
)

// TestContract runs the transports' suite on a server that it kills, pauses and empties.
func TestContract(t *testing.T) {
	server := testserver.NATSOwn(t)
	brokertest.Contract(t, brokertest.Broker{
		Name: "natsbus", Version: "NATS 2.15.2",
		Open: func(p brokertest.Process) (driver.Transport, error) {
			return natsbus.New(natsbus.Config{
				Client: natsbus.ClientConfig{URL: server.URL()}, Store: p.Store, Namespace: p.Namespace, Lease: p.Lease, Logger: p.Logger,
			})
		},
		Server: &drivertest.TransportServer{
			Kill: server.Kill, Restart: server.Restart, Pause: server.Pause, Resume: server.Resume, Forget: server.Forget,
		},
	})
}
