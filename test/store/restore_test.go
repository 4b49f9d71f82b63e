package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A copy that was taken under load, put into a new directory, is a mall: every order that it holds is there and comes to its
// end, the logs hold, new orders are taken, and tokens hold where their keys were kept.
func TestBackupRestore(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	bearer := m.token(binary, "engineer")
	m.loadOf(t, 4, 60, func(n int) (id, body string) {
		id = fmt.Sprintf("BEFORE%d", n)
		return id, order(id, "CUSTOMER_001", item{"PRODUCT_001", 10, 1})
	})()
	// What was not sealed yet when it was copied cannot be verified.
	await(t, "seals over three logs and a hundred records", func() bool {
		logs, sealed := 0, 0.0
		for _, log := range rows(t, binary, dir, "audit", "verify") {
			if n, _ := log["sealed"].(float64); n > 0 {
				logs, sealed = logs+1, sealed+n
			}
		}
		return logs >= 3 && sealed >= 100
	})
	accepted := m.load(t, 4, 600)
	copied := filepath.Join(t.TempDir(), "monday.db")
	if _, code := souk(t, binary, dir, "backup", copied); code != 0 {
		t.Fatalf("backup: %d", code)
	}
	if left, err := filepath.Glob(copied + "?*"); err != nil || len(left) != 0 {
		t.Errorf("beside the copy lie %v (%v)", left, err)
	}
	refused(t, binary, dir, 1, "a mall runs", "restore", copied)
	accepted()
	m.proc.Kill9()
	refused(t, binary, dir, 1, "is not empty", "restore", copied)

	again := filepath.Join(t.TempDir(), "again")
	got := rows(t, binary, again, "restore", copied, "--keys", filepath.Join(dir, "keys"))
	if verified, _ := got[0]["verified"].(float64); verified < 100 {
		t.Errorf("restored: %v", got)
	}
	if info, err := os.Stat(again); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v %v", info, err)
	}
	if heads, err := filepath.Glob(filepath.Join(again, "seal-*.json")); err != nil || len(heads) < 3 {
		t.Errorf("heads of seals: %v %v", heads, err)
	}
	if out, code := souk(t, binary, again, "audit", "verify", "-o", "json"); code != 0 || !strings.Contains(out, `"whole": true`) {
		t.Errorf("audit: %d %s", code, out)
	}
	m = start(t, binary, again, nil)
	if status := m.status("ORDER_001"); status != "APPROVED" {
		t.Errorf("the first order is %q", status)
	}
	if status, answer := m.call("GET", "/metrics", "", "Authorization", bearer); status != 200 {
		t.Errorf("a token of before: %d %s", status, answer)
	}
	m.must(202, "POST", "/order", order("AFTER", "CUSTOMER_002", item{"Laptop", 1200, 1}))
	m.awaitStatus("AFTER", "APPROVED")
	m.stop()
	if k := holds(t, again); len(k.placed) < 100 || k.placed["AFTER"].Order == "" {
		t.Errorf("%d orders are there", len(k.placed))
	}

	without := filepath.Join(t.TempDir(), "without")
	rows(t, binary, without, "restore", copied)
	m = start(t, binary, without, nil)
	if status, answer := m.call("GET", "/metrics", "", "Authorization", bearer); status != 401 {
		t.Errorf("a token of other keys: %d %s", status, answer)
	}
	m.stop()
}

// What is no whole backup is refused, and leaves the directory as it was. Red for each check that is left out.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	m.stop()
	good, err := os.ReadFile(filepath.Join(dir, "souk.db"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := write("text.db", []byte(strings.Repeat("no database at all\n", 1000)))
	cut := write("cut.db", good[:len(good)/2])
	empty, edited, hot := t.TempDir(), t.TempDir(), write("hot.db", good)
	on(t, empty, `CREATE TABLE t (n)`)
	if err := os.WriteFile(filepath.Join(edited, "souk.db"), good, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := on(t, edited, `UPDATE orders_bb_log SET data = replace(data, 'CUSTOMER_001', 'CUSTOMER_002') WHERE type = 'souk.orders.OrderApproved.v1'`); n != 1 {
		t.Fatalf("%d records were edited", n)
	}
	// A row that its index has with another value: each page can be read, and only together they do not fit.
	torn := t.TempDir()
	if err := os.WriteFile(filepath.Join(torn, "souk.db"), good, 0o600); err != nil {
		t.Fatal(err)
	}
	on(t, torn, `INSERT INTO door_idempotency VALUES ('a', 'b', 'c', 0, '', '', '', '', 1, 1, 0)`)
	on(t, torn, `PRAGMA writable_schema = ON`, `CREATE TABLE hidden AS SELECT * FROM sqlite_master WHERE name = 'door_idempotency_expires'`,
		`DELETE FROM sqlite_master WHERE name = 'door_idempotency_expires'`)
	on(t, torn, `UPDATE door_idempotency SET expires = 2`)
	on(t, torn, `PRAGMA writable_schema = ON`, `INSERT INTO sqlite_master SELECT * FROM hidden`)
	if err := os.WriteFile(hot+"-wal", []byte("pages"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, says string }{
		{filepath.Join(dir, "nothing.db"), "no such file"},
		{dir, "is not a file"},
		{text, "cannot be opened"},
		{cut, "cannot be opened"},
		{filepath.Join(torn, "souk.db"), "damaged"},
		{filepath.Join(empty, "souk.db"), "holds no mall"},
		{filepath.Join(edited, "souk.db"), "is not what was sealed"},
		{hot, "in use"},
	} {
		there, fresh := t.TempDir(), filepath.Join(t.TempDir(), "fresh")
		refused(t, binary, there, 1, c.says, "restore", c.file)
		if left, err := os.ReadDir(there); err != nil || len(left) != 0 {
			t.Errorf("%s: the directory holds %v (%v)", c.file, left, err)
		}
		refused(t, binary, fresh, 1, c.says, "restore", c.file)
		if _, err := os.Stat(fresh); !os.IsNotExist(err) {
			t.Errorf("%s: the directory is there: %v", c.file, err)
		}
	}
	refused(t, binary, t.TempDir(), 1, "signing keys", "restore", filepath.Join(dir, "souk.db"), "--keys", t.TempDir())
	left := t.TempDir()
	if err := os.Mkdir(filepath.Join(left, ".restoring"), 0o700); err != nil {
		t.Fatal(err)
	}
	refused(t, binary, left, 1, "was stopped", "restore", filepath.Join(dir, "souk.db"))
	if got := rows(t, binary, t.TempDir(), "restore", filepath.Join(dir, "souk.db")); len(got) != 1 {
		t.Errorf("restored: %v", got)
	}
}
