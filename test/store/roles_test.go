package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
)

// as is the address of a database for another user.
func as(address, user string) string { return strings.Replace(address, "postgres@", user+"@", 1) }

// tablesOf lists the tables of each schema, as the administrator sees them.
func tablesOf(t *testing.T, server *testserver.Server, db string) map[string][]string {
	t.Helper()
	out, _ := server.Psql(t, db, `SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2;`)
	all := map[string][]string{}
	for line := range strings.Lines(out) {
		schema, table, _ := strings.Cut(strings.TrimSpace(line), "|")
		all[schema] = append(all[schema], table)
	}
	return all
}

// With a role each, the services of a mall work in processes of their own as they do without, over the log and over a broker, and psql under one
// service's role is refused the tables of all others: to read, to write and to empty them, but for the logs that it subscribes to, which
// it may read. Red when a grant is left out (a process is refused something), and when a table is open to a role that has no need of it.
func TestRoleEach(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	for _, way := range []string{"log", "nats"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			binary := program(t)
			server := testserver.PostgresOwn(t, "max_connections=300")
			db := server.Database(t)
			flags, _ := carrier(t, way)
			m := split(t, binary, t.TempDir(), db, []string{"online stores customers orders inventory payments notifications analytics keys", supermarket}, flags...)
			m.seed() // it looks into all services
			m.stop()
			refused(t, binary, m.dir, 2, "roles are for PostgreSQL", "migrate", "--roles", "souk")
			refused(t, binary, m.dir, 1, "cannot begin the names of roles", "--db", db, "migrate", "--roles", `x"; DROP`)
			m.souk("migrate", "--roles", "souk")
			m.souk("migrate", "--roles", "souk") // again, by somebody who owns nothing any more
			m.others = processes(apart)
			for _, p := range m.others {
				first := p.parts[0]
				if slices.Contains(p.parts, "kiosk") {
					first = "kiosk" // it has no tables of its own, and reads those of services that run elsewhere
				}
				p.db = as(db, "souk_"+first)
				for _, other := range p.parts {
					if other != first {
						p.db += "," + other + "=" + as(db, "souk_"+other)
					}
				}
			}
			m.begin()
			orders := m.ordersOfADay()
			m.souk("view", "rebuild", "analytics", "sales") // its tables are made again, by its role
			m.settle()
			token := strings.TrimSpace(m.souk("token", "--role", "engineer", "--subject", "eve"))
			if status, answer := callAt(t, m.of("console").url, "GET", "/metrics", "", "Authorization", "Bearer "+token); status != 200 || strings.Contains(answer, `souk_store_up{service="keys"} 0`) {
				t.Errorf("the console's metrics: %d %s", status, answer)
			}
			for _, path := range []string{"/kiosk/v1/stores", "/kiosk/v1/products/PRODUCT_001"} {
				if status, answer := callAt(t, m.of("kiosk").url, "GET", path, ""); status != 200 || !strings.Contains(answer, "main-hall") {
					t.Errorf("the kiosk's %s: %d %s", path, status, answer)
				}
			}
			refusedToRoles(t, server, db)
			m.stop()
			for _, p := range m.others {
				if log := p.proc.Stdout() + p.proc.Stderr(); strings.Contains(log, "permission denied") {
					t.Errorf("process %s is refused something:\n%s", p.name, log)
				}
			}
			k := m.holdsRebuilt()
			for _, id := range orders {
				if _, found := k.placed[id]; !found {
					t.Errorf("order %s was accepted and is gone", id)
				}
			}
		})
	}
}

// refusedToRoles tries with psql, under the role of each service, everything with every table of the others.
func refusedToRoles(t *testing.T, server *testserver.Server, db string) {
	t.Helper()
	all := tablesOf(t, server, db)
	checked := 0
	shown := map[string][]string{ // to the people who stand before these two ways in, and what devices go by
		"devices": {"entrance", "exitgate"},
		"staff":   {"analytics", "depot", "devices", "fastlane", "inventory", "logistics", "orders", "payments", "stores"},
		"kiosk":   {"baskets", "customers", "depot", "entrance", "inventory", "orders", "stores"},
	}
	for service := range all {
		if service == "mall" || service == "door" {
			continue
		}
		var script strings.Builder
		var names []string
		for schema, tables := range all {
			if schema == service {
				continue
			}
			for _, table := range tables {
				names = append(names, schema+"."+table)
				fmt.Fprintf(&script, "SELECT '%[1]s.%[2]s reads' FROM (SELECT count(*) FROM %[1]q.%[2]q) AS t;\n", schema, table)
				fmt.Fprintf(&script, "BEGIN; DELETE FROM %[1]q.%[2]q; SELECT '%[1]s.%[2]s deletes'; ROLLBACK;\n", schema, table)
				fmt.Fprintf(&script, "BEGIN; DROP TABLE %[1]q.%[2]q CASCADE; SELECT '%[1]s.%[2]s drops'; ROLLBACK;\n", schema, table)
			}
		}
		out, denied := server.Psql(t, as(db, "souk_"+service), script.String())
		may := strings.Fields(strings.ReplaceAll(out, " ", ":"))
		for _, name := range names {
			schema, table, _ := strings.Cut(name, ".")
			common := schema == "mall" || schema == "door"
			read := common || slices.Contains(shown[service], schema) || slices.Contains([]string{"bb_log", "bb_head", "bb_checkpoint", "bb_value", "bb_version", "bb_service_version"}, table)
			for what, wanted := range map[string]bool{"reads": read, "deletes": common, "drops": false} {
				if got := slices.Contains(may, name+":"+what); got != wanted {
					t.Errorf("the role of %s %s %s: %v, want %v", service, what, name, got, wanted)
				}
				checked++
			}
		}
		if n := strings.Count(denied, "permission denied") + strings.Count(denied, "must be owner"); n < len(names) {
			t.Errorf("psql was refused %d times in %d tables, as %s", n, len(names), service)
		}
	}
	if checked < 1000 {
		t.Errorf("only %d rights were tried", checked)
	}
	own, _ := server.Psql(t, as(db, "souk_orders"), `SELECT count(*) > 0 FROM orders.bb_answer;`)
	if strings.TrimSpace(own) != "t" {
		t.Errorf("orders cannot read its own answers: %s", own)
	}
}
