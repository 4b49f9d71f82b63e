package sqlitestore_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
)

// A limit on the database's pages is a disk of that size to SQLite's own code.
func TestFull(t *testing.T) {
	t.Parallel()
	for _, pages := range []int{0, 3, 100} { // that there is room for: none, some rows, some records
		t.Run(fmt.Sprint(pages), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "test.db")
			drivertest.RunStoreFull(t, func(t *testing.T) driver.Store { return open(t, path) },
				func(t *testing.T, s driver.Store) func() {
					used := onWriter(t, s, "PRAGMA page_count")
					if got := onWriter(t, s, fmt.Sprintf("PRAGMA max_page_count = %d", int(used)+pages)); got != used+int64(pages) {
						t.Fatalf("the limit is %d pages", got)
					}
					return func() {
						intact(t, s)
						onWriter(t, s, "PRAGMA max_page_count = 1000000")
					}
				})
		})
	}
}

// onWriter asks the one connection that writes.
func onWriter(t *testing.T, s driver.Store, sql string) (n int64) {
	t.Helper()
	tx, err := s.Begin(t.Context())
	must(t, err)
	defer func() { must(t, tx.Rollback()) }()
	r, err := tx.Query(t.Context(), sql)
	must(t, err)
	defer func() { must(t, r.Close()) }()
	if !r.Next() {
		t.Fatalf("%s: no row: %v", sql, r.Err())
	}
	must(t, r.Scan(&n))
	return n
}

// intact checks every page of the database.
func intact(t *testing.T, s driver.Store) {
	t.Helper()
	if got := text(t, s, "PRAGMA integrity_check"); got != "ok" {
		t.Fatalf("the database is damaged: %s", got)
	}
}

// text asks a reader for one value.
func text(t *testing.T, s driver.Store, sql string) (v string) {
	t.Helper()
	r, err := s.Query(t.Context(), sql)
	must(t, err)
	defer func() { must(t, r.Close()) }()
	if !r.Next() {
		t.Fatalf("%s: no row: %v", sql, r.Err())
	}
	must(t, r.Scan(&v))
	return v
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
