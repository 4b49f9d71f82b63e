package orders

import (
	"fmt"
	"reflect"
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

// list is what the depot has of an order. Its robots need no time: what is initiated is done. A SKU that is scarce is found
// once where it was promised twice, and one that is unlisted is in no shop that the depot knows.
type list struct {
	Created, Done, Over bool
	SKU                 string
}

type listBarred struct{ List string }

func (listBarred) EventType() string { return "test.depot.Barred.v1" }

var listOf = &backbone.Aggregate[list]{
	Name: "list",
	Public: []backbone.Event{
		event.ShoppingListCreated{},
		event.ShoppingListAssigned{},
		event.StopShort{},
		event.ShoppingListCompleted{},
		event.ShoppingListCanceled{},
		listBarred{},
	},
	Evolve: func(l list, e backbone.Event) list {
		switch e := e.(type) {
		case event.ShoppingListCreated:
			l.Created, l.SKU = true, e.Stops[0].SKU
		case event.ShoppingListCompleted:
			l.Done = true
		case event.ShoppingListCanceled, listBarred:
			return list{Over: true}
		}
		return l
	},
}

func depot() *backbone.Service {
	return &backbone.Service{
		Name: "depot",
		Handles: []backbone.Handler{
			backbone.Decide(listOf, func(l list, c command.CreateShoppingList, _ backbone.Meta) ([]backbone.Event, error) {
				switch {
				case l.Over:
					return nil, backbone.Refuse("list_canceled", "")
				case strings.HasPrefix(c.Stops[0].SKU, "unlisted"):
					return nil, backbone.Refuse("store_unknown", "")
				}
				return one(event.ShoppingListCreated{List: c.List, Order: c.Order, Stops: c.Stops})
			}),
			backbone.Decide(listOf, func(l list, c command.InitiateShopping, _ backbone.Meta) ([]backbone.Event, error) {
				if !l.Created {
					return nil, backbone.Refuse("list_unknown", "")
				}
				events := []backbone.Event{event.ShoppingListAssigned{List: c.List, Order: c.List, Robot: "r", Update: 1}}
				done := event.ShoppingListCompleted{List: c.List, Order: c.List}
				if l.SKU == "scarce" {
					events = append(events, event.StopShort{List: c.List, Order: c.List, Stop: 1, Robot: "r", SKU: l.SKU, Wanted: 2, Picked: 1})
					done.Missing = []mall.Line{{SKU: l.SKU, Quantity: 1}}
				}
				return append(events, done), nil
			}),
			backbone.Decide(listOf, func(l list, c command.CancelList, _ backbone.Meta) ([]backbone.Event, error) {
				switch {
				case l.Over:
					return nil, nil
				case l.Created:
					return one(event.ShoppingListCanceled{List: c.List, Order: c.List, Reason: c.Reason})
				}
				return one(listBarred{c.List})
			}),
		},
	}
}

func mallWithDepot() []*backbone.Service {
	return append(others(), depot(),
		&backbone.Service{Name: "baskets", Publishes: []backbone.Event{event.BasketCheckedOut{}}},
		Service(Config{Depot: true, Baskets: true}))
}

// B4, B8: however answers, robots and money come, late, twice or out of order, whenever the customer cancels, decides or pays: an
// order is ready, and then collected or expired; or waits for a decision; or has ended otherwise, with its stock, its list and
// its money given back. It is completed only when it is ready, paid and collected, and ends once.
func TestB8_WholeLifeInAnyOrder(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: mallWithDepot(), Hold: true})
	n, clean := 0, true
	ends := map[Status]int{}
	rapid.Check(t, func(rt *rapid.T) {
		if !clean { // the run before failed: let it end
			w.Pass(t, 96*time.Hour)
		}
		clean = false
		n++
		c := drawFetchedOrder(rt, w, n)
		try := func(c backbone.Command) { // it may be too early or too late for that
			if _, err := w.Runtime().Do(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		try(c)
		at := map[int][]backbone.Command{}
		for _, later := range []backbone.Command{
			command.CancelOrder{Order: c.Order, Reason: "changed my mind"},
			arrive{c.Order},
			command.PayInvoice{Invoice: c.Order},
			command.DecideShort{Order: c.Order, Choice: mall.ShortRest},
			command.HandOverOrder{Order: c.Order},
		} {
			const never = 0
			when := rapid.SampledFrom([]int{never, never, 2, 5, 10, 15, 20, 25, 30, 40}).Draw(rt, later.CommandType())
			if _, cancel := later.(command.CancelOrder); cancel && rapid.Bool().Draw(rt, "keep") {
				when = never
			}
			at[when] = append(at[when], later)
		}
		picks := 0
		pick := func(n int) int {
			picks++
			for _, later := range at[picks] {
				try(later)
			}
			return rapid.IntRange(0, n-1).Draw(rt, "pick")
		}
		w.Interleave(t, pick)
		end := judgeFetched(t, rt, w, c)
		for _, more := range []struct {
			of   Status
			then []backbone.Command
		}{
			{Short, []backbone.Command{rapid.SampledFrom([]backbone.Command{
				command.DecideShort{Order: c.Order, Choice: mall.ShortRest},
				command.DecideShort{Order: c.Order, Choice: mall.ShortCancel},
				command.DecideShort{Order: c.Order, Choice: mall.ShortSubstitute, Substitutes: []mall.Item{{Product: "q", SKU: "quill", Name: "Quill", Price: eur(900), Quantity: 1}}},
				command.CancelOrder{Order: c.Order, Reason: "changed my mind"},
			}).Draw(rt, "decision")}},
			{Ready, []backbone.Command{rapid.SampledFrom([]backbone.Command{
				command.PayInvoice{Invoice: c.Order}, command.CancelOrder{Order: c.Order, Reason: "changed my mind"}, command.HandOverOrder{Order: c.Order},
			}).Draw(rt, "at the depot")}},
			{Ready, []backbone.Command{command.HandOverOrder{Order: c.Order}}},
		} {
			if end == more.of {
				for _, c := range more.then {
					try(c)
				}
				w.Interleave(t, pick)
				end = judgeFetched(t, rt, w, c)
			}
		}
		ends[end]++
		if end == Ready || end == Backordered {
			w.Pass(t, 96*time.Hour)
			if end := judgeFetched(t, rt, w, c); end != Expired {
				rt.Fatalf("an order that nobody came for is %s", end)
			}
			ends[Expired]++
		}
		clean = true
	})
	causes(t, w)
	t.Log(ends)
	for _, end := range []Status{Completed, Canceled, Rejected, Expired} {
		if n >= 100 && !t.Failed() && ends[end] == 0 {
			t.Errorf("%v: none is %s, too little happens for a test", ends, end)
		}
	}
}

func drawFetchedOrder(rt *rapid.T, w *backbonetest.World, n int) command.PlaceOrder {
	c := drawOrder(rt, w, n)
	c.Items[0].SKU = rapid.SampledFrom([]string{"pen", "pen", "pen", "scarce", "scarce", "scarce", "short", "unlisted"}).Draw(rt, "goods")
	if rapid.IntRange(0, 3).Draw(rt, "good") > 0 { // most customers have nothing against them
		c.Customer, c.Payment = strings.Replace(c.Customer, "bad", "good", 1), strings.Replace(c.Payment, "bad", "good", 1)
	}
	c.WhenShort = rapid.SampledFrom([]mall.WhenShort{"", mall.ShortRest, mall.ShortSubstitute, mall.ShortCancel}).Draw(rt, "when short")
	return c
}

// judgeFetched checks that an order which is at rest is in a legal state, and returns it.
func judgeFetched(t *testing.T, rt *rapid.T, w *backbonetest.World, c command.PlaceOrder) Status {
	t.Helper()
	load := func(service string, of *backbone.Aggregate[has], id string) has {
		state, _, err := backbone.Load(t.Context(), w.Reader(service), of, id)
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	o, _, err := backbone.Load(t.Context(), w.Reader("orders"), orders, c.Order)
	if err != nil {
		t.Fatal(err)
	}
	shopping, _, err := backbone.Load(t.Context(), w.Reader("depot"), listOf, c.Order)
	if err != nil {
		t.Fatal(err)
	}
	goods := load("inventory", stockOf, c.Order)
	money, cash := has{}, load("payments", invoiceOf, c.Order)
	if c.Payment != "" {
		money = load("payments", moneyOf, c.Payment)
	}
	saga := w.Saga(t, "orders", "checkout", c.Order)
	var legal bool
	switch o.Status {
	case Backordered:
		legal = saga == backbone.SagaWaiting && goods.Waits && !shopping.Created && !money.Held
	case Short:
		legal = saga == backbone.SagaCompleted && goods.Final && shopping.Done && money.Held == (c.Payment != "") && len(o.Undecided) > 0
	case Ready:
		legal = saga == backbone.SagaCompleted && goods.Final && shopping.Done && money.Final == (c.Payment != "") && o.Paid == (money.Final || cash.Final)
	case Completed:
		legal = saga == backbone.SagaCompleted && goods.Gone && shopping.Done && (money.Final || cash.Final) && o.Paid && o.Collected
	case Rejected, Expired, Canceled:
		legal = saga == backbone.SagaCompensated && !goods.Waits && !goods.Held && !goods.Final && !goods.Gone &&
			!shopping.Created && !money.Held && !money.Final && !cash.Final
	default:
		legal = false
	}
	if !legal {
		rt.Fatalf("order %+v is %s with its checkout %s; stock %+v, list %+v, money %+v, cash %+v, order %+v", c, o.Status, saga, goods, shopping, money, cash, o)
	}
	// What was not found is left out of what is paid, whichever message told of it first.
	if found := c.Items[0].SKU != "scarce"; (o.Status == Ready || o.Status == Completed) && found != (len(o.Missing) == 0 && o.Total == eur(2000)) {
		rt.Fatalf("order %+v is %s for %v, without %v", c, o.Status, o.Total, o.Missing)
	}
	log, err := w.Reader("orders").Log(t.Context(), backbone.ReadQuery{Stream: "order/" + c.Order, Kinds: backbone.EventKinds()})
	if err != nil {
		t.Fatal(err)
	}
	var replayed Order
	said := map[string]bool{}
	for _, m := range log {
		if said[m.Type] || !replayed.Status.allows(m.Type) {
			rt.Fatalf("order %+v: %s after %s", c, m.Type, replayed.Status)
		}
		e, err := Service(Config{}).Decode(m)
		if err != nil {
			t.Fatal(err)
		}
		replayed, said[m.Type] = evolve(replayed, e), true
	}
	if !reflect.DeepEqual(replayed, o) {
		rt.Fatalf("B13: replayed %+v, live %+v", replayed, o)
	}
	return o.Status
}

// B5: a step that is refused has everything before it undone, last first, and OrderRejected says why.
func TestB5_EveryStepOfTheWholeCheckout(t *testing.T) {
	t.Parallel()
	const (
		released = "souk.inventory.ReleaseStock.v1"
		unlisted = "souk.depot.CancelList.v1"
	)
	for _, c := range []struct {
		step                   string
		customer, sku, payment string
		reason                 string
		undone                 []string
	}{
		{authorizeCustomer, "bad", "pen", "good", mall.ReasonCustomerRefused, nil},
		{reserveTheStock, "good", "short", "good", mall.ReasonOutOfStock, nil},
		{createList, "good", "unlisted", "good", "store_unknown", []string{released}},
		{confirmPayment, "good", "pen", "bad", mall.ReasonPaymentRefused, []string{unlisted, released}},
	} {
		t.Run(c.step, func(t *testing.T) {
			t.Parallel()
			w := backbonetest.Start(t, backbonetest.Config{Parts: mallWithDepot()})
			w.Do(t, command.PlaceOrder{Order: "1", Customer: c.customer, Payment: c.payment + "1", Items: []mall.Item{
				{Product: "P", SKU: c.sku, Name: "Pen", Price: eur(1000), Quantity: 2},
			}})
			w.Settle(t)
			log, err := w.Reader("orders").Log(t.Context(), backbone.ReadQuery{Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			var undone []string
			for _, m := range log {
				if m.Type == released || m.Type == unlisted || m.Type == command.VoidPaymentV1 {
					undone = append(undone, m.Type)
				}
			}
			if !reflect.DeepEqual(undone, c.undone) {
				t.Errorf("undone by %v, want %v", undone, c.undone)
			}
			o, _, err := backbone.Load(t.Context(), w.Reader("orders"), orders, "1")
			if err != nil || o.Status != Rejected || o.Reason != c.reason {
				t.Errorf("%s because of %q: %v; want %q", o.Status, o.Reason, err, c.reason)
			}
			for _, service := range []string{"inventory", "depot", "payments"} {
				for _, e := range w.Events(t, service) {
					switch e.(type) {
					case event.StockCommitted, event.ShoppingListAssigned, event.PaymentCaptured:
						t.Errorf("%s says %+v", service, e)
					}
				}
			}
		})
	}
}

// A checkout that began without a depot goes on without one; the next order has one.
func TestARunningCheckoutKeepsItsVersion(t *testing.T) {
	t.Parallel()
	w := backbonetest.Start(t, backbonetest.Config{Parts: append(others(), depot(),
		&backbone.Service{Name: "baskets", Publishes: []backbone.Event{event.BasketCheckedOut{}}}, Service(Config{}))})
	place := func(n int) {
		w.Do(t, command.PlaceOrder{Order: fmt.Sprint(n), Customer: "good", WaitForStock: true, Items: []mall.Item{
			{Product: "P", SKU: "short", Name: "Pen", Price: eur(1000), Quantity: 2},
		}})
		w.Settle(t)
	}
	place(1)
	w.Restart(t, mallWithDepot()...)
	place(2)
	for n, want := range map[int]Status{1: Approved, 2: Ready} {
		w.Do(t, arrive{fmt.Sprint(n)})
		w.Settle(t)
		if o, _, err := backbone.Load(t.Context(), w.Reader("orders"), orders, fmt.Sprint(n)); err != nil || o.Status != want {
			t.Errorf("order %d is %s: %v; want %s", n, o.Status, err, want)
		}
	}
	// What an older version began is undone by what it is now.
	w.Do(t, command.CancelOrder{Order: "1", Reason: "changed my mind"})
	w.Settle(t)
	if o, _, err := backbone.Load(t.Context(), w.Reader("orders"), orders, "1"); err != nil || o.Status != Canceled {
		t.Errorf("cancelled, it is %s: %v", o.Status, err)
	}
}
