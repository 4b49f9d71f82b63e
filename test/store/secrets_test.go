package store

import (
	"debug/buildinfo"
	"os"
	"strings"
	"testing"

	"example.org/souk/internal/testserver"
)

// FAILURES 43: an address that leads nowhere, or is none, is told without the login that it holds. Red where one is told as it was given.
func TestLoginsAreNotTold(t *testing.T) {
	t.Parallel()
	binary := program(t)
	for _, args := range []string{
		"up --broker nats://mall:t0psecret@127.0.0.1:1", "up --broker amqp://mall:t0psecret@127.0.0.1:1/v", "up --broker kafka://mall:t0psecret@127.0.0.1:1",
		"up --broker amqp://mall:t0psecret@127.0.0.1:x", "up --partner amqp://mall:t0psecret@127.0.0.1:x", "up --partner kafka://mall:t0psecret@127.0.0.1:1",
		"up --logistics mqtt://mall:t0psecret@127.0.0.1:x", "--db postgres://mall:t0psecret@127.0.0.1:1/mall up", "--db postgres://mall:t0psecret@127.0.0.1:x/mall up",
		"topic list --broker nats://mall:t0psecret@127.0.0.1:1",
	} {
		all := append([]string{binary, "--data", t.TempDir()}, strings.Fields(args)...)
		p := testserver.Command{Args: all, Env: []string{"SOUK_HTTP=127.0.0.1:0", "SOUK_MQTT=off"}}.Start(t)
		end := p.Wait()
		if said := p.Stdout() + p.Stderr(); end.Code != 1 || strings.Contains(said, "t0psecret") || !strings.HasPrefix(said, "souk: ") {
			t.Errorf("%s: exit %d\n%s", args, end.Code, said)
		}
	}
}

// FAILURES 45: the program says which modules it is made of, each as go.sum knows it. Red where one is built from other sources, by a replacement say.
func TestTheProgramSaysWhatItIsMadeOf(t *testing.T) {
	t.Parallel()
	info, err := buildinfo.ReadFile(program(t))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 20 || info.Path != "example.org/souk/cmd/souk" {
		t.Fatalf("%s is made of %d modules", info.Path, len(info.Deps))
	}
	for _, m := range info.Deps {
		if m.Replace != nil || !strings.Contains("\n"+string(sums), "\n"+m.Path+" "+m.Version+" "+m.Sum+"\n") {
			t.Errorf("%+v is not what go.sum knows", m)
		}
	}
}
