package store

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
)

// partners is a broker as the partners of a mall use it: with a client of theirs that knows nothing of the mall.
type partners interface {
	url() string
	// fresh takes away what an earlier test has declared.
	fresh(t *testing.T)
	// send publishes a body on orders.
	send(t *testing.T, body string)
	// listen begins to read what is published under a name; the function returned gives the next message.
	listen(t *testing.T, name string) func() string
}

func wish(id any, item string, quantity int) string {
	body, err := json.Marshal(map[string]any{"id": id, "item": item, "quantity": quantity})
	if err != nil {
		panic(err)
	}
	return string(body)
}

// partnerOrder is the id that an order of the account of the tests has in the mall.
func partnerOrder(id any) string { return fmt.Sprintf("PARTNER_001-%v", id) }

// said returns the events of the gateway's service, oldest first, without those that tell of publications.
func said(m *mall) (list []string) {
	m.t.Helper()
	for line := range strings.Lines(m.souk("event", "tail", "--service", "partner", "-n", "1000", "-o", "jsonl")) {
		var r struct {
			Type string
			Data json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			m.t.Fatalf("%v: %s", err, line)
		}
		if name := strings.Split(r.Type, "."); name[1] == "partner" && len(name) == 4 && !strings.Contains(r.Type, "Announce") && !strings.Contains(r.Type, "Publi") {
			list = append(list, name[2]+" "+string(r.Data))
		}
	}
	return list
}

// taking waits until the mall takes orders in from a broker, which its metrics say.
func (m *mall) taking(p partners) { m.t.Helper(); m.awaitUp(p, 1) }

// awaitUp waits until the metrics of the mall say that a connection is up or not.
func (m *mall) awaitUp(p partners, up int) {
	m.t.Helper()
	bearer := m.token(m.binary, "engineer")
	line := fmt.Sprintf("souk_partner_up{connection=%q} %d", strings.Replace(p.url(), "guest:guest@", "", 1), up)
	await(m.t, line, func() bool { return strings.Contains(m.metricsOf(m.of("partner"), bearer), line) })
}

// metricsOf returns what one process of the mall shows to Prometheus.
func (m *mall) metricsOf(p *part, bearer string) string {
	m.t.Helper()
	status, text := callAt(m.t, p.url, "GET", "/metrics", "", "Authorization", bearer)
	if status != 200 {
		m.t.Fatalf("%d %s", status, text)
	}
	return text
}

// untilTaken sends one order after another until one is taken: what a broker is told before somebody is bound is nobody's.
func untilTaken(t *testing.T, m *mall, tag string, send func(body string)) {
	t.Helper()
	n := 0
	await(t, "an order is taken", func() bool {
		n++
		send(wish(fmt.Sprint(tag, n), "PRODUCT_002", 1))
		return slices.ContainsFunc(said(m), func(e string) bool {
			return strings.HasPrefix(e, "OrderTaken") && strings.Contains(e, `"id":"`+tag)
		})
	})
}

// testPartners is what holds of every broker.
func testPartners(t *testing.T, binary, crashing string, p partners) {
	serve := func(t *testing.T, flags ...string) *mall {
		t.Helper()
		p.fresh(t)
		m := start(t, binary, filepath.Join(t.TempDir(), "mall"), nil, append([]string{"--partner", p.url()}, flags...)...)
		m.seed()
		m.taking(p)
		return m
	}

	passes, n := 1, 120 // of each point; orders under load
	if os.Getenv("SOUK_PROVE") != "" {
		passes, n = 3, 300
	}

	// C1: a plain client orders and the stock falls; what cannot be an order is kept with its cause. Red when nothing is
	// bound, when an order that came again is placed again, and when a refusal is dropped.
	t.Run("C1_StockFalls", func(t *testing.T) {
		m := serve(t)
		p.send(t, wish(1, "Laptop", 1))
		m.awaitStatus(partnerOrder(1), "APPROVED")
		if got := m.available("Laptop"); got != 9 {
			t.Errorf("%d available, want 9", got)
		}
		p.send(t, wish("two", "Product 1", 2)) // by its name
		m.awaitStatus(partnerOrder("two"), "APPROVED")
		if got := m.available("PRODUCT_001"); got != 8 {
			t.Errorf("%d available, want 8", got)
		}
		p.send(t, wish(1, "Laptop", 1))
		p.send(t, wish("1", "Laptop", 3))
		p.send(t, wish(3, "Unicorn", 1))
		p.send(t, `{"id":4,"item":"Laptop","quantity":0}`)
		p.send(t, `{"id":5,"item":"Laptop","quantity":1,"price":1}`)
		p.send(t, "\xff not JSON")
		kinds := map[string]int{}
		await(t, "all that came is to be seen", func() bool {
			clear(kinds)
			for _, e := range said(m) {
				kinds[strings.Fields(e)[0]]++
			}
			return kinds["OrderRepeated"] == 1 && kinds["OrderConflicted"] == 1 && kinds["OrderRefused"] == 1 && kinds["PartnerMessageRefused"] == 3
		})
		all := strings.Join(said(m), "\n")
		for _, want := range []string{`"cause":"unknown_item"`, `quantity must be 1 to`, `price is not a known field`, `"takenQuantity":1`} {
			if !strings.Contains(all, want) {
				t.Errorf("nothing says %s in\n%s", want, all)
			}
		}
		p.send(t, wish(3, "PRODUCT_002", 1)) // a refused order may be sent again
		m.awaitStatus(partnerOrder(3), "APPROVED")
		if out := m.souk("map"); !strings.Contains(out, "partner") {
			t.Errorf("the map does not show the gateway's service:\n%s", out)
		}
		m.souk("doctor", "--http", strings.TrimPrefix(m.url, "http://"))
		k := m.holds()
		if len(k.placed) != 3 || m.souk("event", "tail", "--service", "partner") == "" {
			t.Errorf("placed %v", k.placed)
		}
	})

	// C5 and D8: what is placed online reaches partners, with exactly these fields; and nothing of it comes in again, nor
	// does a partner's order go back to where it came from. Red when what we publish carries no mark, or the mark is not looked at.
	t.Run("C5_D8_WhatPartnersAreTold", func(t *testing.T) {
		m := serve(t)
		orders, placed := p.listen(t, "orders"), p.listen(t, "order.placed")
		m.must(202, "POST", "/order", order1)
		want := []string{`{"id":"ORDER_001","item":"PRODUCT_001","quantity":3}`, `{"id":"ORDER_001","item":"PRODUCT_002","quantity":2}`}
		if got := []string{orders(), orders()}; !slices.Equal(got, want) {
			t.Errorf("partners were told %q, want %q", got, want)
		}
		if got, want := placed(), `{"order_id":"ORDER_001","user_id":"CUSTOMER_001","total":40,"items":[{"sku":"PRODUCT_001","qty":3},{"sku":"PRODUCT_002","qty":2}]}`; got != want {
			t.Errorf("order.placed is %s, want %s", got, want)
		}
		p.send(t, wish(7, "Laptop", 1))
		if got := orders(); got != wish(7, "Laptop", 1) {
			t.Errorf("the partner's own order is followed by %s", got)
		}
		if got, want := placed(), `{"order_id":"PARTNER_001-7","user_id":"PARTNER_001","total":1200,"items":[{"sku":"Laptop","qty":1}]}`; got != want {
			t.Errorf("order.placed is %s, want %s", got, want)
		}
		m.awaitStatus(partnerOrder(7), "APPROVED")
		m.idle()
		// What is read after all that went out was settled is the next message only if nothing was published beside it.
		p.send(t, wish(8, "Laptop", 1))
		if got := orders(); got != wish(8, "Laptop", 1) {
			t.Errorf("something was published beside what was placed: %s", got)
		}
		m.awaitStatus(partnerOrder(8), "APPROVED")
		for _, e := range said(m) {
			if !strings.HasPrefix(e, "OrderTaken") {
				t.Errorf("what a mall has published came in: %s", e)
			}
		}
		if k := m.holds(); len(k.placed) != 3 {
			t.Errorf("%d orders are placed, want 3", len(k.placed))
		}
	})

	// C2: what is sent while the mall is down is applied once it starts.
	t.Run("C2_SentWhileDown", func(t *testing.T) {
		m := serve(t)
		p.send(t, wish("before", "Laptop", 1))
		m.awaitStatus(partnerOrder("before"), "APPROVED")
		m.stop()
		for i := range 5 {
			p.send(t, wish(i, "Laptop", 1))
		}
		m.begin()
		for i := range 5 {
			m.awaitStatus(partnerOrder(i), "APPROVED")
		}
		if got := m.available("Laptop"); got != 4 {
			t.Errorf("%d available, want 4", got)
		}
		if k := m.holds(); len(k.placed) != 6 {
			t.Errorf("%d orders are placed, want 6", len(k.placed))
		}
	})

	// C2: what is sent while inventory alone is away is taken, waits, and is approved once inventory starts.
	t.Run("C2_SentWithoutInventory", func(t *testing.T) {
		m := serve(t)
		m.stop()
		m.beginWithout("inventory")
		p.send(t, wish(1, "Laptop", 1))
		m.awaitStatus(partnerOrder(1), "PENDING")
		m.stop()
		m.begin()
		m.awaitStatus(partnerOrder(1), "APPROVED")
		if got := m.available("Laptop"); got != 9 {
			t.Errorf("%d available, want 9", got)
		}
		m.holds()
	})

	// C2 and C4: killed at each step of taking an order in, the mall has it once after the next start. Red when a message is
	// acknowledged before what was decided is durable, or an order that comes again is placed again.
	t.Run("C2_C4_KilledWhileHandling", func(t *testing.T) {
		m := serve(t)
		m.end("partner")
		begin := func(env string) *testserver.Process {
			if m.others != nil {
				m.binary = crashing
				m.launch(m.of("partner"), env)
				m.binary = binary
				return m.of("partner").proc
			}
			args := append([]string{crashing, "--data", m.dir, "up", "--http", "127.0.0.1:0", "--test-mode"}, m.flags...)
			return testserver.Command{Args: args, Env: []string{env}}.Start(t)
		}
		n := 0
		for _, point := range []string{"decide.after", "commit.before", "commit.after"} {
			for pass := 1; pass <= passes; pass++ {
				n++
				p.send(t, wish(n, "Product 2", 1))
				dying := begin(fmt.Sprintf("SOUK_CRASH=%s:%d", point, pass))
				if e := dying.Wait(); e.Signal == 0 {
					t.Fatalf("%s:%d: souk ended with %v\n%s", point, pass, e, dying.Stderr())
				}
			}
		}
		m.beginWhatEnded()
		for i := range n {
			m.awaitStatus(partnerOrder(i+1), "APPROVED")
		}
		if got := m.available("PRODUCT_002"); got != 15-n {
			t.Errorf("%d available, want %d", got, 15-n)
		}
		if k := m.holdsRebuilt(); len(k.placed) != n {
			t.Errorf("%d orders are placed, want %d", len(k.placed), n)
		}
	})

	// F1: killed at the gateway's own crash points under load; with all brokers in make prove, with one of them in make prove-short.
	t.Run("F1_CrashWalk", func(t *testing.T) {
		_, quick := p.(*plain)
		switch prove := os.Getenv("SOUK_PROVE"); {
		case prove == "full":
			walkPartners(t, crashing, p, []int{1, 2, 5, 17})
		case prove != "" && quick:
			walkPartners(t, crashing, p, []int{1, 5})
		}
	})

	// C2: killed under load, every order is placed once.
	t.Run("C2_KilledUnderLoad", func(t *testing.T) {
		m := serve(t)
		for i := range n {
			p.send(t, wish(i, "Product 1", 1))
			if i%60 == 50 {
				m.kill9()
				m.begin()
			}
		}
		for i := range n {
			await(t, "order "+partnerOrder(i), func() bool { return m.status(partnerOrder(i)) != "" })
		}
		if k := m.holdsRebuilt(); len(k.placed) != n {
			t.Errorf("%d orders are placed, want %d", len(k.placed), n)
		}
	})

	// C1, C2, C5: the same with the mall in several processes, of which the one that speaks to partners and the one that has the orders are
	// killed in turn under load: every order is placed once, and partners are told of what is placed online.
	t.Run("C2_C5_InProcesses", func(t *testing.T) {
		if separately(t) != nil || !proving(t) {
			return
		}
		p.fresh(t)
		parts := []string{"partner console", "online stores customers keys notifications", "orders inventory payments analytics depot baskets search"}
		m := split(t, binary, t.TempDir(), testserver.Postgres(t).Database(t), parts, "--partner", p.url())
		m.seed()
		m.taking(p)
		told := p.listen(t, "order.placed")
		m.must(202, "POST", "/order", order2)
		if got, want := told(), `{"order_id":"ORDER_002","user_id":"CUSTOMER_001","total":20,"items":[{"sku":"PRODUCT_001","qty":2}]}`; got != want {
			t.Errorf("order.placed is %s, want %s", got, want)
		}
		const n = 60
		for i := range n {
			p.send(t, wish(i, "Product 2", 1))
			if i%20 == 15 {
				dying := m.others[(i/20)%2*2]
				dying.proc.Kill9()
				m.beginPart(dying)
			}
		}
		for i := range n {
			await(t, "order "+partnerOrder(i), func() bool { return m.status(partnerOrder(i)) != "" })
		}
		if k := m.holdsRebuilt(); len(k.placed) != n+1 {
			t.Errorf("%d orders are placed, want %d", len(k.placed), n+1)
		}
	})

	// C2 and C3, with the mall in several processes: see there.
	t.Run("C2_C3_TwoProcesses", func(t *testing.T) {
		if separately(t) != nil || !proving(t) {
			return
		}
		p.fresh(t)
		twoProcesses(t, binary, p)
	})

	// C3: a second kind of consumer gets every order, with no change to who sends; a second mall shares the load.
	t.Run("C3_OthersReadToo", func(t *testing.T) {
		m := serve(t)
		other := start(t, binary, t.TempDir(), nil, "--partner", p.url())
		other.seed()
		other.taking(p)
		orders := p.listen(t, "orders")
		// Until both have taken one: it takes a broker a moment to share among two what it gave to one.
		n := 0
		await(t, "both take orders", func() bool {
			n++
			p.send(t, wish(n, "Product 2", 1))
			if got := orders(); got != wish(n, "Product 2", 1) {
				t.Errorf("the other consumer got %s for order %d", got, n)
			}
			await(t, fmt.Sprintf("order %d", n), func() bool { return m.status(partnerOrder(n)) != "" || other.status(partnerOrder(n)) != "" })
			return len(said(m)) > 0 && len(said(other)) > 0
		})
		a, b := m.holds(), other.holds()
		if len(a.placed)+len(b.placed) != n {
			t.Errorf("of %d orders one mall has %d and the other %d", n, len(a.placed), len(b.placed))
		}
	})
}
