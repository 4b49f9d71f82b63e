package orders

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
	"pgregory.net/rapid"
)

// The others of the checkout, as simple as they can be. They keep what each order has
// of them on a stream of its own, and leave a mark when it is taken back that refuses
// what comes late. How they decide can be read off the ids that the test chooses: a
// bad customer, a bad payment, and SKUs that are short.

// has is what an order has of one of the others.
type has struct {
	Waits, Held, Final, Gone, Over bool
}

type (
	waits  struct{ Order string }
	bound  struct{ Payment, Order string }
	voided struct{ Payment, Order string }
	barred struct{ Order string }
	arrive struct{ Order string } // what was short comes in
	issued struct{ Order string }
	settle struct{ Order string } // the order owes nothing
	closed struct{ Order string }
)

func (waits) EventType() string    { return "test.inventory.Waits.v1" }
func (barred) EventType() string   { return "test.inventory.Barred.v1" }
func (bound) EventType() string    { return "test.payments.Bound.v1" }
func (voided) EventType() string   { return "test.payments.Voided.v1" }
func (arrive) CommandType() string { return "test.inventory.Arrive.v1" }
func (c arrive) Stream() string    { return c.Order }
func (issued) EventType() string   { return "test.inventory.Issued.v1" }
func (settle) CommandType() string { return "test.payments.Settle.v1" }
func (c settle) Stream() string    { return c.Order }
func (closed) EventType() string   { return "test.payments.Closed.v1" }

func evolveHas(h has, e backbone.Event) has {
	switch e.(type) {
	case waits:
		return has{Waits: true}
	case event.StockReserved, bound:
		return has{Held: true}
	case event.StockCommitted, event.PaymentCaptured, event.InvoicePaid:
		return has{Final: true}
	case issued:
		return has{Gone: true}
	case event.StockReleased, voided, barred, event.PaymentRefunded, event.InvoiceRefunded, closed:
		return has{Over: true}
	}
	return h
}

var (
	stockOf = &backbone.Aggregate[has]{
		Name: "reservation", Evolve: evolveHas,
		Public:  []backbone.Event{event.StockReserved{}, event.StockRejected{}, event.StockCommitted{}, event.StockReleased{}},
		Private: []backbone.Event{waits{}, barred{}, issued{}},
	}
	moneyOf = &backbone.Aggregate[has]{Name: "payment", Evolve: evolveHas, Public: []backbone.Event{
		bound{}, voided{}, event.PaymentCaptured{}, event.PaymentRefunded{},
	}}
	invoiceOf = &backbone.Aggregate[has]{Name: "invoice", Evolve: evolveHas, Public: []backbone.Event{
		event.InvoicePaid{}, event.InvoiceRefunded{}, closed{},
	}}
	customerOf = &backbone.Aggregate[has]{Name: "customer", Evolve: evolveHas}
)

func others() []*backbone.Service {
	return []*backbone.Service{{
		Name: "customers",
		Handles: []backbone.Handler{backbone.Decide(customerOf, func(_ has, c command.AuthorizeCustomer, _ backbone.Meta) ([]backbone.Event, error) {
			if strings.HasPrefix(c.Customer, "bad") {
				return nil, backbone.Refuse("customer_disabled", "")
			}
			return nil, nil
		})},
	}, {
		Name: "inventory",
		Handles: []backbone.Handler{
			backbone.Decide(stockOf, func(h has, c command.ReserveStock, _ backbone.Meta) ([]backbone.Event, error) {
				short := event.StockRejected{Order: c.Order, Location: c.Location, SKU: c.Lines[0].SKU, Wanted: 2, Available: 1}
				switch {
				case h.Over:
					return nil, backbone.Refuse("reservation_over", "")
				case c.Lines[0].SKU != "short":
					return one(event.StockReserved{Order: c.Order, Location: c.Location, Lines: c.Lines, Expires: c.Expires})
				case c.Wait:
					return []backbone.Event{waits{c.Order}, short}, nil
				}
				return []backbone.Event{short}, backbone.Refuse("insufficient_stock", "").With(short)
			}),
			backbone.Decide(stockOf, func(h has, c arrive, _ backbone.Meta) ([]backbone.Event, error) {
				if !h.Waits {
					return nil, nil
				}
				return one(event.StockReserved{Order: c.Order, Location: mall.MainLocation, Lines: []mall.Line{{SKU: "short", Quantity: 2}}})
			}),
			backbone.Decide(stockOf, func(h has, c command.CommitStock, _ backbone.Meta) ([]backbone.Event, error) {
				switch {
				case h.Gone:
					return nil, nil
				case !h.Held:
					return nil, backbone.Refuse("not_reserved", "")
				}
				return one(event.StockCommitted{Order: c.Order, Location: c.Location, Lines: c.Lines})
			}),
			backbone.Decide(stockOf, func(h has, c command.IssueReservedStock, _ backbone.Meta) ([]backbone.Event, error) {
				if !h.Held && !h.Final {
					return nil, backbone.Refuse("not_reserved", "")
				}
				return one(issued{c.Order})
			}),
			backbone.Decide(stockOf, func(h has, c command.ReleaseStock, _ backbone.Meta) ([]backbone.Event, error) {
				switch {
				case h.Over, h.Gone:
					return nil, nil
				case h.Held || h.Final:
					return one(event.StockReleased{Order: c.Order, Location: c.Location, Lines: c.Lines, Reason: c.Reason})
				}
				return one(barred{c.Order})
			}),
		},
	}, {
		Name: "payments",
		Handles: []backbone.Handler{
			backbone.Decide(moneyOf, func(_ has, c command.EarmarkPayment, _ backbone.Meta) ([]backbone.Event, error) {
				if strings.HasPrefix(c.Payment, "bad") {
					return nil, backbone.Refuse("payment_used", "")
				}
				return nil, nil
			}),
			backbone.Decide(moneyOf, func(h has, c command.ConfirmPayment, _ backbone.Meta) ([]backbone.Event, error) {
				if h.Over || strings.HasPrefix(c.Payment, "bad") {
					return nil, backbone.Refuse("payment_used", "")
				}
				return one(bound{c.Payment, c.Order})
			}),
			backbone.Decide(moneyOf, func(h has, c command.VoidPayment, _ backbone.Meta) ([]backbone.Event, error) {
				switch {
				case h.Over:
					return nil, nil
				case h.Final:
					return one(event.PaymentRefunded{Payment: c.Payment, Order: c.Order})
				}
				return one(voided{c.Payment, c.Order})
			}),
			backbone.Decide(moneyOf, func(h has, c command.CapturePayment, _ backbone.Meta) ([]backbone.Event, error) {
				if !h.Held {
					return nil, backbone.Refuse("not_confirmed", "")
				}
				return one(event.PaymentCaptured{Payment: c.Payment, Order: strings.TrimPrefix(c.Payment, "good"), Amount: c.Amount})
			}),
			backbone.Decide(invoiceOf, func(h has, c command.PayInvoice, _ backbone.Meta) ([]backbone.Event, error) {
				if h.Over || h.Final {
					return nil, backbone.Refuse("invoice_closed", "")
				}
				return one(event.InvoicePaid{Invoice: c.Invoice, Order: c.Invoice, Amount: eur(2000)})
			}),
			backbone.Decide(invoiceOf, func(h has, c settle, _ backbone.Meta) ([]backbone.Event, error) {
				switch {
				case h.Over:
					return nil, nil
				case h.Final:
					return one(event.InvoiceRefunded{Invoice: c.Order, Order: c.Order, Amount: eur(2000)})
				}
				return one(closed(c))
			}),
		},
		Subscribes: []backbone.Subscriber{
			backbone.Whenever(func(e event.OrderReadied, _ backbone.Meta) []backbone.Effect {
				if e.Payment == "" {
					return nil
				}
				return []backbone.Effect{backbone.Send(command.CapturePayment{Payment: e.Payment, Amount: e.Total})}
			}),
			backbone.Whenever(func(e event.OrderCancelling, _ backbone.Meta) []backbone.Effect { return settleOf(e.Order) }),
			backbone.Whenever(func(e event.OrderRejected, _ backbone.Meta) []backbone.Effect { return settleOf(e.Order) }),
			backbone.Whenever(func(e event.OrderExpired, _ backbone.Meta) []backbone.Effect { return settleOf(e.Order) }),
		},
	}}
}

func settleOf(order string) []backbone.Effect { return []backbone.Effect{backbone.Send(settle{order})} }

// However the answers to the checkout come, late, twice or out of order, whenever the customer cancels, the goods arrive
// or the order's time is over: the order is approved, with its stock committed and its payment bound; or it has ended
// otherwise, and nothing is left with the others; or it waits for goods. It ends once.
func TestCheckoutInAnyOrder(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: append(others(), Service(Config{})), Hold: true})
	n, clean := 0, true
	ends := map[Status]int{}
	rapid.Check(t, func(rt *rapid.T) {
		if !clean { // the run before failed: let it end
			w.Pass(t, 48*time.Hour)
		}
		clean = false
		n++
		c := drawOrder(rt, w, n)
		w.Do(t, c)
		const never = 0
		cancelAt := rapid.SampledFrom([]int{never, never, never, 2, 5, 10, 15, 20}).Draw(rt, "cancel at")
		arriveAt := rapid.SampledFrom([]int{never, 2, 5, 10, 15, 20}).Draw(rt, "arrive at")
		picks := 0
		w.Interleave(t, func(n int) int {
			picks++
			if picks == cancelAt {
				// It may be too late for that.
				if _, err := w.Runtime().Do(t.Context(), command.CancelOrder{Order: c.Order, Reason: "changed my mind"}); err != nil {
					t.Fatal(err)
				}
			}
			if picks == arriveAt {
				w.Do(t, arrive{c.Order})
			}
			return rapid.IntRange(0, n-1).Draw(rt, "pick")
		})
		end := judge(t, rt, w, c)
		ends[end]++
		if end == Backordered {
			w.Pass(t, 48*time.Hour)
			if end := judge(t, rt, w, c); end != Expired {
				rt.Fatalf("a backorder that nothing came for is %s", end)
			}
		}
		clean = true
	})
	causes(t, w)
	t.Log(ends)
	if n >= 50 && !t.Failed() && (ends[Approved] == 0 || ends[Approved] == n) {
		t.Errorf("%v: too little happens for a test", ends)
	}
}

// causes checks that every record follows from one that stands in a log, or from a command that was given directly. Red
// when what a saga decides itself, or does at a deadline, names a cause of its own.
func causes(t *testing.T, w *backbonetest.World) {
	t.Helper()
	var all []*backbone.Message
	known := map[string]bool{}
	for _, service := range w.Runtime().Services() {
		for q := (backbone.ReadQuery{Limit: 1000}); ; {
			page, err := w.Reader(service).Log(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range page {
				known[m.ID], known[m.Ref], q.After = true, true, m.Position
			}
			if all = append(all, page...); len(page) < q.Limit {
				break
			}
		}
	}
	tx, err := w.Store().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}()
	failed := 0
	for _, m := range all {
		cause, _, _ := strings.Cut(m.Causation, "-again-") // the world's own copies of a message
		if m.Kind.String() == "seal" || cause != "" && known[cause] {
			continue
		}
		given, err := tx.Answers(t.Context(), m.Source, []string{cause})
		if err != nil {
			t.Fatal(err)
		}
		if len(given) == 0 && failed < 10 {
			failed++
			t.Errorf("nothing led to %s of %s: cause %q", m.Type, m.Stream, m.Causation)
		}
	}
}

func drawOrder(rt *rapid.T, w *backbonetest.World, n int) command.PlaceOrder {
	one := func(what string, values ...string) string { return rapid.SampledFrom(values).Draw(rt, what) }
	c := command.PlaceOrder{
		Order:        fmt.Sprint(n),
		Message:      fmt.Sprintf("m%d", n),
		Customer:     one("customer", "good", "good", "good", "bad") + fmt.Sprint(n),
		Items:        []mall.Item{{Product: "P", SKU: one("sku", "pen", "short"), Name: "Pen", Price: eur(1000), Quantity: 2}},
		WaitForStock: rapid.Bool().Draw(rt, "wait"),
	}
	if p := one("payment", "", "good", "good", "bad"); p != "" {
		c.Payment = fmt.Sprint(p, n)
	}
	if rapid.IntRange(0, 3).Draw(rt, "hurry") == 3 {
		c.Expires = w.Clock.Now().Add(40 * time.Second).UnixMicro()
	}
	return c
}

// judge checks that an order which is at rest is in a legal state, and returns it.
func judge(t *testing.T, rt *rapid.T, w *backbonetest.World, c command.PlaceOrder) Status {
	o, _, err := backbone.Load(t.Context(), w.Reader("orders"), orders, c.Order)
	if err != nil {
		t.Fatal(err)
	}
	goods, _, err := backbone.Load(t.Context(), w.Reader("inventory"), stockOf, c.Order)
	if err != nil {
		t.Fatal(err)
	}
	money, _, err := backbone.Load(t.Context(), w.Reader("payments"), moneyOf, c.Payment)
	if err != nil {
		t.Fatal(err)
	}
	saga := w.Saga(t, "orders", "checkout", c.Order)
	want := map[Status]string{Approved: backbone.SagaCompleted, Backordered: backbone.SagaWaiting}[o.Status]
	if want == "" {
		want = backbone.SagaCompensated
	}
	legal := saga == want
	switch o.Status {
	case Approved:
		legal = legal && goods.Final && money.Held == (c.Payment != "")
	case Backordered:
		legal = legal && goods.Waits && !money.Held
	case Rejected, Expired, Canceled:
		legal = legal && !goods.Waits && !goods.Held && !goods.Final && !money.Held
	default:
		legal = false
	}
	if !legal {
		rt.Fatalf("order %+v is %s with its checkout %s; stock %+v, money %+v", c, o.Status, saga, goods, money)
	}
	log, err := w.Reader("orders").Log(t.Context(), backbone.ReadQuery{Stream: "order/" + c.Order, Kinds: backbone.EventKinds()})
	if err != nil {
		t.Fatal(err)
	}
	last, said := Unknown, map[string]bool{}
	for _, m := range log {
		if said[m.Type] || !last.allows(m.Type) {
			rt.Fatalf("order %+v: %s after %s", c, m.Type, last)
		}
		last, said[m.Type] = last.after(m.Type), true
	}
	return o.Status
}
