package house

import (
	"context"
	"slices"

	"example.org/souk/backbone"
	"example.org/souk/gateway/console"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/orders"
)

// view shows the console how the mall is.
type view struct {
	h     *House
	flows []console.Flow
}

func newView(h *House) view { return view{h, flowsOf(backbone.Describe(h.Runtime.Parts()))} }

// Snapshot implements console.Source.
func (v view) Snapshot(ctx context.Context) (s console.Snapshot, err error) {
	s.Flows = v.flows
	for _, name := range v.h.Services() {
		head, err := v.h.stores.of(name).Head(ctx, name)
		if err != nil {
			return s, err
		}
		s.Services = append(s.Services, console.Service{Name: name, Records: head})
	}
	latest, err := orders.Latest(ctx, v.h.Reader("orders"), 12)
	if err != nil {
		return s, err
	}
	for _, o := range latest {
		s.Orders = append(s.Orders, console.Order{ID: o.Order, Customer: o.Customer, Status: o.Status, Total: o.Total.String(), Placed: o.Placed})
	}
	levels, err := inventory.List(ctx, v.h.Reader("inventory"), "", "", 20)
	for _, l := range levels {
		s.Stock = append(s.Stock, console.Stock{SKU: l.SKU, OnHand: l.OnHand, Held: l.Held, Committed: l.Committed, Available: l.Available})
	}
	return s, err
}

// Services lists those of the mall whose logs can be read here.
func (h *House) Services() []string {
	if !h.Several() {
		return h.Runtime.Services()
	}
	names := make([]string, 0, len(h.Runtime.Parts()))
	for _, p := range h.Runtime.Parts() {
		names = append(names, p.Name)
	}
	return names
}

// flowsOf counts the types of commands and events that go from one service to
// another.
func flowsOf(m backbone.Map) []console.Flow {
	counts := map[console.Flow]int{}
	for _, s := range m.Services {
		for _, c := range s.Sends {
			if c.To != s.Name {
				counts[console.Flow{From: s.Name, To: c.To, Kind: "command"}]++
			}
		}
		for _, sub := range s.Subscribes {
			if sub.Owner != s.Name {
				counts[console.Flow{From: sub.Owner, To: s.Name, Kind: "event"}]++
			}
		}
		for _, v := range s.Views {
			for _, sub := range v.Events {
				if sub.Owner != s.Name {
					counts[console.Flow{From: sub.Owner, To: s.Name, Kind: "event"}]++
				}
			}
		}
	}
	var flows []console.Flow
	for f, n := range counts {
		f.Types = n
		flows = append(flows, f)
	}
	slices.SortFunc(flows, func(a, b console.Flow) int {
		return slices.Compare([]string{a.From, a.To, a.Kind}, []string{b.From, b.To, b.Kind})
	})
	return flows
}
