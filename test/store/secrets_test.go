package store

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
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

// FAILURES 45: the program says which modules it is made of, each as go.sum knows it, and the list that is released with it says the same, each with
// its sum. Red where one is built from other sources, by a replacement say, and where the list has one more or less.
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
	list, err := exec.CommandContext(t.Context(), "../../scripts/sbom", program(t)).Output()
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Metadata struct {
			Component  struct{ Name string }
			Properties []struct{ Name, Value string }
		}
		Components []struct {
			Name, Version string
			Hashes        []struct{ Alg, Content string }
		}
	}
	if err := json.Unmarshal(list, &said); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(said.Metadata.Properties, struct{ Name, Value string }{"cdx:gomod:build:env:GOVERSION", info.GoVersion}) || said.Metadata.Component.Name != info.Main.Path {
		t.Errorf("the list is of %+v, and the program is %s, built with %s", said.Metadata, info.Main.Path, info.GoVersion)
	}
	var listed, built []string
	for _, c := range said.Components {
		for _, h := range c.Hashes {
			sum, err := hex.DecodeString(h.Content)
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, c.Name+" "+c.Version+" h1:"+base64.StdEncoding.EncodeToString(sum))
		}
	}
	for _, m := range info.Deps {
		built = append(built, m.Path+" "+m.Version+" "+m.Sum)
	}
	slices.Sort(listed)
	slices.Sort(built)
	if !slices.Equal(listed, built) {
		t.Errorf("the list has\n%s\nand the program\n%s", strings.Join(listed, "\n"), strings.Join(built, "\n"))
	}
}
