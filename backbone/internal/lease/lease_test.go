package lease_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/internal/lease"
	"example.org/souk/backbone/pgstore"
	"example.org/souk/internal/testserver"
)

// desk is a service in whose database slices are held.
func desk(t *testing.T, n int) *pgstore.Store {
	t.Helper()
	store, err := pgstore.Open(t.Context(), pgstore.Config{URL: testserver.Postgres(t).Database(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Migrate(t.Context(), []driver.Schema{{Service: "desk"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.InitSubscription(t.Context(), "desk", "main", n, map[string]int64{"desk": 0}); err != nil {
		t.Fatal(err)
	}
	return store
}

func holder(store driver.Store, owner string, n int, reads func(string) bool) *lease.Holder {
	return lease.New(lease.Config{
		Store: store, Service: "desk", Subscription: "main", Owner: owner, Slices: n, Lease: time.Minute, Poll: time.Minute,
		Logger: slog.New(slog.DiscardHandler), Reads: reads,
		Assign: func(context.Context, []driver.Checkpoint) {}, Revoke: func([]int) {},
	})
}

// What the database has as an owner's and the owner does not work, since it held more before its lease lapsed, is given to others.
// Red where a renewal prolongs it.
func TestWhatALapseLeavesIsGivenUp(t *testing.T) {
	t.Parallel()
	store := desk(t, 8)
	holder(store, "a", 8, nil).Tend(t.Context())
	other := holder(store, "b", 8, nil)
	other.Tend(t.Context()) // it waits for its share
	lapsed := holder(store, "a", 8, nil)
	lapsed.Tend(t.Context())
	lapsed.Tend(t.Context())
	other.Tend(t.Context())
	if a, b := lapsed.Held(), other.Held(); len(a) != 4 || len(b) != 4 {
		t.Errorf("a works %v and b %v, and there are 8 slices", a, b)
	}
}

// A slice that stands at what its owner does not read goes to who reads it, over its share, and to nobody else.
func TestYield(t *testing.T) {
	t.Parallel()
	store := desk(t, 8)
	older := func(wire string) bool { return wire != "v2" }
	a, b := holder(store, "a", 8, older), holder(store, "b", 8, older)
	a.Tend(t.Context())
	b.Tend(t.Context())
	a.Tend(t.Context())
	b.Tend(t.Context())
	if len(a.Held()) != 4 || len(b.Held()) != 4 {
		t.Fatalf("a works %v and b %v, and there are 8 slices", a.Held(), b.Held())
	}
	given := a.Held()[:2]
	if err := a.Yield(t.Context(), map[int]string{given[0]: "v2", given[1]: "v2", b.Held()[0]: "v2"}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		a.Tend(t.Context())
		b.Tend(t.Context())
	}
	for _, n := range given {
		if slices.Contains(a.Held(), n) || slices.Contains(b.Held(), n) {
			t.Errorf("slice %d is with one who does not read what it stands at: a has %v, b %v", n, a.Held(), b.Held())
		}
	}
	if n := len(a.Held()) + len(b.Held()); n != 6 {
		t.Errorf("a has %v and b %v: of what all can read nothing may be left", a.Held(), b.Held())
	}
	c := holder(store, "c", 8, nil)
	c.Tend(t.Context())
	if got := c.Held(); !slices.Equal(got, given) {
		t.Errorf("who reads it has %v, want %v", got, given)
	}
	for range 3 { // and its share of the others
		a.Tend(t.Context())
		b.Tend(t.Context())
		c.Tend(t.Context())
	}
	if got := c.Held(); len(got) != 4 || !slices.Contains(got, given[0]) || !slices.Contains(got, given[1]) {
		t.Errorf("in the end who reads it has %v, want %v and two more; a has %v, b %v", got, given, a.Held(), b.Held())
	}
}

// counted counts what is asked of a store.
type counted struct {
	driver.Store
	renewals, standings, others int
}

func (c *counted) Renew(ctx context.Context, service, subscription, owner string, lease time.Duration) ([]int, error) {
	c.renewals++
	return c.Store.Renew(ctx, service, subscription, owner, lease)
}

func (c *counted) Standing(ctx context.Context, service, subscription string, values ...string) (driver.Standing, error) {
	c.standings++
	return c.Store.Standing(ctx, service, subscription, values...)
}

func (c *counted) Value(ctx context.Context, service, name string) ([]byte, error) {
	c.others++
	return c.Store.Value(ctx, service, name)
}

func (c *counted) SetValue(ctx context.Context, service, name string, value []byte) error {
	c.others++
	return c.Store.SetValue(ctx, service, name, value)
}

func (c *counted) Claim(ctx context.Context, service, subscription, owner string, limit int, lease time.Duration, only ...int) ([]driver.Checkpoint, error) {
	c.others++
	return c.Store.Claim(ctx, service, subscription, owner, limit, lease, only...)
}

// Where nothing changes a holder asks twice each time, whether it has slices or waits for some: every process does it for each
// of its subscriptions all the time. Red when notes are read by themselves.
func TestWhoHoldsAsksTwice(t *testing.T) {
	t.Parallel()
	store := &counted{Store: desk(t, 8)}
	a, b := holder(store, "a", 8, nil), holder(store, "b", 8, nil)
	for range 3 { // until each has its share and nobody waits
		a.Tend(t.Context())
		b.Tend(t.Context())
	}
	if len(a.Held()) != 4 || len(b.Held()) != 4 {
		t.Fatalf("a works %v and b %v, and there are 8 slices", a.Held(), b.Held())
	}
	store.renewals, store.standings, store.others = 0, 0, 0
	for range 5 {
		a.Tend(t.Context())
		b.Tend(t.Context())
	}
	if store.renewals != 10 || store.standings != 10 || store.others != 0 {
		t.Errorf("in ten rounds there were %d renewals, %d looks and %d other requests", store.renewals, store.standings, store.others)
	}
}
