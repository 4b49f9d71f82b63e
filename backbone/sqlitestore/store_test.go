package sqlitestore_test

import (
	"path/filepath"
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/sqlitestore"
)

func TestContract(t *testing.T) {
	drivertest.RunStore(t, func(t *testing.T) drivertest.Opener {
		path := filepath.Join(t.TempDir(), "test.db")
		return func(t *testing.T) driver.Store { return open(t, path) }
	})
}

func open(t testing.TB, path string) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
