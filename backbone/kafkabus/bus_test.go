package kafkabus_test

import (
	"os"
	"strings"
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/internal/brokertest"
	"example.org/souk/backbone/kafkabus"
	"example.org/souk/internal/testserver"
)

func openBus(address string, p brokertest.Process) (driver.Transport, error) {
	return kafkabus.New(kafkabus.Config{
		Client: kafkabus.ClientConfig{Brokers: strings.Split(address, ",")}, Store: p.Store, Namespace: p.Namespace, Lease: p.Lease, Logger: p.Logger,
	})
}

// TestContract runs the transports' suite on a server that it kills, pauses and empties, or on the one that SOUK_TEST_KAFKA names, which it
// leaves alone.
func TestContract(t *testing.T) {
	server := testserver.KafkaOwnOrGiven(t)
	b := brokertest.Broker{Name: "kafkabus", Version: version(t, server), Address: strings.Join(server.Addresses(), ","), Open: openBus}
	if server.Own() {
		b.Server = &drivertest.TransportServer{
			Kill: server.Kill, Restart: server.Restart, Pause: server.Pause, Resume: server.Resume, Forget: server.Forget,
		}
	}
	brokertest.Contract(t, b)
}

// version asks a server of the Kafka protocol what it is. The protocol tells only which requests it answers, from which follows as which version of
// Kafka it behaves; of the server that tests start its program tells what it was built from.
func version(t *testing.T, server *testserver.KafkaServer) string {
	t.Helper()
	if server.Own() {
		return "kfake of franz-go " + server.Build() + " (Apache Kafka itself was not run)"
	}
	versions, err := admin(t, server.Addresses()).ApiVersions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		return "Kafka's protocol, " + v.VersionGuess()
	}
	t.Fatal("no broker tells which requests it answers")
	return ""
}

// F3: several relays of one log do not double its messages; see natsbus.
func TestF3_SeveralRelays(t *testing.T) {
	if os.Getenv("SOUK_PROVE") == "" {
		t.Log("it takes seconds, and shows what it shows over NATS too: make prove-short runs it")
		return
	}
	t.Parallel()
	server := testserver.Kafka(t)
	brokertest.SeveralRelays(t, brokertest.Broker{Address: strings.Join(server.Addresses(), ","), Open: openBus})
}

// SOUK_TEST_KAFKA points the suite at anyone's own server; see natsbus. It tells as which version of Kafka the server behaves.
func TestContractOnAGivenServer(t *testing.T) {
	if os.Getenv("SOUK_PROVE") == "" {
		t.Log("it takes seconds: make prove-short runs it")
		return
	}
	t.Parallel()
	server := testserver.Kafka(t)
	brokertest.Given(t, "kafkabus", "SOUK_TEST_KAFKA", strings.Join(server.Addresses(), ","), "", version(t, server))
}
