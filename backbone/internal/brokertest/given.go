package brokertest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"example.org/souk/backbone/drivertest"
	"example.org/souk/internal/testserver"
)

// Given has the package's TestContract run, in a process of its own and in part, on a server that is named by an environment variable: it uses
// that server, tells its version, and leaves out what would harm it. Where nowhere is an address at which there is no server, it fails there, and
// runs on the server a second time, beside what the first has left.
func Given(t *testing.T, transport, variable, address, nowhere, version string) {
	t.Helper()
	run := func(address, dir string) testserver.Exit {
		return testserver.Command{
			Args: []string{os.Args[0], "-test.run", "^TestContract$/^(OrderPerKey|FromFirst|ServerKilled|ServerForgets)$"},
			Env:  []string{variable + "=" + address, "SOUK_RESULTS=" + dir, "SOUK_PROVE=short"},
		}.Start(t).Wait()
	}
	times := 1
	if nowhere != "" {
		times = 2
		if e := run(nowhere, t.TempDir()); e.Code == 0 {
			t.Errorf("it has passed with %s=%s, where there is no server", variable, nowhere)
		}
	}
	for range times {
		dir := t.TempDir()
		if e := run(address, dir); e.Code != 0 {
			t.Fatalf("on %s: %v", address, e)
		}
		data, err := os.ReadFile(filepath.Join(dir, transport+".json"))
		var r drivertest.Results
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Server != version {
			t.Errorf("the results are of %q, want %q", r.Server, version)
		}
		said := map[string]string{}
		for _, test := range r.Tests {
			said[test.Name] = test.Result
		}
		for name, want := range map[string]string{
			"OrderPerKey": "passed", "FromFirst": "passed", "PublishWhileAway": notOurs, "ServerKilled": notOurs, "ServerPaused": notOurs, "ServerForgets": notOurs,
			"StaleMove": "does not apply",
		} {
			if said[name] != want {
				t.Errorf("%s: %q, want %q", name, said[name], want)
			}
		}
	}
}

const notOurs = "does not apply: the server is not ours"
