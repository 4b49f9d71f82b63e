package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/drivertest"
	"example.org/souk/backbone/internal/broker"
	"example.org/souk/backbone/sqlitestore"
)

// lent is a log as another process shows it, which cannot be read now and then.
type lent struct {
	log   driver.Log
	reads atomic.Int64
	every atomic.Int64 // of so many readings one fails; 0: none
	only  atomic.Int64 // the number of the one that fails; 0: none
}

func (l *lent) fails() error {
	n, every := l.reads.Add(1), l.every.Load()
	if n == l.only.Load() || every > 0 && n%every == 0 {
		return fmt.Errorf("the process that is asked begins again: %w", driver.ErrUnavailable)
	}
	return nil
}

func (l *lent) Head(ctx context.Context, service string) (int64, error) {
	if err := l.fails(); err != nil {
		return 0, err
	}
	return l.log.Head(ctx, service)
}

func (l *lent) Read(ctx context.Context, service string, q driver.ReadQuery) ([]driver.Record, error) {
	if err := l.fails(); err != nil {
		return nil, err
	}
	return l.log.Read(ctx, service, q)
}

// unprepared hides that subscriptions can be made to exist at the broker before they begin.
type unprepared struct {
	driver.Transport
	driver.Behinder
}

// alone runs one of the two services in a process of its own, on a database of its own; others reads the log of the other one.
func alone(t *testing.T, s *server, run string, store driver.Store, others driver.Log, wrap func(*broker.Bus) driver.Transport) *backbone.Runtime {
	t.Helper()
	storeOf := func(service string) driver.Store {
		if service == run {
			return store
		}
		return nil
	}
	logOf := func(service string) driver.Log {
		switch {
		case service == run:
			return store
		case others != nil:
			return others
		}
		return nil
	}
	bus := broker.New(broker.Config{Client: &client{s}, Store: storeOf, Log: logOf, Poll: 20 * time.Millisecond})
	r, err := backbone.New(backbone.Config{
		Parts: []*backbone.Service{shop(), books()}, Run: []string{run}, Store: storeOf, Log: logOf, Transport: wrap(bus),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(r.Stop(ctx), bus.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func database(t *testing.T) driver.Store {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: t.TempDir() + "/alone.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// written returns what the books hold of each till, in the order in which it was written.
func written(t *testing.T, store driver.Store) (tills map[string][]int, total int) {
	t.Helper()
	rows, err := store.Query(t.Context(), "SELECT till, n FROM "+store.Name("books", "entry")+" ORDER BY place")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	tills = map[string][]int{}
	for rows.Next() {
		var till string
		var n int
		if err := rows.Scan(&till, &n); err != nil {
			t.Fatal(err)
		}
		tills[till] = append(tills[till], n)
		total++
	}
	return tills, total
}

// shown adds up what a view of the books shows.
func shown(t *testing.T, store driver.Store, view string) (sales int) {
	t.Helper()
	rows, err := store.Query(t.Context(), "SELECT COALESCE(SUM(sales), 0) FROM "+store.Name("books", view))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&sales); err != nil {
			t.Fatal(err)
		}
	}
	return sales
}

// A service that comes late, with a database of its own and without that of the shop, is told the shop's log from the first record to
// where it joins, and then by the broker: everything once and in order, though every third reading fails, and though the broker has kept
// all of it too. A view is rebuilt the same way. Red where what fails ends it, where a piece that failed is skipped or a swap that failed counts,
// and where a log that is read elsewhere is taken for none.
func TestLateSubscriberReadsTheLogOfAnotherProcess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wrap   func(*broker.Bus) driver.Transport
		forget bool
	}{
		"from the log alone":           {wrap: func(b *broker.Bus) driver.Transport { return unprepared{b, b} }},
		"from both":                    {wrap: plain},
		"from both, without the inbox": {wrap: plain, forget: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ours, theirs := newServer(), database(t), database(t)
			sellers := alone(t, s, "shop", ours, nil, c.wrap)
			sold := 0
			sell := func(each int) {
				var tills sync.WaitGroup
				for till := range 5 {
					tills.Go(func() {
						for range each {
							if _, err := sellers.Do(t.Context(), sell{Till: fmt.Sprint(till)}); err != nil {
								t.Error(err)
							}
						}
					})
				}
				tills.Wait()
				sold += 5 * each
			}
			sell(110) // more than a piece
			await(t, "the broker has got all", func() bool {
				ids := s.stored("souk.shop")
				slices.Sort(ids)
				return len(slices.Compact(ids)) == sold
			})
			others, kept := &lent{log: ours}, theirs
			others.every.Store(3)
			if c.forget {
				kept = drivertest.WithoutInbox{Store: theirs}
			}
			late := alone(t, s, "books", kept, others, c.wrap)
			sell(4)
			atRest := func() bool {
				busy, err := late.Unsettled(t.Context())
				return err == nil && busy == ""
			}
			await(t, "all is written", func() bool { _, n := written(t, theirs); return n >= sold && atRest() && atRest() })
			tills, total := written(t, theirs)
			if c.forget {
				if total == sold {
					t.Error("without the inbox nothing is written twice, so this shows nothing of the overlap")
				}
				return
			}
			for till, list := range tills {
				if !slices.IsSorted(list) || len(list) != sold/5 || len(slices.Compact(list)) != sold/5 {
					t.Errorf("till %s: %d entries of %d (lost, doubled or out of order)", till, len(list), sold/5)
				}
			}
			for _, view := range []string{"turnover", "takings"} {
				if got := shown(t, theirs, view); got != sold {
					t.Errorf("%s shows %d sales of %d", view, got, sold)
				}
			}
			others.every.Store(0)
			for n := range int64(6) { // each time another reading fails, of what comes before the swap and within it
				others.reads.Store(0)
				others.only.Store(n + 1)
				if err := late.Rebuild(t.Context(), "books", "turnover", nil); err != nil {
					t.Fatal(err)
				}
				await(t, fmt.Sprintf("the rebuilt view shows %d sales", sold), func() bool { return shown(t, theirs, "turnover") == sold })
				sell(1)
			}
			await(t, "the last are written", func() bool { _, n := written(t, theirs); return n >= sold && atRest() && atRest() })
			if got := shown(t, theirs, "turnover"); got != sold {
				t.Errorf("after the rebuilds it shows %d sales of %d", got, sold)
			}
		})
	}
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

// counted is a log that knows how often it was read from its first record on.
type counted struct {
	driver.Log
	mu    sync.Mutex
	first map[string]int // by the types that were asked for
}

func (c *counted) Read(ctx context.Context, service string, q driver.ReadQuery) ([]driver.Record, error) {
	if q.After == 0 {
		c.mu.Lock()
		c.first[fmt.Sprint(q.Kinds, q.Types, q.Limit)]++
		c.mu.Unlock()
	}
	return c.Log.Read(ctx, service, q)
}

// The partitions of a late subscription read a log together, and not each of them all of it. Red where each asks for itself.
func TestPartitionsReadALogTogether(t *testing.T) {
	t.Parallel()
	s, ours, theirs := newServer(), database(t), database(t)
	none := func(b *broker.Bus) driver.Transport { return unprepared{b, b} }
	sellers := alone(t, s, "shop", ours, nil, none)
	const each = 220 // two pieces
	var tills sync.WaitGroup
	for till := range 5 {
		tills.Go(func() {
			for range each {
				if _, err := sellers.Do(t.Context(), sell{Till: fmt.Sprint(till)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	tills.Wait()
	log := &counted{Log: ours, first: map[string]int{}}
	alone(t, s, "books", theirs, log, none)
	await(t, "all is written, and both views show it", func() bool {
		_, n := written(t, theirs)
		return n == 5*each && shown(t, theirs, "turnover") == n && shown(t, theirs, "takings") == n
	})
	log.mu.Lock()
	defer log.mu.Unlock()
	if len(log.first) == 0 {
		t.Fatal("the log was not read")
	}
	// A partition that begins when the others are at the end reads once more.
	const subscriptions = 3
	for what, n := range log.first {
		if n > 2*subscriptions {
			t.Errorf("the first of %s were asked for %d times by %d subscriptions", what, n, subscriptions)
		}
	}
}
