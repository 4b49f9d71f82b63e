package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// F12: batches that move many checkpoints, and renewals, claims and releases of the same ones, wait for each other and never for each
// other at once: PostgreSQL finds no deadlock. Red where leases lock their rows in the order in which the table has them.
func TestF12_LeasesAndBatchesLockInOneOrder(t *testing.T) {
	url := testserver.Postgres(t).Database(t)
	s := migrated(t, pgstore.Config{URL: url})
	const many = 64
	sources := []string{"a-b", "a_b", "ab"} // a collation may order them otherwise than their bytes
	from := map[string]int64{}
	for _, source := range sources {
		from[source] = 0
	}
	_, err := s.InitSubscription(t.Context(), service, "feed", many, from)
	must(t, err)
	held, err := s.Claim(t.Context(), service, "feed", "me", many, time.Hour)
	must(t, err)
	if len(held) != many*len(sources) {
		t.Fatalf("%d checkpoints were claimed", len(held))
	}
	before := number(t, s, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")

	busy, end := context.WithCancel(t.Context())
	defer end()
	var others sync.WaitGroup
	for _, lease := range []func() error{
		func() error { _, err := s.Renew(busy, service, "feed", "me", time.Hour); return err },
		func() error { return s.Release(busy, service, "feed", "another", []int{1, 2, 3}) },
		func() error { _, err := s.Claim(busy, service, "feed", "another", 8, time.Hour); return err },
	} {
		others.Go(func() {
			for busy.Err() == nil {
				if err := lease(); err != nil && busy.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for round := range 100 {
		// A row that was written lies behind the others; so each round the table has them in another order.
		var some []driver.Move
		for i := range held {
			if c := &held[i]; (i*7+round)%3 == 0 {
				some = append(some, driver.Move{Subscription: "feed", Source: c.Source, Slice: c.Slice, Epoch: c.Epoch, From: c.Position, To: c.Position + 1})
				c.Position++
			}
		}
		if err := moved(t.Context(), s, some); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	end()
	others.Wait()
	if found := number(t, s, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") - before; found != 0 {
		t.Errorf("PostgreSQL found %d deadlocks", found)
	}
	kept, err := s.Checkpoints(t.Context(), service, "feed")
	must(t, err)
	for _, c := range kept {
		if i := slices.IndexFunc(held, func(h driver.Checkpoint) bool { return h.Source == c.Source && h.Slice == c.Slice }); held[i].Position != c.Position {
			t.Errorf("%s/%d stands at %d, want %d", c.Source, c.Slice, c.Position, held[i].Position)
		}
	}
}

// moved commits moves of checkpoints.
func moved(ctx context.Context, s *pgstore.Store, moves []driver.Move) error {
	tx, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	if err := tx.Apply(ctx, service, &driver.Writes{Moves: moves}); err != nil {
		return errors.Join(fmt.Errorf("apply: %w", err), tx.Rollback())
	}
	return errors.Join(tx.Commit(ctx), tx.Rollback())
}

// F17: a checkpoint that moves is written to its page and not to the table's index. Red where pages are filled when subscriptions begin.
func TestF17_CheckpointsMoveWithinTheirPages(t *testing.T) {
	s := migrated(t, pgstore.Config{URL: testserver.Postgres(t).Database(t)})
	const many, rounds = 64, 30
	from := map[string]int64{}
	for _, source := range []string{"orders", "stores", "payments", "customers", "inventory"} {
		from[source] = 0
	}
	_, err := s.InitSubscription(t.Context(), service, "feed", many, from)
	must(t, err)
	held, err := s.Claim(t.Context(), service, "feed", "me", many, time.Hour)
	must(t, err)
	updates := func(column string) int64 {
		return number(t, s, "SELECT "+column+" FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = 'bb_checkpoint'", service)
	}
	written := int64(len(held)) // by the claim
	for round := range rounds {
		var some []driver.Move
		for i := range held {
			if c := &held[i]; (i+round)%5 == 0 { // a batch moves some
				some = append(some, driver.Move{Subscription: "feed", Source: c.Source, Slice: c.Slice, Epoch: c.Epoch, From: c.Position, To: c.Position + 1})
				c.Position++
			}
		}
		must(t, moved(t.Context(), s, some))
		written += int64(len(some))
	}
	eventually(t, "the server has counted", func() bool { return updates("n_tup_upd") >= written })
	if all, within := updates("n_tup_upd"), updates("n_tup_hot_upd"); all-within > all/50 {
		t.Errorf("of %d updates %d were within a page", all, within)
	}
}
