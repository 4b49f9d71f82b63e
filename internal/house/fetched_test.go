package house

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
)

// vault is a payment provider that gives whatever it is asked for, and keeps what it has set aside and taken.
type vault struct {
	mu          sync.Mutex
	held, taken int64
	of          map[string]int64
}

func (v *vault) do(change func()) (payments.Outcome, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
	return payments.Outcome{}, nil
}

func (v *vault) Authorize(_ context.Context, _, payment, _ string, amount mall.Money) (payments.Outcome, error) {
	return v.do(func() { v.held, v.of[payment] = v.held+amount.Amount, amount.Amount })
}

func (v *vault) Void(_ context.Context, _, payment string) (payments.Outcome, error) {
	return v.do(func() { v.held, v.of[payment] = v.held-v.of[payment], 0 })
}

func (v *vault) Capture(_ context.Context, _, payment string, amount mall.Money) (payments.Outcome, error) {
	return v.do(func() { v.held, v.taken, v.of[payment] = v.held-v.of[payment], v.taken+amount.Amount, 0 })
}

func (v *vault) Refund(_ context.Context, _, _ string, amount mall.Money) (payments.Outcome, error) {
	return v.do(func() { v.taken -= amount.Amount })
}

func (v *vault) Ask(context.Context, string) (payments.Outcome, bool, error) {
	return payments.Outcome{}, false, errors.New("nothing is asked here")
}

// shopping is a list of a depot whose robots wait to be told what they find.
type shopping struct{ Created, Over bool }

// broughtIn has a robot bring a list in, with so much missing.
type broughtIn struct {
	List    string
	Missing []mall.Line
}

func (broughtIn) CommandType() string { return "test.depot.Found.v1" }
func (c broughtIn) Stream() string    { return c.List }

// checkOut has a basket checked out.
type checkOut event.BasketCheckedOut

func (checkOut) CommandType() string { return "test.baskets.CheckOut.v1" }
func (c checkOut) Stream() string    { return c.Basket }

// played are the mall's parts with a depot and baskets that the test plays.
func played(p Ports) []*backbone.Service {
	rest := slices.DeleteFunc(Parts(p), func(s *backbone.Service) bool { return s.Name == "depot" || s.Name == "baskets" })
	return append(rest, fetching()...)
}

func fetching() []*backbone.Service {
	lists := &backbone.Aggregate[shopping]{
		Name: "list",
		Public: []backbone.Event{
			event.ShoppingListCreated{}, event.ShoppingListAssigned{}, event.StopShort{}, event.ShoppingListCompleted{}, event.ShoppingListCanceled{},
		},
		Evolve: func(s shopping, e backbone.Event) shopping {
			switch e.(type) {
			case event.ShoppingListCreated:
				s.Created = true
			case event.ShoppingListCanceled:
				s.Over = true
			}
			return s
		},
	}
	baskets := &backbone.Aggregate[int]{
		Name: "basket", Public: []backbone.Event{event.BasketStarted{}, event.BasketCanceled{}, event.BasketCheckedOut{}},
		Evolve: func(n int, _ backbone.Event) int { return n },
	}
	return []*backbone.Service{{
		Name: "depot",
		Handles: []backbone.Handler{
			backbone.Decide(lists, func(s shopping, c command.CreateShoppingList, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{event.ShoppingListCreated{List: c.List, Order: c.Order, Stops: c.Stops, WhenShort: c.WhenShort}}, nil
			}),
			backbone.Decide(lists, func(s shopping, c command.InitiateShopping, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{event.ShoppingListAssigned{List: c.List, Order: c.List, Robot: "r", Update: 1}}, nil
			}),
			backbone.Decide(lists, func(s shopping, c command.CancelList, _ backbone.Meta) ([]backbone.Event, error) {
				return []backbone.Event{event.ShoppingListCanceled{List: c.List, Order: c.List, Reason: c.Reason}}, nil
			}),
			backbone.Decide(lists, func(s shopping, c broughtIn, _ backbone.Meta) ([]backbone.Event, error) {
				var events []backbone.Event
				for i, l := range c.Missing {
					events = append(events, event.StopShort{List: c.List, Order: c.List, Stop: int64(i) + 1, Robot: "r", SKU: l.SKU, Wanted: l.Quantity})
				}
				return append(events, event.ShoppingListCompleted{List: c.List, Order: c.List, Missing: c.Missing}), nil
			}),
		},
	}, {
		Name: "baskets",
		Handles: []backbone.Handler{backbone.Decide(baskets, func(_ int, c checkOut, _ backbone.Meta) ([]backbone.Event, error) {
			return []backbone.Event{event.BasketCheckedOut(c)}, nil
		})},
	}}
}

// B4, B8: the mall's own services, with a depot and baskets that the test plays, carry orders to every end that there is, and
// afterwards stock and money add up: nothing is held, promised, set aside or owed for an order that has ended.
func TestB4_FromTheBasketToTheDepot(t *testing.T) {
	t.Parallel()
	v := &vault{of: map[string]int64{}}
	w := backbonetest.Start(t, backbonetest.Config{Parts: played(Ports{Provider: v})})
	do := func(commands ...backbone.Command) {
		t.Helper()
		for _, c := range commands {
			w.Do(t, c)
			w.Settle(t)
		}
	}
	eur := func(n int64) mall.Money { return mall.Money{Amount: n, Currency: "EUR"} }
	is := func(order, status string) {
		t.Helper()
		o, _, err := orders.Get(t.Context(), w.Reader("orders"), order)
		if err != nil || o.Shown() != status {
			t.Errorf("%s is %s: %v; want %s", order, o.Shown(), err, status)
		}
	}
	history := func(order string, want ...string) {
		t.Helper()
		o, _, err := orders.Get(t.Context(), w.Reader("orders"), order)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range o.History {
			got = append(got, s.Status)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s was %v, want %v", order, got, want)
		}
	}
	level := func(what string, onHand, committed int64) {
		t.Helper()
		l, err := inventory.Get(t.Context(), w.Reader("inventory"), "pen", mall.MainLocation)
		if err != nil || l.OnHand != onHand || l.Held != 0 || l.Committed != committed {
			t.Errorf("%s: %+v, %v; want %d on hand and %d committed", what, l, err, onHand, committed)
		}
	}
	money := func(what string, setAside, taken, till int64) {
		t.Helper()
		accounts, err := payments.Accounts(t.Context(), w.Reader("payments"))
		if err != nil {
			t.Fatal(err)
		}
		got := accounts["EUR"]
		if got[payments.SetAside] != setAside || got[payments.Taken] != taken || got[payments.Till] != till || got[payments.Customers] != -setAside-taken-till {
			t.Errorf("%s: %v; want %d set aside, %d taken, %d in the till", what, got, setAside, taken, till)
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.held != setAside || v.taken != taken {
			t.Errorf("%s: the provider has %d set aside and %d taken", what, v.held, v.taken)
		}
	}
	basket := func(order, payment string, whenShort mall.WhenShort) checkOut {
		return checkOut{
			Basket: "b-" + order, Order: order, Customer: "ada", Payment: payment, WhenShort: whenShort, Total: eur(4000),
			Items: []mall.Item{{Product: "p", SKU: "pen", Name: "Pen", Price: eur(1000), Quantity: 4, Store: "hall", StoreName: "Main hall"}},
		}
	}
	authorize := func(payment string) command.AuthorizePayment {
		return command.AuthorizePayment{Payment: payment, Customer: "ada", Amount: eur(4000)}
	}
	bill := func(order string) command.CreateInvoice {
		return command.CreateInvoice{Invoice: order, Order: order, Customer: "ada", Amount: eur(4000)}
	}
	two := []mall.Line{{SKU: "pen", Quantity: 2}}
	do(command.RegisterCustomer{Customer: "ada", Name: "sealed"}, command.ReceiveStock{SKU: "pen", Location: mall.MainLocation, Quantity: 100})

	// Paid when all is in.
	do(basket("late", "", ""))
	is("late", "PICKING")
	level("fetched", 100, 4)
	do(broughtIn{List: "late"})
	w.Refused(t, orders.ErrNotPaid.Code, command.HandOverOrder{Order: "late"})
	do(command.PayInvoice{Invoice: "late"}, command.HandOverOrder{Order: "late"})
	history("late", "PENDING", "RESERVED", "APPROVED", "PICKING", "READY", "COMPLETED")
	level("collected", 96, 0)
	money("paid when all is in", 0, 0, 4000)

	// Paid before all is in, and then less comes, which the customer is asked about.
	do(basket("early", "", mall.ShortAsk), bill("early"), command.PayInvoice{Invoice: "early"})
	w.Refused(t, orders.ErrNotReady.Code, command.HandOverOrder{Order: "early"})
	do(broughtIn{List: "early", Missing: two})
	is("early", "SHORT")
	do(command.DecideShort{Order: "early", Choice: mall.ShortRest}, command.HandOverOrder{Order: "early"})
	history("early", "PENDING", "RESERVED", "APPROVED", "PICKING", "SHORT", "PICKING", "READY", "COMPLETED")
	level("collected, and two were never there", 92, 0)
	money("half of it given back", 0, 0, 6000)

	// Prepaid, and captured as much as it came to.
	do(authorize("p1"), basket("prepaid", "p1", mall.ShortRest), broughtIn{List: "prepaid", Missing: two})
	is("prepaid", "READY")
	money("captured", 0, 2000, 6000)
	do(command.HandOverOrder{Order: "prepaid"})
	is("prepaid", "COMPLETED")
	level("prepaid and collected", 88, 0)

	// B8: cancelled when it is ready and paid, in either way.
	do(authorize("p2"), basket("undone", "p2", ""), broughtIn{List: "undone"}, command.CancelOrder{Order: "undone", Reason: "changed my mind"})
	is("undone", "CANCELED")
	do(basket("regretted", "", ""), broughtIn{List: "regretted"}, command.PayInvoice{Invoice: "regretted"}, command.CancelOrder{Order: "regretted", Reason: "changed my mind"})
	is("regretted", "CANCELED")
	// Nothing of it was found, or the customer wants nothing then.
	do(basket("none", "", mall.ShortRest), broughtIn{List: "none", Missing: []mall.Line{{SKU: "pen", Quantity: 4}}})
	is("none", "CANCELED")
	do(authorize("p3"), basket("picky", "p3", mall.ShortCancel), broughtIn{List: "picky", Missing: two})
	is("picky", "CANCELED")
	level("all undone, and six were never there", 82, 0)
	money("all undone", 0, 2000, 6000)

	// Nobody comes.
	do(authorize("p4"), basket("forgotten", "p4", ""), broughtIn{List: "forgotten"}, basket("unpaid", "", ""), broughtIn{List: "unpaid"})
	money("ready", 0, 6000, 6000)
	w.Pass(t, 49*time.Hour)
	is("forgotten", "EXPIRED")
	is("unpaid", "EXPIRED")
	w.Refused(t, payments.ErrInvoiceClosed.Code, command.PayInvoice{Invoice: "unpaid"})
	level("nobody came", 82, 0)
	money("nobody came", 0, 2000, 6000)

	for _, order := range []string{"undone", "regretted", "none", "picky", "forgotten", "unpaid"} {
		canceled := 0
		for _, e := range w.Events(t, "depot") {
			if e, ok := e.(event.ShoppingListCanceled); ok && e.List == order {
				canceled++
			}
		}
		if canceled != 1 {
			t.Errorf("the list of %s was cancelled %d times", order, canceled)
		}
	}
	for _, s := range w.Runtime().Services() {
		if parked := w.Parked(t, s); len(parked) > 0 {
			t.Errorf("%s has parked %+v", s, parked)
		}
	}
}
