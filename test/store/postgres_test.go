package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
)

// D7: the mall on PostgreSQL does what it does on SQLite: an order a hundred times takes effect once, shortages are
// rejected, a cancel gives back once; and when the database is killed under load and comes back, everything that was
// accepted comes to its end without a restart of the mall. Before that its password is changed under load, and every connection cut (FAILURES 43).
func TestD7_OnPostgreSQL(t *testing.T) {
	t.Parallel()
	server := testserver.PostgresOwn(t)
	admin := server.Database(t)
	server.Guard()
	server.Psql(t, admin, "CREATE ROLE mall LOGIN PASSWORD 'first'; ALTER DATABASE "+admin[strings.LastIndexByte(admin, '/')+1:strings.IndexByte(admin, '?')]+" OWNER TO mall;")
	passfile := filepath.Join(t.TempDir(), "pgpass")
	write := func(password string) {
		if err := os.WriteFile(passfile, []byte("*:*:*:mall:"+password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	db := as(admin, "mall") + "&passfile=" + passfile
	m := start(t, program(t), filepath.Join(t.TempDir(), "mall"), nil, "--db", db)
	m.seed()
	for range 20 {
		if status, answer := m.call("POST", "/order", order1); status != 202 && status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
	}
	m.awaitStatus("ORDER_001", "APPROVED")
	if got := m.available("PRODUCT_001"); got != 7 {
		t.Errorf("%d available, want 7", got)
	}
	m.must(202, "POST", "/order", order("SHORT", "CUSTOMER_002", item{"Laptop", 1200, 11}))
	m.awaitStatus("SHORT", "REJECTED")
	m.must(202, "POST", "/order/ORDER_001/cancel", `{}`)
	m.awaitStatus("ORDER_001", "CANCELED")
	if got := m.available("PRODUCT_001"); got != 10 {
		t.Errorf("%d available after the cancel, want 10", got)
	}

	accepted := m.load(t, 4, 100)
	server.Psql(t, admin, "ALTER ROLE mall PASSWORD 'second'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mall';")
	write("second")
	ids := accepted()
	if len(ids) == 0 {
		t.Fatal("nothing was accepted while the password changed")
	}
	m.must(202, "POST", "/order", order("WITH-THE-NEW", "CUSTOMER_002", item{"PRODUCT_002", 5, 1}))
	accepted = m.load(t, 4, 300)
	server.Restart()
	ids = append(ids, accepted()...)
	if len(ids) == 0 {
		t.Fatal("nothing was accepted")
	}
	m.idle()
	for _, id := range ids {
		if s := m.status(id); s != "APPROVED" && s != "REJECTED" && s != "CANCELED" {
			t.Errorf("order %s was accepted and is %q", id, s)
		}
	}
	if out := m.souk("audit", "verify", "-o", "jsonl"); out == "" {
		t.Error("the audit says nothing")
	}
	m.souk("doctor")
	// Its lock on the database went with the server and is taken again: it is the one that a session holds which is in no transaction.
	await(t, "the mall has its database for itself again", func() bool {
		held, _ := server.Psql(t, admin, "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted AND usename = 'mall' AND state = 'idle'")
		return strings.TrimSpace(held) == "1"
	})
	refused(t, m.binary, t.TempDir(), 1, "another mall runs on this database", "up", "--db", db, "--http", "127.0.0.1:0")
	m.stop()
}
