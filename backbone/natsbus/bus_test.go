package natsbus_test

import (
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// TestContract runs the transports' suite on a server that it kills, pauses and empties.
func TestContract(t *testing.T) {
	server := testserver.NATSOwn(t)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	var worlds atomic.Int64
	drivertest.RunTransport(t, func(t *testing.T) drivertest.TransportWorld {
		url := testserver.Postgres(t).Database(t)
		namespace := fmt.Sprint("world", worlds.Add(1))
		return drivertest.TransportWorld{
			Name: "natsbus", Version: "NATS 2.15.2", Many: true,
			Open: func(t *testing.T) drivertest.TransportInstance {
				store, err := pgstore.Open(t.Context(), pgstore.Config{URL: url, Log: quiet})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = store.Close() })
				faulty := &drivertest.FaultyStore{Store: store}
				bus, err := natsbus.New(natsbus.Config{
					Client: natsbus.ClientConfig{URL: server.URL()}, Store: func(string) driver.Store { return faulty },
					Namespace: namespace, Lease: 2 * time.Second, Logger: quiet,
				})
				if err != nil {
					t.Fatal(err)
				}
				return drivertest.TransportInstance{Transport: bus, Store: faulty, Crash: faulty.Crash, Isolate: faulty.Isolate}
			},
			Server: &drivertest.TransportServer{
				Kill: server.Kill, Restart: server.Restart, Pause: server.Pause, Resume: server.Resume, Forget: server.Forget,
			},
		}
	})
}
