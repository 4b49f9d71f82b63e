package store

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"example.org/souk/internal/testserver"
)

// plain is a partner at NATS who publishes and subscribes and knows nothing of streams.
type plain struct{ server *testserver.NATSServer }

func (p *plain) url() string { return p.server.URL() }

// fresh takes a server of its own, which takes milliseconds.
func (p *plain) fresh(t *testing.T) {
	t.Helper()
	p.server = testserver.NATSOwn(t)
}

func (p *plain) connect(t *testing.T) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(p.url())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func (p *plain) send(t *testing.T, body string) {
	t.Helper()
	conn := p.connect(t)
	if err := conn.Publish("orders", []byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

func (p *plain) listen(t *testing.T, name string) func() string {
	t.Helper()
	conn := p.connect(t)
	sub, err := conn.SubscribeSync(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return func() string {
		t.Helper()
		msg, err := sub.NextMsg(20 * time.Second)
		if err != nil {
			t.Fatalf("nothing came under %s: %v", name, err)
		}
		return string(msg.Data)
	}
}

func TestPartnersAtNATS(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	binary, p := program(t), &plain{}
	testPartners(t, binary, program(t, "crashpoints"), p)

	// C2: the server is killed and comes back: the stream still has what was sent before, and what was placed meanwhile goes
	// out. Red when the connection is not made again.
	t.Run("C2_ServerKilled", func(t *testing.T) {
		p.server = testserver.NATSOwn(t, "jetstream sync_interval: always")
		m := start(t, binary, t.TempDir(), nil, "--partner", p.url())
		m.seed()
		m.taking(p)
		m.stop()
		p.send(t, wish("a", "Laptop", 1))
		await(t, "the stream has it", func() bool {
			js, err := p.connect(t).JetStream()
			if err != nil {
				t.Fatal(err)
			}
			info, err := js.StreamInfo("souk_partner_orders")
			return err == nil && info.State.Msgs == 1
		})
		p.server.Restart()
		m.begin()
		m.awaitStatus(partnerOrder("a"), "APPROVED")
		p.server.Kill()
		m.must(202, "POST", "/order", order1)
		m.awaitStatus("ORDER_001", "APPROVED")
		p.server.Restart()
		placed := p.listen(t, "order.placed")
		p.send(t, wish("b", "Laptop", 1))
		m.awaitStatus(partnerOrder("b"), "APPROVED")
		await(t, "what was placed meanwhile is told", func() bool { return strings.Contains(placed(), `"order_id":"ORDER_001"`) })
		if k := m.holds(); len(k.placed) != 3 {
			t.Errorf("%d orders are placed, want 3", len(k.placed))
		}
	})

	// A server without JetStream keeps nothing for who is not there, and that is said. Red when the mall reads from the bare
	// subject, or says nothing.
	t.Run("NoJetStream", func(t *testing.T) {
		p.server = testserver.NATSOwn(t, "accounts: {A: {users: [{user: a, password: a}]}}", "no_auth_user: a")
		m := start(t, binary, t.TempDir(), nil, "--partner", p.url())
		m.of("partner").proc.WaitLine("has no JetStream, without which it keeps nothing")
		await(t, "it is ready all the same", func() bool {
			status, _ := m.call("GET", "/readyz", "")
			return status == 200
		})
		m.stop()
	})
}
