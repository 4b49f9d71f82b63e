package backbone_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/sqlitestore"
)

// glance is a database that tells at a glance how things stand, and counts how often it is asked and for what.
type glance struct {
	*sqlitestore.Store
	looks, timers, claims, paused atomic.Int64
}

func (g *glance) Look(ctx context.Context, services []string) (map[string]driver.Look, error) {
	g.looks.Add(1)
	found := map[string]driver.Look{}
	for _, service := range services {
		head, err := g.Head(ctx, service)
		if err != nil {
			return nil, err
		}
		paused, err := backbone.Paused(ctx, g.Store, service)
		if err != nil {
			return nil, err
		}
		_, due, err := g.Store.DueTimers(ctx, service, 0, 1)
		if err != nil {
			return nil, err
		}
		calls, err := g.Calls(ctx, service, 1)
		if err != nil {
			return nil, err
		}
		found[service] = driver.Look{Head: head, Paused: paused, Due: due, Calls: len(calls) > 0}
	}
	return found, nil
}

func (g *glance) DueTimers(ctx context.Context, service string, now int64, limit int) ([]driver.Timer, int64, error) {
	g.timers.Add(1)
	return g.Store.DueTimers(ctx, service, now, limit)
}

func (g *glance) Value(ctx context.Context, service, name string) ([]byte, error) {
	if name == driver.PausedValue {
		g.paused.Add(1)
	}
	return g.Store.Value(ctx, service, name)
}

func (g *glance) Begin(ctx context.Context) (driver.Tx, error) {
	tx, err := g.Store.Begin(ctx)
	return claims{tx, &g.claims}, err
}

type claims struct {
	driver.Tx
	made *atomic.Int64
}

func (c claims) ClaimCalls(ctx context.Context, service, name string, now int64, lease time.Duration, limit int) ([]driver.Call, error) {
	c.made.Add(1)
	return c.Tx.ClaimCalls(ctx, service, name, now, lease, limit)
}

// What waits looks at its database by one look for all services, and asks for timers, calls and pauses where the look says that there are some: what
// another process has set or said is done, and what this one sets is done when it is due, however old the look is. Red where each is asked for at each
// tick, and where a look that says so is not believed.
func TestWhatWaitsAsksLittle(t *testing.T) {
	t.Parallel()
	var due atomic.Pointer[time.Time]
	svc := tills(func() time.Time { return *due.Load() })
	svc.Calls = []backbone.CallType{backbone.CallTo("ledger", backbone.Caller[string](&ledger{done: map[string]bool{}}), func(till string, _ backbone.CallOutcome) backbone.Command {
		return ring{till}
	})}
	var g *glance
	w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) {
		g = &glance{Store: c.Store("tills").(*sqlitestore.Store)}
		c.Store = func(string) driver.Store { return g }
	}, svc)
	w.settle()
	waits := func() (asked int64) {
		t.Helper()
		timers, claims, paused, from := g.timers.Load(), g.claims.Load(), g.paused.Load(), g.looks.Load()
		w.await("six looks", func() bool { return g.looks.Load() >= from+6 })
		return g.timers.Load() - timers + g.claims.Load() - claims + g.paused.Load() - paused
	}
	if asked := waits(); asked > 1 {
		t.Errorf("while nothing was to be done it asked for timers, calls and pauses %d times in six looks", asked)
	}

	soon := time.Now().Add(300 * time.Millisecond)
	due.Store(&soon)
	w.take("own", 1)
	wire := rung{}.EventType()
	rung := func(till string) func() bool {
		return func() bool {
			list, err := w.Reader("tills").Log(t.Context(), backbone.ReadQuery{Stream: "till/" + till, Types: []string{wire}, Limit: 1})
			return err == nil && len(list) == 1
		}
	}
	w.await("its own timer is fired", rung("own"))
	if asked := waits(); asked > 1 {
		t.Errorf("after its timer it asked %d times in six looks", asked)
	}

	// Another process has set these.
	tx, err := g.Store.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().UnixMicro()
	err = tx.Apply(t.Context(), "tills", &driver.Writes{
		SetTimers: []driver.Timer{{Name: "far", Due: at, Stream: "far", Type: ring{}.CommandType(), Data: []byte(`{"till":"far"}`), Meta: []byte(`{}`)}},
		AddCalls:  []driver.Call{{ID: "k", Name: "ledger", Request: []byte(`"called"`), Stream: "k", Meta: []byte(`{}`), Deadline: at + time.Hour.Microseconds(), Due: at, Created: at}},
	})
	if err := errors.Join(err, tx.Commit(t.Context()), tx.Rollback()); err != nil {
		t.Fatal(err)
	}
	w.await("another's timer is fired", rung("far"))
	w.await("another's call is made", rung("called"))
	if err := g.SetValue(t.Context(), "tills", driver.PausedValue, []byte("true")); err != nil {
		t.Fatal(err)
	}
	w.await("another's pause holds", func() bool {
		_, err := w.Do(t.Context(), take{"paused", 1})
		return errors.Is(err, backbone.ErrPaused)
	})
	if err := w.Resume(t.Context(), "tills"); err != nil {
		t.Fatal(err)
	}
	w.take("resumed", 1) // at once
}
