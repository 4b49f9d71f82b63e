package sqlitestore_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/sqlitestore"
)

// A connection whose settings are not as they must be is not used, and the error
// names the setting.
func TestUnsafeSettingIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "test.db"))
	defer func() { must(t, s.Close()) }()
	must(t, s.Connect("cache_size=-100"))
	for _, unsafe := range []string{"synchronous=NORMAL", "synchronous=OFF", "foreign_keys=OFF", "mmap_size=65536", "busy_timeout=1"} {
		name, _, _ := strings.Cut(unsafe, "=")
		err := s.Connect(unsafe)
		if err == nil || !strings.Contains(err.Error(), "setting "+name+" is") {
			t.Errorf("%s: the error is %v", unsafe, err)
		}
	}
}

// The writer and every reader of an open store have the settings.
func TestConnectionsAreSafe(t *testing.T) {
	t.Parallel()
	const readers = 3
	s, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: filepath.Join(t.TempDir(), "test.db"), Readers: readers})
	must(t, err)
	defer func() { must(t, s.Close()) }()
	if got := onWriter(t, s, "PRAGMA synchronous"); got != 2 {
		t.Errorf("the writer has synchronous %d", got)
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "query_only": "1"} {
		var all []driver.Rows // held open, so that each comes from another connection
		for range readers {
			r, err := s.Query(t.Context(), "PRAGMA "+pragma)
			must(t, err)
			all = append(all, r)
			var got string
			if !r.Next() {
				t.Fatalf("no row: %v", r.Err())
			}
			must(t, r.Scan(&got))
			if got != want {
				t.Errorf("a reader has %s %s, want %s", pragma, got, want)
			}
		}
		for _, r := range all {
			must(t, r.Close())
		}
	}
}

// A database that a program which knows nothing of the lock keeps from being made
// safe is not opened, and the error says that it cannot be had now.
func TestForeignHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	foreigner := start(t, "foreigner", path)
	foreigner.WaitLine("holding")
	_, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
	if !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("with a foreign program in the database: %v", err)
	}
	foreigner.Kill9()
	s := open(t, path)
	intact(t, s)
	must(t, s.Close())
}

// To drop the calls of a stream is to look at those alone, however many wait. Red when another index over names looks as good.
func TestCallsAreDroppedByTheirStream(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "test.db"))
	defer func() { must(t, s.Close()) }()
	must(t, s.Migrate(t.Context(), []driver.Schema{{Service: "svc"}}))
	rows, err := s.Query(t.Context(), "EXPLAIN QUERY PLAN DELETE FROM "+s.Name("svc", "bb_call")+" WHERE stream = $1 AND name = $2", "s", "n")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id, parent, unused int
		var plan string
		if err := rows.Scan(&id, &parent, &unused, &plan); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan, "(stream=? AND name=?)") {
			t.Error(plan)
		}
	}
	must(t, errors.Join(rows.Err(), rows.Close()))
}
