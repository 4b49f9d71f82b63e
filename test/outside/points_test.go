// Package loyalty tries, from another repository, what a consumer of one's own needs: nothing but the modules of souk.
package loyalty

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"example.com/loyalty/points"
	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
	"example.org/souk/backbone/logbus"
	"example.org/souk/backbone/sqlitestore"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// approve is a command of the smallest service of orders that could be.
type approve struct {
	Order, Customer string
	Cents           int64
}

func (approve) CommandType() string { return "souk.orders.Approve.v1" }
func (c approve) Stream() string    { return c.Order }

func orders() *backbone.Service {
	order := &backbone.Aggregate[bool]{
		Name: "order", Public: []backbone.Event{event.OrderApproved{}},
		Evolve: func(bool, backbone.Event) bool { return true },
	}
	return &backbone.Service{Name: "orders", Handles: []backbone.Handler{
		backbone.Decide(order, func(already bool, c approve, _ backbone.Meta) ([]backbone.Event, error) {
			if already {
				return nil, backbone.Refuse("orders.approved", "the order is approved")
			}
			return []backbone.Event{event.OrderApproved{
				Order: c.Order, Customer: c.Customer, Total: mall.Money{Amount: c.Cents, Currency: "EUR"},
			}}, nil
		}),
	}}
}

// house is the program: the parts that are there already, and those that were added.
type house struct {
	*backbone.Runtime
	bus   *logbus.Bus
	store *sqlitestore.Store
}

func start(t *testing.T, path string, added ...*backbone.Service) *house {
	t.Helper()
	store, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	storeOf := func(string) driver.Store { return store }
	h := &house{bus: logbus.New(logbus.Config{Store: storeOf}), store: store}
	h.Runtime, err = backbone.New(backbone.Config{Parts: append([]*backbone.Service{orders()}, added...), Store: storeOf, Transport: h.bus})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) stop(t *testing.T) {
	t.Helper()
	for _, end := range []func() error{func() error { return h.Stop(context.Background()) }, h.bus.Close, h.store.Close} {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}

// sell has n orders approved, each sent twice under one id as an impatient client does.
func (h *house) sell(t *testing.T, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		c := approve{Order: fmt.Sprintf("o%d", i), Customer: customers[i%len(customers)], Cents: int64(100*i + 99)}
		for range 2 {
			if _, err := h.Do(t.Context(), c, backbone.WithID("cmd-"+c.Order)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

var customers = []string{"C0", "C1", "C2"}

// want waits until the customers have the points of the orders from 0 to n - 1 and nothing is in flight any more.
func (h *house) want(t *testing.T, n int) {
	t.Helper()
	sums := make([]int64, len(customers))
	for i := range n {
		sums[i%len(sums)] += int64(i) // 99 cents are no whole unit
	}
	have := func() []int64 {
		list := make([]int64, len(customers))
		for i, customer := range customers {
			var err error
			if list[i], err = points.Of(t.Context(), h.Reader("points"), customer); err != nil {
				t.Fatal(err)
			}
		}
		return list
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	pulse := time.NewTicker(time.Millisecond)
	defer pulse.Stop()
	for {
		idle, err := h.Idle(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if idle && slices.Equal(have(), sums) {
			break
		}
		select {
		case <-pulse.C:
		case <-ctx.Done():
			t.Fatalf("%v have %v points, want %v", customers, have(), sums)
		}
	}
}

// TestAServiceAddedLaterGetsEveryOrderFromTheFirst sells before the service exists, adds it, and sells on.
func TestAServiceAddedLaterGetsEveryOrderFromTheFirst(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop.db")

	before := start(t, path)
	before.sell(t, 0, 30)
	before.stop(t)

	with := start(t, path, points.Service())
	with.want(t, 30)
	with.sell(t, 30, 30)
	with.want(t, 60)
	with.stop(t)

	again := start(t, path, points.Service())
	again.want(t, 60)
	again.sell(t, 60, 5)
	again.want(t, 65)
	again.stop(t)
}

// TestARebuiltBalanceEqualsTheLiveOne makes the table again from the log.
func TestARebuiltBalanceEqualsTheLiveOne(t *testing.T) {
	t.Parallel()
	h := start(t, filepath.Join(t.TempDir(), "shop.db"), points.Service())
	defer h.stop(t)
	h.sell(t, 0, 40)
	if err := h.Rebuild(t.Context(), "points", "points", nil); err != nil {
		t.Fatal(err)
	}
	h.want(t, 40)
	h.sell(t, 40, 5)
	h.want(t, 45)
}

// TestTheMapShowsIt finds the new service on the map beside the others.
func TestTheMapShowsIt(t *testing.T) {
	t.Parallel()
	parts := []*backbone.Service{orders(), points.Service()}
	if err := backbone.Check(parts); err != nil {
		t.Fatal(err)
	}
	view := backbone.Describe(parts).Services[1].Views[0]
	if view.Name != "points" || view.Events[0].Owner != "orders" || view.Events[0].From != "first" || !view.Keyed {
		t.Errorf("view %+v", view)
	}
	if err := backbone.Check(parts[1:]); err == nil {
		t.Error("nobody owns the event and nobody says so")
	}
}
