package baskets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
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

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

func item(product string, price, quantity int64) mall.Item {
	return mall.Item{
		Product: product, SKU: product + "-sku", Name: "A " + product, Price: eur(price), Quantity: quantity,
		Store: "s1", StoreName: "Paper & Ink", PriceVersion: 1,
	}
}

func quotes(list ...any) []mall.Quote {
	var all []mall.Quote
	for i := 0; i < len(list); i += 2 {
		all = append(all, mall.Quote{Product: list[i].(string), Price: eur(int64(list[i+1].(int))), PriceVersion: 2})
	}
	return all
}

const half = 30 * time.Minute

var (
	until   = backbonetest.Epoch.Add(half).UnixMicro()
	started = event.BasketStarted{Basket: "b1", Customer: "c1", Expires: until}
	pens    = event.ItemAdded{Basket: "b1", Customer: "c1", Item: item("pen", 1000, 3)}
	ink     = event.ItemAdded{Basket: "b1", Customer: "c1", Item: item("ink", 500, 2)}
	gone    = event.BasketCanceled{Basket: "b1", Customer: "c1", Reason: "changed my mind"}
	ordered = event.BasketCheckedOut{Basket: "b1", Order: "o1", Customer: "c1", Items: []mall.Item{pens.Item}, Total: eur(3000)}
)

func history(list ...backbone.Event) []backbone.Event { return list }

func sold(i mall.Item) command.AddItem { return command.AddItem{Basket: "b1", Item: i, Sold: true} }

func removing(product string, n int64) command.RemoveItem {
	return command.RemoveItem{Basket: "b1", Product: product, Quantity: n}
}

func canceling(reason string) command.CancelBasket {
	return command.CancelBasket{Basket: "b1", Reason: reason}
}

func accepting(prices ...any) command.AcceptPrices {
	return command.AcceptPrices{Basket: "b1", Prices: quotes(prices...)}
}

func checking(prices ...any) command.CheckoutBasket {
	return command.CheckoutBasket{Basket: "b1", Order: "o1", Prices: quotes(prices...)}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	extend, full := command.ExtendBasket{Basket: "b1"}, event.ItemAdded{Basket: "b1", Customer: "c1", Item: item("pen", 1000, mall.MaxQuantity)}
	removed := func(n int64) event.ItemRemoved {
		return event.ItemRemoved{Basket: "b1", Customer: "c1", Product: "pen", Quantity: n}
	}
	inYen, dear, sameSKU := item("tea", 5, 1), item("gold", 1<<62, 2), item("pencil", 100, 1)
	inYen.Price.Currency, sameSKU.SKU = "JPY", pens.Item.SKU
	asked, paid := pens.Item, checking("pen", 1000)
	asked.PriceVersion, paid.Payment, paid.WaitForStock, paid.WhenShort = 2, "p1", true, mall.ShortRest
	var crowd []backbone.Event
	for n := range mall.MaxLines {
		crowd = append(crowd, event.ItemAdded{Basket: "b1", Customer: "c1", Item: item(fmt.Sprintf("p%d", n), 1, 1)})
	}
	for _, c := range []struct {
		name    string
		given   []backbone.Event
		after   time.Duration
		when    backbone.Command
		then    backbone.Event
		refused *backbone.Refusal
	}{
		{"a basket", nil, 0, command.StartBasket{Basket: "b1", Customer: "c1", MayBuy: true}, started, nil},
		{"B11 for a disabled or unknown customer", nil, 0, command.StartBasket{Basket: "b1", Customer: "c1"}, nil, ErrCustomer},
		{"twice", history(started), 0, command.StartBasket{Basket: "b1", Customer: "c1", MayBuy: true}, nil, ErrExists},
		{"another's", history(started), 0, command.StartBasket{Basket: "b1", Customer: "c2", MayBuy: true}, nil, ErrExists},

		{"three pens", history(started), 0, sold(pens.Item), pens, nil},
		{"B11 what is not sold", history(started), 0, command.AddItem{Basket: "b1", Item: pens.Item}, nil, ErrNotSold},
		{"into nothing", nil, 0, sold(pens.Item), nil, ErrUnknown},
		{"into what was given up", history(started, gone), 0, sold(pens.Item), nil, ErrNotOpen},
		{"into what was ordered", history(started, pens, ordered), 0, sold(pens.Item), nil, ErrNotOpen},
		{"B10 one more than can be ordered", history(started, full), 0, sold(item("pen", 1000, 1)), nil, ErrTooMuch},
		{"one more of the SKU under another product", history(started, full), 0, sold(sameSKU), nil, ErrTooMuch},
		{"one line too many", append(history(started), crowd...), 0, sold(item("last", 1, 1)), nil, ErrTooMuch},
		{"more money than there is", history(started), 0, sold(dear), nil, ErrTooMuch},
		{"in yen", history(started, pens), 0, sold(inYen), nil, ErrCurrency},

		{"B10 two of three taken out", history(started, pens), 0, removing("pen", 2), removed(2), nil},
		{"all taken out", history(started, pens), 0, removing("pen", 3), removed(3), nil},
		{"B10 four of three", history(started, pens), 0, removing("pen", 4), nil, ErrTooFew},
		{"the same again", history(started, pens, removed(2)), 0, removing("pen", 2), nil, ErrTooFew},
		{"what is not there any more", history(started, pens, removed(3)), 0, removing("pen", 1), nil, ErrNotInBasket},
		{"out of nothing", nil, 0, removing("pen", 1), nil, ErrUnknown},

		{
			"B2 a price is accepted", history(started, pens, ink), 0,
			accepting("pen", 1150, "ink", 500),
			event.PricesAccepted{Basket: "b1", Customer: "c1", Prices: quotes("pen", 1150)},
			nil,
		},
		{"prices as they are", history(started, pens), 0, accepting("pen", 1000), nil, nil},
		{"of what is not there", history(started, pens), 0, accepting("ink", 500), nil, ErrNotInBasket},
		{"no amount can hold it", history(started, pens), 0, accepting("pen", 1<<62), nil, ErrTooMuch},
		{"accepted too late", history(started, pens, gone), 0, accepting("pen", 1150), nil, ErrNotOpen},

		{
			"kept longer", history(started), time.Minute,
			extend,
			event.BasketExtended{Basket: "b1", Customer: "c1", Expires: backbonetest.Epoch.Add(half + time.Minute).UnixMicro()},
			nil,
		},
		{"kept as long as it is", history(started), 0, extend, nil, nil},
		{"nothing is kept longer", nil, 0, extend, nil, ErrUnknown},
		{"what was given up is not kept", history(started, gone), 0, extend, nil, ErrNotOpen},

		{"given up", history(started), 0, canceling("changed my mind"), gone, nil},
		{"given up twice", history(started, gone), 0, canceling("changed my mind"), nil, nil},
		{"what was ordered is not given up", history(started, pens, ordered), 0, canceling("changed my mind"), nil, ErrNotOpen},
		{
			"its time is over", history(started), half, canceling(mall.ReasonBasketExpired),
			event.BasketCanceled{Basket: "b1", Customer: "c1", Reason: mall.ReasonBasketExpired},
			nil,
		},
		{
			"its time would be over if it had not been extended",
			history(started, event.BasketExtended{Basket: "b1", Customer: "c1", Expires: until + 1}), half,
			canceling(mall.ReasonBasketExpired), nil, nil,
		},
		{"its time is over too late", history(started, pens, ordered), half, canceling(mall.ReasonBasketExpired), nil, nil},

		{
			"checked out", history(started, pens), 0, paid, event.BasketCheckedOut{
				Basket: "b1", Order: "o1", Customer: "c1", Payment: "p1", WaitForStock: true, WhenShort: mall.ShortRest,
				Items: []mall.Item{asked}, Total: eur(3000),
			}, nil,
		},
		{"B2 not at another price", history(started, pens), 0, checking("pen", 1150), nil, ErrPriceChanged},
		{"B2 not at a lower price either", history(started, pens), 0, checking("pen", 900), nil, ErrPriceChanged},
		{"B11 not what was removed since", history(started, pens, ink), 0, checking("pen", 1000), nil, ErrNotSold},
		{"nothing at all", history(started, pens, removed(3)), 0, checking(), nil, ErrEmpty},
		{"once more", history(started, pens, ordered), 0, checking("pen", 1150), nil, nil},
		{"once more as another order", history(started, pens, ordered), 0, command.CheckoutBasket{Basket: "b1", Order: "o2"}, nil, ErrNotOpen},
		{"once more, paid", history(started, pens, ordered), 0, paid, nil, ErrNotOpen},
		{"what was given up", history(started, pens, gone), 0, checking("pen", 1000), nil, ErrNotOpen},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := backbonetest.Given(t, Service(Config{}), c.given...).At(backbonetest.Epoch.Add(c.after)).When(c.when)
			switch {
			case c.refused != nil:
				got.ThenRefused(c.refused.Code)
			case c.then != nil:
				got.Then(c.then)
			default:
				got.ThenNothing()
			}
		})
	}
}

// What is refused says of which products, and of what they cost.
func TestRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		when backbone.Command
		want string
	}{
		{checking("pen", 1150, "ink", 500), `[{"product":"pen","was":{"amount":1000,"currency":"EUR"},"now":{"amount":1150,"currency":"EUR"}}]`},
		{checking("pen", 1150), `["ink"]`},
	} {
		r := backbonetest.Given(t, Service(Config{}), started, pens, ink).When(c.when).Refusal()
		if r == nil || string(r.Data) != c.want {
			t.Errorf("%+v says %s, want %s", c.when, r.Data, c.want)
		}
	}
}

// B10: a product that is added twice adds up, at the price that was shown first; 3 - 2 = 1; whatever is added and taken out, what
// remains is the difference, and nothing is ever below 1. Red when a second addition replaces the first, and when more can be taken
// out than there is.
func TestB10_WhatRemainsIsTheDifference(t *testing.T) {
	t.Parallel()
	two := baskets.Fold(started, pens, event.ItemAdded{Basket: "b1", Customer: "c1", Item: item("pen", 1150, 2)}).Items
	if len(two) != 1 || two[0].Quantity != 5 || two[0].Price != eur(1000) {
		t.Errorf("3 and 2 pens are %+v", two)
	}
	if rest := baskets.Fold(started, pens, event.ItemRemoved{Basket: "b1", Product: "pen", Quantity: 2}).Items; len(rest) != 1 || rest[0].Quantity != 1 {
		t.Errorf("3 - 2 = %+v", rest)
	}
	rapid.Check(t, func(rt *rapid.T) {
		past, want := history(started), map[string]int64{}
		for range rapid.IntRange(1, 40).Draw(rt, "commands") {
			product := rapid.SampledFrom([]string{"pen", "ink", "tea"}).Draw(rt, "product")
			n := rapid.Int64Range(1, 5).Draw(rt, "pieces")
			var when backbone.Command = sold(item(product, rapid.Int64Range(0, 3).Draw(rt, "price"), n))
			taken := rapid.Bool().Draw(rt, "taken out")
			if taken {
				when = removing(product, n)
			}
			got := backbonetest.Given(t, Service(Config{}), past...).When(when)
			if accepted := got.Refusal() == nil; accepted == (taken && n > want[product]) {
				rt.Fatalf("%+v of %d: %v", when, want[product], got.Refusal())
			} else if accepted && taken {
				want[product] -= n
			} else if accepted {
				want[product] += n
			}
			past = append(past, got.Events()...)
			for _, i := range baskets.Fold(past...).Items {
				if i.Quantity != want[i.Product] || i.Quantity < 1 {
					rt.Fatalf("%d of %s, want %d", i.Quantity, i.Product, want[i.Product])
				}
			}
			left := 0
			for _, n := range want {
				if n > 0 {
					left++
				}
			}
			if items := baskets.Fold(past...).Items; len(items) != left {
				rt.Fatalf("%+v of %v", items, want)
			}
		}
	})
}

// owner is who minds customers, as these tests need it.
type owner map[string]bool

var errAway = errors.New("away")

func (o owner) MayBuy(_ context.Context, customer string) (bool, error) {
	may, known := o[customer]
	if customer == "lost" {
		return false, errAway
	}
	return known && may, nil
}

// others are the services that baskets hear of, without a mind of their own: they say what they are told to.
func others() []*backbone.Service {
	shop := &backbone.Aggregate[int]{
		Name: "shop", Evolve: func(n int, _ backbone.Event) int { return n },
		Public: []backbone.Event{
			event.StoreCreated{},
			event.StoreRebranded{},
			event.ParticipationEnabled{},
			event.ParticipationDisabled{},
			event.ProductAdded{},
			event.ProductRebranded{},
			event.PriceIncreased{},
			event.PriceDecreased{},
			event.ProductRemoved{},
		},
	}
	person := &backbone.Aggregate[int]{
		Name: "person", Evolve: func(n int, _ backbone.Event) int { return n },
		Public: []backbone.Event{event.CustomerRegistered{}, event.CustomerEnabled{}, event.CustomerDisabled{}, event.CustomerForgotten{}},
	}
	return []*backbone.Service{
		{Name: "stores", Handles: []backbone.Handler{backbone.Decide(shop, func(_ int, c sayShop, _ backbone.Meta) ([]backbone.Event, error) { return one(read(c.Type, c.Data)) })}},
		{Name: "customers", Handles: []backbone.Handler{backbone.Decide(person, func(_ int, c sayPerson, _ backbone.Meta) ([]backbone.Event, error) { return one(read(c.Type, c.Data)) })}},
	}
}

type (
	sayShop   struct{ ID, Type, Data string }
	sayPerson struct{ ID, Type, Data string }
)

func (sayShop) CommandType() string   { return "test.stores.Say.v1" }
func (c sayShop) Stream() string      { return c.ID }
func (sayPerson) CommandType() string { return "test.customers.Say.v1" }
func (c sayPerson) Stream() string    { return c.ID }

func read(wire, data string) backbone.Event {
	for _, e := range event.All() {
		if e.EventType() == wire {
			into := reflect.New(reflect.TypeOf(e))
			if json.Unmarshal([]byte(data), into.Interface()) == nil {
				return into.Elem().Interface().(backbone.Event)
			}
		}
	}
	return nil
}

type world struct {
	*backbonetest.World
	t testing.TB
	Border
}

func begin(t testing.TB) *world {
	w := backbonetest.Start(t, backbonetest.Config{Parts: append(others(), Service(Config{}))})
	return &world{w, t, Border{Reader: w.Reader("baskets"), Customers: owner{"new": true, "enabled-again": true, "barred": false}}}
}

// say has the owner of an event say it, on the stream of what it is about.
func (w *world) say(id string, e backbone.Event) {
	w.t.Helper()
	data, err := json.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	switch e.(type) {
	case event.CustomerRegistered, event.CustomerEnabled, event.CustomerDisabled, event.CustomerForgotten:
		w.Do(w.t, sayPerson{id, e.EventType(), string(data)})
	default:
		w.Do(w.t, sayShop{id, e.EventType(), string(data)})
	}
}

// shop opens a shop that sells pens and ink.
func (w *world) shop() {
	w.t.Helper()
	w.say("s1", event.StoreCreated{Store: "s1", Name: "Paper & Ink", Location: "main"})
	w.say("s1", event.ParticipationEnabled{Store: "s1"})
	for _, e := range []event.ItemAdded{pens, ink} {
		w.say(e.Item.Product, event.ProductAdded{Product: e.Item.Product, Store: "s1", Name: e.Item.Name, SKU: e.Item.SKU, Price: e.Item.Price})
	}
	w.say("c1", event.CustomerRegistered{Customer: "c1", Name: "sealed"})
	w.Settle(w.t)
}

func (w *world) start(id string) {
	w.t.Helper()
	c, err := w.Start(w.t.Context(), id, "c1")
	if err != nil {
		w.t.Fatal(err)
	}
	w.Do(w.t, c)
}

func (w *world) get(id string) View {
	w.t.Helper()
	v, found, err := Get(w.t.Context(), w.World.Reader("baskets"), id)
	if err != nil || !found {
		w.t.Fatalf("%v %v", found, err)
	}
	return v
}

// B11: who is known and enabled may start a basket, who is disabled or forgotten may not, and whoever the service has not heard of, or
// knows as disabled, is asked about before they are refused. Red when a disabled customer counts as known, and when nobody is asked.
func TestB11_WhoMayStart(t *testing.T) {
	t.Parallel()
	w := begin(t)
	for _, id := range []string{"c1", "barred", "gone", "enabled-again", "back"} {
		w.say(id, event.CustomerRegistered{Customer: id, Name: "sealed"})
	}
	w.say("barred", event.CustomerDisabled{Customer: "barred"})
	w.say("enabled-again", event.CustomerDisabled{Customer: "enabled-again"})
	w.say("back", event.CustomerDisabled{Customer: "back"})
	w.say("back", event.CustomerEnabled{Customer: "back"})
	w.say("gone", event.CustomerForgotten{Customer: "gone"})
	w.Settle(t)
	for customer, want := range map[string]error{
		"c1": nil, "back": nil, "new": nil, "enabled-again": nil,
		"barred": ErrCustomer, "gone": ErrCustomer, "nobody": ErrCustomer, "lost": errAway,
	} {
		c, err := w.Start(t.Context(), "b-"+customer, customer)
		if !errors.Is(err, want) || c.MayBuy != (want == nil) {
			t.Errorf("%s: %+v %v, want %v", customer, c, err, want)
		}
	}
	w.Refused(t, "customer_refused", command.StartBasket{Basket: "b9", Customer: "barred"})
	if _, err := (Border{Reader: w.Border.Reader}).Start(t.Context(), "b8", "new"); !errors.Is(err, ErrCustomer) {
		t.Errorf("without an owner to ask: %v", err)
	}
	var field *mall.FieldError
	if _, err := w.Start(t.Context(), "b\x00", "c1"); !errors.As(err, &field) || field.Field != "basket" {
		t.Errorf("an id that is none: %v", err)
	}
}

// B11: what a shop that takes no part sells, what was removed and what nobody knows cannot be added, and is not checked out.
func TestB11_WhatIsSold(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.shop()
	w.start("b1")
	can := func(product string) error {
		_, err := w.Add(t.Context(), "b1", product, 1, mall.Money{})
		return err
	}
	if err := errors.Join(can("pen"), can("ink")); err != nil {
		t.Fatal(err)
	}
	if c, err := w.Add(t.Context(), "b1", "pen", 2, eur(1000)); err != nil || c.Item != item("pen", 1000, 2) {
		t.Errorf("%+v %v", c, err)
	} else {
		w.Do(t, c)
	}
	if _, err := w.Add(t.Context(), "b1", "pen", 2, eur(999)); !errors.Is(err, ErrPriceChanged) {
		t.Errorf("shown at another price: %v", err)
	}
	for _, n := range []int64{0, -1, mall.MaxQuantity + 1} {
		var field *mall.FieldError
		if _, err := w.Add(t.Context(), "b1", "pen", n, mall.Money{}); !errors.As(err, &field) || field.Field != "quantity" {
			t.Errorf("%d pieces: %v", n, err)
		}
	}
	w.say("s1", event.ParticipationDisabled{Store: "s1"})
	w.Settle(t)
	if err := can("ink"); !errors.Is(err, ErrNotSold) {
		t.Errorf("a shop that takes no part: %v", err)
	}
	w.say("s1", event.ParticipationEnabled{Store: "s1"})
	w.say("s1", event.StoreRebranded{Store: "s1", Name: "Ink & Paper"})
	w.say("ink", event.ProductRebranded{Product: "ink", Store: "s1", Name: "Ink, blue"})
	w.Settle(t)
	if c, err := w.Add(t.Context(), "b1", "ink", 1, mall.Money{}); err != nil || c.Item.StoreName != "Ink & Paper" || c.Item.Name != "Ink, blue" {
		t.Errorf("%+v %v", c, err)
	}
	w.say("pen", event.ProductRemoved{Product: "pen", Store: "s1"})
	w.Settle(t)
	if err := errors.Join(can("pen"), can("nothing")); !errors.Is(err, ErrNotSold) {
		t.Errorf("what was removed: %v", err)
	}
	if l := w.get("b1").Lines; len(l) != 1 || l[0].Sold || l[0].Changed() {
		t.Errorf("what was removed shows as %+v", l)
	}
	out, err := w.Checkout(t.Context(), command.CheckoutBasket{Basket: "b1"})
	if err != nil || out.Order != "b1" || len(out.Prices) != 0 {
		t.Errorf("%+v %v", out, err)
	}
	w.Refused(t, "not_sold", out)
}

// B2: a price that changes shows beside the accepted one; the basket is not checked out before the customer has accepted the price that
// holds, and then is, at that price. Red when more of a product takes its new price on without a question.
func TestB2_APriceChangeIsAskedAbout(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.shop()
	w.start("b1")
	ctx := t.Context()
	add := func() {
		c, err := w.Add(ctx, "b1", "pen", 1, mall.Money{})
		if err != nil {
			t.Fatal(err)
		}
		w.Do(t, c)
	}
	checkout := func() command.CheckoutBasket {
		c, err := w.Checkout(ctx, command.CheckoutBasket{Basket: "b1", Order: "o1"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	add()
	w.say("pen", event.PriceIncreased{Product: "pen", Store: "s1", From: eur(1000), Price: eur(1150), PriceVersion: 2})
	w.Settle(t)
	add()
	v := w.get("b1")
	if l := v.Lines[0]; !l.Changed() || l.Price != eur(1000) || l.Now != (mall.Quote{Product: "pen", Price: eur(1150), PriceVersion: 2}) || v.Total != eur(2000) {
		t.Errorf("it shows %+v", v)
	}
	w.Refused(t, "price_changed", checkout())
	shown := command.AcceptPrices{Basket: "b1", Prices: []mall.Quote{v.Lines[0].Now}}
	w.say("pen", event.PriceDecreased{Product: "pen", Store: "s1", From: eur(1150), Price: eur(1100), PriceVersion: 3})
	w.Settle(t)
	if _, err := w.Accept(ctx, shown); !errors.Is(err, ErrPriceChanged) {
		t.Errorf("the price before: %v", err)
	}
	shown.Prices[0] = w.get("b1").Lines[0].Now
	accepted, err := w.Accept(ctx, shown)
	if err != nil {
		t.Fatal(err)
	}
	w.Do(t, accepted)
	w.Do(t, checkout())
	v = w.get("b1")
	if v.Status != CheckedOut || v.Total != eur(2200) || v.Items[0].PriceVersion != 3 || v.Order != "o1" {
		t.Errorf("it was checked out as %+v", v)
	}
	if last := w.Events(t, "baskets"); last[len(last)-1].(event.BasketCheckedOut).Total != eur(2200) {
		t.Errorf("%+v", last)
	}
}

// A command that comes again gets its first answer, whatever things cost by now; another under its id does not. Red when what is
// filled in anew is taken for the command.
func TestRepeatsGetTheirFirstAnswer(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.shop()
	w.start("b1")
	ctx := t.Context()
	do := func(id string, c command.Command) backbone.Answer {
		t.Helper()
		a, err := w.Runtime().Do(ctx, c, backbone.WithID(id))
		if err != nil || a.Err() != nil {
			t.Fatalf("%+v: %v %v", c, err, a.Err())
		}
		return a
	}
	price := func(n, version int64) {
		w.say("pen", event.PriceIncreased{Product: "pen", Store: "s1", Price: eur(n), PriceVersion: version})
		w.Settle(t)
	}
	again := func(id string, c command.Command, err error) {
		t.Helper()
		if err == nil {
			_, err = w.Runtime().Do(ctx, c, backbone.WithID(id))
		}
		if err == nil {
			t.Errorf("%s is the same after a price change: the test shows nothing", id)
		}
		known, found, lookErr := w.Before(ctx, id, c)
		if lookErr != nil || !found {
			t.Fatalf("%s: %v %v", id, found, lookErr)
		}
		if a := do(id, known); !a.Repeated {
			t.Errorf("%s was done again", id)
		}
	}
	add, err := w.Add(ctx, "b1", "pen", 2, mall.Money{})
	if err != nil {
		t.Fatal(err)
	}
	do("add", add)
	price(1150, 2)
	add, err = w.Add(ctx, "b1", "pen", 2, mall.Money{})
	again("add", add, err)
	add.Item.Quantity++
	if _, found, err := w.Before(ctx, "add", add); found || err != nil {
		t.Errorf("three pens are taken for two: %v", err)
	}
	if _, found, err := w.Before(ctx, "other", add); found || err != nil {
		t.Errorf("an id that was never used: %v", err)
	}

	accept := command.AcceptPrices{Basket: "b1", Prices: []mall.Quote{w.get("b1").Lines[0].Now}}
	do("accept", accept)
	out, err := w.Checkout(ctx, command.CheckoutBasket{Basket: "b1"})
	if err != nil {
		t.Fatal(err)
	}
	do("out", out)
	price(1300, 3)
	accept, err = w.Accept(ctx, accept)
	again("accept", accept, err)
	out, err = w.Checkout(ctx, command.CheckoutBasket{Basket: "b1"})
	again("out", out, err)
	out.Order = "another"
	if _, found, err := w.Before(ctx, "out", out); found || err != nil {
		t.Errorf("another order is taken for the first: %v", err)
	}
	if events := w.Events(t, "baskets"); len(events) != 4 {
		t.Errorf("%+v", events)
	}
}

// A basket is kept for its time, or longer where it is extended, and no longer; one that has ended stays as it is. Red when an
// extension does not set the timer anew, and when a checkout leaves it.
func TestABasketExpires(t *testing.T) {
	t.Parallel()
	w := begin(t)
	w.shop()
	for _, id := range []string{"left", "kept", "bought", "dropped"} {
		w.start(id)
	}
	w.Do(t, command.AddItem{Basket: "bought", Item: item("pen", 1000, 1), Sold: true})
	w.Do(t, command.CheckoutBasket{Basket: "bought", Order: "o1", Prices: quotes("pen", 1000)})
	w.Do(t, command.CancelBasket{Basket: "dropped", Reason: "changed my mind"})
	w.Pass(t, half-time.Minute)
	w.Do(t, command.ExtendBasket{Basket: "kept"})
	status := func() string {
		return fmt.Sprintf("%s %s %s %s %s", w.get("left").Status, w.get("kept").Status, w.get("bought").Status, w.get("dropped").Status, w.get("dropped").Reason)
	}
	for _, c := range []struct {
		after time.Duration
		want  string
	}{
		{0, "open open checked_out canceled changed my mind"},
		{time.Minute, "canceled open checked_out canceled changed my mind"},
		{half - 2*time.Minute, "canceled open checked_out canceled changed my mind"},
		{time.Minute, "canceled canceled checked_out canceled changed my mind"},
	} {
		w.Pass(t, c.after)
		if got := status(); got != c.want {
			t.Errorf("%s: %s, want %s", c.after, got, c.want)
		}
	}
	if r := w.get("left").Reason; r != mall.ReasonBasketExpired {
		t.Errorf("it ended because of %q", r)
	}
	if left := w.Parked(t, "baskets"); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

// B13: whatever happens to baskets, in whichever order and however long it takes, what the running service decides is what follows from
// their events alone, and so is the state that is read. Red when the state that is kept shares what a later event changes.
func TestB13_ReplayIsTheLiveState(t *testing.T) {
	t.Parallel()
	w := begin(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		id := fmt.Sprintf("b%d", n)
		var past []backbone.Event
		for range rapid.IntRange(1, 15).Draw(rt, "commands") {
			if rapid.IntRange(0, 19).Draw(rt, "time passes") == 0 {
				w.Pass(t, rapid.SampledFrom([]time.Duration{time.Second, half - time.Second, half}).Draw(rt, "for"))
				past = w.past(rt, id)
			}
			c := drawCommand(rt, id)
			want := backbonetest.Given(t, Service(Config{}), past...).At(w.Clock.Now()).When(c)
			a, err := w.Runtime().Do(t.Context(), c)
			if err != nil {
				rt.Fatal(err)
			}
			if got := a.Refusal; !reflect.DeepEqual(got, want.Refusal()) {
				rt.Fatalf("%+v: %v, want %v after %+v", c, got, want.Refusal(), past)
			}
			now := w.past(rt, id)
			if !slices.EqualFunc(now[len(past):], want.Events(), func(a, b backbone.Event) bool { return reflect.DeepEqual(a, b) }) {
				rt.Fatalf("%+v led to %+v, want %+v", c, now[len(past):], want.Events())
			}
			past = now
		}
		live, _, err := backbone.Load(t.Context(), w.World.Reader("baskets"), baskets, id)
		if err != nil || !reflect.DeepEqual(live, baskets.Fold(past...)) {
			rt.Fatalf("it is %+v, and its events make %+v: %v", live, baskets.Fold(past...), err)
		}
	})
}

// past returns the events of a basket.
func (w *world) past(rt *rapid.T, id string) (list []backbone.Event) {
	log, err := w.World.Reader("baskets").Log(w.t.Context(), backbone.ReadQuery{Stream: baskets.Ref(id).Stream(), Kinds: backbone.EventKinds(), Limit: 1000})
	if err != nil {
		rt.Fatal(err)
	}
	for _, m := range log {
		list = append(list, read(m.Type, string(m.Data)))
	}
	return list
}

func drawCommand(rt *rapid.T, id string) command.Command {
	product := func() string { return rapid.SampledFrom([]string{"pen", "ink", "tea"}).Draw(rt, "product") }
	price := func() int64 { return rapid.Int64Range(1, 3).Draw(rt, "price") }
	pieces := func() int64 { return rapid.Int64Range(1, 4).Draw(rt, "pieces") }
	prices := func() (list []mall.Quote) {
		for _, p := range []string{"pen", "ink", "tea"} {
			if rapid.IntRange(0, 5).Draw(rt, "not sold") > 0 {
				list = append(list, mall.Quote{Product: p, Price: eur(price()), PriceVersion: 2})
			}
		}
		return list
	}
	switch rapid.IntRange(0, 12).Draw(rt, "command") {
	case 0, 1:
		return command.StartBasket{Basket: id, Customer: "c1", MayBuy: true}
	case 2, 3, 4, 5:
		return command.AddItem{Basket: id, Item: item(product(), price(), pieces()), Sold: true}
	case 6, 7:
		return command.RemoveItem{Basket: id, Product: product(), Quantity: pieces()}
	case 8, 9:
		return command.AcceptPrices{Basket: id, Prices: prices()}
	case 10:
		return command.ExtendBasket{Basket: id}
	case 11:
		return command.CheckoutBasket{Basket: id, Order: "o1", Prices: prices()}
	}
	return command.CancelBasket{Basket: id, Reason: rapid.SampledFrom([]string{"changed my mind", mall.ReasonBasketExpired}).Draw(rt, "reason")}
}

// B14: what the service knows of others fills from their events, those from before its time included, and a rebuild makes the same.
// Red when the view begins from now.
func TestB14_KnownFillsAndIsRebuilt(t *testing.T) {
	t.Parallel()
	w := &world{World: backbonetest.Start(t, backbonetest.Config{Parts: others()}), t: t}
	w.shop()
	w.say("pen", event.PriceIncreased{Product: "pen", Store: "s1", From: eur(1000), Price: eur(1150), PriceVersion: 2})
	w.say("c2", event.CustomerRegistered{Customer: "c2", Name: "sealed"})
	w.Settle(t)
	w.Restart(t, append(others(), Service(Config{}))...)
	w.say("ink", event.ProductRemoved{Product: "ink", Store: "s1"})
	w.say("c2", event.CustomerDisabled{Customer: "c2"})
	w.Settle(t)
	before := w.dump()
	if err := w.Runtime().Rebuild(t.Context(), "baskets", "known", nil); err != nil {
		t.Fatal(err)
	}
	if after := w.dump(); after != before || strings.Count(before, "\n") != 5 {
		t.Errorf("rebuilt it is\n%s\nand was\n%s", after, before)
	}
}

func (w *world) dump() (all string) {
	for _, sql := range []string{
		`SELECT customer || ' ' || enabled FROM {customers} ORDER BY customer`, `SELECT store || ' ' || name || ' ' || participating FROM {shops}`,
		`SELECT product || ' ' || store || ' ' || sku || ' ' || name || ' ' || price || ' ' || currency || ' ' || price_version || ' ' || removed
			FROM {products} ORDER BY product`,
	} {
		rows, err := w.World.Reader("baskets").Query(w.t.Context(), sql)
		if err != nil {
			w.t.Fatal(err)
		}
		for rows.Next() {
			var row string
			if err := rows.Scan(&row); err != nil {
				w.t.Fatal(err)
			}
			all += row + "\n"
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

func TestServiceIsWellFormed(t *testing.T) {
	t.Parallel()
	if err := backbone.Check(append(others(), Service(Config{}))); err != nil {
		t.Fatal(err)
	}
}
