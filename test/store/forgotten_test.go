package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
	"example.org/souk/internal/testserver"
	"example.org/souk/mall/customers"
	"example.org/souk/mall/event"
)

// named returns what a mall that does not run can read of a customer's name, and how it has them.
func named(t *testing.T, dir, customer string) (name string, status customers.Status) {
	t.Helper()
	h, err := house.Open(t.Context(), house.Config{Data: dir, Quiet: true, Empty: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if err := h.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := customers.Get(t.Context(), h.Reader("customers"), customer)
	if err != nil {
		t.Fatal(err)
	}
	log, err := h.Reader("customers").Log(t.Context(), backbone.ReadQuery{Stream: "customer/" + customer, Types: []string{event.CustomerRegisteredV1}, Limit: 1})
	if err != nil || len(log) == 0 {
		t.Fatalf("nothing was ever sealed of %s: %v", customer, err)
	}
	var was event.CustomerRegistered
	if err := json.Unmarshal(log[0].Data, &was); err != nil {
		t.Fatal(err)
	}
	name, _, err = h.Keys.Reveal(t.Context(), string(was.Name))
	if err != nil {
		t.Fatal(err)
	}
	return name, c.Status
}

// F16: whoever was forgotten stays so when a backup of before is put back with the list of the forgotten: the name is unreadable before the mall begins, and
// the mall forgets them as a customer when it does. So it is where the database alone is put back under the data directory. The control is the same without a
// list. Red when a restore does not look at the list, and when a start does not.
func TestF16_TheForgottenStayForgotten(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.souk("customer", "register", "--customer", "canary", "--name", "Canary Birdwhistle", "--email", "canary@cage.example")
	m.souk("customer", "register", "--customer", "other", "--name", "Someone Else")
	backup := filepath.Join(t.TempDir(), "monday.db")
	m.souk("backup", backup)
	m.souk("customer", "forget", "canary")
	list := m.souk("customer", "forgotten")
	if len(strings.Fields(list)) != 2 || strings.Contains(list, "canary") {
		t.Errorf("the list: %q", list)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "forgotten.txt"))
	if err != nil || strings.Fields(string(kept))[0] != strings.Fields(list)[0] {
		t.Errorf("beside the database: %q, %v", kept, err)
	}
	m.stop()
	if name, status := named(t, dir, "canary"); name != "" || status != customers.Forgotten {
		t.Fatalf("forgotten, and %s is %q", status, name)
	}
	file := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}

	without := filepath.Join(t.TempDir(), "without")
	rows(t, binary, without, "restore", backup)
	if name, status := named(t, without, "canary"); name != "Canary Birdwhistle" || status != customers.Enabled {
		t.Fatalf("without a list the name is %q and the customer %s: this test sees nothing", name, status)
	}

	again := filepath.Join(t.TempDir(), "again")
	if got := rows(t, binary, again, "restore", backup, "--forgotten", file); got[0]["forgottenAgain"] != "1" {
		t.Errorf("restored: %v", got)
	}
	if name, _ := named(t, again, "canary"); name != "" {
		t.Errorf("restored, and the name is %q", name)
	}
	if name, _ := named(t, again, "other"); name != "Someone Else" {
		t.Errorf("of somebody else the name is %q", name)
	}
	forgets := func(m *mall) {
		t.Helper()
		await(t, "it is forgotten as a customer", func() bool {
			return strings.Contains(m.souk("event", "tail", "--service", "customers", "-o", "jsonl"), "souk.customers.CustomerForgotten.v1")
		})
		m.stop()
		if name, status := named(t, m.dir, "canary"); name != "" || status != customers.Forgotten {
			t.Errorf("started, and the customer is %s and called %q", status, name)
		}
	}
	forgets(start(t, binary, again, nil))

	// Somebody copies the file under the directory that has the list.
	for _, left := range []string{"-wal", "-shm"} {
		if err := os.Remove(filepath.Join(dir, "souk.db"+left)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "souk.db"), before, 0o600); err != nil {
		t.Fatal(err)
	}
	forgets(start(t, binary, dir, nil))

	broken := filepath.Join(t.TempDir(), "broken.txt")
	if err := os.WriteFile(broken, []byte(list+"canary 2026-01-01T00:00:00Z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, binary, filepath.Join(t.TempDir(), "never"), 1, "line 2", "restore", backup, "--forgotten", broken)
}

// F16: the same on PostgreSQL, whose backups are its own: the keys of a list are destroyed in a database that was put back before any process of the mall
// begins, and the customers are forgotten when they have.
func TestF16_TheForgottenStayForgottenOnPostgres(t *testing.T) {
	t.Parallel()
	binary := program(t)
	db := testserver.Postgres(t).Database(t)
	parts := []string{"online stores customers keys console", "orders inventory payments notifications analytics depot baskets search"}
	if proving(t) {
		parts = apart
	}
	m := split(t, binary, t.TempDir(), db, parts)
	m.souk("customer", "register", "--customer", "canary", "--name", "Canary Birdwhistle")
	m.stop()
	backup := copyDatabase(t, db)
	m.begin()
	m.souk("customer", "forget", "canary")
	file := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(file, []byte(m.souk("customer", "forgotten")), 0o600); err != nil {
		t.Fatal(err)
	}
	m.stop()

	restored := &mall{t: t, binary: binary, dir: t.TempDir(), db: backup, others: processes(parts)}
	alive := `SELECT count(*) FROM keys.people WHERE person = 'canary' AND destroyed = 0`
	if n := counted(t, backup, alive); n != 1 {
		t.Fatalf("the backup has %d keys of the forgotten: this test sees nothing", n)
	}
	if out := restored.souk("customer", "forget", "--from", file, "-o", "json"); !strings.Contains(out, `"keysDestroyed": 1`) {
		t.Errorf("before it begins: %s", out)
	}
	if n := counted(t, backup, alive); n != 0 {
		t.Errorf("%d keys of the forgotten are there", n)
	}
	restored.begin()
	if out := restored.souk("customer", "forget", "--from", file, "-o", "json"); !strings.Contains(out, `"customersForgotten": 1`) {
		t.Errorf("when it runs: %s", out)
	}
}

// copies counts copies of databases.
var copies atomic.Int64

// copyDatabase copies a database of PostgreSQL that nobody uses, as a backup of it that was put back elsewhere.
func copyDatabase(t *testing.T, db string) string {
	t.Helper()
	to, err := url.Parse(db)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(to.Path, "/")
	again := fmt.Sprint(name, "_again_", copies.Add(1))
	at := *to
	at.Path, to.Path = "/postgres", "/"+again
	do := func(ctx context.Context, statement string) error {
		conn, err := pgx.Connect(ctx, at.String())
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, statement)
		return errors.Join(err, conn.Close(ctx))
	}
	if err := do(t.Context(), fmt.Sprintf("CREATE DATABASE %q TEMPLATE %q", again, name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := do(context.Background(), fmt.Sprintf("DROP DATABASE %q WITH (FORCE)", again)); err != nil {
			t.Error(err)
		}
	})
	return to.String()
}

// counted returns the number that a query on a database of PostgreSQL gives.
func counted(t *testing.T, db, query string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.QueryRow(t.Context(), query).Scan(&n), conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return n
}
