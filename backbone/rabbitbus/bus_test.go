package rabbitbus_test

import (
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/backbone/rabbitbus"
	"example.org/souk/internal/testserver"
)

// TestContract runs the transports' suite on a server that it kills, pauses and empties.
func TestContract(t *testing.T) {
	server := testserver.RabbitOwn(t)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	var worlds atomic.Int64
	drivertest.RunTransport(t, func(t *testing.T) drivertest.TransportWorld {
		url := testserver.Postgres(t).Database(t)
		namespace := fmt.Sprint("world", worlds.Add(1))
		return drivertest.TransportWorld{
			Name: "rabbitbus", Version: "RabbitMQ 3.10.8", Many: true,
			Open: func(t *testing.T) drivertest.TransportInstance {
				store, err := pgstore.Open(t.Context(), pgstore.Config{URL: url, Log: quiet})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = store.Close() })
				faulty := &drivertest.FaultyStore{Store: store}
				bus, err := rabbitbus.New(rabbitbus.Config{
					Client: rabbitbus.ClientConfig{URL: server.URL()}, Store: func(string) driver.Store { return faulty },
					Namespace: namespace, Lease: 2 * time.Second, Logger: quiet,
				})
				if err != nil {
					t.Fatal(err)
				}
				return drivertest.TransportInstance{Transport: bus, Store: faulty, Crash: faulty.Crash, Isolate: faulty.Isolate}
			},
			Server: &drivertest.TransportServer{
				// A quorum queue of 3.10.8 that was made moments before a kill never answers again.
				Kill:    func() { server.Flushed(); server.Kill() },
				Restart: server.Restart, Pause: server.Pause, Resume: server.Resume, Forget: server.Forget,
			},
		}
	})
}
