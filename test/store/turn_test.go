package store

import (
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/testserver"
)

// Whoever comes while somebody has the data directory for a moment waits for it: a mall that begins while a command works there without one, and a
// command while a mall begins. Red when the first to come has the second fail.
func TestBeginningsAndCommandsMeet(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	m := start(t, binary, dir, nil)
	m.seed()
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
	m.stop()
	hold := func() *sqlitestore.Store {
		store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(dir, "souk.db")})
		if err != nil {
			t.Fatal(err)
		}
		return store
	}

	store := hold()
	command := testserver.Command{Args: []string{binary, "--data", dir, "order", "show", "ORDER_001"}}.Start(t)
	command.WaitLine("souk: waiting: open")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if exit := command.Wait(); exit.Code != 0 || !strings.Contains(command.Stdout(), "APPROVED") {
		t.Errorf("the command ended with %v: %s", exit, command.Stdout())
	}

	store = hold()
	up := testserver.Command{Args: []string{binary, "--data", dir, "up", "--http", "127.0.0.1:0"}, Env: []string{"SOUK_MQTT=off", "SOUK_LOGISTICS=off"}}.Start(t)
	up.WaitLine("waiting for the data directory")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	up.WaitLine("ready")
	second := testserver.Command{Args: []string{binary, "--data", dir, "up", "--http", "127.0.0.1:0"}, Env: []string{"SOUK_MQTT=off", "SOUK_LOGISTICS=off"}}.Start(t)
	if exit := second.Wait(); exit.Code == 0 || !strings.Contains(second.Stderr(), "in use by process") || strings.Contains(second.Stderr(), "waiting") {
		t.Errorf("a second mall ended with %v: %s", exit, second.Stderr())
	}
}
