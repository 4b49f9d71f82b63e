package pgstore_test

import (
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/internal/testserver"
)

// A disk cannot be filled here without harm to others. What the server says of one
// is raised by triggers instead, where a statement would extend a table and where a
// commit would; or the server takes no writes, as after an operator's hand.
func TestFull(t *testing.T) {
	t.Parallel()
	trigger := func(kind, table string) string {
		return "CREATE " + kind + " full_" + table + " AFTER INSERT ON orders." + table
	}
	for name, c := range map[string]struct{ fill, free []string }{
		"Statement": {
			[]string{trigger("TRIGGER", "ledger") + " FOR EACH ROW EXECUTE FUNCTION disk_full()"},
			[]string{"DROP TRIGGER full_ledger ON orders.ledger"},
		},
		"Log": {
			[]string{trigger("TRIGGER", "bb_log") + " FOR EACH ROW EXECUTE FUNCTION disk_full()"},
			[]string{"DROP TRIGGER full_bb_log ON orders.bb_log"},
		},
		"Commit": {
			[]string{trigger("CONSTRAINT TRIGGER", "bb_log") + " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION disk_full()"},
			[]string{"DROP TRIGGER full_bb_log ON orders.bb_log"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testserver.Postgres(t).Database(t)
			operator := connect(t, url)
			run(t, operator, `CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
				BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$`)
			drivertest.RunStoreFull(t, func(t *testing.T) driver.Store { return open(t, url) },
				func(t *testing.T, _ driver.Store) func() {
					run(t, operator, c.fill...)
					return func() { run(t, operator, c.free...) }
				})
		})
	}
	t.Run("ReadOnly", func(t *testing.T) {
		t.Parallel()
		server := testserver.PostgresOwn(t) // the setting is the whole server's
		url := server.Database(t)
		operator := connect(t, url)
		set := func(value string) func() {
			return func() {
				run(t, operator, "SET default_transaction_read_only = off",
					"ALTER SYSTEM SET default_transaction_read_only = "+value, "SELECT pg_reload_conf()")
			}
		}
		drivertest.RunStoreFull(t, func(t *testing.T) driver.Store { return open(t, url) },
			func(t *testing.T, s driver.Store) func() {
				set("on")()
				reached(t, s, "on")
				return func() {
					set("off")()
					reached(t, s, "off")
				}
			})
	})
}

// reached waits until a setting has reached every connection of a store.
func reached(t *testing.T, s driver.Store, value string) {
	t.Helper()
	eventually(t, "the setting has reached the store", func() bool {
		var open []driver.Rows
		defer func() {
			for _, r := range open {
				must(t, r.Close())
			}
		}()
		for range 10 { // as many as its pool holds
			r, err := s.Query(t.Context(), "SELECT current_setting('default_transaction_read_only')")
			must(t, err)
			open = append(open, r)
			var got string
			if !r.Next() {
				t.Fatal(r.Err())
			}
			must(t, r.Scan(&got))
			if got != value {
				return false
			}
		}
		return true
	})
}
