package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
)

// DOMAIN 4: two partners at two brokers, each with an account of its own, send an order of the same id. They are two orders, each its partner's; each
// partner hears that its own was placed; and what one sends again, or otherwise, meets its own order and not the other's. Red where one account is
// that of all connections.
func TestC1_PartnersWithAccountsOfTheirOwn(t *testing.T) {
	t.Parallel()
	one, two := &plain{testserver.NATSOwn(t)}, &plain{testserver.NATSOwn(t)}
	// The first has the account of the connections that name none.
	m := start(t, program(t), filepath.Join(t.TempDir(), "mall"), nil, "--partner", one.url(), "--partner", "PARTNER_002="+two.url())
	m.seed()
	m.souk("customer", "register", "--customer", "PARTNER_002", "--name", "Partner Two", "--email", "two@partner.example")
	m.taking(one)
	m.taking(two)
	toldOne, toldTwo := one.listen(t, "order.placed"), two.listen(t, "order.placed")
	one.send(t, wish(1, "Laptop", 1))
	m.awaitStatus("PARTNER_001-1", "APPROVED")
	two.send(t, wish(1, "Product 2", 3)) // which would be another order under an id that was taken
	m.awaitStatus("PARTNER_002-1", "APPROVED")
	if laptops, others := m.available("Laptop"), m.available("PRODUCT_002"); laptops != 9 || others != 12 {
		t.Errorf("%d and %d are available, want 9 and 12", laptops, others)
	}
	placed := []string{
		`{"order_id":"PARTNER_001-1","user_id":"PARTNER_001","total":1200,"items":[{"sku":"Laptop","qty":1}]}`,
		`{"order_id":"PARTNER_002-1","user_id":"PARTNER_002","total":15,"items":[{"sku":"PRODUCT_002","qty":3}]}`,
	}
	hears := func(told func() string, want string) {
		t.Helper()
		for range placed {
			if got := told(); got == want {
				return
			} else if !slices.Contains(placed, got) {
				t.Errorf("told %s", got)
			}
		}
		t.Errorf("not told %s", want)
	}
	hears(toldOne, placed[0])
	hears(toldTwo, placed[1])

	two.send(t, wish(1, "Laptop", 1)) // the first one's order to the letter
	one.send(t, wish(1, "Laptop", 1))
	outcomes := func() (list []string) {
		for _, e := range said(m) {
			for _, kind := range []string{"OrderRepeated", "OrderConflicted"} {
				for _, order := range []string{"PARTNER_001-1", "PARTNER_002-1"} {
					if strings.HasPrefix(e, kind+" ") && strings.Contains(e, fmt.Sprintf("%q", order)) {
						list = append(list, kind+" "+order)
					}
				}
			}
		}
		slices.Sort(list)
		return list
	}
	await(t, "both are decided", func() bool { return len(outcomes()) >= 2 })
	if got, want := outcomes(), []string{"OrderConflicted PARTNER_002-1", "OrderRepeated PARTNER_001-1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if k := m.holds(); len(k.placed) != 2 {
		t.Errorf("%d orders are placed, want 2", len(k.placed))
	}
}

// C2 and C3: a mall of several processes on PostgreSQL, of which two speak to partners. Both take orders, and nothing is taken twice; one is killed
// under load and the other goes on. With inventory alone away an order is taken and waits, and is approved once inventory starts. Here at NATS; make prove
// does it at every broker. Red where the two pass for one to the broker, where a message is acknowledged before it is durable, and where the gateway asks
// inventory before it takes an order.
func TestC2_C3_PartnersOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	twoProcesses(t, program(t), &plain{testserver.NATSOwn(t)})
}

func twoProcesses(t *testing.T, binary string, p partners) {
	t.Helper()
	parts := []string{"online stores customers keys notifications orders payments analytics depot baskets search", "inventory", "partner", "partner"}
	m := split(t, binary, t.TempDir(), testserver.Postgres(t).Database(t), parts, "--partner", p.url(), "--mqtt", "off", "--logistics", "off")
	m.seed()
	m.souk("stock", "receive", "PRODUCT_002", "1000")
	one, other, bearer := m.others[2], m.others[3], m.token(m.binary, "engineer")
	taken := func(at *part) float64 { return messagesOf(t, m.metricsOf(at, bearer), `outcome="taken"`) }

	n := 0
	order := func() {
		p.send(t, wish(n, "Product 2", 1))
		n++
	}
	// A broker may take a moment to share between two what it gave to one.
	await(t, "both take orders", func() bool {
		order()
		await(t, "an order is taken", func() bool { return m.status(partnerOrder(n-1)) != "" })
		return taken(one) > 0 && taken(other) > 0
	})
	if sum := taken(one) + taken(other); sum != float64(n) {
		t.Errorf("of %d orders they have taken %v and %v", n, taken(one), taken(other))
	}

	for _, at := range []*part{one, other} {
		if said := at.proc.Stderr(); strings.Contains(said, "no orders are taken in") {
			t.Errorf("%s lost its connection to another: %s", at.name, said)
		}
	}

	before := taken(other)
	for i := range 40 {
		order()
		if i == 20 {
			one.proc.Kill9()
		}
	}
	for i := range n {
		m.awaitStatus(partnerOrder(i), "APPROVED")
	}
	if taken(other) == before {
		t.Error("the process that was not killed has taken nothing since")
	}
	if got := m.available("PRODUCT_002"); got != 1015-n {
		t.Errorf("%d available, want %d", got, 1015-n)
	}

	m.end("inventory")
	order()
	m.awaitStatus(partnerOrder(n-1), "PENDING")
	m.beginWhatEnded()
	m.awaitStatus(partnerOrder(n-1), "APPROVED")
	if k := m.holds(); len(k.placed) != n {
		t.Errorf("%d orders are placed, want %d", len(k.placed), n)
	}
	if list := said(m); slices.ContainsFunc(list, func(e string) bool {
		return strings.HasPrefix(e, "OrderConflicted") || strings.HasPrefix(e, "OrderRefused")
	}) {
		t.Errorf("%q", list)
	}
}

// messagesOf returns the sum of the counter of messages of partners over the lines that have a label.
func messagesOf(t *testing.T, metrics, label string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "souk_partner_messages_total{") && strings.Contains(line, label) {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, " "):]), 64)
			if err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			sum += value
		}
	}
	return sum
}
