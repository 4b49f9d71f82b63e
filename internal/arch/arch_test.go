package arch

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestRepository holds all rules over this repository.
func TestRepository(t *testing.T) {
	t.Parallel()
	root := os.DirFS("../..")
	if tree, _ := load(root); tree.module != "example.org/souk" || len(tree.files) < 10 {
		t.Fatalf("read module %q with %d files: not this repository", tree.module, len(tree.files))
	}
	for _, v := range Check(root) {
		t.Error(v)
	}
}

// house is a scratch tree that breaks no rule.
var house = map[string]string{
	"go.mod":                                       "module example.org/souk\n",
	"souk.go":                                      "// Package souk is the program.\npackage souk\n\nimport _ \"example.org/souk/mall/points\"\n",
	"cmd/souk/main.go":                             "// Command souk runs the mall.\npackage main\n\nimport \"example.org/souk\"\n",
	"tools/go.mod":                                 "module example.org/souk/tools\n",
	"tools/util/x.go":                              "package util\n\nfunc init() {}\n",
	"backbone/backbone.go":                         "// Package backbone carries events.\npackage backbone\n\nimport (\n\t\"time\"\n\n\t\"example.org/souk/backbone/driver\"\n)\n\nvar now = time.Now\n",
	"backbone/driver/driver.go":                    "// Package driver is implemented below.\npackage driver\n",
	"backbone/pgstore/store.go":                    "// Package pgstore stores.\npackage pgstore\n\nimport (\n\t\"example.org/souk/backbone\"\n\t\"example.org/souk/backbone/pgstore/wire\"\n\t\"github.com/jackc/pgx/v5/pgxpool\"\n)\n",
	"backbone/pgstore/x_test.go":                   "package pgstore_test\n\nimport (\n\t\"example.org/souk/backbone/pgstore\"\n\t\"example.org/souk/internal/testserver\"\n)\n",
	"backbone/drivertest/suite.go":                 "// Package drivertest is a suite.\npackage drivertest\n\nimport \"testing\"\n\nfunc Run(t *testing.T) {}\n",
	"internal/testserver/start.go":                 "// Package testserver starts servers.\npackage testserver\n\nimport (\n\t\"testing\"\n\t\"time\"\n)\n\nfunc need(t testing.TB) { t.Skip(); time.Sleep(1) }\n",
	"gateway/online/online.go":                     "// Package online is a way in.\npackage online\n\nimport (\n\t\"net/http\"\n\n\t\"example.org/souk/gateway/online/page\"\n\t\"example.org/souk/mall/event\"\n\t\"github.com/danielgtaylor/huma/v2\"\n)\n",
	"gateway/online/page/page.go":                  "// Package page is what people see.\npackage page\n",
	"provider/mail/standin/run.go":                 "// Package standin stands in.\npackage standin\n\nimport (\n\t\"example.org/souk/mall\"\n\t\"example.org/souk/provider/internal/fault\"\n\t\"example.org/souk/provider/mail\"\n)\n",
	"device/gate/gate.go":                          "// Package gate is a device.\npackage gate\n\nimport \"example.org/souk/api/wire\"\n",
	"mall/mall.go":                                 "// Package mall has the shared words.\npackage mall\n",
	"mall/event/wire.go":                           "// Package event has events.\npackage event\n\nconst PaidV1 = \"souk.points.Paid.v1\"\n\ntype Paid struct{}\n\nfunc (Paid) EventType() string { return PaidV1 }\n",
	"mall/event/testdata/souk.points.Paid.v1.json": "{}\n",
	"mall/points/doc.go":                           "// Package points gives points.\n//\n// Decides. Keeps. Handles. Subscribes. Refuses.\npackage points\n",
	"mall/points/service.go":                       "package points\n\nimport (\n\t\"net/url\"\n\t\"time\"\n\n\t\"example.org/souk/backbone\"\n\t\"example.org/souk/mall/event\"\n)\n\nvar day = 24 * time.Hour\n",
	"mall/points/account.go":                       "package points\n\nimport \"example.org/souk/backbone\"\n\nvar account = &backbone.Aggregate[int]{}\n",
	"mall/points/views.go": "package points\n\nconst award = `INSERT INTO {points} AS p (customer, points) SELECT customer, 1 FROM {customers}, {cards} c\n" +
		"JOIN json_each($1) ON true WHERE name IS DISTINCT FROM 'x' ON CONFLICT (customer) DO UPDATE SET points = p.points`\n\n" +
		"const last = `WITH newest (id) AS (SELECT max(id) FROM {points}) SELECT * FROM newest FOR UPDATE SKIP LOCKED`\n\n" +
		"const prose = \"an update from nobody\"\n",
	"mall/points/service_test.go":       "package points\n\nimport (\n\t\"os\"\n\t\"testing\"\n\n\t\"example.org/souk/backbone/backbonetest\"\n\t\"pgregory.net/rapid\"\n)\n\nfunc TestX(t *testing.T) {}\n",
	"mall/points/migrations/0001_x.sql": "-- +goose Up\nCREATE TABLE IF NOT EXISTS {points} (customer TEXT REFERENCES {customers} ON UPDATE CASCADE);\nCREATE INDEX {points}_by ON {points} (customer);\n",
	"test/flow_test.go":                 "// Package test tries the mall from end to end.\npackage test\n\nimport \"example.org/souk/internal/demo\"\n",
}

func TestARightHouseBreaksNoRule(t *testing.T) {
	t.Parallel()
	for _, v := range Check(scratch(nil)) {
		t.Error(v)
	}
}

// TestRulesCatch breaks each rule on purpose. A case adds or replaces files of the right house ("" removes one), and
// wants its rule to catch just those.
func TestRulesCatch(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, rule string
		files      map[string]string
		want       []string // the start of each violation
	}{
		{"a file that does not parse", "parse", map[string]string{"mall/broken.go": "package"}, []string{"mall/broken.go: "}},
		{"a tree without a module", "parse", map[string]string{"go.mod": "go 1.26\n"}, []string{"go.mod: "}},

		{"a package without a row", "imports", map[string]string{"backbone/pigeon/x.go": "// Package pigeon flies.\npackage pigeon\n"}, []string{"backbone/pigeon: the package has no row"}},
		{"a folder of a new kind", "imports", map[string]string{"plugin/x.go": "// Package plugin is new.\npackage plugin\n"}, []string{"plugin: the package has no row"}},
		{"backbone with a client library", "imports", using("backbone/x.go", "backbone", "github.com/jackc/pgx/v5"), []string{"backbone/x.go:3: backbone may not import github.com/jackc/pgx/v5"}},
		{"backbone with its own store", "imports", using("backbone/x.go", "backbone", "example.org/souk/backbone/pgstore"), []string{"backbone/x.go:3"}},
		{"driver with backbone", "imports", using("backbone/driver/x.go", "driver", "example.org/souk/backbone"), []string{"backbone/driver/x.go:3"}},
		{"a driver with another's client", "imports", using("backbone/pgstore/x.go", "pgstore", "modernc.org/sqlite"), []string{"backbone/pgstore/x.go:3"}},
		{"a driver with another driver", "imports", using("backbone/pgstore/x.go", "pgstore", "example.org/souk/backbone/sqlitestore"), []string{"backbone/pgstore/x.go:3"}},
		{"a test of a driver with a service", "imports", using("backbone/pgstore/y_test.go", "pgstore", "example.org/souk/mall/points"), []string{"backbone/pgstore/y_test.go:3"}},
		{"shared words with the backbone", "imports", using("mall/x.go", "mall", "example.org/souk/backbone"), []string{"mall/x.go:3"}},
		{"an event with a command", "imports", using("mall/event/x.go", "event", "example.org/souk/mall/command"), []string{"mall/event/x.go:3"}},
		{"a service with another service", "imports", using("mall/points/views.go", "points", "example.org/souk/mall/orders"), []string{"mall/points/views.go:3: mall/points may not import example.org/souk/mall/orders"}},
		{"a service with a gateway", "imports", using("mall/points/views.go", "points", "example.org/souk/gateway/online"), []string{"mall/points/views.go:3"}},
		{"a service with a driver", "imports", using("mall/points/views.go", "points", "example.org/souk/backbone/sqlitestore"), []string{"mall/points/views.go:3"}},
		{"a service with someone's library", "imports", using("mall/points/views.go", "points", "github.com/google/uuid"), []string{"mall/points/views.go:3"}},
		{"a kit outside tests", "imports", using("mall/points/views.go", "points", "example.org/souk/backbone/backbonetest"), []string{"mall/points/views.go:3"}},
		{"a gateway with another gateway", "imports", using("gateway/online/x.go", "online", "example.org/souk/gateway/staff"), []string{"gateway/online/x.go:3"}},
		{"a gateway with a driver", "imports", using("gateway/online/page/x.go", "page", "example.org/souk/backbone/pgstore"), []string{"gateway/online/page/x.go:3"}},
		{"a provider with the backbone", "imports", using("provider/mail/x.go", "mail", "example.org/souk/backbone"), []string{"provider/mail/x.go:3"}},
		{"a provider with another", "imports", using("provider/mail/standin/x.go", "standin", "example.org/souk/provider/payment"), []string{"provider/mail/standin/x.go:3"}},
		{"a device with the mall", "imports", using("device/gate/x.go", "gate", "example.org/souk/mall"), []string{"device/gate/x.go:3"}},
		{"main with more than souk", "imports", using("cmd/souk/x.go", "main", "example.org/souk/internal/cli"), []string{"cmd/souk/x.go:3"}},
		{"the program with its command", "imports", using("x.go", "souk", "example.org/souk/cmd/souk"), []string{"x.go:3"}},

		{"a service without a table", "shape", map[string]string{"mall/points/service.go": ""}, []string{"mall/points: a service has its table"}},
		{"a card with a word missing", "shape", map[string]string{"mall/points/doc.go": "// Package points is. Decides. Keeps. Handles. Subscribes.\npackage points\n"}, []string{"mall/points/doc.go:2: the service's card does not say what it refuses"}},
		{"a file outside the shape", "shape", map[string]string{"mall/points/misc.go": "package points\n"}, []string{"mall/points/misc.go:1"}},
		{"a folder in a service", "shape", map[string]string{"mall/points/sub/README.md": "x"}, []string{"mall/points/sub: "}},
		{"a stray file in a service", "shape", map[string]string{"mall/points/notes.txt": "x"}, []string{"mall/points/notes.txt: "}},
		{"a stray file among migrations", "shape", map[string]string{"mall/points/migrations/x.go.txt": "x"}, []string{"mall/points/migrations/x.go.txt: "}},

		{"a package without a comment", "docs", map[string]string{"backbone/driver/driver.go": "package driver\n"}, []string{"backbone/driver: "}},
		{"a comment on something else", "docs", map[string]string{"backbone/driver/driver.go": "// Licence.\npackage driver\n"}, []string{"backbone/driver: "}},
		{"a program without a comment", "docs", map[string]string{"cmd/souk/main.go": "package main\n"}, []string{"cmd/souk: no file has a comment that begins \"Command \""}},
		{"tests without a comment", "docs", map[string]string{"test/flow_test.go": "package test\n"}, []string{"test: "}},

		{"a service that reads the clock", "calls", map[string]string{"mall/points/views.go": "package points\n\nimport \"time\"\n\nvar x = time.Now()\n"}, []string{"mall/points/views.go:5: nothing in the mall may use time.Now"}},
		{"a clock under another name", "calls", map[string]string{"mall/x.go": "package mall\n\nimport clock \"time\"\n\nfunc f() { clock.Sleep(1) }\n"}, []string{"mall/x.go:5"}},
		{"shared words with the network", "calls", using("mall/x.go", "mall", "net/http"), []string{"mall/x.go:3"}},
		{"shared words with files", "calls", using("mall/x.go", "mall", "os"), []string{"mall/x.go:3"}},
		{"an event with a database", "calls", using("mall/event/x.go", "event", "database/sql"), []string{"mall/event/x.go:3"}},
		{"a service with chance", "calls", using("mall/points/views.go", "points", "math/rand/v2"), []string{"mall/points/views.go:3"}},
		{"a service with better chance", "calls", using("mall/points/views.go", "points", "crypto/rand"), []string{"mall/points/views.go:3"}},
		{"a decision elsewhere with a clock", "calls", map[string]string{"internal/demo/x.go": "// Package demo shows.\npackage demo\n\nimport \"time\"\n\nfunc decideAll() { _ = time.Now() }\n\nfunc run() { _ = time.Now() }\n"}, []string{"internal/demo/x.go:6"}},
		{"an evolution elsewhere with chance", "calls", map[string]string{"internal/demo/x.go": "// Package demo shows.\npackage demo\n\nimport \"math/rand/v2\"\n\nfunc evolve() { rand.Int() }\n"}, []string{"internal/demo/x.go:6"}},

		{"a package that says nothing", "names", map[string]string{"internal/util/x.go": "// Package util is.\npackage util\n"}, []string{"internal/util: "}},
		{"a name that hides in the clause", "names", map[string]string{"internal/shared/x.go": "// Package helpers is.\npackage helpers\n"}, []string{"internal/shared: "}},

		{"a bare table in FROM", "sql", sql("SELECT x FROM orders_log"), []string{"mall/points/views.go:3: SQL names the table orders_log"}},
		{"a bare table in a list", "sql", sql("SELECT x FROM {points} AS p, orders o WHERE 1 = 1"), []string{"mall/points/views.go:3: SQL names the table orders "}},
		{"a bare table in a subquery", "sql", sql("SELECT x FROM (SELECT y FROM orders) z"), []string{"mall/points/views.go:3: SQL names the table orders "}},
		{"a bare table in JOIN", "sql", sql("SELECT x FROM {points} LEFT JOIN orders o ON true"), []string{"mall/points/views.go:3: SQL names the table orders "}},
		{"a bare table in INTO", "sql", sql("INSERT INTO orders (x) VALUES ($1)"), []string{"mall/points/views.go:3: SQL names the table orders "}},
		{"a bare table in UPDATE", "sql", sql("UPDATE orders SET x = 1"), []string{"mall/points/views.go:3: SQL names the table orders "}},
		{"a bare table in DELETE", "sql", sql("DELETE FROM orders WHERE x"), []string{"mall/points/views.go:3: SQL names the table orders "}},
		{"another schema", "sql", sql("SELECT x FROM orders.log"), []string{"mall/points/views.go:3: SQL names the table orders.log"}},
		{"a table put together", "sql", map[string]string{"mall/points/views.go": "package points\n\nfunc f(name string) string { return \"SELECT x FROM \" + name }\n"}, []string{"mall/points/views.go:3: SQL names the table variable"}},
		{"a statement in pieces", "sql", map[string]string{"mall/points/views.go": "package points\n\nvar x = \"SELECT x \" +\n\t\"FROM \" +\n\t\"orders\"\n"}, []string{"mall/points/views.go:3: SQL names the table orders "}},
		{"a table by format", "sql", sql("SELECT x FROM %s"), []string{"mall/points/views.go:3: SQL names the table %s"}},
		{"a bare table in a migration", "sql", map[string]string{"mall/points/migrations/0002_x.sql": "-- FROM nowhere\nCREATE TABLE IF NOT EXISTS points (x TEXT);\n"}, []string{"mall/points/migrations/0002_x.sql: names the table points"}},
		{"a bare reference in a migration", "sql", map[string]string{"mall/points/migrations/0002_x.sql": "CREATE TABLE {a} (x TEXT REFERENCES orders);\n"}, []string{"mall/points/migrations/0002_x.sql: names the table orders"}},
		{"a bare index in a migration", "sql", map[string]string{"mall/points/migrations/0002_x.sql": "CREATE INDEX IF NOT EXISTS by_x ON orders (x);\n"}, []string{"mall/points/migrations/0002_x.sql: names the table orders"}},

		{"a test that skips", "tests", map[string]string{"x_test.go": "package souk\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) { t.Skipf(\"x\") }\n"}, []string{"x_test.go:5: tests do not skip"}},
		{"a test that sleeps", "tests", map[string]string{"x_test.go": "package souk\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n"}, []string{"x_test.go:5: tests do not sleep"}},
		{"a kit that skips", "tests", map[string]string{"backbone/drivertest/x.go": "package drivertest\n\nimport \"testing\"\n\nfunc f(t testing.TB) { t.SkipNow() }\n"}, []string{"backbone/drivertest/x.go:5: tests do not skip"}},

		{"an event without a sample", "samples", map[string]string{"mall/event/testdata/souk.points.Paid.v1.json": ""}, []string{"mall/event/wire.go:8: souk.points.Paid.v1 has no frozen sample"}},
		{"a command without a sample", "samples", map[string]string{"mall/command/x.go": "// Package command has commands.\npackage command\n\nconst PayV1 = \"souk.points.Pay.v1\"\n\ntype Pay struct{}\n\nfunc (Pay) CommandType() string { return PayV1 }\n"}, []string{"mall/command/x.go:8: souk.points.Pay.v1 has no frozen sample"}},
		{"a wire name that is no constant", "samples", map[string]string{"mall/event/x.go": "package event\n\ntype Odd struct{}\n\nfunc (Odd) EventType() string { return \"odd\" }\n"}, []string{"mall/event/x.go:5: EventType must return a constant"}},

		{"a link to nowhere", "links", map[string]string{"docs/a.md": "See [b](b.md#part), [web](https://x.example/y) and\n[c](../gone.md).\n", "docs/b.md": "[a](a.md) ![p](/go.mod) [here](#x)\n```\n[code](nowhere)\n```\n"}, []string{"docs/a.md:2: the link to ../gone.md leads nowhere"}},
		{"a test that is not there", "named", map[string]string{"docs/a.md": "| right | `mall/points` TestX |\n| all | TestX*, TestY*, FuzzX, TestX |\n"}, []string{"docs/a.md:2: there is no test FuzzX", "docs/a.md:2: there is no test TestY*"}},
		{"an init function", "inits", map[string]string{"x.go": "package souk\n\nfunc init() {}\n"}, []string{"x.go:3: "}},
	}
	tried := map[string]bool{"parse": true}
	for _, c := range cases {
		tried[c.rule] = true
		t.Run(c.rule+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, v := range Check(scratch(c.files)) {
				// One mistake may break several rules: a service with the network breaks the table's and the calls'.
				if v.Rule == c.rule {
					got = append(got, v.String())
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("caught %q, want %q", got, c.want)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("caught %q, want %q", got[i], want)
				}
			}
		})
	}
	for rule := range rules {
		if !tried[rule] {
			t.Errorf("no case breaks the rule %q", rule)
		}
	}
}

// TestGeneratedCodeMayInit: protobuf's registers itself.
func TestGeneratedCodeMayInit(t *testing.T) {
	t.Parallel()
	found := Check(scratch(map[string]string{
		"api/souk.pb.go": "// Code generated by protoc-gen-go. DO NOT EDIT.\n\n// Package api is the wire.\npackage api\n\nfunc init() {}\n",
	}))
	if len(found) != 0 {
		t.Error(found)
	}
}

// scratch returns the right house with some files put in, replaced or, where the text is "", removed.
func scratch(files map[string]string) fstest.MapFS {
	all := maps.Clone(house)
	maps.Copy(all, files)
	tree := fstest.MapFS{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] != "" {
			tree[name] = &fstest.MapFile{Data: []byte(all[name])}
		}
	}
	return tree
}

// using is a file with one import, in line 3.
func using(path, pkg, imported string) map[string]string {
	return map[string]string{path: "package " + pkg + "\n\nimport _ \"" + imported + "\"\n"}
}

// sql is a service's file with one statement, in line 3.
func sql(statement string) map[string]string {
	return map[string]string{"mall/points/views.go": "package points\n\nconst x = `" + statement + "`\n"}
}
