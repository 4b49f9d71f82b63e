package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
)

// brokers are the ways to carry messages between the services, by the name of the transport.
var brokers = []struct {
	name string
	// open starts a server of this test's own and returns its URL for --broker.
	open func(t *testing.T) (url string, b broker)
	// guarded does the same with a server that asks for a password, which change changes on both sides; nil where there is none.
	guarded func(t *testing.T) (url string, b broker, change func())
}{
	{"kafka", func(t *testing.T) (string, broker) {
		server := testserver.KafkaOwn(t, 1)
		return "kafka://" + strings.Join(server.Addresses(), ","), server
	}, nil},
	{"nats", func(t *testing.T) (string, broker) {
		server := testserver.NATSOwn(t)
		return server.URL(), server
	}, func(t *testing.T) (string, broker, func()) {
		file := filepath.Join(t.TempDir(), "password")
		with := func(password string) string {
			if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return "accounts { M { jetstream: enabled, users: [{user: mall, password: " + password + "}] } }"
		}
		server := testserver.NATSOwn(t, with("first"))
		return "nats://mall@" + server.Addr() + "?password_file=" + file, server, func() { server.Reload(with("second")) }
	}},
	{"rabbitmq", func(t *testing.T) (string, broker) {
		server := testserver.RabbitOwn(t)
		return server.URL(), &flushed{RabbitServer: server}
	}, nil},
}

// broker is the server of one. Restart kills it first where it runs.
type broker interface {
	pausable
	Kill()
	Restart()
}

// flushed is a RabbitMQ that is killed only when it would know its queues again: see the documentation of rabbitbus.
type flushed struct {
	*testserver.RabbitServer
	killed bool
}

// Kill kills the server.
func (f *flushed) Kill() {
	f.Flushed()
	f.RabbitServer.Kill()
	f.killed = true
}

// Restart starts the server again.
func (f *flushed) Restart() {
	if !f.killed {
		f.Flushed()
	}
	f.RabbitServer.Restart()
	f.killed = false
}

// D7: over each broker the mall does what it does without one, and everything that must hold holds: with the broker killed
// and started again in the middle of a load, its password changed in another one, and with souk killed as well.
func TestD7_OverBrokers(t *testing.T) {
	t.Parallel()
	binary := program(t)
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			var url string
			var server broker
			var change func()
			if b.guarded != nil {
				url, server, change = b.guarded(t)
			} else {
				url, server = b.open(t)
			}
			m := start(t, binary, t.TempDir(), nil, "--broker", url)
			orders := m.busyDay()
			if got := m.available("PRODUCT_001"); got != 5 {
				t.Errorf("%d available, want 5", got)
			}
			accepted := m.load(t, 4, 150)
			server.Restart()
			ids := accepted()
			m.settle()
			if change != nil {
				accepted := m.load(t, 4, 60)
				change()
				ids = append(ids, accepted()...)
				m.settle() // what was accepted has gone over the broker with the new password
			}
			again := m.load(t, 4, 150)
			m.proc.Kill9()
			again()
			m.begin()
			k := m.holdsRebuilt()
			for _, id := range append(ids, orders...) {
				if _, found := k.placed[id]; !found {
					t.Errorf("order %s was accepted and is gone", id)
				}
			}
		})
	}
}

// D7: what was carried one way is not carried on another, where it would be handled once more.
func TestD7_CarriersAreNotMixed(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	m.stop()
	url, _ := brokers[0].open(t)
	refused(t, binary, dir, 1, "what was handled would be handled again", "up", "--http", "127.0.0.1:0", "--broker", url)
	other := t.TempDir()
	m = start(t, binary, other, nil, "--broker", url)
	m.seed()
	m.stop()
	refused(t, binary, other, 1, "what was handled would be handled again", "up", "--http", "127.0.0.1:0")
}
