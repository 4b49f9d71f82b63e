package store

import (
	"fmt"
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
)

// pipe is a partner at Kafka who uses kcat.
type pipe struct{ server *testserver.KafkaServer }

func (p *pipe) url() string { return "kafka://" + strings.Join(p.server.Addresses(), ",") }

// fresh takes a server of its own, which takes milliseconds.
func (p *pipe) fresh(t *testing.T) {
	t.Helper()
	p.server = testserver.KafkaOwn(t, 1)
}

func (p *pipe) send(t *testing.T, body string) {
	t.Helper()
	p.server.Kcat(t, body, "-P", "-t", "orders", "-X", "message.timeout.ms=15000", "-D", "\x1e")
}

func (p *pipe) listen(t *testing.T, name string) func() string {
	t.Helper()
	await(t, "the topic "+name, func() bool {
		return strings.Contains(p.server.Kcat(t, "", "-L"), fmt.Sprintf("topic %q", name))
	})
	args := []string{"kcat", "-b", strings.Join(p.server.Addresses(), ","), "-C", "-u", "-q", "-t", name, "-o", "beginning"}
	reader := testserver.Command{Args: args}.Start(t)
	n := 0
	return func() string {
		t.Helper()
		var lines []string
		await(t, "something under "+name, func() bool {
			text := reader.Stdout()
			lines = strings.Split(text, "\n")
			return len(lines) > n+1
		})
		n++
		return lines[n-1]
	}
}

func TestPartnersAtKafka(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	binary, p := program(t), &pipe{}
	testPartners(t, binary, program(t, "crashpoints"), p)

	// D2, D3: the tutorial does what it says, with a stock client.
	t.Run("D3_Tutorial", func(t *testing.T) {
		if separately(t) != nil { // it says itself how souk is run
			return
		}
		p.fresh(t)
		testserver.Tutorial(t, "../../docs/tutorials/fan-out.md", 6, "KAFKA="+strings.Join(p.server.Addresses(), ","))
	})

	// C2: the server is killed and comes back after the client has given it up: it is read on from where the mall was, and what
	// was placed meanwhile goes out. Red when an error ends the reading.
	t.Run("C2_ServerKilled", func(t *testing.T) {
		p.fresh(t)
		m := start(t, binary, t.TempDir(), nil, "--partner", p.url())
		m.seed()
		p.send(t, wish("a", "Laptop", 1))
		m.awaitStatus(partnerOrder("a"), "APPROVED")
		p.server.Kill()
		m.must(202, "POST", "/order", order1)
		m.awaitStatus("ORDER_001", "APPROVED")
		m.awaitUp(p, 0)
		p.server.Restart()
		p.send(t, wish("b", "Laptop", 1))
		m.awaitStatus(partnerOrder("b"), "APPROVED")
		orders := p.listen(t, "orders")
		want := map[string]bool{ // of several partitions
			wish("a", "Laptop", 1): true, wish("b", "Laptop", 1): true,
			`{"id":"ORDER_001","item":"PRODUCT_001","quantity":3}`: true, `{"id":"ORDER_001","item":"PRODUCT_002","quantity":2}`: true,
		}
		for len(want) > 0 {
			got := orders()
			if !want[got] {
				t.Fatalf("%s is one too many", got)
			}
			delete(want, got)
		}
		if k := m.holds(); len(k.placed) != 3 {
			t.Errorf("%d orders are placed, want 3", len(k.placed))
		}
	})
}
