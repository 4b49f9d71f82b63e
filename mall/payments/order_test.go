package payments

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// vault is a provider that keeps what it holds of each payment; it gives no money for one that is called empty.
type vault struct {
	mu    sync.Mutex
	held  map[string]int64 // set aside
	taken map[string]int64
}

func (b *vault) do(change func()) (Outcome, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	return Outcome{}, nil
}

func (b *vault) Authorize(_ context.Context, _, payment, _ string, amount mall.Money) (Outcome, error) {
	return b.do(func() { b.held[payment] = amount.Amount })
}

func (b *vault) Void(_ context.Context, _, payment string) (Outcome, error) {
	return b.do(func() { b.held[payment] = 0 })
}

func (b *vault) Capture(_ context.Context, _, payment string, amount mall.Money) (Outcome, error) {
	if payment == "empty" {
		return Outcome{Refused: true, Reason: "exceeds"}, nil
	}
	return b.do(func() { b.held[payment], b.taken[payment] = 0, amount.Amount })
}

func (b *vault) Refund(_ context.Context, _, payment string, amount mall.Money) (Outcome, error) {
	return b.do(func() { b.taken[payment] -= amount.Amount })
}

func (b *vault) Ask(context.Context, string) (Outcome, bool, error) {
	return Outcome{}, false, errors.New("nothing is asked here")
}

// say has an order say something.
type say struct {
	Order  string
	Ready  *event.OrderReadied    `json:",omitempty"`
	Cancel *event.OrderCancelling `json:",omitempty"`
	Expire *event.OrderExpired    `json:",omitempty"`
}

func (say) CommandType() string { return "test.orders.Say.v1" }
func (c say) Stream() string    { return c.Order }

// neighbours own what payments hears of others.
func neighbours() []*backbone.Service {
	order := &backbone.Aggregate[int]{
		Name:   "order",
		Public: []backbone.Event{event.OrderReadied{}, event.OrderCancelling{}, event.OrderExpired{}, event.OrderRejected{}},
		Evolve: func(n int, _ backbone.Event) int { return n },
	}
	return []*backbone.Service{
		{Name: "fastlane", Publishes: []backbone.Event{event.PaymentDue{}, event.ItemPriced{}}},
		{Name: "orders", Handles: []backbone.Handler{backbone.Decide(order, func(_ int, c say, _ backbone.Meta) ([]backbone.Event, error) {
			switch {
			case c.Ready != nil:
				return one(*c.Ready)
			case c.Cancel != nil:
				return one(*c.Cancel)
			}
			return one(*c.Expire)
		})}},
	}
}

// B4: whichever way an order is paid, the money of all of them is where it belongs afterwards, the accounts sum to zero and say
// what the provider says, and what was set aside is either taken or free.
func TestB4_MoneyOfOrders(t *testing.T) {
	t.Parallel()
	b := &vault{held: map[string]int64{}, taken: map[string]int64{}}
	w := backbonetest.Start(t, backbonetest.Config{Parts: append(neighbours(), Service(b, Config{Depot: true}))})
	do := func(commands ...backbone.Command) {
		t.Helper()
		for _, c := range commands {
			w.Do(t, c)
			w.Settle(t)
		}
	}
	ready := func(order, payment string, amount int64) say {
		return say{Order: order, Ready: &event.OrderReadied{Order: order, Customer: "c1", Total: eur(amount), Payment: payment}}
	}
	cancelled := func(order string) say {
		return say{Order: order, Cancel: &event.OrderCancelling{Order: order, Customer: "c1", Reason: "changed my mind"}}
	}
	bill := func(order string, amount int64) command.CreateInvoice {
		return command.CreateInvoice{Invoice: order, Order: order, Customer: "c1", Amount: eur(amount)}
	}
	prepay := func(payment, order string) []backbone.Command {
		return []backbone.Command{
			command.AuthorizePayment{Payment: payment, Customer: "c1", Amount: eur(5000)},
			command.ConfirmPayment{Payment: payment, Order: order, Customer: "c1", Amount: eur(4000)},
		}
	}
	check := func(what string, want map[string]int64) {
		t.Helper()
		accounts, err := Accounts(t.Context(), w.Reader("payments"))
		if err != nil {
			t.Fatal(err)
		}
		var sum int64
		for _, balance := range accounts["EUR"] {
			sum += balance
		}
		if sum != 0 {
			t.Errorf("%s: the accounts sum to %d", what, sum)
		}
		var held, taken int64
		for _, n := range b.held {
			held += n
		}
		for _, n := range b.taken {
			taken += n
		}
		got := accounts["EUR"]
		if got[SetAside] != held || got[Taken] != taken {
			t.Errorf("%s: %v, and the provider has %d set aside and %d taken", what, got, held, taken)
		}
		for account, balance := range want {
			if got[account] != balance {
				t.Errorf("%s: %s has %d, want %d", what, account, got[account], balance)
			}
		}
	}

	do(bill("early", 4000), command.PayInvoice{Invoice: "early"})
	check("paid at the arrival", map[string]int64{Till: 4000})
	do(ready("early", "", 3500))
	check("less was ready", map[string]int64{Till: 3500})

	do(ready("late", "", 2000), command.PayInvoice{Invoice: "late"})
	check("paid when all is in", map[string]int64{Till: 5500})

	do(prepay("p1", "prepaid")...)
	check("authorized", map[string]int64{SetAside: 5000})
	do(ready("prepaid", "p1", 3900))
	check("captured what it came to", map[string]int64{SetAside: 0, Taken: 3900})

	do(prepay("empty", "refused")...)
	do(ready("refused", "empty", 4000))
	check("not captured, so it is asked for at the depot", map[string]int64{SetAside: 0, Taken: 3900, Till: 5500})
	do(command.PayInvoice{Invoice: "refused"})
	check("paid after all", map[string]int64{Till: 9500})

	do(prepay("p3", "gift")...)
	do(ready("gift", "p3", 0))
	check("nothing is due", map[string]int64{SetAside: 0, Taken: 3900})

	do(bill("gone", 1000), command.PayInvoice{Invoice: "gone"}, cancelled("gone"))
	check("cancelled when it was paid", map[string]int64{Till: 9500})
	do(bill("unpaid", 1000), say{Order: "unpaid", Expire: &event.OrderExpired{Order: "unpaid", Customer: "c1"}})
	w.Refused(t, ErrInvoiceClosed.Code, command.PayInvoice{Invoice: "unpaid"})
	do(cancelled("unbilled"))
	w.Refused(t, ErrInvoiceExists.Code, bill("unbilled", 1000))

	do(prepay("p4", "transferred")...)
	do(command.CapturePayment{Payment: "p4"}, bill("transfer", 4000), command.PayInvoice{Invoice: "transfer", Payment: "p4"}, cancelled("transfer"))
	check("given back by the payment that paid it", map[string]int64{SetAside: 0, Taken: 3900, Till: 9500, Customers: -13400})
}

func TestPoliciesOfOrders(t *testing.T) {
	t.Parallel()
	none := backbone.Meta{}
	for _, c := range []struct {
		name      string
		got, want []backbone.Effect
	}{
		{"free", settleWhenReady(event.OrderReadied{Order: "o1", Total: eur(0)}, none), nil},
		{
			"rejected", closeWhenRejected(event.OrderRejected{Order: "o1", Reason: mall.ReasonOutOfStock}, none),
			[]backbone.Effect{backbone.Send(CloseInvoice{Order: "o1", Reason: mall.ReasonOutOfStock})},
		},
		{"a visit's capture refused", billWhenRefused(CaptureRefused{Payment: "p1", Reason: "no"}, none), nil},
		{"cash", refundByPayment(event.InvoiceRefunded{Invoice: "o1", Amount: eur(1)}, none), nil},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, c.got, c.want)
		}
	}
}
