package store

import (
	"encoding/json"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// copyOf copies the data directory of a mall that has ended, as private as it was.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := os.FileMode(0o600)
		if d.IsDir() {
			mode = 0o700
		}
		return os.Chmod(path, mode)
	}); err != nil {
		t.Fatal(err)
	}
	return to
}

// copied copies what a mall that has ended has kept.
func (p place) copied(t *testing.T) place {
	t.Helper()
	p.dir = copyOf(t, p.dir)
	if p.db != "" {
		databases := p.databases(t)
		p.db = copyDatabase(t, databases[""])
		delete(databases, "")
		for service, db := range databases {
			p.db += "," + service + "=" + copyDatabase(t, db)
		}
	}
	return p
}

// private returns a new directory that nobody else may use.
func private(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// doctor returns the state that each check found, and the exit code.
func doctor(t *testing.T, binary, dir string, args ...string) (states, found map[string]string, code int) {
	t.Helper()
	out, code := souk(t, binary, dir, append([]string{"doctor", "--http", "127.0.0.1:0", "-o", "json"}, args...)...)
	states, found = map[string]string{}, map[string]string{}
	var findings []map[string]string
	if err := json.Unmarshal([]byte(out), &findings); err != nil {
		t.Fatalf("doctor prints %q: %v", out, err)
	}
	for _, f := range findings {
		states[f["check"]], found[f["check"]] = f["state"], f["found"]
		if (f["do"] == "") != (f["state"] == "ok") {
			t.Errorf("%s is %s and says to do %q", f["check"], f["state"], f["do"])
		}
	}
	return states, found, code
}

var checks = []string{
	"directory", "disk", "keys", "port", "clock", "settings", "integrity", "time", "paused", "lag", "parked", "sagas", "seals",
}

// A mall that is well has nothing to hear, whether it runs or not, or was never started.
func TestDoctorFindsNothing(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), private(t)
	well := func(when string, want []string, args ...string) {
		t.Helper()
		states, found, code := doctor(t, binary, dir, args...)
		if code != 0 || len(states) != len(want) {
			t.Errorf("%s: exit %d, %v", when, code, states)
		}
		for _, check := range want {
			if states[check] != "ok" {
				t.Errorf("%s: %s is %q: %s", when, check, states[check], found[check])
			}
		}
	}
	well("before the first start", append(checks[:5:5], "database"))
	m := start(t, binary, dir, nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	well("running", checks)
	well("running, in full", checks, "--full")
	m.proc.Kill9()
	well("killed", checks)
	well("killed, in full", checks, "--full")
	if out, code := souk(t, binary, dir, "doctor", "--http", "127.0.0.1:0"); code != 0 || strings.Contains(out, "…") {
		t.Errorf("as a table: %d\n%s", code, out)
	}
	holds(t, dir)
}

// Each thing that goes wrong is named by its check. What stops a mall is a failure and exit 1; what somebody should look at
// is a warning. Red for each check that is left out.
func TestDoctorNames(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	m.stop()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	mode := func(dir, name string, mode os.FileMode) {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	write := func(dir, name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		check, state, says string
		harm               func(dir string)
		args               []string
	}{
		{"directory", "fail", "others", func(dir string) { mode(dir, ".", 0o755) }, nil},
		{"directory", "fail", "souk.db", func(dir string) { mode(dir, "souk.db", 0o644) }, nil},
		{"keys", "fail", "signing-keys.json", func(dir string) { mode(dir, "keys/signing-keys.json", 0o644) }, nil},
		{"keys", "warn", "no keys", func(dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "keys")); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"port", "fail", "address already in use", func(string) {}, []string{"--http", busy.Addr().String()}},
		{"database", "fail", "not a database", func(dir string) { write(dir, "souk.db", strings.Repeat("no database at all\n", 1000)) }, nil},
		{"tables", "warn", "2 migrations", func(dir string) {
			on(t, dir, `DROP TABLE door_idempotency`, `DELETE FROM door_bb_service_version WHERE version_id > 0`)
		}, nil},
		{"time", "fail", "ahead of the clock", func(dir string) {
			on(t, dir, `UPDATE payments_bb_log SET time = time + 86400000000`, `UPDATE orders_bb_log SET time = time + 86400000000`)
		}, nil},
		{"parked", "warn", "1 keys wait for an operator", func(dir string) {
			on(t, dir, `INSERT INTO notifications_bb_parked (subscription, key, slice, source, id, record, cause, attempts, due, state, time)
				VALUES ('notifications', 'order/x', 0, 'orders', 'x', '{}', 'no reason', 5, 0, 'dead', 1)`)
		}, nil},
		{"paused", "warn", "inventory", func(dir string) {
			if out, code := souk(t, binary, dir, "service", "pause", "inventory"); code != 0 {
				t.Fatal(out)
			}
		}, nil},
		{"sagas", "warn", "checkout ORDER_001", func(dir string) { on(t, dir, `UPDATE orders_bb_saga SET state = 'stuck'`) }, nil},
		{"seals", "fail", "is not what was sealed", func(dir string) {
			on(t, dir, `UPDATE orders_bb_log SET data = replace(data, 'CUSTOMER_001', 'CUSTOMER_002') WHERE type = 'souk.orders.OrderApproved.v1'`)
		}, nil},
		{"seals", "fail", "cut off", func(dir string) {
			write(dir, "seal-orders.json", `{"from": 1, "to": 999999, "count": 1, "hash": "00", "prev": ""}`)
		}, []string{"--full"}},
	} {
		t.Run(c.check+" "+c.says, func(t *testing.T) {
			t.Parallel()
			dir := copyOf(t, dir)
			c.harm(dir)
			states, found, code := doctor(t, binary, dir, c.args...)
			if states[c.check] != c.state || !strings.Contains(found[c.check], c.says) {
				t.Errorf("%s is %q and says %q", c.check, states[c.check], found[c.check])
			}
			if (code == 1) != (c.state == "fail") || code > 1 {
				t.Errorf("exit %d after %v", code, states)
			}
		})
	}
}

// A process that holds the database and does not answer is named, and one that hangs is not waited for.
func TestDoctorMeetsSilence(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), private(t)
	m := start(t, binary, dir, nil)
	m.proc.Signal(syscall.SIGSTOP)
	states, found, code := doctor(t, binary, dir)
	if states["answer"] != "fail" || code != 1 {
		t.Errorf("it hangs: exit %d, %v %v", code, states, found)
	}
	m.proc.Signal(syscall.SIGCONT)
	if err := os.Remove(filepath.Join(dir, "souk.sock")); err != nil {
		t.Fatal(err)
	}
	states, found, code = doctor(t, binary, dir)
	if states["lock"] != "fail" || code != 1 || !strings.Contains(found["lock"], "in use by process") {
		t.Errorf("without a socket: exit %d, %v %v", code, states, found)
	}
	m.stop()
}
