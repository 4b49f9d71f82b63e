package testserver

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// KafkaServer is a server of the Kafka protocol as one test sees it: kfake of franz-go, built from tools/servers. Its
// methods may fail that test, so call them from the test's own goroutine.
type KafkaServer struct {
	t         testing.TB
	own       bool
	addresses []string
	kafka     *kafka // nil for a server that somebody else runs
}

// kafkaEnv names the servers of the Kafka protocol that tests use instead of starting one, where they do not kill it.
const kafkaEnv = "SOUK_TEST_KAFKA"

var sharedKafka = sync.OnceValues(func() (*kafka, error) {
	space, err := scratch()
	if err != nil {
		return nil, err
	}
	return newKafka(space.dir, 1, nil)
})

// Kafka returns the server of the Kafka protocol that the tests of this process share: one broker, which cannot be
// killed or paused; see [KafkaOwn] for that. The environment variable SOUK_TEST_KAFKA, a list of host:port, puts
// somebody's own server in its place: use names that nobody else uses.
func Kafka(t testing.TB) *KafkaServer {
	t.Helper()
	need(t, kafkaName)
	if list := os.Getenv(kafkaEnv); list != "" {
		return &KafkaServer{t: t, addresses: strings.Split(list, ",")}
	}
	k, err := sharedKafka()
	if err != nil {
		t.Fatal(err)
	}
	return &KafkaServer{t: t, addresses: k.addresses(), kafka: k}
}

// KafkaOwn starts a server of the Kafka protocol for this test alone, with that many brokers in one process. Settings
// are those of the brokers, such as "offsets.retention.minutes=1".
func KafkaOwn(t testing.TB, brokers int, settings ...string) *KafkaServer {
	t.Helper()
	need(t, kafkaName)
	k, err := newKafka(scratchDir(t), brokers, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.remove(); err != nil {
			t.Errorf("end the test's Kafka server: %v", err)
		}
	})
	return &KafkaServer{t: t, own: true, addresses: k.addresses(), kafka: k}
}

// KafkaOwnOrGiven returns the server that SOUK_TEST_KAFKA names, and where it names none one of one broker as [KafkaOwn] starts it.
func KafkaOwnOrGiven(t testing.TB) *KafkaServer {
	t.Helper()
	if os.Getenv(kafkaEnv) != "" {
		return Kafka(t)
	}
	return KafkaOwn(t, 1)
}

// Own reports whether the server is this test's to kill, pause and empty.
func (s *KafkaServer) Own() bool { return s.own }

// Build returns the version of the library that the server's program was built from.
func (s *KafkaServer) Build() string {
	s.t.Helper()
	var version string
	s.control("ask", func() error {
		info, err := buildinfo.ReadFile(s.kafka.program)
		if err != nil {
			return err
		}
		for _, m := range info.Deps {
			if m.Path == "github.com/twmb/franz-go" {
				version = strings.TrimPrefix(m.Version, "v")
			}
		}
		if version == "" {
			return errors.New("its program does not say what it was built from")
		}
		return nil
	})
	return version
}

// Kcat runs kcat, a client that shares no code with ours, with these arguments behind the server's address, and returns
// what it wrote to its standard output.
func (s *KafkaServer) Kcat(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("kcat")
	if err != nil {
		if program, err = exec.LookPath("kafkacat"); err != nil {
			t.Fatal("there is no kcat on PATH; install it with: make servers")
		}
	}
	p := Command{
		Args:  append([]string{program, "-b", strings.Join(s.addresses, ",")}, args...),
		Stdin: stdin,
	}.Start(t)
	if exit := p.Wait(); exit != (Exit{}) {
		t.Fatalf("kcat %s: %v\n%s", strings.Join(args, " "), exit, p.Stderr())
	}
	return p.Stdout()
}

// Addresses returns the host:port of each broker.
func (s *KafkaServer) Addresses() []string { return s.addresses }

// Kill kills the server, as a power cut would, but for what the operating system has not yet written.
func (s *KafkaServer) Kill() {
	s.t.Helper()
	s.control("kill", func() error { return s.kafka.kill() })
}

// Restart starts a killed server again, or kills and starts a running one, on the same ports and data. It returns when
// it accepts connections.
func (s *KafkaServer) Restart() {
	s.t.Helper()
	s.control("restart", func() error {
		if err := s.kafka.kill(); err != nil {
			return err
		}
		return s.kafka.start()
	})
}

// Pause stops the server where it stands: connections stay open and nobody answers.
func (s *KafkaServer) Pause() {
	s.t.Helper()
	s.control("pause", func() error {
		if err := send(s.kafka.cmd.Process.Pid, syscall.SIGSTOP); err != nil {
			return err
		}
		return awaitAll([]int{s.kafka.cmd.Process.Pid}, stopped)
	})
}

// Resume lets a paused server go on.
func (s *KafkaServer) Resume() {
	s.t.Helper()
	s.control("resume", func() error { return send(s.kafka.cmd.Process.Pid, syscall.SIGCONT) })
}

// Forget kills the server and starts it on the same ports with nothing of what it had.
func (s *KafkaServer) Forget() {
	s.t.Helper()
	s.control("empty", func() error {
		if err := s.kafka.kill(); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(s.kafka.dir, "data")); err != nil {
			return err
		}
		return s.kafka.start()
	})
}

// LoseTail takes the last batch from a partition of a server that was killed, as a power cut does with what was not
// flushed.
func (s *KafkaServer) LoseTail(topic string, partition int) {
	s.t.Helper()
	s.control("cut the data of", func() error {
		if s.kafka.cmd != nil {
			return errors.New("it runs")
		}
		segments, err := filepath.Glob(filepath.Join(s.kafka.dir, "data", "partitions", fmt.Sprintf("%s-%d", topic, partition), "*.dat"))
		if err != nil || len(segments) == 0 {
			return errors.Join(err, fmt.Errorf("topic %s has no partition %d with data", topic, partition))
		}
		last := segments[len(segments)-1]
		info, err := os.Stat(last)
		if err != nil {
			return err
		}
		// A batch without its last byte is none.
		return os.Truncate(last, info.Size()-1)
	})
}

func (s *KafkaServer) control(what string, do func() error) {
	s.t.Helper()
	if !s.own {
		s.t.Fatalf("other tests are using this server: to %s one, start it with testserver.KafkaOwn", what)
	}
	if err := do(); err != nil {
		s.t.Fatalf("%s the Kafka server: %v", what, err)
	}
}

// kafka is one cluster: a directory with its data and log, and while it runs a process.
type kafka struct {
	program  string
	dir      string
	port     int
	brokers  int
	settings []string
	cmd      *exec.Cmd // nil while it is killed
}

func newKafka(parent string, brokers int, settings []string) (*kafka, error) {
	program, err := serverProgram("kafka-server")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "kafka-")
	if err != nil {
		return nil, err
	}
	k := &kafka{program: program, dir: dir, brokers: brokers, settings: settings}
	for range 5 {
		if k.port, err = freePorts(brokers); err != nil {
			break
		}
		// Between the look for free ports and their use, somebody else may have taken one.
		if err = k.start(); err == nil {
			return k, nil
		}
	}
	return nil, errors.Join(err, k.remove())
}

// freePorts returns the first of that many free ports in a row.
func freePorts(n int) (int, error) {
	first, last := 0, -1
	for range 1000 {
		port, err := freePort()
		if err != nil {
			return 0, err
		}
		if port != last+1 {
			first = port
		}
		if last = port; last-first == n-1 {
			return first, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row on 127.0.0.1", n)
}

func (k *kafka) addresses() []string {
	list := make([]string, k.brokers)
	for i := range list {
		list[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(k.port+i))
	}
	return list
}

// start starts the server and waits until every broker accepts connections.
func (k *kafka) start() error {
	args := []string{"-port", strconv.Itoa(k.port), "-brokers", strconv.Itoa(k.brokers), "-data", filepath.Join(k.dir, "data"), "-sync"}
	for _, setting := range k.settings {
		args = append(args, "-set", setting)
	}
	path := filepath.Join(k.dir, "log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	// The server has its own copy once it is started.
	defer func() { _ = log.Close() }()
	cmd := exec.Command(k.program, args...)
	cmd.SysProcAttr = ofItsOwnGroup(syscall.SIGKILL)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	k.cmd = cmd
	deadline := time.Now().Add(patience)
	for _, address := range k.addresses() {
		for {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				if err := conn.Close(); err != nil {
					return err
				}
				break
			}
			if !alive(cmd.Process.Pid) || time.Now().After(deadline) {
				text, _ := os.ReadFile(path)
				return errors.Join(fmt.Errorf("the Kafka server does not answer: %w; its log:\n%s", err, lastLines(string(text))), k.kill())
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	return nil
}

func (k *kafka) kill() error {
	if k.cmd == nil {
		return nil
	}
	if err := send(k.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		return err
	}
	// Its exit status says nothing but that it was killed.
	_ = k.cmd.Wait()
	k.cmd = nil
	return nil
}

func (k *kafka) remove() error {
	return errors.Join(k.kill(), os.RemoveAll(k.dir))
}
