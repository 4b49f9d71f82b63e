package arch

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
)

// floors are the oldest versions without known holes of what listens (FAILURES 46), by module and by the go.mod that names it. Of SQLite sqlitestore
// asserts the version when it opens a database, and of a NATS server natsbus when it connects.
var floors = []struct {
	file, module string
	oldest       [3]int
}{
	{"../../go.mod", "google.golang.org/grpc", [3]int{1, 59, 0}},                          // rapid reset
	{"../../go.mod", "golang.org/x/net", [3]int{0, 17, 0}},                                // the same, in HTTP/2
	{"../../tools/servers/go.mod", "github.com/nats-io/nats-server/v2", [3]int{2, 14, 5}}, // natsbus refuses older ones
}

// FAILURES 46: no module is older than its floor. Red when one is taken back behind it.
func TestVersionFloors(t *testing.T) {
	t.Parallel()
	for _, f := range floors {
		text, err := os.ReadFile(f.file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(`(?m)^(?:require)?\s+` + regexp.QuoteMeta(f.module) + ` v(\d+)\.(\d+)\.(\d+)`).FindSubmatch(text)
		if found == nil {
			t.Errorf("%s does not name %s", f.file, f.module)
			continue
		}
		var version [3]int
		for i := range version {
			if _, err := fmt.Sscan(string(found[i+1]), &version[i]); err != nil {
				t.Fatal(err)
			}
		}
		if slices.Compare(version[:], f.oldest[:]) < 0 {
			t.Errorf("%s is %v in %s, and the oldest that may be is %v", f.module, version, f.file, f.oldest)
		}
	}
}
