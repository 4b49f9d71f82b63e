package testserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // tests look at databases by database/sql, as "pgx"
	"golang.org/x/sys/unix"
)

// Server is a PostgreSQL server as one test sees it. Its methods may fail that test, so call them from the test's own
// goroutine.
type Server struct {
	t   testing.TB
	own bool
	pg  *postgres
}

var sharedPostgres = sync.OnceValues(func() (*postgres, error) {
	space, err := scratch()
	if err != nil {
		return nil, err
	}
	return newPostgres(space.dir, nil)
})

// Postgres returns the PostgreSQL server that the tests of this process share. It flushes to disk like a real one
// (fsync is on) and cannot be killed or paused: see [PostgresOwn] for that, and for a test that leaves a transaction
// open, which holds back clean-up in every database of its server.
func Postgres(t testing.TB) *Server {
	t.Helper()
	need(t, postgresName)
	pg, err := sharedPostgres()
	if err != nil {
		t.Fatal(err)
	}
	return &Server{t: t, pg: pg}
}

// PostgresOwn starts a PostgreSQL server for this test alone, which takes about a second and a half. Settings such as
// "max_connections=20" or "fsync=off" are added to those of every server here.
func PostgresOwn(t testing.TB, settings ...string) *Server {
	t.Helper()
	need(t, postgresName)
	pg, err := newPostgres(scratchDir(t), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("PostgreSQL's log:\n%s", pg.log())
		}
		if err := pg.remove(); err != nil {
			t.Errorf("end the test's PostgreSQL server: %v", err)
		}
	})
	return &Server{t: t, own: true, pg: pg}
}

// URL returns the address of the server's maintenance database, called postgres.
func (s *Server) URL() string { return s.pg.url("postgres") }

// databases numbers the databases of this test process, for names that are new each time.
var databases atomic.Int64

// Database creates an empty database and returns its address. It is dropped when t ends, connections to it and all.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", databases.Add(1))
	// template0, because a copy of template1 fails while anyone is connected to that.
	if err := s.pg.exec("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		t.Fatalf("create a database for %s: %v", t.Name(), err)
	}
	t.Cleanup(func() {
		if s.pg.down.Load() {
			return
		}
		if err := s.pg.exec("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop the database of %s: %v", t.Name(), err)
		}
	})
	return s.pg.url(name)
}

// Psql runs statements with psql, a client that shares no code with ours, on the database of an address, and returns what it wrote: a
// row a line, and what it was refused.
func (s *Server) Psql(t testing.TB, address, statements string) (out, refused string) {
	t.Helper()
	p := Command{Args: []string{filepath.Join(s.pg.bin, "psql"), "-X", "-q", "-A", "-t", address}, Stdin: statements}.Start(t)
	if e := p.Wait(); e.Code != 0 {
		t.Fatalf("psql: %v\n%s", e, p.Stderr())
	}
	return p.Stdout(), p.Stderr()
}

// Dump returns what pg_dump writes of the database of an address: all that it holds, binary columns as hexadecimal digits.
func (s *Server) Dump(t testing.TB, address string) string {
	t.Helper()
	p := Command{Args: []string{filepath.Join(s.pg.bin, "pg_dump"), address}}.Start(t)
	if e := p.Wait(); e.Code != 0 {
		t.Fatalf("pg_dump: %v\n%s", e, p.Stderr())
	}
	return p.Stdout()
}

// Guard has the server ask everybody but the administrator of its address for a password from now on.
func (s *Server) Guard() {
	s.t.Helper()
	s.control("guard", func() error {
		rules := "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
		file := filepath.Join(s.pg.data(), "pg_hba.conf")
		if err := os.WriteFile(file, []byte(rules), 0o600); err != nil { // there is one, and it stays its owner's
			return err
		}
		return s.pg.exec("SELECT pg_reload_conf()")
	})
}

// Kill kills the server with all its processes, as a power cut would, and returns when they are gone.
func (s *Server) Kill() {
	s.t.Helper()
	s.control("kill", s.pg.kill)
}

// Restart starts a killed server again, or kills and starts a running one, on the same port and data. It returns when
// the server answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.control("restart", s.pg.restart)
}

// Pause stops all of the server's processes where they stand: connections stay open and nobody answers.
func (s *Server) Pause() {
	s.t.Helper()
	s.control("pause", s.pg.pause)
}

// Resume lets a paused server go on.
func (s *Server) Resume() {
	s.t.Helper()
	s.control("resume", s.pg.resume)
}

func (s *Server) control(what string, do func() error) {
	s.t.Helper()
	if !s.own {
		s.t.Fatalf("other tests are using this server: to %s one, start it with testserver.PostgresOwn", what)
	}
	if err := do(); err != nil {
		s.t.Fatalf("%s PostgreSQL: %v", what, err)
	}
}

// postgres is one server: a directory with its data, socket and log, and while it runs a process.
type postgres struct {
	bin      string // where its programs are
	dir      string
	port     int
	settings []string
	owner    *syscall.Credential // whom it runs as; nil for whoever runs the test

	// down is set while the server is killed or paused. cmd belongs to the one test that owns the server.
	down atomic.Bool
	cmd  *exec.Cmd
}

func newPostgres(parent string, settings []string) (*postgres, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("PostgreSQL is started for tests on Linux only: its processes are found through /proc")
	}
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "pg-")
	if err != nil {
		return nil, err
	}
	pg := &postgres{bin: bin, dir: dir, settings: settings}
	if err := pg.create(); err != nil {
		return nil, errors.Join(err, pg.remove())
	}
	return pg, nil
}

// findPostgres returns the directory of PostgreSQL's programs; Debian keeps them off PATH, one directory a version.
func findPostgres() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		// A link on PATH says nothing about its neighbours.
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	best, bestVersion := "", 0
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	for _, dir := range dirs {
		version, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		if _, missing := os.Stat(filepath.Join(dir, "initdb")); err == nil && missing == nil && version > bestVersion {
			best, bestVersion = dir, version
		}
	}
	if best == "" {
		return "", errors.New("PostgreSQL's server programs (initdb, postgres) are not installed; install them with: make servers")
	}
	return best, nil
}

// create makes an empty cluster and starts it on a port that is free.
func (pg *postgres) create() error {
	if os.Geteuid() == 0 {
		// PostgreSQL refuses to run as root.
		owner, err := credentialOf("postgres")
		if err != nil {
			return err
		}
		pg.owner = owner
		if err := os.Chown(pg.dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	// --no-sync leaves out the flush of the new, empty cluster only.
	initdb := pg.command("initdb", "-D", pg.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	var err error
	for range 5 {
		if pg.port, err = freePort(); err != nil {
			return err
		}
		// Between the look for a free port and its use, somebody else may have taken it.
		if err = pg.start(); !errors.Is(err, errEnded) {
			return err
		}
	}
	return err
}

func (pg *postgres) data() string { return filepath.Join(pg.dir, "data") }

func (pg *postgres) log() string {
	text, err := os.ReadFile(filepath.Join(pg.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text))
}

func (pg *postgres) url(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Host:     fmt.Sprintf("127.0.0.1:%d", pg.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// command returns one of PostgreSQL's programs, to be run by the server's user in the server's directory.
func (pg *postgres) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(pg.bin, program), args...)
	cmd.Dir = pg.dir
	// SIGQUIT is PostgreSQL's immediate shutdown: unlike a SIGKILL it ends the server's other processes too and gives
	// back its System V memory, which the kernel would otherwise keep.
	cmd.SysProcAttr = ofItsOwnGroup(syscall.SIGQUIT)
	cmd.SysProcAttr.Credential = pg.owner
	return cmd
}

var errEnded = errors.New("PostgreSQL ended as soon as it was started")

// start starts the server and waits until it answers.
func (pg *postgres) start() error {
	args := []string{
		"-D", pg.data(),
		"-p", strconv.Itoa(pg.port),
		"-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=" + pg.dir,
		"-c", "max_connections=200",
		// In files of the data directory, which are removed whatever happens, and not in /dev/shm.
		"-c", "dynamic_shared_memory_type=mmap",
	}
	for _, setting := range pg.settings {
		args = append(args, "-c", setting)
	}
	log, err := os.OpenFile(filepath.Join(pg.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// The server has its own copy once it is started.
	defer func() { _ = log.Close() }()
	// The output goes to a file and nobody waits for the end in a goroutine: the shared server is never stopped, and
	// a test that counts goroutines must not count its.
	cmd := pg.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	pg.cmd = cmd
	const patience = 3 * patience // what was killed recovers first, on a busy machine for a while
	// Each question has the server begin a process, also while it recovers.
	for wait, deadline := 5*time.Millisecond, time.Now().Add(patience); ; wait = min(2*wait, 100*time.Millisecond) {
		time.Sleep(wait)
		err := pg.exec("SELECT 1")
		if err == nil {
			pg.down.Store(false)
			return nil
		}
		if !alive(cmd.Process.Pid) {
			pg.wait()
			return fmt.Errorf("%w; its log:\n%s", errEnded, pg.log())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("PostgreSQL does not answer after %v: %w; its log:\n%s", patience, err, pg.log())
		}
	}
}

// wait collects the ended server process. Its exit status says nothing that the log does not say better.
func (pg *postgres) wait() {
	_ = pg.cmd.Wait()
	pg.cmd = nil
}

// exec runs one statement in the maintenance database, over a connection of its own.
func (pg *postgres) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, pg.url("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

func (pg *postgres) kill() error {
	if pg.cmd == nil {
		return nil
	}
	pg.down.Store(true)
	members, err := pg.freeze()
	if err != nil {
		return err
	}
	for _, pid := range members {
		if err := send(pid, syscall.SIGKILL); err != nil {
			return err
		}
	}
	pg.wait()
	// What remains of the old server would keep a new one from its shared memory.
	return awaitAll(members, func(pid int) bool { return !alive(pid) })
}

func (pg *postgres) restart() error {
	if err := pg.kill(); err != nil {
		return err
	}
	return pg.start()
}

func (pg *postgres) pause() error {
	if pg.cmd == nil {
		return errors.New("it does not run")
	}
	pg.down.Store(true)
	_, err := pg.freeze()
	return err
}

func (pg *postgres) resume() error {
	if pg.cmd == nil {
		return errors.New("it does not run")
	}
	children, err := childrenOf(pg.cmd.Process.Pid)
	if err != nil {
		return err
	}
	for _, pid := range append(children, pg.cmd.Process.Pid) {
		if err := send(pid, syscall.SIGCONT); err != nil {
			return err
		}
	}
	pg.down.Store(false)
	return nil
}

// freeze stops the server and every process that it has started, and returns their ids. PostgreSQL gives each backend
// a session of its own, so a signal to the process group would reach the first process only; that one is stopped
// before the others are counted, so that none is added meanwhile.
func (pg *postgres) freeze() ([]int, error) {
	main := pg.cmd.Process.Pid
	if err := send(main, syscall.SIGSTOP); err != nil {
		return nil, err
	}
	if err := awaitAll([]int{main}, stopped); err != nil {
		return nil, err
	}
	children, err := childrenOf(main)
	if err != nil {
		return nil, err
	}
	for _, pid := range children {
		if err := send(pid, syscall.SIGSTOP); err != nil {
			return nil, err
		}
	}
	return append(children, main), awaitAll(children, stopped)
}

// remove ends the server and removes its directory.
func (pg *postgres) remove() error {
	var err error
	if pg.cmd != nil {
		pid := pg.cmd.Process.Pid
		err = errors.Join(pg.resume(), send(pid, syscall.SIGQUIT))
		if err == nil {
			err = awaitAll([]int{pid}, func(pid int) bool { return !alive(pid) })
		}
		if err != nil {
			err = errors.Join(err, pg.kill())
		} else {
			pg.wait()
		}
	}
	return errors.Join(err, pg.releaseMemory(), os.RemoveAll(pg.dir))
}

// releaseMemory gives back the System V memory of a server that was killed and not started again. The server's pid
// file names it; one that ended by itself has given it back and removed the file.
func (pg *postgres) releaseMemory() error {
	text, err := os.ReadFile(filepath.Join(pg.data(), "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	const memoryLine = 6 // "key id"
	lines := strings.Split(string(text), "\n")
	if len(lines) <= memoryLine {
		return nil
	}
	fields := strings.Fields(lines[memoryLine])
	if len(fields) != 2 {
		return nil
	}
	id, err := strconv.Atoi(fields[1])
	if err != nil {
		return fmt.Errorf("postmaster.pid: %w", err)
	}
	if _, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("give back PostgreSQL's shared memory: %w", err)
	}
	return nil
}

func send(pid int, signal syscall.Signal) error {
	if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to process %d: %w", signal, pid, err)
	}
	return nil
}

// awaitAll waits until ready holds for every process.
func awaitAll(pids []int, ready func(pid int) bool) error {
	deadline := time.Now().Add(patience)
	for _, pid := range pids {
		for !ready(pid) {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d has not followed its signal within %v", pid, patience)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}
