package store

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

// on runs statements on the database of a mall that has ended, and returns how many rows the last one changed.
func on(t *testing.T, dir string, statements ...string) (changed int64) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "souk.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		result, err := db.ExecContext(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if changed, err = result.RowsAffected(); err != nil {
			t.Fatal(err)
		}
	}
	return changed
}

// F9: the answer to a key outlives kill -9: a repeat gets the first answer, whatever became of the order since, and
// another body is refused. Red when keys are remembered in memory.
func TestF9_KeyOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	status, first := m.call("POST", "/order", order1, "Idempotency-Key", "k1")
	if status != 202 {
		t.Fatalf("%d %s", status, first)
	}
	m.awaitStatus("ORDER_001", "APPROVED")
	m.kill9()

	m = start(t, binary, dir, nil)
	if status, again := m.call("POST", "/order", order1, "Idempotency-Key", "k1"); status != 202 || again != first {
		t.Errorf("again: %d %s, at first 202 %s", status, again, first)
	}
	if status, answer := m.call("POST", "/order", order2, "Idempotency-Key", "k1"); status != 422 {
		t.Errorf("another body: %d %s", status, answer)
	}
	if status, answer := m.call("POST", "/order", order2, "Idempotency-Key", "k2"); status != 202 {
		t.Errorf("another key: %d %s", status, answer)
	}
	// An emptied world has forgotten its keys too.
	m.must(200, "DELETE", "/automation-testing/all", "")
	m.seed()
	if status, answer := m.call("POST", "/order", order2, "Idempotency-Key", "k1"); status != 202 {
		t.Errorf("in a new world: %d %s", status, answer)
	}
	m.holdsRebuilt()
}

// F9: a key whose process died before it answered is settled by asking again, at once: whether the order was placed by then
// or not, it is there once afterwards. Another body does not get in between. Red when such a claim is waited for, or when
// another body may take it.
func TestF9_ClaimOfADeadProcess(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	placed := order("PLACED", "CUSTOMER_001", item{"PRODUCT_001", 10, 1})
	never := order("NEVER", "CUSTOMER_001", item{"PRODUCT_001", 10, 1})
	if status, answer := m.call("POST", "/order", placed, "Idempotency-Key", "placed"); status != 202 {
		t.Fatalf("%d %s", status, answer)
	}
	m.awaitStatus("PLACED", "APPROVED")
	m.kill9()
	// What a crash leaves between the claim and the answer: of one order that was placed, and of one that was not.
	content := sha256.Sum256([]byte("POST /order\n" + never))
	if n := on(
		t, dir,
		`UPDATE door_idempotency SET status = 0, type = '', location = '', body = '' WHERE key = 'placed'`,
		`INSERT INTO door_idempotency SELECT caller, 'never', '`+hex.EncodeToString(content[:])+`', 0, '', '', '', boot, until, expires, since
			FROM door_idempotency WHERE key = 'placed' AND status = 0`,
	); n != 1 {
		t.Fatalf("%d claims", n)
	}
	m = start(t, binary, dir, nil)
	for key, c := range map[string]struct {
		body string
		want int
	}{"placed": {placed, 200}, "never": {never, 202}} {
		if status, answer := m.call("POST", "/order", order2, "Idempotency-Key", key); status != 422 {
			t.Errorf("%s, another body: %d %s", key, status, answer)
		}
		status, first := m.call("POST", "/order", c.body, "Idempotency-Key", key)
		if status != c.want {
			t.Errorf("%s: %d %s, want %d", key, status, first, c.want)
		}
		if status, again := m.call("POST", "/order", c.body, "Idempotency-Key", key); status != c.want || again != first {
			t.Errorf("%s again: %d %s, at first %d %s", key, status, again, c.want, first)
		}
	}
	m.awaitStatus("NEVER", "APPROVED")
	if got := m.available("PRODUCT_001"); got != 8 {
		t.Errorf("available %d, want 8", got)
	}
	m.holdsRebuilt()
}

// F9: under load with keys, kill -9; afterwards whoever was answered gets that answer again, whoever was not is answered
// now, and every order is there once.
func TestF9_KeysUnderKill(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	body := func(n int) string {
		return order(fmt.Sprintf("I%04d", n), "CUSTOMER_001", item{"PRODUCT_001", 10, 1})
	}
	const clients, each = 8, 40
	answers := make([]string, clients*each)
	enough := make(chan struct{})
	var once sync.Once
	var load sync.WaitGroup
	for c := range clients {
		load.Go(func() {
			for i := range each {
				n := c*each + i
				status, answer := m.call("POST", "/order", body(n), "Idempotency-Key", fmt.Sprint("key", n))
				if status == 0 {
					return
				}
				answers[n] = fmt.Sprint(status, " ", answer)
				if i == each/4 {
					once.Do(func() { close(enough) })
				}
			}
		})
	}
	<-enough
	m.kill9()
	load.Wait()
	m = start(t, binary, dir, nil)
	answered := 0
	for n, first := range answers {
		status, again := m.call("POST", "/order", body(n), "Idempotency-Key", fmt.Sprint("key", n))
		switch now := fmt.Sprint(status, " ", again); {
		case first != "" && now != first:
			t.Errorf("order %d: answered with %s, now with %s", n, first, now)
		case first == "" && status != 202 && status != 200:
			t.Errorf("order %d was not answered, and now: %s", n, now)
		case first != "":
			answered++
		}
	}
	if answered == 0 || answered == len(answers) {
		t.Errorf("%d of %d were answered before the kill: nothing was proved", answered, len(answers))
	}
	m.kill9()
	if k := holds(t, dir); len(k.placed) != len(answers) {
		t.Errorf("%d orders of %d are there", len(k.placed), len(answers))
	}
}
