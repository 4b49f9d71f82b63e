package logbus_test

import (
	"database/sql"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/internal/testserver"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// instance is a process of its own as far as a Bus can tell.
func instance(store driver.Store) drivertest.TransportInstance {
	return leased(store, 600*time.Millisecond)
}

func leased(store driver.Store, lease time.Duration) drivertest.TransportInstance {
	faulty := &drivertest.FaultyStore{Store: store}
	bus := logbus.New(logbus.Config{
		Store: func(string) driver.Store { return faulty },
		Lease: lease, Poll: 20 * time.Millisecond, Logger: quiet,
	})
	return drivertest.TransportInstance{Transport: bus, Store: faulty, Crash: faulty.Crash, Isolate: faulty.Isolate}
}

func TestContractOnSQLite(t *testing.T) {
	drivertest.RunTransport(t, func(t *testing.T) drivertest.TransportWorld {
		path := filepath.Join(t.TempDir(), "test.db")
		return drivertest.TransportWorld{Open: func(t *testing.T) drivertest.TransportInstance {
			store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			return instance(store)
		}}
	})
}

// TestContractOnPostgreSQL runs the suite on a server that it kills and pauses.
func TestContractOnPostgreSQL(t *testing.T) {
	server := testserver.PostgresOwn(t)
	harm := &drivertest.TransportServer{Kill: server.Kill, Restart: server.Restart, Pause: server.Pause, Resume: server.Resume}
	version := versionOf(t, server.URL())
	drivertest.RunTransport(t, func(t *testing.T) drivertest.TransportWorld {
		url := server.Database(t)
		open := func(t *testing.T) driver.Store {
			store, err := pgstore.Open(t.Context(), pgstore.Config{URL: url, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			return store
		}
		return drivertest.TransportWorld{
			Name: "logbus", Version: version, Many: true, Server: harm,
			Open:   func(t *testing.T) drivertest.TransportInstance { return instance(open(t)) },
			Steady: func(t *testing.T) drivertest.TransportInstance { return leased(open(t), 30*time.Second) },
		}
	})
}

// versionOf asks the server for its version.
func versionOf(t *testing.T, url string) (version string) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), "SHOW server_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	version, _, _ = strings.Cut(version, " ") // behind it stands whose package it is
	return "PostgreSQL " + version
}
