package demo

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/analytics"
	"example.org/souk/mall/event"
)

// deal is an order or a visit as the logs have it.
type deal struct {
	at          time.Time // placed, or left
	visit       bool
	counts      bool
	items       []mall.Item
	missing     []mall.Line
	total       int64
	taken, back int64
	captured    int64 // of what was taken
	paid        int64 // as the order says
	approved    time.Time
}

// of returns a deal. Of one that no log began there is nothing to reckon: what is missing in a log is found by its versions.
func of(deals map[string]*deal, id string) *deal {
	if d := deals[id]; d != nil {
		return d
	}
	return &deal{}
}

// net is what was earned by it: what was taken and not given back, or, where nothing was taken so far, what it costs.
func (d *deal) net() int64 {
	if d.back > 0 && !d.visit {
		return min(d.total, d.taken-d.back)
	}
	return d.total - d.back
}

// ledger is what the logs say of trade, reckoned in one pass over each.
type ledger struct {
	orders, visits map[string]*deal
	stores         map[string]string // who sells a product
	bag            map[string]string // the visit of a payment
	number         map[string]int64  // of events, by their types
	took           map[string][]time.Duration

	accounts map[string]*account         // by payment
	invoices map[string]*invoice         // by order
	balances map[string]map[string]int64 // by currency and account

	settlements map[string]*settlement // by order
}

func newLedger() *ledger {
	return &ledger{
		orders: map[string]*deal{}, visits: map[string]*deal{}, stores: map[string]string{}, bag: map[string]string{}, number: map[string]int64{},
		took: map[string][]time.Duration{}, accounts: map[string]*account{}, invoices: map[string]*invoice{}, balances: map[string]map[string]int64{},
		settlements: map[string]*settlement{},
	}
}

// look reads the logs. Orders and visits come first, since the others speak of them.
func (l *ledger) look(ctx context.Context, c *checker) error {
	for _, log := range []struct {
		service string
		take    func(*backbone.Message) error
	}{{"stores", l.takeStores}, {"orders", l.takeOrders}, {"exitgate", l.takeGate}, {"fastlane", l.takeBills}, {"payments", l.takePayments}, {"baskets", nil}} {
		err := c.each(ctx, log.service, func(m *backbone.Message) error {
			l.number[m.Type]++
			if log.take == nil {
				return nil
			}
			return log.take(m)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) takeStores(m *backbone.Message) error {
	if m.Type != event.ProductAddedV1 {
		return nil
	}
	return booked(m, func(e event.ProductAdded) { l.stores[e.Product] = e.Store })
}

func (l *ledger) takeOrders(m *backbone.Message) error {
	var said struct{ Order string }
	if err := json.Unmarshal(m.Data, &said); err != nil {
		return err
	}
	d := of(l.orders, said.Order)
	switch m.Type {
	case event.OrderPlacedV1:
		return booked(m, func(e event.OrderPlaced) {
			l.orders[e.Order] = &deal{at: m.Time, items: e.Items, total: e.Total.Amount}
		})
	case event.OrderAmendedV1:
		return booked(m, func(e event.OrderAmended) {
			d.missing, d.total = mall.AddLines(d.missing, e.Missing), e.Total.Amount
			d.items = append(slices.Clip(d.items), e.Substitutes...)
		})
	case event.OrderPaidV1:
		return booked(m, func(e event.OrderPaid) { d.paid += e.Amount.Amount })
	case event.OrderApprovedV1:
		d.counts, d.approved = true, m.Time
	case event.OrderRejectedV1, event.OrderCanceledV1, event.OrderExpiredV1:
		d.counts = false
	case event.OrderReadiedV1:
		l.took[analytics.StepPlaced] = append(l.took[analytics.StepPlaced], m.Time.Sub(d.at))
		l.took[analytics.StepApproved] = append(l.took[analytics.StepApproved], m.Time.Sub(d.approved))
	}
	return nil
}

func (l *ledger) takeGate(m *backbone.Message) error {
	if m.Type != event.CustomerDepartedV1 {
		return nil
	}
	return booked(m, func(e event.CustomerDeparted) { l.visits[e.Visit] = &deal{at: m.Time, visit: true, counts: true} })
}

func (l *ledger) takeBills(m *backbone.Message) error {
	add := func(visit, store, sku string, price mall.Money, quantity int64) {
		d := of(l.visits, visit)
		d.items = append(d.items, mall.Item{Store: store, SKU: sku, Price: price, Quantity: quantity})
		d.total += price.Amount * quantity
	}
	switch m.Type {
	case event.PaymentDueV1:
		return booked(m, func(e event.PaymentDue) {
			for _, line := range e.Lines {
				add(e.Visit, e.Store, line.SKU, line.Price, line.Quantity)
			}
		})
	case event.ItemPricedV1:
		return booked(m, func(e event.ItemPriced) { add(e.Visit, e.Store, e.SKU, e.Price, e.Quantity) })
	}
	return nil
}

// takePayments takes what was earned, and what each payment, invoice and account of the ledger came to.
func (l *ledger) takePayments(m *backbone.Message) error {
	return errors.Join(l.takeMoney(m), l.takePayment(m), l.takeInvoice(m))
}

func (l *ledger) takeMoney(m *backbone.Message) error {
	switch m.Type {
	case event.VisitChargedV1:
		return booked(m, func(e event.VisitCharged) {
			l.bag[e.Payment] = e.Visit
			of(l.visits, e.Visit).taken += e.Amount.Amount
		})
	case event.PaymentCapturedV1:
		return booked(m, func(e event.PaymentCaptured) {
			d := of(l.orders, e.Order) // none is a visit's, which is told of as VisitCharged
			d.taken, d.captured = d.taken+e.Amount.Amount, d.captured+e.Amount.Amount
		})
	case event.PaymentRefundedV1:
		return booked(m, func(e event.PaymentRefunded) {
			if e.Order != "" {
				of(l.orders, e.Order).back += e.Amount.Amount
			} else {
				of(l.visits, l.bag[e.Payment]).back += e.Amount.Amount
			}
		})
	case event.InvoicePaidV1:
		return booked(m, func(e event.InvoicePaid) {
			if e.Payment == "" {
				of(l.orders, e.Order).taken += e.Amount.Amount
			}
		})
	case event.InvoiceRefundedV1:
		return booked(m, func(e event.InvoiceRefunded) {
			if e.Payment == "" {
				of(l.orders, e.Order).back += e.Amount.Amount
			}
		})
	}
	return nil
}

// cell is what was sold of one hour, shop or product.
type cell struct{ hour, shop, sku string }

// takings is how much of it there was.
type takings struct{ deals, visits, units, sold int64 }

// reckon returns what the logs say of trade, which is reckoned once.
func (c *checker) reckon(ctx context.Context) (*ledger, error) {
	if c.books != nil {
		return c.books, nil
	}
	l := newLedger()
	if err := l.look(ctx, c); err != nil {
		return nil, err
	}
	c.books = l
	return l, nil
}

// trade: analytics' figures by hour, shop and product, the funnel and the time to ready are what follows from the logs.
func (c *checker) trade(ctx context.Context) error {
	l, err := c.reckon(ctx)
	if err != nil {
		return err
	}
	if err := c.sales(ctx, l); err != nil {
		return err
	}
	return c.funnel(ctx, l)
}

// ever is all of the time.
func ever() (from, until time.Time) { return time.UnixMicro(0), time.Now().Add(24 * time.Hour) }

func (c *checker) sales(ctx context.Context, l *ledger) error {
	want := map[analytics.By]map[cell]takings{}
	for _, by := range analytics.Bys() {
		want[by] = map[cell]takings{}
	}
	net, counted := int64(0), 0
	for _, d := range slices.Concat(slices.Collect(maps.Values(l.orders)), slices.Collect(maps.Values(l.visits))) {
		if d.counts {
			net += d.net()
			counted++
			l.sum(d, want)
		}
	}
	from, until := ever()
	for _, by := range analytics.Bys() {
		list, err := analytics.SalesBy(ctx, c.h.Reader("analytics"), by, from, until)
		if err != nil {
			return err
		}
		earned := int64(0)
		for _, f := range list {
			at := cell{shop: f.Shop, sku: f.SKU}
			if by == analytics.ByHour {
				at.hour = f.Hour.String()
			}
			got := takings{f.Orders + f.WalkIns, f.WalkIns, f.Units, f.Sold.Amount}
			if got != want[by][at] {
				c.broken("analytics says that sales by %s of %v are %+v, and the logs %+v", by, at, got, want[by][at])
			}
			delete(want[by], at)
			net := f.Net()
			earned += net.Amount
		}
		for at, missed := range want[by] {
			c.broken("analytics has no sales by %s of %v, and the logs %+v", by, at, missed)
		}
		if earned != net {
			c.broken("analytics says that %d was earned by %s, and the logs %d", earned, by, net)
		}
	}
	c.looked("analytics has sold what the logs have: %d orders and visits for %d", counted, net)
	return nil
}

// sum adds what a deal has sold to what is expected.
func (l *ledger) sum(d *deal, want map[analytics.By]map[cell]takings) {
	has := map[analytics.By]map[cell]takings{}
	for _, i := range mall.Without(d.items, d.missing) {
		shop := i.Store
		if shop == "" {
			shop = l.stores[i.Product]
		}
		for by, at := range map[analytics.By]cell{
			analytics.ByHour: {hour: d.at.Truncate(time.Hour).String()}, analytics.ByShop: {shop: shop}, analytics.ByProduct: {shop: shop, sku: i.SKU},
		} {
			if has[by] == nil {
				has[by] = map[cell]takings{}
			}
			t := has[by][at]
			has[by][at] = takings{units: t.units + i.Quantity, sold: t.sold + i.Quantity*i.Price.Amount}
		}
	}
	for by, cells := range has {
		for at, t := range cells {
			w := want[by][at]
			w.deals, w.units, w.sold = w.deals+1, w.units+t.units, w.sold+t.sold
			if d.visit {
				w.visits++
			}
			want[by][at] = w
		}
	}
}

func (c *checker) funnel(ctx context.Context, l *ledger) error {
	from, until := ever()
	steps, err := analytics.Funnel(ctx, c.h.Reader("analytics"), from, until)
	if err != nil {
		return err
	}
	got := map[string]int64{}
	for _, s := range steps {
		got[s.Step] += s.Reached
		if s.Path != analytics.WalkIn {
			got["rejected"] += s.Rejected
		}
	}
	for step, kind := range map[string]string{
		analytics.StepStarted: event.BasketStartedV1, analytics.StepCheckedOut: event.BasketCheckedOutV1, analytics.StepPlaced: event.OrderPlacedV1,
		analytics.StepApproved: event.OrderApprovedV1, analytics.StepReady: event.OrderReadiedV1, analytics.StepCompleted: event.OrderCompletedV1,
		analytics.StepLeft: event.CustomerDepartedV1, "rejected": event.OrderRejectedV1,
	} {
		if got[step] != l.number[kind] {
			c.broken("analytics' funnel has %d at %s, and the logs %d", got[step], step, l.number[kind])
		}
	}
	times, err := analytics.TimeToReady(ctx, c.h.Reader("analytics"), from, until)
	if err != nil {
		return err
	}
	for _, w := range times {
		took := slices.Sorted(slices.Values(l.took[w.Since]))
		if n := len(took); int64(n) != w.Orders || n > 0 && (w.Half != took[(n-1)/2] || w.Most != took[(95*n+99)/100-1]) {
			c.broken("analytics says that orders took %+v to be ready, and the logs have %d of them: %v", w, n, took)
		}
	}
	c.looked("the funnel has what the logs have: %d baskets, %d orders, %d completed, %d walk-ins", got[analytics.StepStarted],
		got[analytics.StepPlaced], got[analytics.StepCompleted], got[analytics.StepLeft])
	return nil
}
