package pgstore_test

import (
	"context"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// Leases are claimed and prolonged on one connection each: who asked for a second one while it holds the first would wait for ever where
// all others do the same. Red when the clock is asked within the transaction.
func TestLeasesTakeOneConnection(t *testing.T) {
	t.Parallel()
	store, err := pgstore.Open(t.Context(), pgstore.Config{URL: testserver.Postgres(t).Database(t), MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := store.Migrate(ctx, []driver.Schema{{Service: "desks"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.InitSubscription(ctx, "desks", "sub", 2, map[string]int64{"desks": 0}); err != nil {
		t.Fatal(err)
	}
	held, err := store.Claim(ctx, "desks", "sub", "me", 2, time.Minute)
	if err != nil || len(held) != 2 {
		t.Fatalf("%v, %v", held, err)
	}
	kept, err := store.Renew(ctx, "desks", "sub", "me", time.Minute)
	if err != nil || len(kept) != 2 {
		t.Fatalf("%v, %v", kept, err)
	}
	if err := store.Release(ctx, "desks", "sub", "me", kept); err != nil {
		t.Fatal(err)
	}
}
