package testserver

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// PgBouncer starts a pool of connections to the server for this test alone. mode is session or transaction. It returns what makes
// an address of a database one that goes through the pool.
func (s *Server) PgBouncer(t testing.TB, mode string) func(database string) string {
	t.Helper()
	need(t, pgbouncerName)
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatal("PgBouncer is not installed; install it with: make servers")
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := scratchDir(t)
	config := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = %s
max_client_conn = 1000
default_pool_size = 100
server_round_robin = 1
ignore_startup_parameters = extra_float_digits
logfile = %s
`, s.pg.port, port, filepath.Join(dir, "users"), mode, filepath.Join(dir, "log"))
	for name, text := range map[string]string{"config": config, "users": `"postgres" ""` + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, filepath.Join(dir, "config"))
	cmd.SysProcAttr = ofItsOwnGroup(syscall.SIGKILL)
	if os.Geteuid() == 0 { // it refuses to run as root
		if cmd.SysProcAttr.Credential, err = credentialOf("postgres"); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, int(cmd.SysProcAttr.Credential.Uid), int(cmd.SysProcAttr.Credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "log")) // it only explains
			t.Logf("PgBouncer's log:\n%s", lastLines(string(text)))
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	through := func(database string) string {
		u, err := url.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		u.Host = "127.0.0.1:" + strconv.Itoa(port)
		return u.String()
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := answers(through(s.URL()))
		if err == nil {
			return through
		}
		if time.Now().After(deadline) {
			t.Fatalf("PgBouncer does not answer: %v", err)
		}
	}
}

// answers tells whether a database server can be asked.
func answers(address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return err
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // it has answered
	_, err = conn.Exec(ctx, "SELECT 1")
	return err
}

// credentialOf returns whom a process runs as that runs as a user.
func credentialOf(name string) (*syscall.Credential, error) {
	owner, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("run as another user than root: %w", err)
	}
	uid, err := strconv.ParseUint(owner.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(owner.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
