package testserver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// natsEnv points the tests that share a server at one that runs already.
const natsEnv = "SOUK_TEST_NATS"

// NATSServer is a NATS server with JetStream as one test sees it. Its methods may fail that test, so call them from the
// test's own goroutine.
type NATSServer struct {
	t   testing.TB
	own bool
	n   *natsProcess
}

var sharedNATS = sync.OnceValues(func() (*natsProcess, error) {
	space, err := scratch()
	if err != nil {
		return nil, err
	}
	return newNATS(space.dir, nil)
})

// NATS returns the NATS server that the tests of this process share; what they keep in it they name differently. It
// flushes as one on its defaults does and cannot be killed or paused: see [NATSOwn] for that. SOUK_TEST_NATS, an address
// such as nats://127.0.0.1:4222, has them share a server that runs already.
func NATS(t testing.TB) *NATSServer {
	t.Helper()
	need(t, natsName)
	if url := os.Getenv(natsEnv); url != "" {
		return &NATSServer{t: t, n: &natsProcess{given: url}}
	}
	n, err := sharedNATS()
	if err != nil {
		t.Fatal(err)
	}
	return &NATSServer{t: t, n: n}
}

// NATSOwn starts a NATS server for this test alone, which takes milliseconds. Settings are lines of its configuration,
// such as "max_payload: 64KB"; those that begin with "jetstream ", such as "jetstream sync_interval: always", go to that
// block.
func NATSOwn(t testing.TB, settings ...string) *NATSServer {
	t.Helper()
	need(t, natsName)
	n, err := newNATS(scratchDir(t), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the NATS server's log:\n%s", n.log())
		}
		if err := errors.Join(n.end(syscall.SIGKILL), os.RemoveAll(n.dir)); err != nil {
			t.Errorf("end the test's NATS server: %v", err)
		}
	})
	return &NATSServer{t: t, own: true, n: n}
}

// NATSOwnOrGiven returns the server that SOUK_TEST_NATS names, and where it names none one as [NATSOwn] starts it.
func NATSOwnOrGiven(t testing.TB) *NATSServer {
	t.Helper()
	if os.Getenv(natsEnv) != "" {
		return NATS(t)
	}
	return NATSOwn(t)
}

// Own reports whether the server is this test's to kill, pause and empty.
func (s *NATSServer) Own() bool { return s.own }

// URL returns the server's address as its clients take it.
func (s *NATSServer) URL() string {
	if s.n.given != "" {
		return s.n.given
	}
	return "nats://" + s.Addr()
}

// Addr returns the host:port on which the server listens.
func (s *NATSServer) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.n.port) }

// StoreDir returns the directory in which the server keeps its streams. What it holds while the server is stopped may
// be copied and replaced.
func (s *NATSServer) StoreDir() string { return filepath.Join(s.n.dir, "store") }

// Reload gives the server other settings, which it reads while it runs: whose password has changed is sent away. It returns when the
// server has read them.
func (s *NATSServer) Reload(settings ...string) {
	s.t.Helper()
	s.control("reload", func() error { return s.n.reload(settings) })
}

// Kill kills the server (SIGKILL) and returns when it is gone.
func (s *NATSServer) Kill() {
	s.t.Helper()
	s.control("kill", func() error { return s.n.end(syscall.SIGKILL) })
}

// Stop ends the server in order and returns when it is gone.
func (s *NATSServer) Stop() {
	s.t.Helper()
	s.control("stop", func() error { return s.n.end(syscall.SIGTERM) })
}

// Restart starts a server that was ended again, or kills and starts a running one, on the same port and data. It
// returns when the server answers.
func (s *NATSServer) Restart() {
	s.t.Helper()
	s.control("restart", func() error { return errors.Join(s.n.end(syscall.SIGKILL), s.n.start()) })
}

// Pause stops the server where it stands: connections stay open and nobody answers.
func (s *NATSServer) Pause() {
	s.t.Helper()
	s.control("pause", func() error {
		if s.n.cmd == nil {
			return errors.New("it does not run")
		}
		pid := s.n.cmd.Process.Pid
		return errors.Join(send(pid, syscall.SIGSTOP), awaitAll([]int{pid}, stopped))
	})
}

// Resume lets a paused server go on.
func (s *NATSServer) Resume() {
	s.t.Helper()
	s.control("resume", func() error {
		if s.n.cmd == nil {
			return errors.New("it does not run")
		}
		return send(s.n.cmd.Process.Pid, syscall.SIGCONT)
	})
}

// Forget kills the server and starts it on the same port with nothing of what it had.
func (s *NATSServer) Forget() {
	s.t.Helper()
	s.control("empty", func() error {
		return errors.Join(s.n.end(syscall.SIGKILL), os.RemoveAll(s.StoreDir()), s.n.start())
	})
}

func (s *NATSServer) control(what string, do func() error) {
	s.t.Helper()
	if !s.own {
		s.t.Fatalf("other tests are using this server: to %s one, start it with testserver.NATSOwn", what)
	}
	if err := do(); err != nil {
		s.t.Fatalf("%s the NATS server: %v", what, err)
	}
}

// natsProcess is one server: a directory with its configuration, data and log, and while it runs a process. One that
// was given is somebody else's.
type natsProcess struct {
	given    string
	program  string
	dir      string
	port     int
	settings []string
	// cmd belongs to the one test that owns the server.
	cmd *exec.Cmd
}

func newNATS(parent string, settings []string) (*natsProcess, error) {
	program, err := serverProgram("nats-server")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "nats-")
	if err != nil {
		return nil, err
	}
	n := &natsProcess{program: program, dir: dir, settings: settings}
	for range 5 {
		if n.port, err = freePort(); err != nil {
			break
		}
		// Between the look for a free port and its use, somebody else may have taken it.
		if err = n.start(); !errors.Is(err, errNATSEnded) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, n.end(syscall.SIGKILL), os.RemoveAll(dir))
	}
	return n, nil
}

var errNATSEnded = errors.New("the NATS server ended as soon as it was started")

// write writes the settings and returns the name of their file.
func (n *natsProcess) write() (file string, err error) {
	var top, stream strings.Builder
	for _, setting := range n.settings {
		if inner, ok := strings.CutPrefix(setting, "jetstream "); ok {
			fmt.Fprintf(&stream, "\t%s\n", inner)
		} else {
			fmt.Fprintf(&top, "%s\n", setting)
		}
	}
	config := fmt.Sprintf("listen: \"127.0.0.1:%d\"\nserver_name: test\n%sjetstream {\n\tstore_dir: %q\n%s}\n",
		n.port, top.String(), filepath.Join(n.dir, "store"), stream.String())
	file = filepath.Join(n.dir, "nats.conf")
	return file, os.WriteFile(file, []byte(config), 0o600)
}

// reload writes other settings and waits until the server says that it has read them.
func (n *natsProcess) reload(settings []string) error {
	if n.cmd == nil {
		return errors.New("it does not run")
	}
	n.settings = settings
	log := filepath.Join(n.dir, "log")
	before, err := os.Stat(log)
	if err != nil {
		return err
	}
	if _, err := n.write(); err != nil {
		return err
	}
	if err := send(n.cmd.Process.Pid, syscall.SIGHUP); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		text, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		if strings.Contains(string(text[before.Size():]), reloaded) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the NATS server has not read its settings after %v; its log:\n%s", patience, n.log())
		}
	}
}

// reloaded is what the server says when it has read its settings again.
const reloaded = "Reloaded server configuration"

// start starts the server and waits until it answers.
func (n *natsProcess) start() error {
	file, err := n.write()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// The server has its own copy once it is started.
	defer func() { _ = log.Close() }()
	// The output goes to a file and nobody waits for the end in a goroutine: the shared server is never stopped, and
	// a test that counts goroutines must not count its.
	cmd := exec.Command(n.program, "-c", file)
	cmd.Dir = n.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = ofItsOwnGroup(syscall.SIGKILL)
	if err := cmd.Start(); err != nil {
		return err
	}
	n.cmd = cmd
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		err := n.answers()
		if err == nil {
			return nil
		}
		if !alive(cmd.Process.Pid) {
			n.wait()
			return fmt.Errorf("%w; its log:\n%s", errNATSEnded, n.log())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the NATS server does not answer after %v: %w; its log:\n%s", patience, err, n.log())
		}
	}
}

// answers reads the server's greeting; the server gives it when all its streams are there.
func (n *natsProcess) answers() error {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", n.port), time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "INFO ") {
		err = fmt.Errorf("it says %q", line)
	}
	return err
}

// wait collects the ended server process. Its exit status says nothing that the log does not say better.
func (n *natsProcess) wait() {
	_ = n.cmd.Wait()
	n.cmd = nil
}

// end ends the server by a signal, also one that is paused.
func (n *natsProcess) end(signal syscall.Signal) error {
	if n.cmd == nil {
		return nil
	}
	pid := n.cmd.Process.Pid
	err := errors.Join(send(pid, signal), send(pid, syscall.SIGCONT))
	if err == nil {
		err = awaitAll([]int{pid}, func(pid int) bool { return !alive(pid) })
	}
	if err == nil {
		n.wait()
	}
	return err
}

func (n *natsProcess) log() string {
	text, err := os.ReadFile(filepath.Join(n.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text))
}

// goServers holds the paths of servers that are Go programs, for as long as the test process lives.
var goServers sync.Map // string -> func() (string, error)

// serverProgram returns the path of a server of tools/servers, and builds it where this version is missing.
func serverProgram(name string) (string, error) {
	once, _ := goServers.LoadOrStore(name, sync.OnceValues(func() (string, error) {
		top, err := repositoryTop()
		if err != nil {
			return "", err
		}
		// The go command remembers which files a test looked at, and runs it again for another version of the server.
		for _, file := range []string{"go.mod", "go.sum", filepath.Join(name, "main.go")} {
			if _, err := os.ReadFile(filepath.Join(top, "tools", "servers", file)); err != nil {
				return "", err
			}
		}
		cmd := exec.Command(filepath.Join(top, "scripts", "server"), name)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%s is not there and cannot be built; build it with: make servers: %w\n%s", name, err, stderr.String())
		}
		return strings.TrimSpace(string(out)), nil
	}))
	return once.(func() (string, error))()
}

// repositoryTop returns the folder of this repository: tests run in their package's.
func repositoryTop() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "scripts", "server")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no scripts/server above the directory in which the test runs")
		}
		dir = parent
	}
}

// place numbers what tests keep in a server that they share. It begins with the time, since a server that somebody has
// given still holds what earlier runs left there.
var place = func() *atomic.Int64 {
	var n atomic.Int64
	n.Store(time.Now().UnixMicro())
	return &n
}()

// Name returns a name of letters and digits that no other test uses at this server.
func (s *NATSServer) Name() string { return "t" + strconv.FormatInt(place.Add(1), 36) }
