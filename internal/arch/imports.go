package arch

import (
	"path"
	"slices"
	"strings"
)

// Words of the table that stand for many packages; everything else is a folder of this module (with /... for those
// below it too) or, where it has a dot in its first part, another module.
const (
	std        = "standard library"
	pureStd    = "standard library without net, os and database/sql"
	third      = "third party"
	ownSubtree = "own subtree"
	everything = "everything but cmd and test"
	all        = "all"
)

// row says what the packages of a pattern may import. In a pattern * is one part of a path, and /... is everything below.
type row struct {
	packages string
	allowed  []string
}

// table is the allow-list; the first row that matches a package counts. A package without a row fails: whoever adds
// one decides where it stands.
var table = []row{
	{"backbone/driver", []string{std}},
	{"backbone", []string{std, "backbone/driver"}},
	// What the two SQL stores share runs their migrations.
	{"backbone/internal/sqlstore", driver("github.com/pressly/goose/v3")},
	// The world that the tests of several brokers share.
	{"backbone/internal/brokertest", driver("backbone/drivertest", "backbone/pgstore", "internal/testserver")},
	{"backbone/internal/...", driver()},
	{"backbone/drivertest", driver()},
	{"backbone/backbonetest", driver("backbone/sqlitestore", "backbone/membus", "backbone/logbus")},
	{"backbone/sqlitestore", driver("modernc.org/sqlite", "modernc.org/libc", "github.com/pressly/goose/v3")},
	{"backbone/pgstore", driver("github.com/jackc/pgx/v5", "github.com/pressly/goose/v3")},
	{"backbone/logbus", driver()},
	{"backbone/membus", driver()},
	{"backbone/natsbus", driver("github.com/nats-io/nats.go")},
	{"backbone/kafkabus", driver("github.com/twmb/franz-go")},
	{"backbone/rabbitbus", driver("github.com/rabbitmq/amqp091-go")},
	{"backbone/redisbus", driver("github.com/redis/go-redis/v9")},
	{"backbone/mqttbus", driver("github.com/eclipse/paho.golang", "github.com/eclipse/paho.mqtt.golang")},
	{"backbone/sqsbus", driver("github.com/aws/aws-sdk-go-v2")},
	{"backbone/telemetry", driver("go.opentelemetry.io/otel", "github.com/prometheus/client_golang")},
	{"mall", []string{std}},
	{"mall/event", []string{std, "mall"}},
	{"mall/command", []string{std, "mall"}},
	{"mall/*", []string{pureStd, "backbone", "mall", "mall/event", "mall/command"}},
	{"gateway/door/doortest", []string{std}},
	{"gateway/door/hostile", []string{std, "google.golang.org/protobuf"}},
	{"gateway/*/...", []string{std, "backbone", "mall/...", "api/...", "gateway/door", ownSubtree, third}},
	{"provider/internal/...", []string{std, "mall", "provider/internal/...", third}},
	{"provider/*/...", []string{std, "mall", "provider/internal/...", ownSubtree, third}},
	{"device/internal/...", []string{std, "api/...", third}},
	{"device/*/...", []string{std, "api/...", "device/internal/...", ownSubtree, third}},
	{"api/...", []string{std, "api/...", third}},
	{".", []string{everything}},
	{"internal/...", []string{everything}},
	{"cmd/souk", []string{std, "."}},
	{"test/...", []string{all}},
}

// forTests is what _test.go files may import beside what their package may.
var forTests = []string{
	std, "backbone/backbonetest", "backbone/drivertest", "gateway/door/doortest", "gateway/door/hostile", "internal/testserver", "pgregory.net/rapid", "go.uber.org/goleak",
}

// testsOf is what the tests of some packages may import further: a transport runs on databases, and the shared words are
// checked together with the lists that are made of them.
func testsOf(dir string) []string {
	switch {
	case dir == "mall":
		return []string{"mall/event", "mall/command"}
	case strings.HasPrefix(dir, "backbone"):
		return []string{"backbone/sqlitestore", "backbone/pgstore", "backbone/logbus", "backbone/membus", "backbone/driver"}
	}
	return nil
}

// driver is the row of a driver or kit of the backbone: what it stands on, and its own client library.
func driver(client ...string) []string {
	return append([]string{std, "backbone", "backbone/driver", "backbone/internal/...", ownSubtree}, client...)
}

// checkImports holds the allow-list.
func checkImports(t *tree) []Violation {
	var found []Violation
	for _, dir := range t.sortedDirs() {
		r, ok := rowOf(dir)
		if !ok {
			found = append(found, Violation{
				Path: dir, Message: "the package has no row in the import table; decide where it stands and add one to internal/arch",
			})
			continue
		}
		for _, f := range t.dirs[dir] {
			allowed := r.allowed
			if f.test {
				allowed = append(slices.Clone(testsOf(dir)), allowed...)
				// An external test package imports the package that it tests.
				allowed = append(append([]string{dir}, forTests...), allowed...)
			}
			for _, spec := range f.ast.Imports {
				imported := importPath(spec)
				if !t.mayImport(dir, imported, allowed) {
					found = append(found, t.at(f, spec.Pos(), "%s may not import %s; it may import: %s", dir, imported, strings.Join(allowed, ", ")))
				}
			}
		}
	}
	return found
}

func rowOf(dir string) (row, bool) {
	for _, r := range table {
		if matches(r.packages, dir) {
			return r, true
		}
	}
	return row{}, false
}

// matches tells whether a folder fits a pattern of the table.
func matches(pattern, dir string) bool {
	base, deep := strings.CutSuffix(pattern, "/...")
	if deep {
		if n := strings.Count(base, "/"); strings.Count(dir, "/") > n {
			dir = strings.Join(strings.SplitN(dir, "/", n+2)[:n+1], "/")
		}
	}
	ok, err := path.Match(base, dir)
	return ok && err == nil
}

func (t *tree) mayImport(dir, imported string, allowed []string) bool {
	local, isLocal := ".", imported == t.module
	if rest, ok := strings.CutPrefix(imported, t.module+"/"); ok {
		local, isLocal = rest, true
	}
	for _, a := range allowed {
		var ok bool
		switch {
		case a == all:
			ok = true
		case a == everything:
			ok = !isLocal || !under(local, "cmd") && !under(local, "test")
		case a == std:
			ok = standard(imported)
		case a == pureStd:
			ok = standard(imported) && !impure(imported)
		case a == third:
			ok = !isLocal && !standard(imported)
		case a == ownSubtree:
			ok = isLocal && under(local, subtree(dir))
		case isLocal:
			ok = local == a || strings.HasSuffix(a, "/...") && under(local, strings.TrimSuffix(a, "/..."))
		case !standard(a): // another module
			ok = under(imported, a)
		}
		if ok {
			return true
		}
	}
	return false
}

// subtree returns the folder two deep that a package belongs to: gateway/online for gateway/online/page.
func subtree(dir string) string {
	parts := strings.SplitN(dir, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

// impure tells whether a package of the standard library reaches outside. Those below net that only read and write
// addresses do not.
func impure(imported string) bool {
	switch imported {
	case "net/url", "net/mail", "net/netip":
		return false
	}
	return under(imported, "net") || under(imported, "os") || under(imported, "database/sql")
}
