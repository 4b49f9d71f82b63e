package store

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// souk runs a command line on the mall of a directory to its end, in the way that the test is run in.
func souk(t *testing.T, binary, dir string, args ...string) (stdout string, code int) {
	t.Helper()
	return placeOf(t, dir).souk(t, binary, args...)
}

// The command line speaks to a mall that runs through its socket, and does it itself
// where none runs; both give the same.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	if _, code := souk(t, binary, dir, "wait", "--idle"); code != 0 {
		t.Fatalf("wait: %d", code)
	}
	if info, err := os.Stat(filepath.Join(m.dirOf("orders"), "souk.sock")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v %v", info, err)
	}
	check := func() {
		for _, c := range []struct {
			args, holds string
		}{
			{"order show ORDER_001", "APPROVED"},
			{"shopping list", "ORDER_001"},
			{"stock show PRODUCT_001", `"available": 7`},
			{"event tail --service orders", "souk.orders.OrderApproved.v1"},
			{"event tail --stream order/ORDER_001 -n 1", "souk.orders.OrderApproved.v1"},
			{"trace ORDER_001", "souk.inventory.ReserveStock.v1"},
			{"topic list", "souk.inventory"},
			{"topic show souk.orders", `"group": "souk.analytics.view-sales"`},
			{"saga list", "completed"},
			{"saga show ORDER_001", "checkout"},
			{"dlq list", "[]"},
			{"view list", "analytics"},
			{"view rebuild analytics sales", "eventsPerSecond"},
			{"view rebuild orders feed", "eventsPerSecond"},
			{"view rebuild analytics trade", "eventsPerSecond"},
			{"sales", `"sold": 4000`},
			{"sales --by shop", `"orders": 1`},
			{"sales --by product", `"units": 3`},
			{"sales --until 2020-01-01T00:00:00Z", "[]"},
			{"funnel", `"path": "walk-in"`},
			{"funnel --times", `"since": "approved"`},
			{"audit verify", `"whole": true`},
			{"map --form json", "souk.orders.OrderPlaced.v1"},
			{"map --form mermaid", "flowchart"},
		} {
			args := append(strings.Fields(c.args), "-o", "json")
			if broker := m.broker(); broker != "" && args[0] == "topic" {
				args = append(args, "--broker", broker)
			}
			out, code := souk(t, binary, dir, args...)
			if code != 0 || !strings.Contains(out, c.holds) || !json.Valid([]byte(out)) {
				t.Errorf("souk %s: exit %d, without %q:\n%s", c.args, code, c.holds, out)
			}
		}
	}
	check()
	if out, code := souk(t, binary, dir, "stock", "receive", "PRODUCT_001", "5"); code != 0 || !strings.Contains(out, "12") {
		t.Errorf("receive: %d %s", code, out)
	}
	m.must(200, "GET", "/stock/PRODUCT_001", "")
	if got := m.available("PRODUCT_001"); got != 12 {
		t.Errorf("available %d, want 12", got)
	}
	if _, code := souk(t, binary, dir, "stock", "receive", "PRODUCT_001", "-5"); code == 0 {
		t.Error("a negative delivery was taken in")
	}
	token := func(customer string) string {
		t.Helper()
		out, code := souk(t, binary, dir, "token", "--role", "customer", "--subject", customer)
		if code != 0 || strings.Count(out, ".") != 2 {
			t.Errorf("token: %d %s", code, out)
		}
		return "Bearer " + strings.TrimSpace(out)
	}
	// A new key takes nothing back; a customer's tokens are, and with the keys everybody's.
	for _, c := range []struct {
		args, customer string
		want           int
	}{
		{"token rotate", "CUSTOMER_001", 200},
		{"token revoke --role customer --subject CUSTOMER_002", "CUSTOMER_002", 401},
		{"token rotate --forget", "CUSTOMER_001", 401},
	} {
		bearer := token(c.customer)
		if status, answer := m.call("GET", "/stock/PRODUCT_001", "", "Authorization", bearer); status != 200 {
			t.Errorf("before %s: %d %s", c.args, status, answer)
		}
		if out, code := souk(t, binary, dir, strings.Fields(c.args)...); code != 0 {
			t.Errorf("%s: %d %s", c.args, code, out)
		}
		if m.others != nil { // they hear of it, and what is revoked ends within five seconds
			within(t, 5*time.Second, c.args, func() bool {
				status, _ := m.call("GET", "/stock/PRODUCT_001", "", "Authorization", bearer)
				return status == c.want
			})
		}
		if status, answer := m.call("GET", "/stock/PRODUCT_001", "", "Authorization", bearer); status != c.want {
			t.Errorf("after %s: %d %s", c.args, status, answer)
		}
	}
	for args, want := range map[string]int{
		"order show NOPE": 1, "nonsense": 2, "dlq redrive orders no-key --why x": 1, "dlq redrive orders no-key": 2, "--help": 0, "help": 0, "help stock receive": 0, "help nonsense": 2, "sales --by colour": 2, "funnel --from noon": 1,
		"dlq show no-key": 1, "event show nope": 1, "stock show NOPE": 1, "saga retry orders checkout NOPE --why x": 1, "saga abort orders nope ORDER_001 --why x": 1,
		"saga list --state nope": 2, "up --order-patience 0s": 2, "up --basket-hold=-1m": 2, "run orders --retention=-1h": 2, "up --caller-rate 0": 2, "up --currency euro": 2, "up --partner no/account=nats://h": 2, "up --partner-account no/account": 2,
		"up --payment https://pay.example.org": 2, "up --mqtt-sessions 0": 2, "up --mqtt-filters-each=-1": 2, "run devices --mqtt-sessions 10 --mqtt-sessions-each 11": 2,
	} {
		if _, code := souk(t, binary, dir, strings.Fields(args)...); code != want {
			t.Errorf("souk %s: exit %d, want %d", args, code, want)
		}
	}
	refused(t, binary, t.TempDir(), 1, "choose another with --http", "up", "--mqtt", "off", "--http", strings.TrimPrefix(m.url, "http://"))
	refused(t, binary, t.TempDir(), 1, "write --http HOST:PORT", "up", "--mqtt", "off", "--http", "localhost")
	// Somebody signs in by a link that is made while the mall runs, and arrives where they work; without a mall there is nothing to sign in at.
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(browser.CloseIdleConnections)
	for _, c := range [][3]string{{"clerk", "/staff", "staff"}, {"device", "/kiosk", "kiosk"}, {"engineer", "/", "console"}} {
		at := place{dir: m.dirOf(c[2])} // a link is good at the process that made it
		link, code := at.souk(t, binary, "token", "link", "--role", c[0], "--subject", "anna")
		for _, want := range []int{http.StatusSeeOther, http.StatusNotFound} { // once
			resp, err := browser.Post(strings.TrimSpace(link), "application/x-www-form-urlencoded", nil)
			if err != nil {
				t.Fatalf("a link for a %s, %q: %d, %v", c[0], link, code, err)
			}
			_ = resp.Body.Close()
			if at := resp.Header.Get("Location"); resp.StatusCode != want || want == http.StatusSeeOther && at != c[1] {
				t.Errorf("a link for a %s is answered with %d and leads to %q, want %d and %q", c[0], resp.StatusCode, at, want, c[1])
			}
		}
	}
	refused(t, binary, t.TempDir(), 1, "no mall runs", "token", "link", "--role", "clerk", "--subject", "anna")
	// What there is none of is said, to people; programs are given an empty list.
	for args, says := range map[string]string{
		"dlq list": "Nothing is parked.", "saga list --state stuck": "No saga is like that.", "event tail --type nope": "No record is like that.",
		"shopping list --all --after z": "No shopping list is like that.", "purchase list": "No purchase is like that.", "device list": "No device has a login.",
	} {
		if out, code := souk(t, binary, dir, strings.Fields(args)...); code != 0 || strings.TrimSpace(out) != says {
			t.Errorf("souk %s: exit %d and %q, want %q", args, code, out, says)
		}
		if out, code := souk(t, binary, dir, append(strings.Fields(args), "-o", "json")...); code != 0 || strings.TrimSpace(out) != "[]" {
			t.Errorf("souk %s -o json: exit %d and %q, want []", args, code, out)
		}
	}
	// A list that ends before its end says so beside its rows.
	m.must(202, "POST", "/order", order("ORDER_002", "CUSTOMER_001", item{"PRODUCT_002", 5, 1}))
	m.awaitStatus("ORDER_002", "APPROVED")
	for _, args := range []string{"order search -n 1", "saga list -n 1", "shopping list -n 1"} {
		p := placeOf(t, dir).start(t, binary, append(strings.Fields(args), "-o", "jsonl")...)
		if e := p.Wait(); e.Code != 0 || strings.Count(p.Stdout(), "\n") != 1 || !strings.Contains(p.Stderr(), "1 are shown, and there are more") {
			t.Errorf("souk %s: exit %d, %q, beside it %q", args, e.Code, p.Stdout(), p.Stderr())
		}
	}
	for _, place := range []string{"attic", "main"} {
		if out, code := souk(t, binary, dir, "stock", "receive", "CHEST", "3", "--location", place); code != 0 || strings.Count(out, "CHEST") != 1 || !strings.Contains(out, place) {
			t.Errorf("receive at another place: %d %s", code, out)
		}
	}
	// Goods that nobody can order are taken in, and that is said beside the rows, with what to do; of what a shop sells nothing is said.
	const unsold = "souk: no shop sells a SKU CHEST, so nobody can order it: souk product add PRODUCT PRICE --name NAME --sku CHEST\n"
	for _, c := range []struct{ args, says string }{
		{"stock receive CHEST 1 --location attic", unsold},
		{"stock adjust CHEST --location attic --reason broken -- -1", unsold},
		{"stock count CHEST 3", unsold},
		{"product add glass 3.50 --name Glass --sku GL-1", ""},
		{"stock receive GL-1 1", ""},
		{"stock receive glass 1", "souk: no shop sells a SKU glass: glass is a product, and its SKU is GL-1; correct it with souk stock adjust\n"},
	} {
		p := placeOf(t, dir).start(t, binary, strings.Fields(c.args)...)
		if e := p.Wait(); e.Code != 0 || p.Stderr() != c.says {
			t.Errorf("souk %s: exit %d, %q, beside it %q", c.args, e.Code, p.Stdout(), p.Stderr())
		}
	}
	if list := rows(t, binary, dir, "stock", "show", "CHEST"); len(list) != 2 || list[0]["location"] != "attic" || list[1]["available"] != 3.0 {
		t.Errorf("a SKU that lies at two places: %v", list)
	}
	// What was counted, or is corrected, is what is there; what is held for an order cannot be counted away, and who did it is kept.
	if list := rows(t, binary, dir, "stock", "count", "CHEST", "5", "--location", "attic"); len(list) != 1 || list[0]["onHand"] != 5.0 {
		t.Errorf("5 were counted in the attic: %v", list)
	}
	if out, code := souk(t, binary, dir, "-o", "jsonl", "stock", "adjust", "--reason", "broken", "--", "CHEST", "-1"); code != 0 || !strings.Contains(out, `"onHand":2,`) {
		t.Errorf("one of 3 is broken: %d %s", code, out)
	}
	refused(t, binary, dir, 1, "below_promised", "stock", "count", "PRODUCT_001", "0")
	refused(t, binary, dir, 1, `"many" is not a whole number`, "stock", "count", "CHEST", "many")
	refused(t, binary, dir, 2, "--reason", "stock", "adjust", "CHEST", "1")
	changes := rows(t, binary, dir, "event", "tail", "--service", "inventory", "--type", "souk.inventory.StockAdjusted.v1")
	if len(changes) != 3 || !strings.HasPrefix(changes[1]["actor"].(string), "operator:") || !strings.Contains(fmt.Sprint(changes[1]["data"]), "delta:2") {
		t.Errorf("who counted 2 more: %v", changes)
	}
	if out, code := souk(t, binary, dir, "order", "search"); code != 0 || strings.Contains(out, "HISTORY") || strings.Contains(out, "[{") {
		t.Errorf("orders as people are shown them: %d %s", code, out)
	}
	refused(t, binary, dir, 1, "--limit", "order", "search", "--limit", "0")
	refused(t, binary, dir, 1, `"nonsense" is not the status of an order`, "order", "search", "--status", "ready,nonsense")
	if out, code := souk(t, binary, dir, "sales"); code != 0 || !strings.Contains(out, ".00 EUR") || strings.Contains(out, "CURRENCY") {
		t.Errorf("sales as people are shown them: %d %s", code, out)
	}
	if out, code := souk(t, binary, dir, "order", "show", "NOPE", "-o", "json"); code != 1 || out != "" {
		t.Errorf("what went wrong is told to programs as an empty list: %d %q", code, out)
	}
	if out, code := souk(t, binary, dir, "order", "show", "ORDER_001"); code != 0 || !strings.Contains(out, "40.00 EUR") {
		t.Errorf("an order as people are shown it: %d %s", code, out)
	}
	m.stop()
	if _, code := souk(t, binary, dir, "stock", "receive", "PRODUCT_001", "0"); code == 0 {
		t.Error("nothing was taken in, and that was called a success")
	}
	m.holds()
	if out, code := souk(t, binary, dir, "token", "rotate"); code != 0 {
		t.Errorf("without a mall: %s", out)
	}
	if out, _ := souk(t, binary, dir, "stock", "show", "PRODUCT_001", "-o", "json"); !strings.Contains(out, `"available": 12`) {
		t.Errorf("without a mall: %s", out)
	}
	if out, code := souk(t, binary, t.TempDir(), "stock", "show"); code != 1 {
		t.Errorf("a directory without a mall: %d %s", code, out)
	}
}

// A pause makes orders wait and loses none of them.
func TestE5_ServicePaused(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	if _, code := souk(t, binary, dir, "service", "pause", "inventory"); code != 0 {
		t.Fatal(code)
	}
	m.must(202, "POST", "/order", order1)
	if s := m.status("ORDER_001"); s != "PENDING" {
		t.Errorf("the order is %s", s)
	}
	if _, code := souk(t, binary, dir, "service", "resume", "inventory"); code != 0 {
		t.Fatal(code)
	}
	m.awaitStatus("ORDER_001", "APPROVED")
	m.holds()
}

// E6: an order that may wait goes on by itself when goods come.
func TestE6_BackorderResumes(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	body := order("W1", "CUSTOMER_001", item{"Laptop", 1200, 12})
	m.must(202, "POST", "/order", strings.Replace(body, `"orderId"`, `"waitForStock":true,"orderId"`, 1))
	m.awaitStatus("W1", "BACKORDERED")
	m.must(202, "POST", "/order", order("R1", "CUSTOMER_001", item{"Laptop", 1200, 12}))
	m.awaitStatus("R1", "REJECTED")
	if _, code := souk(t, binary, dir, "stock", "receive", "Laptop", "5"); code != 0 {
		t.Fatal(code)
	}
	m.awaitStatus("W1", "APPROVED")
	if got := m.available("Laptop"); got != 3 {
		t.Errorf("available %d, want 3", got)
	}
	m.holds()
}

// A copy that is taken under load is whole: everything that must hold of a mall
// holds of it.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	accepted := m.load(t, 4, 600)
	copied := filepath.Join(t.TempDir(), "souk.db")
	if out, code := souk(t, binary, dir, "backup", copied); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	accepted()
	m.holds()
	if k := holds(t, filepath.Dir(copied)); len(k.placed) < 100 {
		t.Errorf("the copy holds %d orders", len(k.placed))
	}
}
