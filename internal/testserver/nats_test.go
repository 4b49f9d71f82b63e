package testserver_test

import (
	"bufio"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

// greet connects to a NATS server and returns what it says first.
func greet(addr string, within time.Duration) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, within)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}

func TestNATSIsShared(t *testing.T) {
	t.Parallel()
	server := testserver.NATS(t)
	if again := testserver.NATS(t); again.URL() != server.URL() || again.Name() == server.Name() {
		t.Error("the tests of a process do not share their server, or use the same names there")
	}
	failed := failureOf(t, func(inner testing.TB) { testserver.NATS(inner).Kill() })
	if !strings.Contains(failed, "NATSOwn") {
		t.Errorf("it failed with %q", failed)
	}
}

func TestNATSOwnKillStopRestartPause(t *testing.T) {
	t.Parallel()
	server := testserver.NATSOwn(t, "max_payload: 123456", "jetstream sync_interval: always")
	says, err := greet(server.Addr(), soon)
	if err != nil || !strings.Contains(says, `"max_payload":123456`) || !strings.Contains(says, `"jetstream":true`) {
		t.Fatalf("it says %q, %v", says, err)
	}
	if _, err := os.Stat(server.StoreDir()); err != nil {
		t.Error(err)
	}
	for name, end := range map[string]func(){"killed": server.Kill, "stopped": server.Stop} {
		end()
		end() // one that is gone stays gone
		if _, err := greet(server.Addr(), soon); err == nil {
			t.Errorf("a %s server answers", name)
		}
		server.Restart()
		if _, err := greet(server.Addr(), soon); err != nil {
			t.Errorf("after it was %s: %v", name, err)
		}
	}
	server.Pause()
	if _, err := greet(server.Addr(), 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a paused server: %v", err)
	}
	server.Resume()
	if _, err := greet(server.Addr(), soon); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	server.Pause() // the end of the test must cope with that
}
