package kafkabus_test

import (
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/internal/brokertest"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/internal/testserver"
)

// TestContract runs the transports' suite on a server that it kills, pauses and empties.
func TestContract(t *testing.T) {
	server := testserver.KafkaOwn(t, 1)
	brokertest.Contract(t, brokertest.Broker{
		Name: "kafkabus", Version: "kfake of franz-go 1.22.2 (Apache Kafka itself was not run)",
		Open: func(p brokertest.Process) (driver.Transport, error) {
			return kafkabus.New(kafkabus.Config{
				Client: kafkabus.ClientConfig{Brokers: server.Addresses()}, Store: p.Store, Namespace: p.Namespace, Lease: p.Lease, Logger: p.Logger,
			})
		},
		Server: &drivertest.TransportServer{
			Kill: server.Kill, Restart: server.Restart, Pause: server.Pause, Resume: server.Resume, Forget: server.Forget,
		},
	})
}
