package store

import (
	"encoding/json"
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
			out, code := souk(t, binary, dir, append(strings.Fields(c.args), "-o", "json")...)
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
		"order show NOPE": 1, "nonsense": 2, "dlq redrive orders no-key --why x": 1, "dlq redrive orders no-key": 2, "--help": 0, "sales --by colour": 2, "funnel --from noon": 1,
		"up --mqtt-sessions 0": 2, "up --mqtt-filters-each=-1": 2, "run devices --mqtt-sessions 10 --mqtt-sessions-each 11": 2,
	} {
		if _, code := souk(t, binary, dir, strings.Fields(args)...); code != want {
			t.Errorf("souk %s: exit %d, want %d", args, code, want)
		}
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
