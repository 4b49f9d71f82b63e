package testserver_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"example.org/souk/internal/testserver"
)

func TestKafkaKeepsItsDataAndPorts(t *testing.T) {
	t.Parallel()
	server := testserver.KafkaOwn(t, 2)
	if len(server.Addresses()) != 2 {
		t.Fatalf("brokers at %v", server.Addresses())
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(server.Addresses()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	server.Kcat(t, "one\ntwo\n", "-P", "-t", "kept", "-p", "0")
	server.Kill()
	for _, address := range server.Addresses() {
		if conn, err := net.Dial("tcp", address); err == nil {
			t.Errorf("killed, it answers: %v", conn.Close())
		}
	}
	server.Restart()
	if got := server.Kcat(t, "", "-C", "-t", "kept", "-o", "beginning", "-e", "-q"); got != "one\ntwo\n" {
		t.Errorf("after a restart it has %q", got)
	}
	server.Pause()
	conn, err := net.DialTimeout("tcp", server.Addresses()[0], 5*time.Second)
	if err != nil {
		t.Fatalf("paused, it takes no connection: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	server.Resume()
	if got := server.Kcat(t, "", "-L"); !strings.Contains(got, "2 brokers") {
		t.Errorf("resumed, it says\n%s", got)
	}
}

func TestSharedKafkaIsNotKilled(t *testing.T) {
	t.Parallel()
	if failed := failureOf(t, func(t testing.TB) { testserver.Kafka(t).Kill() }); !strings.Contains(failed, "KafkaOwn") {
		t.Errorf("it failed with %q", failed)
	}
}
