package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/orders"
)

// share is what an order has of the stock of a SKU at a location.
type share struct{ Held, Committed int64 }

// load is what somebody left with of the stock of a SKU at a location, or what an order that was undone did not find of it.
type load struct {
	all     int64 // as the gate or the depot says
	unfound int64 // of it, as the depot says: it never was there
	taken   int64 // off the books
	missed  int64 // was not on the books
	issued  int64
}

// stockroom is what the logs say of goods, by whose they are: an order's, or a visit's.
type stockroom struct {
	has    map[string]map[string]share // by order and stock
	loads  map[string]map[string]*load // by whoever left, and stock
	left   map[string]int              // how often they left with goods
	issues map[string]int
	of     map[string]string // the purchase of which goods come in next, by stock
	bought []string          // what was asked for, came in or was called off, as the stockroom has it
}

// whose names who left.
func whose(order, visit string) string {
	if order != "" {
		return "the customer of order " + order
	}
	return "visit " + visit
}

// load returns that of somebody and a stock.
func (s *stockroom) load(who, stock string) *load {
	if s.loads[who] == nil {
		s.loads[who] = map[string]*load{}
	}
	if s.loads[who][stock] == nil {
		s.loads[who][stock] = &load{}
	}
	return s.loads[who][stock]
}

// leaves takes in what somebody left with, as who let them out says.
func (s *stockroom) leaves(who, location string, lines, unfound []mall.Line) {
	if len(lines) > 0 {
		s.left[who]++
	}
	for _, l := range lines {
		s.load(who, mall.StockID(l.SKU, location)).all += l.Quantity
	}
	for _, l := range unfound {
		s.load(who, mall.StockID(l.SKU, location)).unfound += l.Quantity
	}
}

// lacks takes in what was not found for an order that was undone: nobody left with it, and it does not come back either.
func (s *stockroom) lacks(order string, unfound mall.Line) {
	l := s.load(whose(order, ""), mall.StockID(unfound.SKU, mall.MainLocation))
	l.all, l.unfound = l.all+unfound.Quantity, l.unfound+unfound.Quantity
}

// undone tells whether the goods of an order in this status have come back, as far as there were any.
func undone(s orders.Status) bool { return s == orders.Canceled || s == orders.Expired }

// What the stockroom and the logistics department must say alike.
const (
	goodsWanted = "%d of %s wanted by %s"
	goodsCame   = "%d of %s came for %s"
	goodsOff    = "%d called off of %s"
)

// take takes an event of inventory.
func (s *stockroom) take(m *backbone.Message) error {
	stock, _ := strings.CutPrefix(m.Stream, "stock/")
	switch m.Type {
	case inventory.StockShifted{}.EventType():
		return booked(m, func(e inventory.StockShifted) {
			if s.has[e.Order] == nil {
				s.has[e.Order] = map[string]share{}
			}
			had := s.has[e.Order][stock]
			s.has[e.Order][stock] = share{had.Held + e.Held, had.Committed + e.Committed}
		})
	case inventory.StockTaken{}.EventType():
		return booked(m, func(e inventory.StockTaken) { s.load(whose(e.Order, e.Visit), stock).taken += e.Quantity })
	case event.StockDiscrepancyV1:
		return booked(m, func(e event.StockDiscrepancy) { s.load(whose(e.Order, e.Visit), stock).missed += e.Quantity })
	case event.StockIssuedV1:
		return booked(m, func(e event.StockIssued) {
			who := whose(e.Order, e.Visit)
			s.issues[who]++
			for _, l := range e.Lines {
				s.load(who, mall.StockID(l.SKU, e.Location)).issued += l.Quantity
			}
		})
	case event.RestockNeededV1:
		return booked(m, func(e event.RestockNeeded) {
			if e.Quantity > 0 {
				s.bought = append(s.bought, fmt.Sprintf(goodsWanted, e.Quantity, stock, m.ID))
			}
		})
	case inventory.PurchaseSettled{}.EventType():
		return booked(m, func(e inventory.PurchaseSettled) {
			if e.Canceled {
				s.bought = append(s.bought, fmt.Sprintf(goodsOff, e.Quantity, e.Purchase))
			} else {
				s.of[stock] = e.Purchase
			}
		})
	case event.StockReceivedV1:
		return booked(m, func(e event.StockReceived) {
			if s.of[stock] != "" {
				s.bought = append(s.bought, fmt.Sprintf(goodsCame, e.Quantity, stock, s.of[stock]))
			}
			delete(s.of, stock)
		})
	}
	return nil
}

// goods: what is held and committed is so for orders that are open, what left with visitors and customers is off the books and was issued once, what was
// not found for an order is a discrepancy once the order is over, however it ended, and what came in is what was bought: of each SKU at each location.
func (c *checker) goods(ctx context.Context) error {
	s := &stockroom{
		has: map[string]map[string]share{}, loads: map[string]map[string]*load{}, left: map[string]int{}, issues: map[string]int{}, of: map[string]string{},
	}
	var bought []string
	for _, err := range []error{
		c.each(ctx, "inventory", s.take),
		events(ctx, c, "exitgate", func(e event.CustomerDeparted) { s.leaves(whose("", e.Visit), e.Location, e.Lines, nil) }),
		events(ctx, c, "orders", func(e event.OrderCollected) {
			s.leaves(whose(e.Order, ""), mall.MainLocation, slices.Concat(e.Lines, e.Also), e.Missing)
		}),
		events(ctx, c, "depot", func(e event.StopShort) {
			if undone(c.state[e.Order].Status) {
				s.lacks(e.Order, mall.Line{SKU: e.SKU, Quantity: e.Wanted - e.Picked})
			}
		}),
		events(ctx, c, "logistics", func(e event.PurchaseProposed) {
			bought = append(bought, fmt.Sprintf(goodsWanted, e.Quantity, mall.StockID(e.SKU, e.Location), e.Purchase))
		}),
		events(ctx, c, "logistics", func(e event.PurchaseCanceled) { bought = append(bought, fmt.Sprintf(goodsOff, e.Open, e.Purchase)) }),
		events(ctx, c, "logistics", func(e event.GoodsReceived) {
			bought = append(bought, fmt.Sprintf(goodsCame, e.Quantity, mall.StockID(e.SKU, e.Location), e.Purchase))
		}),
	} {
		if err != nil {
			return err
		}
	}
	c.shares(s)
	c.loads(s)
	for what, n := range difference(bought, s.bought) {
		c.broken("goods that were bought: the stockroom and the logistics department do not agree on %q (%+d)", what, n)
	}
	c.looked("what is held and committed is so for open orders; %d visitors and customers left with goods that were issued once; %d times goods were wanted, came or were called off",
		len(s.left), len(bought))
	return nil
}

// shares compares what orders have of the stock with what they must have.
func (c *checker) shares(s *stockroom) {
	want := map[string]map[string]share{}
	for _, p := range c.placed {
		want[p.Order] = map[string]share{}
		for _, l := range mall.Lines(p.Items) {
			if has := mustHave(c.state[p.Order], l.Quantity); has != (share{}) {
				want[p.Order][mall.StockID(l.SKU, mall.MainLocation)] = has
			}
		}
	}
	for order := range both(want, s.has) {
		for stock := range both(want[order], s.has[order]) {
			if is, must := s.has[order][stock], want[order][stock]; is != must {
				c.broken("order %s, which is %q, has of %s %+v, and it must be %+v", order, c.state[order].Status, stock, is, must)
			}
		}
	}
}

// mustHave is what an order must have of so many pieces that it needs.
func mustHave(o orders.Order, quantity int64) share {
	switch o.Status {
	case orders.Pending, orders.Backordered:
		if o.Reserved {
			return share{Held: quantity}
		}
	case orders.Approved, orders.Picking, orders.Short, orders.Ready: // what was not found stays promised until the rest is collected
		return share{Committed: quantity}
	}
	return share{}
}

// loads compares what is off the books with what left.
func (c *checker) loads(s *stockroom) {
	for who := range both(s.left, s.issues) {
		if s.left[who] != 1 || s.issues[who] != 1 {
			c.broken("%s left with goods %d times, and they were issued %d times", who, s.left[who], s.issues[who])
		}
	}
	for who, stocks := range s.loads {
		for stock, l := range stocks {
			if l.taken+l.missed != l.all || l.issued != l.taken || l.missed < l.unfound {
				c.broken("%s left with %d of %s, of which %d were not found: %d were taken off the books, %d were not on them, and %d issued",
					who, l.all, stock, l.unfound, l.taken, l.missed, l.issued)
			}
		}
	}
}

// difference returns what stands in one list more often than in the other, with how much more often it stands in the second.
func difference(a, b []string) map[string]int {
	more := map[string]int{}
	for _, s := range a {
		more[s]--
	}
	for _, s := range b {
		more[s]++
	}
	for s, n := range more {
		if n == 0 {
			delete(more, s)
		}
	}
	return more
}
