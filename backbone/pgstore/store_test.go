package pgstore_test

import (
	"testing"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

func TestContract(t *testing.T) {
	drivertest.RunStore(t, func(t *testing.T) drivertest.Opener {
		url := testserver.Postgres(t).Database(t)
		return func(t *testing.T) driver.Store { return open(t, url) }
	})
}

func open(t testing.TB, url string) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Open(t.Context(), pgstore.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
