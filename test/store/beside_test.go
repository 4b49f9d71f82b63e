package store

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.org/souk/internal/control"
	"example.org/souk/internal/testserver"
)

// released is the commit of the version before this one.
const released = "80436caf0ade5e9b6d20dc7aa61c7f4bcd242e53"

// releasedSource is what git archive makes of that commit. It is kept, since a clone need not reach back so far.
const releasedSource = "testdata/histories/0.1.0/source.tar.gz"

// releasedProgram builds a program of the version before this one, from its commit. Files that the program needs and the commit lacks
// are added by their path in the repository.
func releasedProgram(t *testing.T, pkg string, added map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	packed, err := os.Open(releasedSource)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	commit := exec.Command("git", "get-tar-commit-id")
	commit.Stdin = bytes.NewReader(tree)
	if out, err := commit.Output(); err != nil || strings.TrimSpace(string(out)) != released {
		t.Fatalf("%s is of commit %q, %v; make it with: git archive %s | gzip -9n", releasedSource, out, err, released)
	}
	run := func(stdin []byte, program string, args ...string) {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
	}
	run(tree, "tar", "x")
	for path, from := range added {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Without the paths of the directory, which is another each time, nothing that was built before is built again.
	run(nil, "go", "build", "-trimpath", "-o", "released", pkg)
	return filepath.Join(dir, "released")
}

// besideProgram builds a program that runs services of the version before on PostgreSQL.
func besideProgram(t *testing.T) string {
	t.Helper()
	return releasedProgram(t, "./beside", map[string]string{
		"beside/main.go": "testdata/beside/main.go", "internal/house/beside.go": "testdata/beside/house/beside.go",
	})
}

// F7: the version before and this one run on one data directory by turns, each killed under load, with orders in flight that the
// other takes to their end. Red when the tables want of a saga what the version before does not write.
func TestF7_ReleasedByTurns(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	before, now := releasedProgram(t, "./cmd/souk", nil), program(t)
	out := startOutside(t, now)
	m := startWith(t, out, before, t.TempDir(), nil)
	m.seed()
	for _, product := range []string{"PRODUCT_001", "PRODUCT_002"} {
		m.souk("stock", "receive", product, "2000")
	}
	for n := range 40 {
		m.authorize(prepaid(n), customerOf(n), "5.00")
	}
	m.idle()
	ids, pending := []string(nil), 0
	for turn, word := range []string{"before-1", "now-1", "before-2", "now-2", "before-3"} {
		if m.binary = now; strings.HasPrefix(word, "before") {
			m.binary = before
		}
		m.beginWhatEnded()
		accepted := m.loadOf(t, 4, 200, func(n int) (id, body string) {
			id, body = numbered(word)(n)
			if n < 8 {
				body = paidBy(prepaid(turn*8+n), order(id, customerOf(turn*8+n), item{"PRODUCT_002", 5, 1}))
			}
			if m.binary == now && n > inFlight {
				earlier, _ := numbered(word)(n - inFlight)
				m.awaitEnd(earlier)
			}
			return id, body
		})
		early, _ := numbered(word)(11)
		m.awaitStatus(early, "APPROVED") // this program brings orders to their end, too
		m.proc.Kill9()
		ids = append(ids, accepted()...)
		pending += statuses(t, m.dir)["PENDING"]
	}
	if pending == 0 {
		t.Error("no order was in flight when a program was killed")
	}
	m.binary = now
	m.beginWhatEnded()
	m.redriveUnknown()
	m.accountFor(m.holdsRebuilt(), ids)
}

// inFlight is how many orders of this version are under way when it is killed, at most. Eight messages in a row that cannot be handled are to
// the version before a sign that all are, and it tries one at a time from then on, up to a minute apart.
const inFlight = 4

// awaitEnd waits until an order is no longer under way, or nobody is there to ask.
func (m *mall) awaitEnd(id string) {
	missing := 0
	ended := testserver.Await(m.t.Context(), time.Minute, func() bool {
		code, answer := m.call("GET", "/order/"+id, "")
		var shown struct {
			Status string `json:"status"`
		}
		if code == http.StatusOK {
			if err := json.Unmarshal([]byte(answer), &shown); err != nil {
				m.t.Error(err)
			}
		}
		if code == http.StatusNotFound {
			missing++
		}
		refused := missing > 200 // what was accepted is shown sooner
		return code == 0 || refused || code == http.StatusOK && shown.Status != "PENDING"
	})
	if !ended {
		m.t.Errorf("order %s is under way for a minute", id)
	}
}

// redriveUnknown has what the version before has parked, since it does not know it or the saga that it moves, tried by this one, as its
// operator would. Nothing else may be parked.
func (m *mall) redriveUnknown() {
	m.t.Helper()
	err := control.Call(m.t.Context(), control.Mall{Data: m.dir, DB: m.db}, "dlq list", nil, func(row json.RawMessage) error {
		var head struct{ Service, Key, Cause string }
		if err := json.Unmarshal(row, &head); err != nil {
			return err
		}
		if !strings.Contains(head.Cause, "is not handled by service") && !strings.HasSuffix(head.Cause, "is newer than version 1, which is the newest this program reads") {
			m.t.Errorf("%s has parked %s: %s", head.Service, head.Key, head.Cause)
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.redriveAll()
}

// accountFor fails the test where an order that was accepted is gone.
func (m *mall) accountFor(k kept, ids []string) {
	m.t.Helper()
	if len(ids) == 0 {
		m.t.Error("nothing was accepted")
	}
	for _, id := range ids {
		if _, found := k.placed[id]; !found {
			m.t.Errorf("order %s was accepted and is gone", id)
		}
	}
}

// F7: the version before runs services beside processes of this one, on one PostgreSQL database, and each is killed under load: what
// the one begins the other ends, and nothing happens twice. The orders service is this version's: the version before takes itself for the
// only one that moves a saga and numbers a feed, and does not read the log in which the online store takes orders in. Red when it runs orders
// beside this version's.
func TestF7_ReleasedBeside(t *testing.T) {
	t.Parallel()
	if !proving(t) {
		return
	}
	before := besideProgram(t)
	server := testserver.PostgresOwn(t)
	db := server.Database(t)
	both := []string{"inventory", "customers", "stores", "payments"}
	begin := func(services ...string) *testserver.Process {
		p := testserver.Start(t, append([]string{before, db}, services...)...)
		p.WaitLine("ready")
		return p
	}
	earlier := begin(both...) // it is there first: its tables are brought up to date under it
	m := split(t, program(t), t.TempDir(), db, []string{"online keys notifications analytics depot baskets search", strings.Join(both, " "), "orders"})
	m.seed()
	for _, product := range []string{"PRODUCT_001", "PRODUCT_002"} {
		m.souk("stock", "receive", product, "2000")
	}
	var ids []string
	shared := func(word string, kill func()) {
		t.Helper()
		await(t, "both versions have a share", func() bool {
			owners := rowsOf(t, db, `SELECT DISTINCT owner FROM inventory.bb_checkpoint WHERE subscription = 'inventory' AND owner <> ''`)
			return len(owners) > 1 && slices.Contains(owners, earlierOwner)
		})
		accepted := m.loadOf(t, 4, 150, numbered(word))
		earlier.WaitLine("settled 20")
		kill()
		ids = append(ids, accepted()...)
	}
	for _, round := range []string{"1", "2"} {
		shared("before-"+round, func() {
			earlier.Kill9()
			earlier = begin(both...)
		})
		shared("now-"+round, func() {
			m.of("inventory").proc.Kill9()
			m.beginWhatEnded()
		})
	}
	m.settle()
	earlier.Signal(syscall.SIGTERM)
	if e := earlier.Wait(); e.Code != 0 {
		t.Errorf("the version before ended with %v\n%s", e, earlier.Stderr())
	}
	m.redriveUnknown()
	m.settle()
	m.stop()
	at := m.place()
	at.forked, at.rebuild = both, true
	m.accountFor(report(t, at, nil, true), ids)
}

// earlierOwner is how leases know the program in testdata/beside.
const earlierOwner = "beside"
