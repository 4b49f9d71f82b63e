package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.org/souk/internal/testserver"
)

// F3: somebody who is no part of the mall leaves a transaction open that has written, in another database of the same server and in the
// mall's own. Each order of a steady stream is approved within seconds all the while. Red when a log is read only as far as the oldest
// transaction that is open.
func TestF3_IdleForeignTransaction(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	const open = time.Minute
	const soon = 10 * time.Second // many times what an order takes on a busy machine; a stall would last to the minute's end
	server := testserver.PostgresOwn(t)
	db := server.Database(t)
	m := split(t, program(t), t.TempDir(), db, []string{"online stores customers keys", "orders inventory payments notifications analytics depot baskets search"})
	m.seed()
	m.souk("stock", "receive", "PRODUCT_002", "100000")
	idle := []*foreign{leaveOpen(t, server.Database(t)), leaveOpen(t, db)}
	begun, count, slowest := time.Now(), 0, time.Duration(0)
	for time.Since(begun) < open {
		id := fmt.Sprintf("STEADY-%05d", count)
		placed := time.Now()
		m.must(202, "POST", "/order", order(id, customerOf(count), item{"PRODUCT_002", 5, 1}))
		m.awaitStatus(id, "APPROVED")
		took := time.Since(placed)
		if took > soon {
			t.Fatalf("order %s took %v to be approved beside an open transaction", id, took)
		}
		count, slowest = count+1, max(slowest, took)
	}
	for _, f := range idle {
		f.stillOpen(begun)
	}
	t.Logf("%d orders in %v, the slowest in %v", count, time.Since(begun), slowest)
	m.holds()
}

// Who has the log of a service locked is told, by an alarm of the process whose decisions wait and by doctor, and what
// waited goes on afterwards. Red without the watch over the writer, or where doctor does not ask.
func TestWhoHasALogLockedIsTold(t *testing.T) {
	t.Parallel()
	binary := program(t)
	db := testserver.PostgresOwn(t).Database(t) // a transaction stays open
	m := split(t, binary, t.TempDir(), db, []string{"online stores customers keys", "orders inventory payments notifications analytics depot baskets search"})
	m.seed()
	if out := m.souk("doctor"); !strings.Contains(out, "no transaction is waited for") {
		t.Errorf("doctor, while nobody waits:\n%s", out)
	}
	config, err := pgx.ParseConfig(db)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = "payroll"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT position FROM orders.bb_head FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	m.must(202, "POST", "/order", order1) // the gateway has it
	await(t, "doctor names who is waited for", func() bool {
		out := m.souk("doctor")
		return strings.Contains(out, "payroll") && strings.Contains(out, fmt.Sprintf("pg_terminate_backend(%d)", conn.PgConn().PID()))
	})
	await(t, "an alarm names it", func() bool {
		said := m.of("orders").proc.Stderr()
		return strings.Contains(said, `"subject":"writer"`) && strings.Contains(said, "payroll")
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.awaitStatus("ORDER_001", "APPROVED")
	m.holds()
}

// foreign is a transaction of somebody who is no part of the mall.
type foreign struct {
	t       *testing.T
	db, xid string
	pid     uint32
}

// leaveOpen begins a transaction on a database, writes in it, and leaves it open until the test ends.
func leaveOpen(t *testing.T, db string) *foreign {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) }) // its server may be gone
	f := &foreign{t: t, db: db, pid: conn.PgConn().PID()}
	for _, sql := range []string{"CREATE TABLE public.theirs (n INT)", "BEGIN", "INSERT INTO public.theirs VALUES (1)"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.QueryRow(t.Context(), "SELECT pg_current_xact_id()::text").Scan(&f.xid); err != nil {
		t.Fatal(err)
	}
	return f
}

// stillOpen fails the test unless the transaction has been open since before an instant and is idle.
func (f *foreign) stillOpen(since time.Time) {
	f.t.Helper()
	got := rowsOf(f.t, f.db, fmt.Sprintf(`SELECT pg_xact_status('%s'::xid8), state, extract(epoch FROM xact_start) < %d,
		pg_snapshot_xmin(pg_current_snapshot()) <= '%s'::xid8 FROM pg_stat_activity WHERE pid = %d`, f.xid, since.Unix()+1, f.xid, f.pid))
	if len(got) != 1 || got[0] != "in progress|idle in transaction|true|true" {
		f.t.Errorf("the transaction that was to be open: %q", got)
	}
}
