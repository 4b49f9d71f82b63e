package testserver_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

func TestRabbitSharedCannotBeKilled(t *testing.T) {
	t.Parallel()
	server := testserver.Rabbit(t)
	if again := testserver.Rabbit(t); again.URL() != server.URL() {
		t.Error("the tests of a process do not share their server")
	}
	failed := failureOf(t, func(inner testing.TB) { testserver.Rabbit(inner).Kill() })
	if !strings.Contains(failed, "RabbitOwn") {
		t.Errorf("it failed with %q", failed)
	}
}

// answersAMQP tells whether a server at an address answers the first bytes of the protocol within half a second.
func answersAMQP(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		return false
	}
	if _, err := conn.Write([]byte("AMQP\x00\x00\x09\x01")); err != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 1))
	return err == nil && n == 1
}

func TestRabbitOwnKillRestartPause(t *testing.T) {
	t.Parallel()
	server := testserver.RabbitOwn(t, "channel_max = 20")
	answers := func() bool { return answersAMQP(server.Addr()) }
	eventually(t, "it answers", answers)
	server.Pause()
	if answers() {
		t.Error("a paused server answers")
	}
	server.Resume()
	eventually(t, "it answers after a pause", answers)
	server.Kill()
	server.Kill() // a dead one stays dead
	if answers() {
		t.Error("a killed server answers")
	}
	server.Restart()
	eventually(t, "it answers after a restart", answers)
	server.Control("status")
	server.Pause()
	// It is left paused: the end of the test must cope with that.
}
