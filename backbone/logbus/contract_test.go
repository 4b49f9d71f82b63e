package logbus_test

import (
	"io"
	"log/slog"
	"path/filepath"
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

func TestContractOnPostgreSQL(t *testing.T) {
	drivertest.RunTransport(t, func(t *testing.T) drivertest.TransportWorld {
		url := testserver.Postgres(t).Database(t)
		open := func(t *testing.T) driver.Store {
			store, err := pgstore.Open(t.Context(), pgstore.Config{URL: url, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			return store
		}
		return drivertest.TransportWorld{
			Name: "logbus", Version: "PostgreSQL 15", Many: true,
			Open:   func(t *testing.T) drivertest.TransportInstance { return instance(open(t)) },
			Steady: func(t *testing.T) drivertest.TransportInstance { return leased(open(t), 30*time.Second) },
		}
	})
}
