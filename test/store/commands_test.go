package store

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rows runs a command line that must succeed and returns what it printed, one JSON object a line.
func rows(t *testing.T, binary, dir string, args ...string) (list []map[string]any) {
	t.Helper()
	out, code := souk(t, binary, dir, append(args, "-o", "jsonl")...)
	if code != 0 {
		t.Fatalf("souk %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("souk %s prints %q: %v", strings.Join(args, " "), line, err)
		}
		list = append(list, row)
	}
	return list
}

// refused runs a command line that must end with this exit code and say this.
func refused(t *testing.T, binary, dir string, code int, says string, args ...string) {
	t.Helper()
	p := placeOf(t, dir).start(t, binary, args...)
	got, stderr := p.Wait().Code, p.Stderr()
	if got != code || !strings.Contains(stderr, says) {
		t.Errorf("souk %s: exit %d and %q, want %d and %q", strings.Join(args, " "), got, stderr, code, says)
	}
}

// Orders and customers come in by the command line, beside a mall that runs and without one.
func TestOrderPlaceAndCustomerRegister(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	refused(t, binary, dir, 1, "there is no store yet", "product", "add", "cup", "7.50", "--name", "Tea cup")
	m.seed()
	if got := rows(t, binary, dir, "customer", "register", "--customer", "dora", "--name", "Dora Doe", "--email", "dora@souk.example"); got[0]["customer"] != "dora" {
		t.Errorf("registered: %v", got)
	}
	if got := rows(t, binary, dir, "customer", "register", "--customer", "dora", "--name", "Dora Doe", "--email", "dora@souk.example"); got[0]["customer"] != "dora" {
		t.Errorf("registered again: %v", got)
	}
	refused(t, binary, dir, 1, "customer_exists", "customer", "register", "--customer", "dora", "--name", "Dora")
	refused(t, binary, dir, 2, "--name", "customer", "register", "--customer", "x")
	refused(t, binary, dir, 1, "1 to 64", "customer", "register", "--customer", "x y", "--name", "X")

	got := rows(t, binary, dir, "order", "place", "--customer", "dora", "--order", "CLI_1", "--item", "PRODUCT_001=2", "--item", "Product 2=1")
	if got[0]["order"] != "CLI_1" || got[0]["status"] != "PENDING" {
		t.Errorf("placed: %v", got)
	}
	m.awaitStatus("CLI_1", "APPROVED")
	again := rows(t, binary, dir, "order", "place", "--customer", "dora", "--order", "CLI_1", "--item", "PRODUCT_001=2", "--item", "Product 2=1")
	if again[0]["order"] != "CLI_1" || again[0]["status"] != "APPROVED" {
		t.Errorf("placed again: %v", again)
	}
	refused(t, binary, dir, 1, "another order", "order", "place", "--customer", "dora", "--order", "CLI_1", "--item", "PRODUCT_001=1")
	refused(t, binary, dir, 1, "NOTHING", "order", "place", "--customer", "dora", "--item", "NOTHING=1")
	refused(t, binary, dir, 2, "SKU=QTY", "order", "place", "--customer", "dora", "--item", "PRODUCT_001")
	refused(t, binary, dir, 2, "whole number", "order", "place", "--customer", "dora", "--item", "PRODUCT_001=-1")
	named, _ := rows(t, binary, dir, "order", "place", "--customer", "dora", "--item", "PRODUCT_001=1")[0]["order"].(string)
	m.awaitStatus(named, "APPROVED")
	if got := m.available("PRODUCT_001"); got != 7 {
		t.Errorf("available %d, want 7", got)
	}
	m.stop()
	last := []string{"order", "place", "--customer", "dora", "--order", "CLI_2", "--item", "PRODUCT_001=1"}
	if m.others != nil { // nobody is there whom it could ask
		refused(t, binary, dir, 1, "no process that runs it can be reached", last...)
		m.begin()
	}
	rows(t, binary, dir, last...)
	m.stop()
	k := holds(t, dir)
	if len(k.placed) != 3 || k.placed["CLI_2"].Customer != "dora" {
		t.Errorf("kept are %v", k.placed)
	}
	written := m.written()
	delete(written, filepath.Join(m.dirOf("notifications"), "mail.mbox")) // what was sent
	for where, text := range written {
		if strings.Contains(text, "dora@souk.example") || strings.Contains(text, "Dora Doe") {
			t.Errorf("%s names the customer in the clear", where)
		}
	}
}

// D6: the state of an order at any past time is shown, beside a mall that runs and without one. Red when the last state is
// shown for every time.
func TestD6_EventReplay(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	statuses := func(args ...string) (list []string, last map[string]any) {
		for _, row := range rows(t, binary, dir, append([]string{"event", "replay"}, args...)...) {
			state, _ := row["state"].(map[string]any)
			list, last = append(list, fmt.Sprint(row["version"], " ", state["Status"])), row
		}
		return list, last
	}
	check := func() {
		t.Helper()
		all, _ := statuses("order/ORDER_001")
		if len(all) < 3 || all[0] != "1 pending" || all[len(all)-1] != fmt.Sprint(len(all), " approved") {
			t.Fatalf("all: %v", all)
		}
		first, row := statuses("order/ORDER_001", "--until", "1")
		if len(first) != 1 || first[0] != "1 pending" {
			t.Errorf("until 1: %v", first)
		}
		when, _ := row["time"].(string)
		if then, _ := statuses("order/ORDER_001", "--until", when); len(then) != 1 || then[0] != "1 pending" {
			t.Errorf("until %s: %v", when, then)
		}
		if later, _ := statuses("order/ORDER_001", "--until", "9999-01-01T00:00:00Z"); len(later) != len(all) {
			t.Errorf("until the far future: %v", later)
		}
		refused(t, binary, dir, 1, "there is no stream", "event", "replay", "order/NOBODY")
		refused(t, binary, dir, 1, "neither a version", "event", "replay", "order/ORDER_001", "--until", "yesterday")
		refused(t, binary, dir, 1, "nothing up to", "event", "replay", "order/ORDER_001", "--until", "2000-01-01T00:00:00Z")
	}
	check()
	if stock, last := statuses("stock/PRODUCT_001--main"); len(stock) == 0 {
		t.Errorf("stock: %v", last)
	}
	m.stop()
	check()
}

// Tables are brought up to date without starting, a dry run only lists, and their SQL makes a database with nothing left
// to do. Red when a dry run applies, or when the SQL does not note its versions.
func TestMigrate(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	refused(t, binary, dir, 1, "no mall runs on", "migrate")
	m := start(t, binary, dir, nil)
	m.seed()
	refused(t, binary, dir, 1, "a mall runs", "migrate")
	plan := func(dir string, args ...string) string {
		t.Helper()
		out, code := souk(t, binary, dir, append([]string{"migrate"}, args...)...)
		if code != 0 {
			t.Fatalf("migrate: %d", code)
		}
		return strings.TrimSpace(out)
	}
	if said := plan(dir, "--dry-run"); said != "nothing to do" {
		t.Errorf("a mall that runs: %s", said)
	}
	m.stop()
	on(t, dir, `DROP TABLE door_idempotency`, `DELETE FROM door_bb_service_version WHERE version_id > 0`)
	for range 2 {
		if got := rows(t, binary, dir, "migrate", "--dry-run"); len(got) != 2 || got[0]["service"] != "door" || got[0]["migration"] != "0001_idempotency.sql" || got[1]["migration"] != "0002_since.sql" {
			t.Errorf("a dry run lists %v", got)
		}
	}
	if got := rows(t, binary, dir, "migrate"); len(got) != 2 || got[0]["service"] != "door" {
		t.Errorf("applied: %v", got)
	}
	on(t, dir, `SELECT caller FROM door_idempotency`)
	if said := plan(dir); said != "nothing to do" {
		t.Errorf("again: %s", said)
	}

	script := plan(t.TempDir(), "--sql")
	fresh := t.TempDir()
	on(t, fresh, script)
	if said := plan(fresh, "--dry-run"); said != "nothing to do" {
		t.Errorf("after the SQL: %s", said)
	}
	m = start(t, binary, fresh, nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	m.holds()
}

// Contracts need no mall; the same program writes the same bytes, and a check names what is not so. Red when a check
// compares names alone.
func TestContracts(t *testing.T) {
	t.Parallel()
	binary, nowhere, dir := program(t), t.TempDir(), filepath.Join(t.TempDir(), "contracts")
	written := rows(t, binary, nowhere, "contracts", "export", dir)
	var api struct {
		AsyncAPI string         `json:"asyncapi"`
		Channels map[string]any `json:"channels"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "asyncapi.json"))
	if err != nil || json.Unmarshal(data, &api) != nil || api.AsyncAPI != "3.0.0" || api.Channels["orders"] == nil {
		t.Errorf("%v: %.200s", err, data)
	}
	order := filepath.Join(dir, "schemas", "souk.orders.OrderPlaced.v1.json")
	if data, err := os.ReadFile(order); err != nil || !json.Valid(data) {
		t.Errorf("%v: %s", err, data)
	}
	if left, err := os.ReadDir(nowhere); err != nil || len(left) != 0 {
		t.Errorf("the data directory holds %v (%v)", left, err)
	}
	if out, code := souk(t, binary, nowhere, "contracts", "check", dir); code != 0 || strings.TrimSpace(out) != "" {
		t.Errorf("what was just exported: exit %d\n%s", code, out)
	}
	if again := rows(t, binary, nowhere, "contracts", "export", dir); len(again) != len(written) || len(again) < 20 {
		t.Errorf("%d files, then %d", len(written), len(again))
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(order, `{}`)
	write(filepath.Join(dir, "schemas", "souk.orders.Gone.v1.json"), `{}`)
	if err := os.Remove(filepath.Join(dir, "asyncapi.json")); err != nil {
		t.Fatal(err)
	}
	out, code := souk(t, binary, nowhere, "contracts", "check", dir, "-o", "jsonl")
	if code != 1 || strings.Count(out, "\n") != 3 || !strings.Contains(out, `{"file":"asyncapi.json","state":"missing"}`) ||
		!strings.Contains(out, `{"file":"schemas/souk.orders.OrderPlaced.v1.json","state":"changed"}`) ||
		!strings.Contains(out, `{"file":"schemas/souk.orders.Gone.v1.json","state":"of no contract"}`) {
		t.Errorf("exit %d\n%s", code, out)
	}
}
