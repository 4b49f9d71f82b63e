// Package testmall runs a souk for tests that meet it from outside: in one process on SQLite, or with its parts in processes of their own on
// PostgreSQL. A list of tests runs in both ways:
//
//	m := testmall.Open(t, "--basket-hold", "2s") // in the way that the test is run in
//	m.Begin()
//	m.Souk("stock", "receive", "PRODUCT_001", "5")
//	m.Kill9("inventory")
//	m.Begin()
//
//	func TestInProcesses(t *testing.T) { testmall.InProcesses(t, []testmall.Test{{Name: "Restock", Test: TestRestock}}) }
package testmall

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testserver"
)

// Mall is a souk, which runs from Begin on.
type Mall struct {
	T      testing.TB
	Binary string
	Dir    string
	Flags  []string            // of each process
	URL    string              // of the one process
	Proc   *testserver.Process // that one process
	// Of a mall that runs as several processes: their database, the server that it is on, and what runs where.
	DB     string
	Server *testserver.Server
	Parts  []*Part
}

// Part is a process of a mall that runs as several.
type Part struct {
	Runs []string
	Dir  string
	More []string // flags
	URL  string
	Proc *testserver.Process
}

// Singly is every service and gateway of the mall in a process of its own.
func Singly() []string {
	return []string{
		"devices", "entrance", "greeter", "exitgate", "inventory", "fastlane", "logistics", "stores", "customers", "keys", "payments", "notifications", "orders",
		"baskets", "depot", "analytics", "search", "online", "kiosk", "staff", "console",
	}
}

// Open returns a mall that has not begun, in a directory of its own: one process, or with every service in one of its own, as InProcesses says.
func Open(t testing.TB, flags ...string) *Mall {
	t.Helper()
	m := &Mall{T: t, Binary: testserver.Build(t, "example.org/souk/cmd/souk"), Dir: t.TempDir(), Flags: flags}
	if server := Separately(t); server != nil {
		m.Split(server, Singly())
	}
	return m
}

// Split has the mall run as several processes on a database of its own, each with the parts that stand apart by spaces.
func (m *Mall) Split(server *testserver.Server, list []string) {
	m.T.Helper()
	m.Server, m.DB = server, server.Database(m.T)
	for i, runs := range list {
		m.Parts = append(m.Parts, &Part{Runs: strings.Fields(runs), Dir: filepath.Join(m.Dir, strconv.Itoa(i))})
	}
}

// Begin runs souk in test mode until it is ready, again where it ran before; of several processes those that do not run, which it returns.
func (m *Mall) Begin() []*Part {
	m.T.Helper()
	if m.Parts != nil {
		ended := slices.DeleteFunc(slices.Clone(m.Parts), func(p *Part) bool { return p.Proc != nil && !p.Proc.Ended() })
		m.BeginParts(ended...)
		return ended
	}
	m.Proc = testserver.Start(m.T, slices.Concat([]string{m.Binary, "--data", m.Dir, "up", "--http", "127.0.0.1:0", "--test-mode"}, m.Flags)...)
	m.URL = strings.TrimSpace(strings.TrimPrefix(m.Proc.WaitLine("online store"), "online store"))
	m.Proc.WaitLine("ready")
	return nil
}

// BeginParts runs processes side by side, again where they ran before, and waits until they are ready.
func (m *Mall) BeginParts(list ...*Part) {
	m.T.Helper()
	for _, p := range list {
		args := append([]string{m.Binary, "--data", p.Dir, "--db", m.DB, "run"}, p.Runs...)
		p.Proc = testserver.Start(m.T, slices.Concat(args, []string{"--test-mode"}, m.Flags, p.More)...)
	}
	for _, p := range list {
		p.URL = strings.TrimSpace(strings.TrimPrefix(p.Proc.WaitLine("web "), "web"))
		p.Proc.WaitLine("ready")
	}
}

// Of returns the processes that run a part, none where the mall is one process.
func (m *Mall) Of(name string) []*Part {
	return slices.DeleteFunc(slices.Clone(m.Parts), func(p *Part) bool { return !slices.Contains(p.Runs, name) })
}

// At is the address of the pages of the process that runs a part, the first of several.
func (m *Mall) At(name string) string {
	if m.Parts == nil {
		return m.URL
	}
	return m.Of(name)[0].URL
}

// DirOf returns the data directory of the process that runs a part, the first of several.
func (m *Mall) DirOf(name string) string {
	if m.Parts == nil {
		return m.Dir
	}
	return m.Of(name)[0].Dir
}

// Running returns the one process of souk, or those of some of its parts, of all unless some are named.
func (m *Mall) Running(parts ...string) (list []*testserver.Process) {
	if m.Parts == nil {
		return []*testserver.Process{m.Proc}
	}
	for _, p := range m.Parts {
		if len(parts) == 0 || slices.ContainsFunc(parts, func(name string) bool { return slices.Contains(p.Runs, name) }) {
			list = append(list, p.Proc)
		}
	}
	return list
}

// Stop ends souk in good order; where every part has a process of its own, the processes of some, of all unless some are named.
func (m *Mall) Stop(parts ...string) {
	m.T.Helper()
	all := m.Running(parts...)
	for _, p := range all {
		p.Signal(syscall.SIGTERM)
	}
	for _, p := range all {
		if e := p.Wait(); e.Code != 0 {
			m.T.Fatalf("souk ended with %v", e)
		}
	}
}

// Kill9 kills souk; where every part has a process of its own, the processes of some.
func (m *Mall) Kill9(parts ...string) {
	m.T.Helper()
	for _, p := range m.Running(parts...) {
		p.Kill9()
	}
}

// Try runs a command line on the mall, and returns what it printed, with what it complained of where it failed.
func (m *Mall) Try(args ...string) (out string, err error) {
	m.T.Helper()
	line := []string{m.Binary, "--data", m.Dir}
	if m.DB != "" {
		line = append(line, "--db", m.DB)
	}
	p := testserver.Start(m.T, append(line, args...)...)
	if e := p.Wait(); e.Code != 0 {
		return p.Stdout() + p.Stderr(), errors.New(e.String())
	}
	return p.Stdout(), nil
}

// Souk runs a command line that must succeed.
func (m *Mall) Souk(args ...string) string {
	m.T.Helper()
	out, err := m.Try(args...)
	if err != nil {
		m.T.Fatalf("souk %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Idle waits until nothing is in flight, for several minutes where the machine is slow.
func (m *Mall) Idle() {
	m.T.Helper()
	var said error
	for range 6 {
		if said = m.call("wait", control.Args{"timeout": "40s"}, func(json.RawMessage) error { return nil }); said == nil {
			return
		}
	}
	m.T.Fatalf("it does not come to rest: %v", said)
}

// call runs an operation of the command line without a process of its own.
func (m *Mall) call(operation string, args control.Args, emit func(json.RawMessage) error) error {
	return control.Call(m.T.Context(), control.Mall{Data: m.Dir, DB: m.DB}, operation, args, emit)
}

// Rows runs an operation of the command line, which must succeed, without a process of its own, and returns its rows.
func Rows[T any](m *Mall, operation string, args control.Args) (list []T) {
	m.T.Helper()
	err := m.call(operation, args, func(row json.RawMessage) error {
		var v T
		err := json.Unmarshal(row, &v)
		list = append(list, v)
		return err
	})
	if err != nil {
		m.T.Fatalf("%s: %v", operation, err)
	}
	return list
}

// Record is a record of a log.
type Record struct {
	Type   string          `json:"type"`
	Stream string          `json:"stream"`
	Data   json.RawMessage `json:"data"`
}

// Log returns what a service has told, of one type or of all (""), oldest first.
func (m *Mall) Log(service, wire string) []Record {
	m.T.Helper()
	args := control.Args{"service": service, "last": "100000"}
	if wire != "" {
		args["type"] = wire
	}
	return Rows[Record](m, "event tail", args)
}

// Read returns the data of a record.
func Read[E any](m *Mall, r Record) (e E) {
	m.T.Helper()
	if err := json.Unmarshal(r.Data, &e); err != nil {
		m.T.Fatalf("%s: %v", r.Type, err)
	}
	return e
}

// Events returns the data of all events of a type, oldest first.
func Events[E any](m *Mall, wire string) (list []E) {
	m.T.Helper()
	for _, r := range m.Log(strings.Split(wire, ".")[1], wire) {
		list = append(list, Read[E](m, r))
	}
	return list
}
