package demo

import (
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // to damage what was kept

	"example.org/souk/internal/house"
	"example.org/souk/internal/testserver"
)

// F1, B20: every service and gateway runs in a process of its own on PostgreSQL, and each is killed in turn. Nothing is lost or done twice,
// and the check finds what is damaged afterwards. The database is refused to a second mall.
func TestSpreadHoldsInChaos(t *testing.T) {
	t.Parallel()
	if os.Getenv("SOUK_PROVE") != "full" {
		t.Log("this takes minutes: make prove runs it")
		return
	}
	server := testserver.PostgresOwn(t, "max_connections=600")
	p, w := begun(t, Config{Seed: 5, Speed: 2, Orders: 60, Chaos: true, DB: server.Database(t)})
	for _, name := range house.PartNames() {
		if p.result.Killed[name] == 0 {
			t.Errorf("%s was never killed", name)
		}
	}
	if p.result.Accepted != p.result.Tried || p.result.Accepted < 60 || p.result.Pauses == 0 {
		t.Errorf("%+v", p.result)
	}
	if err := errors.Join(p.check(t.Context()), w.check(t.Context())); err != nil || len(p.result.Broken) > 0 || len(p.result.Looked) < 17 {
		t.Fatalf("%v: %+v", err, p.result)
	}
	for _, damage := range []struct{ sql, found string }{
		{`UPDATE inventory.stock SET on_hand = on_hand + 1 WHERE sku = 'TEA-01'`, "is shown as"},
		{`DELETE FROM fastlane.bb_log WHERE position = (SELECT min(position) FROM fastlane.bb_log WHERE type = 'souk.fastlane.PaymentDue.v1')`, "and 0 bills"},
		{`UPDATE search.found SET total = total + 1`, "the search shows order"},
		{`DELETE FROM inventory.bb_log WHERE type = 'souk.inventory.StockIssued.v1'`, "and they were issued 0 times"},
		{`DELETE FROM payments.bb_log WHERE type = 'souk.payments.InvoicePaid.v1'`, `is "open"`},
	} {
		db, err := sql.Open("pgx", p.DB)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), damage.sql); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		p.result.Broken = nil
		if err := p.check(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found := strings.Join(p.result.Broken, "\n"); !strings.Contains(found, damage.found) {
			t.Errorf("%s: found %q", damage.sql, found)
		}
	}
	if _, err := Run(t.Context(), Config{DB: p.DB, Orders: 1, Program: p.Program}); err == nil || !strings.Contains(err.Error(), "a mall has run on this database") {
		t.Errorf("a second mall on the same database: %v", err)
	}
}

// A server as Debian has it takes 100 connections, of which the processes would die one after the other, each with a word of its own.
func TestSpreadNeedsRoom(t *testing.T) {
	t.Parallel()
	server := testserver.PostgresOwn(t, "max_connections=100")
	_, err := Run(t.Context(), Config{DB: server.Database(t), Orders: 1, Program: []string{"/no/such/program"}})
	if err == nil || !strings.Contains(err.Error(), "takes 100 connections") || !strings.Contains(err.Error(), "set max_connections to 24") {
		t.Errorf("too few connections: %v", err)
	}
}
