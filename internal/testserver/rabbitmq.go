package testserver

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// RabbitServer is a RabbitMQ server as one test sees it. Its methods may fail that test, so call them from the test's
// own goroutine.
type RabbitServer struct {
	t     testing.TB
	own   bool
	given string // the address of a server that somebody else runs
	rmq   *rabbit
}

// rabbitEnv names the address of a RabbitMQ server that tests use instead of starting one, where they do not kill it.
const rabbitEnv = "SOUK_TEST_RABBITMQ"

var sharedRabbit = sync.OnceValues(func() (*rabbit, error) {
	space, err := scratch()
	if err != nil {
		return nil, err
	}
	return newRabbit(space.dir, nil)
})

// Rabbit returns the RabbitMQ server that the tests of this process share; to start it takes some ten seconds. Tests
// take names of their own for what they declare there. It cannot be killed or paused: see [RabbitOwn]. The environment
// variable SOUK_TEST_RABBITMQ, an amqp address, has the tests use that server instead.
func Rabbit(t testing.TB) *RabbitServer {
	t.Helper()
	need(t, rabbitName)
	if given := os.Getenv(rabbitEnv); given != "" {
		return &RabbitServer{t: t, given: given}
	}
	rmq, err := sharedRabbit()
	if err != nil {
		t.Fatal(err)
	}
	return &RabbitServer{t: t, rmq: rmq}
}

// RabbitOwn starts a RabbitMQ server for this test alone, which takes some ten seconds: tests that need one are better
// parts of one test. Settings such as "channel_max = 20" are lines of its rabbitmq.conf.
func RabbitOwn(t testing.TB, settings ...string) *RabbitServer {
	t.Helper()
	need(t, rabbitName)
	rmq, err := newRabbit(scratchDir(t), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("RabbitMQ's log:\n%s", rmq.log())
		}
		if err := rmq.remove(); err != nil {
			t.Errorf("end the test's RabbitMQ server: %v", err)
		}
	})
	return &RabbitServer{t: t, own: true, rmq: rmq}
}

// RabbitOwnOrGiven returns the server that SOUK_TEST_RABBITMQ names, and where it names none one as [RabbitOwn] starts it.
func RabbitOwnOrGiven(t testing.TB) *RabbitServer {
	t.Helper()
	if os.Getenv(rabbitEnv) != "" {
		return Rabbit(t)
	}
	return RabbitOwn(t)
}

// Own reports whether the server is this test's to kill, pause and empty.
func (s *RabbitServer) Own() bool { return s.own }

// URL returns the server's address, as RabbitMQ's clients take it, with the password that every new server has.
func (s *RabbitServer) URL() string {
	if s.given != "" {
		return s.given
	}
	return fmt.Sprintf("amqp://guest:guest@%s/", s.rmq.addr())
}

// Addr returns the host:port that the server listens on.
func (s *RabbitServer) Addr() string {
	s.t.Helper()
	if s.given == "" {
		return s.rmq.addr()
	}
	u, err := url.Parse(s.given)
	if err != nil {
		s.t.Fatalf("%s: %v", rabbitEnv, err)
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "5672")
	}
	return u.Host
}

// Kill kills the server, as a power cut would, and returns when it is gone.
func (s *RabbitServer) Kill() {
	s.t.Helper()
	s.control("kill", func() error { return s.rmq.kill() })
}

// Restart starts a killed server again, or kills and starts a running one, on the same port and data. It returns when
// the server answers.
func (s *RabbitServer) Restart() {
	s.t.Helper()
	s.control("restart", func() error { return s.rmq.restart() })
}

// Pause stops the server where it stands: connections stay open and nobody answers.
func (s *RabbitServer) Pause() {
	s.t.Helper()
	s.control("pause", func() error { return s.rmq.pause() })
}

// Resume lets a paused server go on.
func (s *RabbitServer) Resume() {
	s.t.Helper()
	s.control("resume", func() error { return s.rmq.resume() })
}

// Flushed waits until a killed server would know its quorum queues again. RabbitMQ 3.10 keeps the names of such queues in
// a file that it writes seconds later: a queue whose server is killed before that is there and answers nothing any more.
func (s *RabbitServer) Flushed() {
	s.t.Helper()
	var queues []string
	for line := range strings.Lines(s.Control("--quiet", "list_queues", "--no-table-headers", "name", "type")) {
		if name, kind, _ := strings.Cut(strings.TrimSpace(line), "\t"); kind == "quorum" {
			queues = append(queues, name)
		}
	}
	s.control("look into", func() error {
		names := filepath.Join(s.rmq.dir, "data", "souk@localhost", "quorum", "souk@localhost", "names.dets")
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			text, err := os.ReadFile(names)
			missing := ""
			for _, q := range queues {
				// As an atom of Erlang stands in a file: its length, the virtual host, and the name.
				name := "%2F_" + q
				if len(name) < 256 && !bytes.Contains(text, append([]byte{byte(len(name))}, name...)) {
					missing = q
				}
			}
			if err == nil && missing == "" {
				return nil
			}
			if time.Now().After(deadline) {
				return errors.Join(fmt.Errorf("%s does not name the queue %s after %v", names, missing, patience), err)
			}
		}
	})
}

// Control runs rabbitmqctl with these arguments against the server, which takes a second or two, and returns what it
// says.
func (s *RabbitServer) Control(args ...string) string {
	s.t.Helper()
	var said string
	s.control("change", func() error {
		out, err := s.rmq.command("rabbitmqctl", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("rabbitmqctl %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		said = string(out)
		return nil
	})
	return said
}

// Forget kills the server and starts it on the same port with nothing of what it had.
func (s *RabbitServer) Forget() {
	s.t.Helper()
	s.control("empty", func() error {
		return errors.Join(s.rmq.kill(), os.RemoveAll(filepath.Join(s.rmq.dir, "data")), s.rmq.start())
	})
}

func (s *RabbitServer) control(what string, do func() error) {
	s.t.Helper()
	if !s.own {
		s.t.Fatalf("other tests are using this server: to %s one, start it with testserver.RabbitOwn", what)
	}
	if err := do(); err != nil {
		s.t.Fatalf("%s RabbitMQ: %v", what, err)
	}
}

// rabbit is one server: a directory with its data, settings and log, and while it runs two processes, the server and
// the daemon that Erlang's nodes find each other through.
type rabbit struct {
	home string // where its programs are
	dir  string
	port int
	// What the server and its daemon listen on as an Erlang node.
	distPort, epmdPort int

	cmd, epmd *exec.Cmd
}

func newRabbit(parent string, settings []string) (*rabbit, error) {
	if runtime.GOOS != "linux" {
		return nil, errors.New("RabbitMQ is started for tests on Linux only: its state is seen through /proc")
	}
	home, err := findRabbit()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "rabbitmq-")
	if err != nil {
		return nil, err
	}
	r := &rabbit{home: home, dir: dir}
	for range 5 {
		if err = r.create(settings); err == nil {
			err = r.start()
		}
		// Between the look for a free port and its use, somebody else may have taken it.
		if !errors.Is(err, errRabbitEnded) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, r.remove())
	}
	return r, nil
}

// findRabbit returns the directory that RabbitMQ is installed in: the programs on PATH are wrappers that change the
// user and read settings of the machine.
func findRabbit() (string, error) {
	missing := errors.New("RabbitMQ (rabbitmq-server) is not installed; install it with: make servers")
	found, err := filepath.Glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
	if err != nil || len(found) == 0 {
		return "", errors.Join(missing, err)
	}
	return filepath.Dir(filepath.Dir(found[len(found)-1])), nil
}

// create writes the settings of a server on ports that are free.
func (r *rabbit) create(settings []string) error {
	for _, port := range []*int{&r.port, &r.distPort, &r.epmdPort} {
		var err error
		if *port, err = freePort(); err != nil {
			return err
		}
	}
	lines := append([]string{
		"listeners.tcp.1 = " + r.addr(),
		"log.console = false",
		// The disk of a test machine is not the server's to judge.
		"disk_free_limit.absolute = 1MB",
	}, settings...)
	for name, text := range map[string]string{
		"rabbitmq.conf":   strings.Join(lines, "\n") + "\n",
		"enabled_plugins": "[].\n",
		".erlang.cookie":  "souk-tests",
	} {
		path := filepath.Join(r.dir, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o400); err != nil {
			return err
		}
	}
	return nil
}

func (r *rabbit) addr() string { return fmt.Sprintf("127.0.0.1:%d", r.port) }

func (r *rabbit) log() string {
	var all []string
	for _, name := range []string{"out", "log/souk@localhost.log"} {
		text, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(name)))
		if err != nil {
			text = []byte(err.Error())
		}
		all = append(all, lastLines(string(text)))
	}
	return strings.Join(all, "\n")
}

// command returns one of RabbitMQ's programs, with all that would otherwise come from the machine's settings.
func (r *rabbit) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(r.home, "sbin", program), args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(),
		"HOME="+r.dir,
		"RABBITMQ_HOME="+r.home,
		"RABBITMQ_NODENAME=souk@localhost",
		"RABBITMQ_CONF_ENV_FILE="+filepath.Join(r.dir, "none"),
		"RABBITMQ_CONFIG_FILE="+filepath.Join(r.dir, "rabbitmq"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(r.dir, "enabled_plugins"),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(r.dir, "data"),
		"RABBITMQ_LOG_BASE="+filepath.Join(r.dir, "log"),
		"RABBITMQ_PID_FILE="+filepath.Join(r.dir, "pid"),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(r.distPort),
		"ERL_EPMD_PORT="+strconv.Itoa(r.epmdPort),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		// The script then becomes the server instead of minding it, so that what is killed and paused is the server.
		"RABBITMQ_ALLOW_INPUT=1",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput -kernel inet_dist_use_interface {127,0,0,1}",
	)
	cmd.SysProcAttr = ofItsOwnGroup(syscall.SIGKILL)
	return cmd
}

var errRabbitEnded = errors.New("RabbitMQ ended as soon as it was started")

// start starts the server and waits until it answers. The output goes to a file and nobody waits for the end in a
// goroutine, as with PostgreSQL.
func (r *rabbit) start() error {
	out, err := os.OpenFile(filepath.Join(r.dir, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// The processes have their own copies once they are started.
	defer func() { _ = out.Close() }()
	if r.epmd == nil {
		// A server that finds none starts one that outlives it.
		epmd := exec.Command("epmd", "-address", "127.0.0.1", "-port", strconv.Itoa(r.epmdPort))
		epmd.SysProcAttr = ofItsOwnGroup(syscall.SIGKILL)
		epmd.Stdout, epmd.Stderr = out, out
		if err := epmd.Start(); err != nil {
			return err
		}
		r.epmd = epmd
		if err := r.await(r.epmd, func() bool { return listens(fmt.Sprintf("127.0.0.1:%d", r.epmdPort)) }); err != nil {
			return errors.Join(err, r.kill(), r.endEpmd())
		}
	}
	cmd := r.command("rabbitmq-server")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	r.cmd = cmd
	if err := r.await(cmd, func() bool { return greets(r.addr()) }); err != nil {
		return errors.Join(err, r.kill(), r.endEpmd())
	}
	return nil
}

// await waits until ready holds, or the process has ended.
func (r *rabbit) await(cmd *exec.Cmd, ready func() bool) error {
	const patience = 3 * patience // a start is half a minute's work for a busy machine
	for deadline := time.Now().Add(patience); !ready(); time.Sleep(20 * time.Millisecond) {
		if !alive(cmd.Process.Pid) {
			return fmt.Errorf("%w; its log:\n%s", errRabbitEnded, r.log())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("RabbitMQ does not answer after %v; its log:\n%s", patience, r.log())
		}
	}
	return nil
}

func listens(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// greets tells whether a server at an address answers the first bytes of the protocol.
func greets(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return false
	}
	if _, err := conn.Write([]byte("AMQP\x00\x00\x09\x01")); err != nil {
		return false
	}
	var first [1]byte
	n, err := conn.Read(first[:])
	return err == nil && n == 1 && first[0] == 1 // a method frame: connection.start
}

func (r *rabbit) kill() error {
	if r.cmd == nil {
		return nil
	}
	pid := r.cmd.Process.Pid
	children, err := childrenOf(pid)
	if err != nil {
		return err
	}
	if err := send(-pid, syscall.SIGKILL); err != nil {
		return err
	}
	// Its exit status says nothing that the log does not say better.
	_ = r.cmd.Wait()
	r.cmd = nil
	// What the server itself has started ends when its end of a pipe closes.
	return awaitAll(children, func(pid int) bool { return !alive(pid) })
}

func (r *rabbit) restart() error {
	if err := r.kill(); err != nil {
		return err
	}
	return r.start()
}

func (r *rabbit) pause() error {
	if r.cmd == nil {
		return errors.New("it does not run")
	}
	if err := send(r.cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		return err
	}
	return awaitAll([]int{r.cmd.Process.Pid}, stopped)
}

func (r *rabbit) resume() error {
	if r.cmd == nil {
		return errors.New("it does not run")
	}
	return send(r.cmd.Process.Pid, syscall.SIGCONT)
}

func (r *rabbit) endEpmd() error {
	if r.epmd == nil {
		return nil
	}
	err := send(r.epmd.Process.Pid, syscall.SIGKILL)
	_ = r.epmd.Wait()
	r.epmd = nil
	return err
}

// remove ends the server and removes its directory.
func (r *rabbit) remove() error {
	return errors.Join(r.kill(), r.endEpmd(), os.RemoveAll(r.dir))
}
