package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
	core "example.org/souk/mall"
	"example.org/souk/mall/event"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/orders"
)

// kept is what a mall has kept, read from its data directory.
type kept struct {
	placed    map[string]event.OrderPlaced
	status    map[string]orders.Status
	approvals map[string]int
}

// invariants opens the data directory of a mall that has ended, lets what was
// under way settle, and checks everything that must hold whatever happened.
func invariants(t *testing.T, dir string) (k kept, broken []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h, err := house.Open(ctx, house.Config{Data: dir, Quiet: true, Empty: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	if err := h.Start(ctx); err != nil {
		t.Fatal(err)
	}
	await(t, "idle", func() bool {
		idle, err := h.Runtime.Idle(ctx)
		return err == nil && idle
	})
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	k = kept{map[string]event.OrderPlaced{}, map[string]orders.Status{}, map[string]int{}}
	for _, service := range h.Runtime.Services() {
		checkLog(ctx, t, h, service, fail)
	}
	readOrders(ctx, t, h, &k)
	committed := map[string]int64{}
	for id, placed := range k.placed {
		v, found, err := orders.Get(ctx, h.Runtime.Reader("orders"), id)
		if err != nil || !found {
			t.Fatal(id, found, err)
		}
		k.status[id] = v.Status
		switch {
		case v.Status == orders.Approved:
			for _, l := range core.Lines(placed.Items) {
				committed[l.SKU] += l.Quantity
			}
		case !v.Status.Terminal() && v.Status != orders.Backordered:
			fail("order %s is %s and nothing is under way", id, v.Status)
		}
		if n := k.approvals[id]; n > 1 {
			fail("order %s was approved %d times", id, n)
		}
	}
	levels, err := inventory.List(ctx, h.Runtime.Reader("inventory"), "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range levels {
		if l.Available < 0 || l.Available != l.OnHand-l.Held-l.Committed {
			fail("stock of %s does not add up: %+v", l.SKU, l)
		}
		if l.Held != 0 {
			fail("%d of %s are held and no order waits for its approval", l.Held, l.SKU)
		}
		if l.Committed != committed[l.SKU] {
			fail("%d of %s are committed, approved orders hold %d", l.Committed, l.SKU, committed[l.SKU])
		}
	}
	checkFeed(ctx, t, h, fail)
	return k, broken
}

// checkLog: positions and the versions of each stream are dense, no id stands
// twice, and the seals hold.
func checkLog(ctx context.Context, t *testing.T, h *house.House, service string, fail func(string, ...any)) {
	t.Helper()
	r := h.Runtime.Reader(service)
	versions, last := map[string]int64{}, int64(0)
	for {
		list, err := r.Log(ctx, backbone.ReadQuery{After: last, Limit: 5000})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			if m.Position != last+1 && last > 0 {
				fail("log of %s: position %d follows %d", service, m.Position, last)
			}
			last = m.Position
			if m.Version > 0 {
				if m.Version != versions[m.Stream]+1 {
					fail("log of %s: version %d of %s follows %d", service, m.Version, m.Stream, versions[m.Stream])
				}
				versions[m.Stream] = m.Version
			}
		}
		if len(list) == 0 {
			break
		}
	}
	head, err := h.Head(service)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Verify(ctx, head); err != nil {
		fail("%v", err)
	}
}

func readOrders(ctx context.Context, t *testing.T, h *house.House, k *kept) {
	t.Helper()
	r := h.Runtime.Reader("orders")
	for after := int64(0); ; {
		list, err := r.Log(ctx, backbone.ReadQuery{After: after, Limit: 5000, Types: []string{event.OrderPlacedV1, event.OrderApprovedV1}})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			after = m.Position
			if m.Type == event.OrderApprovedV1 {
				k.approvals[strings.TrimPrefix(m.Stream, "order/")]++
				continue
			}
			var e event.OrderPlaced
			if err := json.Unmarshal(m.Data, &e); err != nil {
				t.Fatal(err)
			}
			k.placed[e.Order] = e
		}
		if len(list) == 0 {
			return
		}
	}
}

// checkFeed: the numbers of each customer's feed have no holes.
func checkFeed(ctx context.Context, t *testing.T, h *house.House, fail func(string, ...any)) {
	t.Helper()
	for _, customer := range []string{"CUSTOMER_001", "CUSTOMER_002"} {
		for since := int64(0); ; {
			list, err := orders.Feed(ctx, h.Runtime.Reader("orders"), customer, since, 500)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				if e.N != since+1 {
					fail("feed of %s: %d follows %d", customer, e.N, since)
				}
				since = e.N
			}
			if len(list) == 0 {
				break
			}
		}
	}
}

// holds stops a mall and fails the test where an invariant is broken.
func (m *mall) holds() kept {
	m.t.Helper()
	m.stop()
	return holds(m.t, m.dir)
}

func holds(t *testing.T, dir string) kept {
	t.Helper()
	k, broken := invariants(t, dir)
	for _, b := range broken {
		t.Error(b)
	}
	return k
}
