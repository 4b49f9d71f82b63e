package market

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testmall"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/event"
)

// supplier is a stand-in of a test's own, with a bus that lives on when souk dies.
type supplier struct {
	t        *testing.T
	bus      string // host:port
	admin    string
	password string
}

// sell starts a supplier that delivers nothing by itself, and returns what souk needs to find it.
func sell(t *testing.T, binary string) (*supplier, []string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	p := testserver.Start(t, binary, "provider", "supplier", "--ledger", filepath.Join(dir, "ledger.jsonl"), "--password-file", file, "--hold")
	at := p.WaitLine("listening on ")
	admin := p.WaitLine("faults at ")
	password, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &supplier{t, strings.TrimPrefix(at, "listening on mqtt://"), strings.TrimPrefix(admin, "faults at "), strings.TrimSpace(string(password))}
	return s, []string{"--logistics", "mqtt://souk:" + s.password + "@" + s.bus}
}

// ask makes a request at the stand-in's admin door.
func (s *supplier) ask(method, path, body string) []byte {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.admin+path, bytes.NewBufferString(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, data, err)
	}
	return data
}

// entries counts what stands in the supplier's ledger.
func (s *supplier) entries(what string) (n int) {
	s.t.Helper()
	var list []struct{ What string }
	if err := json.Unmarshal(s.ask("GET", "/ledger", ""), &list); err != nil {
		s.t.Fatal(err)
	}
	for _, e := range list {
		if e.What == what {
			n++
		}
	}
	return n
}

// watcher is a login on the bus, for whoever works in the logistics department.
func (s *supplier) watcher(m *market) login {
	host, port, _ := strings.Cut(s.bus, ":")
	return login{m: &market{t: m.t, host: host, port: port}, Device: "watcher", Password: s.password}
}

// orders is what appeared on the bus.
func orders(t *testing.T, list []string) (all []order) {
	t.Helper()
	for _, text := range list {
		var o order
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

type order struct {
	Timestamp string
	Item      string `json:"item_id"`
	Quantity  int64
	Threshold int64
	Purchase  string `json:"purchase_id"`
}

// A4: below the threshold there is exactly one RestockNeeded on the bus of the logistics department, by itself; at it and further
// below there is none; after a delivery, and after a cancelled purchase, there is one again. Each delivery counts once, however
// often it is told. Red where the comparison is <=, where what is on order is not counted, or where a notice counts twice.
func TestA4_Restock(t *testing.T) {
	t.Parallel()
	binary := testserver.Build(t, "example.org/souk/cmd/souk")
	s, flags := sell(t, binary)
	m := open(t, flags...)
	m.Souk("product", "add", "cup", "2.00", "--name", "Cup", "--threshold", "5", "--restock", "20")
	m.Souk("stock", "receive", "cup", "7")
	m.Idle()
	gate, till := m.device("gate-1"), m.device("till-1")
	w := s.watcher(m)
	w.Store = "nowhere"
	bus := w.watch("RestockNeeded", "RestockCanceled", "receipt")
	told := till.sub("mqttv5", "RestockNeeded")
	n := 0
	take := func(cups int) {
		t.Helper()
		n++
		gate.mustPub("mqttv311", "customer-departed", departureOf("CUSTOMER_001", n, strings.Split(strings.Repeat("cup ", cups)[:4*cups-1], " ")...))
		m.Idle()
	}
	expect := func(needed, ordered int) []order {
		t.Helper()
		await(t, fmt.Sprint(ordered, " orders are at the supplier"), func() bool { return s.entries("ordered") >= ordered })
		m.Idle()
		if got := testmall.Events[event.RestockNeeded](m.Mall, event.RestockNeededV1); len(got) != needed || s.entries("ordered") != ordered {
			t.Fatalf("it was asked for %d times and %d orders are at the supplier, want %d and %d", len(got), s.entries("ordered"), needed, ordered)
		}
		await(t, "they appeared on the bus", func() bool { return len(heard(bus, "RestockNeeded")) >= ordered })
		return orders(t, heard(bus, "RestockNeeded"))
	}
	take(2) // at the threshold
	expect(0, 0)
	take(1) // below
	first := expect(1, 1)[0]
	if first.Item != "cup" || first.Quantity != 20 || first.Threshold != 5 || first.Timestamp == "" || first.Purchase == "" {
		t.Errorf("on the bus: %+v", first)
	}
	await(t, "the till is told", func() bool { return len(heard(told, "RestockNeeded")) == 1 })
	take(2) // further below
	expect(1, 1)
	// The supplier says twice that it delivers, and once more later.
	notice := fmt.Sprintf(`{"delivery_id":"D1","purchase_id":%q,"item_id":"cup","quantity":20}`, first.Purchase)
	for range 3 {
		w.mustPub("mqttv311", "delivery-notice", notice)
	}
	await(t, "the goods are in", func() bool { return m.onHand("cup") == 22 })
	await(t, "all notices are answered", func() bool { return len(heard(bus, "receipt")) == 3 })
	if got := testmall.Events[event.GoodsReceived](m.Mall, event.GoodsReceivedV1); len(got) != 1 || m.onHand("cup") != 22 {
		t.Fatalf("%d on hand after %+v", m.onHand("cup"), got)
	}
	take(17)
	expect(1, 1)
	take(1)
	second := expect(2, 2)[1]
	// It is cancelled: the next cup asks again.
	w.mustPub("mqttv5", "purchase-canceled", fmt.Sprintf(`{"purchase_id":%q,"reason":"sold out"}`, second.Purchase))
	await(t, "it is cancelled", func() bool {
		return len(testmall.Events[event.PurchaseCanceled](m.Mall, event.PurchaseCanceledV1)) == 1
	})
	m.Idle()
	expect(2, 2)
	take(1)
	third := expect(3, 3)[2]
	for flag, want := range map[string]int{"--open": 1, "--limit=2": 2} {
		if list := strings.Fields(m.Souk("-o", "jsonl", "purchase", "list", flag)); len(list) != want || !strings.Contains(list[0], third.Purchase) {
			t.Errorf("purchase list %s shows %q", flag, list)
		}
	}
	// An operator cancels as well, and the bus is told.
	m.Souk("purchase", "cancel", third.Purchase, "--why", "we close")
	await(t, "the bus is told", func() bool { return strings.Contains(strings.Join(heard(bus, "RestockCanceled"), ""), third.Purchase) })
	take(1)
	expect(4, 4)
	for _, nonsense := range []string{`{`, `{"purchase_id":"nobody","delivery_id":"D9","item_id":"cup","quantity":5}`, notice[:len(notice)-3] + `-1}`} {
		w.mustPub("mqttv311", "delivery-notice", nonsense)
	}
	take(1)
	if m.onHand("cup") != 1 {
		t.Errorf("%d on hand, want 1", m.onHand("cup"))
	}
}

// watch subscribes on a bus where nothing is kept that would say when; the subscriber is sent something until it comes back.
func (l login) watch(topics ...string) *testserver.Process {
	l.m.t.Helper()
	_, program := testserver.Mosquitto(l.m.t)
	args := append([]string{program}, l.flags("mqttv5")...)
	args = append(args, "-q", "1", "-F", "got %t %p")
	for _, t := range append(topics, "hello") {
		args = append(args, "-t", t)
	}
	p := testserver.Start(l.m.t, args...)
	await(l.m.t, "the watcher hears", func() bool {
		l.mustPub("mqttv5", "hello", "there")
		return len(heard(p, "hello")) > 0
	})
	return p
}

// Issue, restock, deliver: the loop closes by itself with the supplier that souk starts, faults and all, and a kill in between.
func TestRestockLoopWithFaults(t *testing.T) {
	t.Parallel()
	binary := testserver.Build(t, "example.org/souk/cmd/souk")
	s, flags := sell(t, binary)
	s.ask("PUT", "/faults", `{"seed":5,"delay_ms":20,"part_percent":50,"duplicate_percent":50,"refuse_percent":20}`)
	m := open(t, flags...)
	gate := m.device("gate-1")
	const products = 6
	for i := range products {
		m.Souk("product", "add", fmt.Sprint("cup", i), "2.00", "--name", "Cup", "--threshold", "5", "--restock", "20")
		m.Souk("stock", "receive", fmt.Sprint("cup", i), "5")
	}
	m.Idle()
	for i := range products {
		gate.mustPub(protocols[i%2], "customer-departed", departureOf("CUSTOMER_001", i, fmt.Sprint("cup", i)))
		if i == products/2 {
			m.Kill9("devices", "exitgate", "inventory", "logistics")
			m.begin()
		}
	}
	defer func() {
		if t.Failed() {
			t.Logf("the ledger of the supplier: %s\n%s", s.ask("GET", "/ledger", ""), m.Souk("event", "tail", "--service", "logistics"))
		}
	}()
	await(t, "all shelves are full", func() bool {
		for i := range products {
			if m.onHand(fmt.Sprint("cup", i)) != 24 {
				return false
			}
		}
		return true
	})
	if n := s.entries("ordered"); n != products {
		t.Errorf("%d orders, want %d", n, products)
	}
	await(t, "every delivery has its receipt", func() bool { return s.entries("receipt") == s.entries("delivered") })
	m.Idle()
	for i := range products {
		if got := m.onHand(fmt.Sprint("cup", i)); got != 24 {
			t.Errorf("%d of cup%d on hand, want 24", got, i)
		}
	}
}

// With nothing named, souk starts a supplier by itself, and the shelf of the demo shop fills again. FAILURES 32 and 43: it and the
// stand-ins that it starts, a supplier and a payment provider, listen on loopback alone, souk where it says so and nowhere else; and none of them is
// started with a key or password, or prints one. Red where a door is open that nobody is told of, and where the supplier's password is an argument
// of its.
func TestRestockByDefault(t *testing.T) {
	t.Parallel()
	m := open(t)
	m.keepsToItself()
	m.Souk("product", "add", "cup", "2.00", "--name", "Cup", "--threshold", "5", "--restock", "20")
	m.Souk("stock", "receive", "cup", "5")
	m.Idle()
	m.device("gate-1").mustPub("mqttv5", "customer-departed", departureOf("CUSTOMER_001", 1, "cup"))
	await(t, "the shelf is full again", func() bool {
		return testmall.Rows[struct{ OnHand int64 }](m.Mall, "stock show", control.Args{"sku": "cup"})[0].OnHand == 24
	})
}
