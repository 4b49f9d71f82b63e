package baskets

import (
	"errors"
	"slices"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// What the service refuses; compare with errors.Is.
var (
	ErrExists       = backbone.Refuse("basket_exists", "a basket of this id was started before")
	ErrUnknown      = backbone.Refuse("basket_unknown", "there is no such basket")
	ErrNotOpen      = backbone.Refuse("not_open", "the basket has ended")
	ErrCustomer     = backbone.Refuse("customer_refused", "the customer is unknown or may not buy")
	ErrNotSold      = backbone.Refuse("not_sold", "that is not sold, or not now") // with the products as data
	ErrNotInBasket  = backbone.Refuse("not_in_basket", "the basket has no such product")
	ErrTooFew       = backbone.Refuse("too_few", "the basket has fewer pieces of it")
	ErrTooMuch      = backbone.Refuse("too_much", "that is more than one order can ask for")
	ErrCurrency     = backbone.Refuse("wrong_currency", "a basket has one currency")
	ErrEmpty        = backbone.Refuse("basket_empty", "there is nothing in the basket")
	ErrPriceChanged = backbone.Refuse("price_changed", "prices are others by now; accept them first") // with a list of Change as data
)

// Change says of a product what it costs in the basket, or was shown at, and what it costs now.
type Change struct {
	Product string     `json:"product"`
	Was     mall.Money `json:"was"`
	Now     mall.Money `json:"now"`
}

// Status says how far a basket is.
type Status string

// The statuses of a basket.
const (
	Unknown    Status = "" // never started
	Open       Status = "open"
	CheckedOut Status = "checked_out" // has become an order
	Canceled   Status = "canceled"    // given up, or kept for its whole time
)

// Basket is the state of a basket.
type Basket struct {
	Status   Status
	Customer string
	Expires  int64 // microseconds
	// Items are one a product, in the order in which they came, at the prices that the customer has accepted.
	Items  []mall.Item
	Reason string // why it was cancelled

	// What it was checked out with.
	Order        string
	Payment      string
	WaitForStock bool
	WhenShort    mall.WhenShort
}

var baskets = &backbone.Aggregate[Basket]{
	Name: "basket",
	Public: []backbone.Event{
		event.BasketStarted{},
		event.ItemAdded{},
		event.ItemRemoved{},
		event.PricesAccepted{},
		event.BasketExtended{},
		event.BasketCanceled{},
		event.BasketCheckedOut{},
	},
	Evolve: evolve,
}

func evolve(b Basket, e backbone.Event) Basket {
	switch e := e.(type) {
	case event.BasketStarted:
		return Basket{Status: Open, Customer: e.Customer, Expires: e.Expires}
	case event.ItemAdded:
		b.Items = with(b.Items, e.Item)
	case event.ItemRemoved:
		b.Items = without(b.Items, e.Product, e.Quantity)
	case event.PricesAccepted:
		b.Items = priced(b.Items, e.Prices)
	case event.BasketExtended:
		b.Expires = e.Expires
	case event.BasketCanceled:
		b.Status, b.Reason = Canceled, e.Reason
	case event.BasketCheckedOut:
		b.Status, b.Items = CheckedOut, e.Items
		b.Order, b.Payment, b.WaitForStock, b.WhenShort = e.Order, e.Payment, e.WaitForStock, e.WhenShort
	}
	return b
}

// with returns the items and what was added to them. More of a product does not change its price: that of the first pieces stands until
// another one is accepted.
func with(items []mall.Item, more mall.Item) []mall.Item {
	items = slices.Clone(items)
	if i := at(items, more.Product); i >= 0 {
		items[i].Quantity += more.Quantity
		return items
	}
	return append(items, more)
}

// without returns the items and some pieces fewer of a product.
func without(items []mall.Item, product string, fewer int64) []mall.Item {
	items = slices.Clone(items)
	i := at(items, product)
	if i < 0 {
		return items
	}
	if items[i].Quantity -= fewer; items[i].Quantity <= 0 {
		items = slices.Delete(items, i, i+1)
	}
	return items
}

// priced returns the items at other prices.
func priced(items []mall.Item, prices []mall.Quote) []mall.Item {
	items = slices.Clone(items)
	for _, q := range prices {
		if i := at(items, q.Product); i >= 0 {
			items[i].Price, items[i].PriceVersion = q.Price, q.PriceVersion
		}
	}
	return items
}

func at(items []mall.Item, product string) int {
	return slices.IndexFunc(items, func(i mall.Item) bool { return i.Product == product })
}

// open returns the refusal of everything that needs a basket which has not ended.
func (b Basket) open() error {
	switch b.Status {
	case Unknown:
		return ErrUnknown
	case Open:
		return nil
	}
	return ErrNotOpen
}

// fits refuses items that no order could hold.
func fits(items []mall.Item) error {
	_, err := mall.Total(items)
	switch {
	case errors.Is(err, mall.ErrCurrency):
		return ErrCurrency
	case err != nil, len(items) > mall.MaxLines:
		return ErrTooMuch
	}
	for _, line := range mall.Lines(items) {
		if line.Quantity > mall.MaxQuantity {
			return ErrTooMuch
		}
	}
	return nil
}

// starting decides that a customer gets a basket, which is kept for so long.
func starting(hold time.Duration) func(Basket, command.StartBasket, backbone.Meta) ([]backbone.Event, error) {
	return func(b Basket, c command.StartBasket, m backbone.Meta) ([]backbone.Event, error) {
		switch {
		case b.Status != Unknown:
			return nil, ErrExists
		case !c.MayBuy:
			return nil, ErrCustomer
		}
		return one(event.BasketStarted{Basket: c.Basket, Customer: c.Customer, Expires: m.Time.Add(hold).UnixMicro()})
	}
}

func add(b Basket, c command.AddItem, _ backbone.Meta) ([]backbone.Event, error) {
	if err := b.open(); err != nil {
		return nil, err
	}
	if !c.Sold {
		return nil, ErrNotSold.With([]string{c.Item.Product})
	}
	if err := fits(with(b.Items, c.Item)); err != nil {
		return nil, err
	}
	return one(event.ItemAdded{Basket: c.Basket, Customer: b.Customer, Item: c.Item})
}

func remove(b Basket, c command.RemoveItem, _ backbone.Meta) ([]backbone.Event, error) {
	if err := b.open(); err != nil {
		return nil, err
	}
	i := at(b.Items, c.Product)
	switch {
	case i < 0:
		return nil, ErrNotInBasket
	case c.Quantity > b.Items[i].Quantity:
		return nil, ErrTooFew
	}
	return one(event.ItemRemoved{Basket: c.Basket, Customer: b.Customer, Product: c.Product, Quantity: c.Quantity})
}

// acceptPrices takes the prices that the customer was shown. Whether they are those of now is asked at checkout.
func acceptPrices(b Basket, c command.AcceptPrices, _ backbone.Meta) ([]backbone.Event, error) {
	if err := b.open(); err != nil {
		return nil, err
	}
	var changed []mall.Quote
	for _, q := range c.Prices {
		i := at(b.Items, q.Product)
		if i < 0 {
			return nil, ErrNotInBasket
		}
		if q.Price != b.Items[i].Price {
			changed = append(changed, q)
		}
	}
	if len(changed) == 0 {
		return nil, nil
	}
	if err := fits(priced(b.Items, changed)); err != nil {
		return nil, err
	}
	return one(event.PricesAccepted{Basket: c.Basket, Customer: b.Customer, Prices: changed})
}

// extending decides that a basket is kept for so long from now. It never ends earlier for that.
func extending(hold time.Duration) func(Basket, command.ExtendBasket, backbone.Meta) ([]backbone.Event, error) {
	return func(b Basket, c command.ExtendBasket, m backbone.Meta) ([]backbone.Event, error) {
		expires := m.Time.Add(hold).UnixMicro()
		if err := b.open(); err != nil || expires <= b.Expires {
			return nil, err
		}
		return one(event.BasketExtended{Basket: c.Basket, Customer: b.Customer, Expires: expires})
	}
}

// cancel comes from the customer or from the timer. A timer that fired just before the basket was extended is late.
func cancel(b Basket, c command.CancelBasket, m backbone.Meta) ([]backbone.Event, error) {
	expired := c.Reason == mall.ReasonBasketExpired
	switch {
	case b.Status == Canceled, expired && b.Status == CheckedOut, expired && b.Status == Open && m.Time.UnixMicro() < b.Expires:
		return nil, nil
	}
	if err := b.open(); err != nil {
		return nil, err
	}
	return one(event.BasketCanceled{Basket: c.Basket, Customer: b.Customer, Reason: c.Reason})
}

func checkout(b Basket, c command.CheckoutBasket, _ backbone.Meta) ([]backbone.Event, error) {
	if b.Status == CheckedOut && b.Order == c.Order && b.Payment == c.Payment && b.WaitForStock == c.WaitForStock && b.WhenShort == c.WhenShort {
		return nil, nil
	}
	if err := b.open(); err != nil {
		return nil, err
	}
	if len(b.Items) == 0 {
		return nil, ErrEmpty
	}
	items := slices.Clone(b.Items)
	var gone []string
	var changed []Change
	for i, item := range items {
		n := slices.IndexFunc(c.Prices, func(q mall.Quote) bool { return q.Product == item.Product })
		switch {
		case n < 0:
			gone = append(gone, item.Product)
		case c.Prices[n].Price != item.Price:
			changed = append(changed, Change{item.Product, item.Price, c.Prices[n].Price})
		default:
			items[i].PriceVersion = c.Prices[n].PriceVersion
		}
	}
	if len(gone) > 0 {
		return nil, ErrNotSold.With(gone)
	}
	if len(changed) > 0 {
		return nil, ErrPriceChanged.With(changed)
	}
	total, err := mall.Total(items)
	if err != nil {
		return nil, ErrTooMuch
	}
	return one(event.BasketCheckedOut{
		Basket: c.Basket, Order: c.Order, Customer: b.Customer, Payment: c.Payment, WaitForStock: c.WaitForStock, WhenShort: c.WhenShort,
		Items: items, Total: total,
	})
}

func one(e backbone.Event) ([]backbone.Event, error) { return []backbone.Event{e}, nil }
