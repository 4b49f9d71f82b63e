package rabbitbus_test

import (
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/internal/brokertest"
	"example.org/souk/backbone/rabbitbus"
	"example.org/souk/internal/testserver"
)

// TestContract runs the transports' suite on a server that it kills, pauses and empties.
func TestContract(t *testing.T) {
	server := testserver.RabbitOwn(t)
	brokertest.Contract(t, brokertest.Broker{
		Name: "rabbitbus", Version: "RabbitMQ 3.10.8",
		Open: func(p brokertest.Process) (driver.Transport, error) {
			return rabbitbus.New(rabbitbus.Config{
				Client: rabbitbus.ClientConfig{URL: server.URL()}, Store: p.Store, Namespace: p.Namespace, Lease: p.Lease, Logger: p.Logger,
			})
		},
		Server: &drivertest.TransportServer{
			// A quorum queue of 3.10.8 that was made moments before a kill never answers again.
			Kill:    func() { server.Flushed(); server.Kill() },
			Restart: server.Restart, Pause: server.Pause, Resume: server.Resume, Forget: server.Forget,
		},
	})
}
