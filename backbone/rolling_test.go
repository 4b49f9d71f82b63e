package backbone_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/internal/testserver"
)

// witness counts the runs of a handler by message, outside of any transaction, and how long messages waited for it.
type witness struct {
	mu    sync.Mutex
	runs  map[string]int
	worst time.Duration
}

func (w *witness) handle(ctx context.Context, tx backbone.Tx, e served) error {
	m := tx.Message()
	w.mu.Lock()
	w.runs[m.ID]++
	w.worst = max(w.worst, time.Since(m.Time))
	w.mu.Unlock()
	return enterServed(ctx, tx, e)
}

// owners returns who holds slices and tasks, nobody among them.
func owners(t *testing.T, p *process) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, service := range []string{"desks", "archive"} {
		cps, err := p.store.Checkpoints(t.Context(), service, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cps {
			names[c.Owner] = true
		}
	}
	return names
}

// F12: processes are exchanged one after the other under load, each stopping as it should: no handler sees a message twice,
// and nothing waits for the end of a lease. Leases are as long as by default. Red without the word that slices are free, and
// where a stop does not give them back.
func TestF12_RollingRestart(t *testing.T) {
	t.Parallel()
	url := testserver.Postgres(t).Database(t)
	seen := &witness{runs: map[string]int{}}
	parts := func() []*backbone.Service {
		return desks(&press{printed: map[string][]time.Time{}}, time.Minute, seen.handle)
	}
	start := func() *process { return newLeasedProcess(t, url, parts(), 0) }
	a, b := start(), start()

	var mu sync.Mutex
	serving := a
	stop := make(chan struct{})
	var callers sync.WaitGroup
	sent := 0
	callers.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			mu.Lock()
			p := serving
			mu.Unlock()
			if _, err := p.Do(t.Context(), serve{[]string{"d0", "d1", "d2", "d3", "d4", "d5", "d6"}[sent%7]}); err != nil {
				t.Error(err)
				return
			}
			sent++
		}
	})
	exchange := func(old *process, other *process) *process {
		mu.Lock()
		serving = other
		mu.Unlock()
		before := len(facts(t, other, "desks")["Chimed"])
		old.end()
		eventually(t, "the other has taken everything", 5*time.Second, func() bool {
			// The transport has one name in all subscriptions, and the runtime one in its own tasks.
			return len(owners(t, other)) == 2
		})
		fresh := start()
		eventually(t, "both work", 20*time.Second, func() bool { return len(owners(t, other)) >= 3 })
		eventually(t, "work goes on", 30*time.Second, func() bool { return len(facts(t, fresh, "desks")["Chimed"]) > before+30 })
		return fresh
	}
	for range 2 {
		a = exchange(a, b)
		b = exchange(b, a)
	}
	close(stop)
	callers.Wait()
	once(t, a, sent)
	eventually(t, "all are handled", 10*time.Second, func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return len(seen.runs) == sent
	})
	for id, runs := range seen.runs {
		if runs != 1 {
			t.Errorf("a handler saw message %s %d times", id, runs)
		}
	}
	t.Logf("%d messages; the longest wait was %s", sent, seen.worst)
	if seen.worst > 5*time.Second { // for a lease that runs out it would be 15
		t.Errorf("a message waited %s", seen.worst)
	}
}
