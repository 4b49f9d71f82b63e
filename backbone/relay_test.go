package backbone_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/membus"
)

// turnstile is a broker that takes nothing until it is opened, tells of each batch that it is offered then, and does not take
// the third of them.
type turnstile struct {
	*membus.Bus
	opened  chan struct{}
	offered chan int64 // the position behind which a batch begins
	batches atomic.Int64
}

func (s *turnstile) Publish(ctx context.Context, source string, rs []driver.Record) (driver.Anchor, error) {
	select {
	case <-s.opened:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.offered <- rs[0].Position - 1
	if s.batches.Add(1) == 3 {
		return nil, errors.New("the broker is away")
	}
	return s.Bus.Publish(ctx, source, rs)
}

// patient is a store that holds the first cursor of a relay back until something else was published meanwhile.
type patient struct {
	driver.Store
	offered <-chan int64
	held    atomic.Bool
	late    atomic.Bool // nothing was published meanwhile
}

func (s *patient) Begin(ctx context.Context) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx)
	return patientTx{tx, s}, err
}

type patientTx struct {
	driver.Tx
	store *patient
}

func (t patientTx) Apply(ctx context.Context, service string, w *driver.Writes) error {
	for _, m := range w.Moves {
		if m.Subscription != backbone.RelayName || t.store.held.Swap(true) {
			continue
		}
		for behind := int64(0); behind < m.To; {
			select {
			case behind = <-t.store.offered:
			case <-time.After(10 * time.Second):
				t.store.late.Store(true)
				behind = m.To
			}
		}
	}
	return t.Tx.Apply(ctx, service, w)
}

// The relay publishes while its cursor is being stored and what comes next is read. Where a batch fails nothing is lost and
// nothing out of order. Red where a batch waits for the cursor behind the one before, and where what was read ahead is
// published in the place of a batch that failed.
func TestF3_PublishedWhileTheCursorIsStored(t *testing.T) {
	t.Parallel()
	const callers, each = 32, 220 // several batches of the relay
	bus := membus.New(membus.Config{})
	broker := &turnstile{Bus: bus, opened: make(chan struct{}), offered: make(chan int64, callers*each)}
	store := &patient{offered: broker.offered}
	var mu sync.Mutex
	last, disordered := map[string]int64{}, 0
	w := runWith(t, filepath.Join(t.TempDir(), "test.db"), func(c *backbone.Config) {
		store.Store = c.Store("tills")
		c.Store = func(string) driver.Store { return store }
		c.Transport = broker
	}, tills(nil), diary(func(e taken) {
		mu.Lock()
		defer mu.Unlock()
		if e.Amount < last[e.Till] {
			disordered++
		}
		last[e.Till] = e.Amount
	}))
	t.Cleanup(func() { closeAfter(w, bus) })
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := range each {
				if _, err := w.Do(t.Context(), take{fmt.Sprint("t", c), int64(1000*(c+1) + i)}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	close(broker.opened)
	w.await("all has come", func() bool { return len(lines(w)) >= callers*each })
	w.await("all is at rest", func() bool {
		idle, err := w.Idle(t.Context())
		return err == nil && idle
	})
	switch got := lines(w); {
	case store.late.Load():
		t.Error("nothing is published while the cursor is stored")
	case broker.batches.Load() < 4:
		t.Error("no batch was refused")
	case len(got) != callers*each:
		t.Errorf("the diary has %d lines, want %d", len(got), callers*each)
	case disordered > 0:
		t.Errorf("%d came behind a later one", disordered)
	}
	cps, err := store.Checkpoints(t.Context(), "tills", backbone.RelayName)
	if err != nil || len(cps) != 1 || cps[0].Position < callers*each {
		t.Errorf("the cursor is %+v (%v), want one behind %d", cps, err, callers*each)
	}
}
