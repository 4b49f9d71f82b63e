package rabbitbus_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/internal/brokertest"
	"example.org/souk/backbone/rabbitbus"
	"example.org/souk/internal/testserver"
)

func openBus(address string, p brokertest.Process) (driver.Transport, error) {
	return rabbitbus.New(rabbitbus.Config{
		Client: rabbitbus.ClientConfig{URL: address}, Store: p.Store, Namespace: p.Namespace, Lease: p.Lease, Logger: p.Logger,
	})
}

// TestContract runs the transports' suite on a server that it kills, pauses and empties, or on the one that SOUK_TEST_RABBITMQ names, which it
// leaves alone.
func TestContract(t *testing.T) {
	server := testserver.RabbitOwnOrGiven(t)
	b := brokertest.Broker{Name: "rabbitbus", Version: version(t, server.URL()), Address: server.URL(), Open: openBus}
	if server.Own() {
		b.Server = &drivertest.TransportServer{
			// A quorum queue of 3.10.8 that was made moments before a kill never answers again.
			Kill:    func() { server.Flushed(); server.Kill() },
			Restart: server.Restart, Pause: server.Pause, Resume: server.Resume, Forget: server.Forget,
			Hurry: func(wait time.Duration) func() {
				set := func(timeout, look time.Duration) {
					server.Control("eval", fmt.Sprintf(
						"application:set_env(rabbit, consumer_timeout, %d), application:set_env(rabbit, channel_tick_interval, %d).", timeout.Milliseconds(), look.Milliseconds()))
				}
				set(wait, wait/4)
				return func() { set(30*time.Minute, time.Minute) } // its defaults
			},
		}
	}
	brokertest.Contract(t, b)
}

// version asks the server for its product and version.
func version(t *testing.T, url string) string {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return fmt.Sprint(conn.Properties["product"], " ", conn.Properties["version"])
}

// F3: several relays of one log do not double its messages; see natsbus.
func TestF3_SeveralRelays(t *testing.T) {
	if os.Getenv("SOUK_PROVE") == "" {
		t.Log("it takes seconds, and shows what it shows over NATS too: make prove-short runs it")
		return
	}
	t.Parallel()
	brokertest.SeveralRelays(t, brokertest.Broker{Address: testserver.Rabbit(t).URL(), Open: openBus})
}

// SOUK_TEST_RABBITMQ points the suite at anyone's own server; see natsbus.
func TestContractOnAGivenServer(t *testing.T) {
	if os.Getenv("SOUK_PROVE") == "" {
		t.Log("it takes seconds: make prove-short runs it")
		return
	}
	t.Parallel()
	url := testserver.Rabbit(t).URL()
	brokertest.Given(t, "rabbitbus", "SOUK_TEST_RABBITMQ", url, "", version(t, url))
}
