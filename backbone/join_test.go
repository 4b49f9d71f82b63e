package backbone_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
)

// chimes counts rings in the table of the books.
func chimes() *backbone.Service {
	svc := books(enter)
	svc.Subscribes = append(svc.Subscribes, backbone.On(func(ctx context.Context, tx backbone.Tx, e rung) error {
		return tx.Exec(ctx, `INSERT INTO {book} (entry, till, amount, n) VALUES ($1, $2, 0, $1)`, tx.Message().Position, "bell "+e.Till)
	}).From(backbone.FromFirst))
	return svc
}

// A type that is asked for from its first event, by a service that has begun already,
// is taken where there was no such event yet: nothing was missed. Red when it is
// refused, and when it is taken after one was missed.
func TestATypeIsAddedFromItsFirstEvent(t *testing.T) {
	t.Parallel()
	ring := func(w *world) {
		if _, err := w.Do(t.Context(), ring{"t1"}); err != nil {
			t.Fatal(err)
		}
		w.settle()
	}
	path := filepath.Join(t.TempDir(), "test.db")
	before := run(t, path, tills(nil), books(enter))
	before.take("t1", 1, 2)
	before.settle()
	before.end()
	with := run(t, path, tills(nil), chimes())
	ring(with)
	if rings := with.book("bell t1"); len(rings) != 1 {
		t.Errorf("%d rings were heard of 1", len(rings))
	}
	with.end()

	path = filepath.Join(t.TempDir(), "test.db")
	before = run(t, path, tills(nil), books(enter))
	ring(before)
	before.end()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	of := func(string) driver.Store { return store }
	bus := logbus.New(logbus.Config{Store: of})
	late, err := backbone.New(backbone.Config{Parts: []*backbone.Service{tills(nil), chimes()}, Store: of, Transport: bus})
	if err != nil {
		t.Fatal(err)
	}
	if err := late.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "has begun already") {
		t.Errorf("started with %v, and a ring was missed", err)
	}
	w := &world{t: t, store: store, bus: bus, Runtime: late}
	w.end()
}
