package natsbus_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/internal/brokertest"
	"example.org/souk/backbone/natsbus"
	"example.org/souk/internal/testserver"
)

func openBus(address string, p brokertest.Process) (driver.Transport, error) {
	return natsbus.New(natsbus.Config{
		Client: natsbus.ClientConfig{URL: address}, Store: p.Store, Namespace: p.Namespace, Lease: p.Lease, Logger: p.Logger,
	})
}

// TestContract runs the transports' suite on a server that it kills, pauses and empties, or on the one that SOUK_TEST_NATS names, which it
// leaves alone.
func TestContract(t *testing.T) {
	server := testserver.NATSOwnOrGiven(t)
	b := brokertest.Broker{Name: "natsbus", Version: version(t, server.URL()), Address: server.URL(), Open: openBus}
	if server.Own() {
		b.Server = &drivertest.TransportServer{
			Kill: server.Kill, Restart: server.Restart, Pause: server.Pause, Resume: server.Resume, Forget: server.Forget,
		}
	}
	brokertest.Contract(t, b)
}

// version asks the server for its own.
func version(t *testing.T, url string) string {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(ended) })
	defer func() { nc.Close(); <-ended }()
	return "NATS " + nc.ConnectedServerVersion()
}

// F3: several relays of one log do not double its messages. Red where a process that has not got the lease publishes all the same, and where a
// takeover begins behind what was not published.
func TestF3_SeveralRelays(t *testing.T) {
	t.Parallel()
	brokertest.SeveralRelays(t, brokertest.Broker{Address: testserver.NATS(t).URL(), Open: openBus})
}

// SOUK_TEST_NATS points the suite at anyone's own server. Red where the suite starts a server all the same.
func TestContractOnAGivenServer(t *testing.T) {
	t.Parallel()
	url := testserver.NATS(t).URL()
	brokertest.Given(t, "natsbus", "SOUK_TEST_NATS", url, "nats://127.0.0.1:1", version(t, url))
}
