package testserver_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.org/souk/internal/testserver"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func setting(t *testing.T, conn *pgx.Conn, name string) (value string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestPostgresGivesEachTestItsDatabase(t *testing.T) {
	t.Parallel()
	server := testserver.Postgres(t)
	if again := testserver.Postgres(t); again.URL() != server.URL() {
		t.Error("the tests of a process do not share their server")
	}
	var url string
	t.Run("user", func(t *testing.T) {
		url = server.Database(t)
		if other := server.Database(t); other == url {
			t.Error("two databases are one")
		}
		conn := connect(t, url)
		if _, err := conn.Exec(t.Context(), "CREATE TABLE things (id int)"); err != nil {
			t.Error(err)
		}
		for name, want := range map[string]string{
			"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "server_encoding": "UTF8", "listen_addresses": "127.0.0.1",
		} {
			if got := setting(t, conn, name); got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
	})
	if _, err := pgx.Connect(t.Context(), url); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("the database of a test that has ended: %v", err)
	}
}

func TestPostgresSharedCannotBeKilled(t *testing.T) {
	t.Parallel()
	testserver.Postgres(t)
	failed := failureOf(t, func(inner testing.TB) { testserver.Postgres(inner).Kill() })
	if !strings.Contains(failed, "PostgresOwn") {
		t.Errorf("it failed with %q", failed)
	}
}

func TestPostgresOwnKillRestartPause(t *testing.T) {
	t.Parallel()
	server := testserver.PostgresOwn(t, "fsync=off", "max_connections=30")
	url := server.Database(t)
	conn := connect(t, url)
	if fsync, most := setting(t, conn, "fsync"), setting(t, conn, "max_connections"); fsync != "off" || most != "30" {
		t.Errorf("fsync is %s, max_connections %s", fsync, most)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE things (id int)"); err != nil {
		t.Fatal(err)
	}

	server.Kill()
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("a connection works after its server was killed")
	}
	if _, err := pgx.Connect(t.Context(), url); err == nil {
		t.Error("a killed server accepts connections")
	}
	server.Kill() // a dead one stays dead
	server.Restart()
	conn = connect(t, url)
	if _, err := conn.Exec(t.Context(), "INSERT INTO things VALUES (1)"); err != nil {
		t.Errorf("after a restart: %v", err)
	}

	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := pgx.Connect(ctx, url); err == nil {
		t.Error("a paused server answers a new connection")
	}
	server.Resume()
	if _, err := connect(t, url).Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("after the pause: %v", err)
	}

	// A backend that exists already must be paused too, though it is not in the server's process group.
	conn = connect(t, url)
	server.Pause()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := conn.Exec(ctx, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a backend of a paused server answers: %v", err)
	}
	// It is left paused: the end of the test must cope with that.
}
