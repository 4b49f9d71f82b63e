package testmall

import (
	"os"
	"strings"
	"sync"
	"testing"

	"example.org/souk/internal/testserver"
)

// Test is a test that holds in one process, and where every service has one of its own: it meets the mall by its devices, its people, the command line
// and what stands around it, so that it is nothing to it which process does what.
type Test struct {
	Name string
	Test func(*testing.T)
	Long bool // make prove runs it
}

// InProcesses runs tests so that each Mall that they open has every service in a process of its own, on PostgreSQL. Nothing is run unless make
// prove-short asks for it.
func InProcesses(t *testing.T, list []Test) {
	t.Helper()
	if !Proving(t) {
		return
	}
	servers.Store(t.Name(), testserver.PostgresOwn(t, "max_connections=900"))
	for _, e := range list {
		if !e.Long || os.Getenv("SOUK_PROVE") == "full" {
			t.Run(e.Name, e.Test)
		}
	}
}

// servers are the servers of the tests whose parts run with every service in a process of its own, by name.
var servers sync.Map

// Separately returns the server of the test that this one is a part of, nil where its mall is one process.
func Separately(t testing.TB) *testserver.Server {
	top, _, _ := strings.Cut(t.Name(), "/")
	if server, ok := servers.Load(top); ok {
		return server.(*testserver.Server)
	}
	return nil
}

// Proving tells whether what takes a minute is to be shown as well, as make prove-short asks for. What make test leaves out it says.
func Proving(t *testing.T) bool {
	t.Helper()
	asked := os.Getenv("SOUK_PROVE") != ""
	if !asked {
		t.Log("this takes a minute: make prove-short runs it")
	}
	return asked
}
