package baskets

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// View is all that there is to know about a basket.
type View struct {
	ID      string
	Version int64 // how many events it has had
	Basket
	Lines []Line
	Total mall.Money // of the prices that were accepted
}

// Line is an item of a basket and, while the basket is open, what holds of the product now.
type Line struct {
	mall.Item
	// Sold says that it can be ordered now, for Now.
	Sold bool
	Now  mall.Quote
}

// Changed reports whether the customer has to accept another price before checkout.
func (l Line) Changed() bool { return l.Sold && l.Now.Price != l.Price }

// Get returns a basket as of now; false when it was never started.
func Get(ctx context.Context, r *backbone.Reader, id string) (View, bool, error) {
	b, version, err := backbone.Load(ctx, r, baskets, id)
	if err != nil || version == 0 {
		return View{}, false, err
	}
	v := View{ID: id, Version: version, Basket: b}
	if v.Total, err = mall.Total(b.Items); err != nil {
		return View{}, false, fmt.Errorf("basket %s: %w", id, err)
	}
	var sold map[string]mall.Item
	if b.Status == Open {
		if sold, err = onSale(ctx, r, products(b.Items)); err != nil {
			return View{}, false, err
		}
	}
	for _, item := range b.Items {
		now, found := sold[item.Product]
		l := Line{Item: item, Sold: found}
		if found {
			l.Now = quote(now)
		}
		v.Lines = append(v.Lines, l)
	}
	return v, true, nil
}

// Owner returns the customer whose basket it is; false when it was never started.
func Owner(ctx context.Context, r *backbone.Reader, id string) (string, bool, error) {
	b, version, err := backbone.Load(ctx, r, baskets, id)
	return b.Customer, version > 0, err
}

func products(items []mall.Item) []string {
	list := make([]string, len(items))
	for i, item := range items {
		list[i] = item.Product
	}
	return list
}

func quote(i mall.Item) mall.Quote {
	return mall.Quote{Product: i.Product, Price: i.Price, PriceVersion: i.PriceVersion}
}

// onSale returns those of the products that can be ordered now, without a quantity.
func onSale(ctx context.Context, r *backbone.Reader, products []string) (map[string]mall.Item, error) {
	found := make(map[string]mall.Item, len(products))
	if len(products) == 0 {
		return found, nil
	}
	args, marks := make([]any, len(products)), make([]string, len(products))
	for i, p := range products {
		args[i], marks[i] = p, "$"+strconv.Itoa(i+1)
	}
	rows, err := r.Query(ctx, `SELECT p.product, p.sku, p.name, p.price, p.currency, p.price_version, s.store, s.name
		FROM {products} AS p JOIN {shops} AS s ON s.store = p.store
		WHERE p.removed = 0 AND s.participating = 1 AND p.product IN (`+strings.Join(marks, ", ")+`)`, args...)
	if err != nil {
		return nil, fmt.Errorf("what is sold: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var i mall.Item
		if err := rows.Scan(&i.Product, &i.SKU, &i.Name, &i.Price.Amount, &i.Price.Currency, &i.PriceVersion, &i.Store, &i.StoreName); err != nil {
			return nil, fmt.Errorf("what is sold: %w", err)
		}
		found[i.Product] = i
	}
	return found, rows.Err()
}

// Customers is asked about a customer who may not buy as far as this service has heard.
type Customers interface {
	// MayBuy tells whether somebody is a customer who may buy. An error says that this cannot be found out now.
	MayBuy(ctx context.Context, customer string) (bool, error)
}

// Border fills in what commands say of customers and products, from what the service knows of them, so that all ways in judge alike. What
// would be refused for that is refused here already, and no command is recorded. Errors are the refusals of this service,
// *mall.FieldError, and those of reading. It may be used from several goroutines.
type Border struct {
	// Reader reads this service.
	Reader *backbone.Reader
	// Customers is the owner of what is known of customers. Without one, whoever the service has not heard of is refused.
	Customers Customers
}

// Start returns the command that starts a basket for a customer.
func (b Border) Start(ctx context.Context, basket, customer string) (command.StartBasket, error) {
	c := command.StartBasket{Basket: basket, Customer: customer}
	err := c.Validate()
	if err != nil {
		return c, err
	}
	if c.MayBuy, err = b.enabled(ctx, customer); err == nil && !c.MayBuy && b.Customers != nil {
		c.MayBuy, err = b.Customers.MayBuy(ctx, customer)
	}
	if err == nil && !c.MayBuy {
		err = ErrCustomer
	}
	return c, err
}

// enabled tells whether the service has heard that a customer may buy.
func (b Border) enabled(ctx context.Context, customer string) (bool, error) {
	rows, err := b.Reader.Query(ctx, `SELECT customer FROM {customers} WHERE customer = $1 AND enabled = 1`, customer)
	if err != nil {
		return false, fmt.Errorf("customers: %w", err)
	}
	defer rows.Close()
	return rows.Next(), rows.Err()
}

// Add returns the command that adds pieces of a product. seen is the price that the customer was shown; the zero Money says nothing
// of it. With ErrNotSold or ErrPriceChanged the command is returned as far as it was asked for, for Before.
func (b Border) Add(ctx context.Context, basket, product string, quantity int64, seen mall.Money) (command.AddItem, error) {
	c := command.AddItem{Basket: basket, Item: mall.Item{Product: product, Quantity: quantity}}
	if err := (command.RemoveItem{Basket: basket, Product: product, Quantity: quantity}).Validate(); err != nil {
		return c, err // the same three fields
	}
	sold, err := onSale(ctx, b.Reader, []string{product})
	if err != nil {
		return c, err
	}
	now, found := sold[product]
	switch {
	case !found:
		return c, ErrNotSold.With([]string{product})
	case seen != mall.Money{} && seen != now.Price:
		return c, ErrPriceChanged.With([]Change{{product, seen, now.Price}})
	}
	c.Item, c.Sold = now, true
	c.Item.Quantity = quantity
	return c, nil
}

// Accept judges the command that accepts prices as the customer was shown them. Those that are no prices of now are refused.
func (b Border) Accept(ctx context.Context, c command.AcceptPrices) (command.AcceptPrices, error) {
	if err := c.Validate(); err != nil {
		return c, err
	}
	var asked []string
	for _, q := range c.Prices {
		asked = append(asked, q.Product)
	}
	sold, err := onSale(ctx, b.Reader, asked)
	if err != nil {
		return c, err
	}
	var gone []string
	var changed []Change
	for _, q := range c.Prices {
		switch now, found := sold[q.Product]; {
		case !found:
			gone = append(gone, q.Product)
		case now.Price != q.Price:
			changed = append(changed, Change{q.Product, q.Price, now.Price})
		}
	}
	switch {
	case len(gone) > 0:
		err = ErrNotSold.With(gone)
	case len(changed) > 0:
		err = ErrPriceChanged.With(changed)
	}
	return c, err
}

// Checkout returns the command that checks a basket out, with the prices of now. The order has the basket's id where none is named.
func (b Border) Checkout(ctx context.Context, c command.CheckoutBasket) (command.CheckoutBasket, error) {
	if c.Order == "" {
		c.Order = c.Basket
	}
	c.Prices = nil
	if err := c.Validate(); err != nil {
		return c, err
	}
	state, _, err := backbone.Load(ctx, b.Reader, baskets, c.Basket)
	if err != nil {
		return c, err
	}
	sold, err := onSale(ctx, b.Reader, products(state.Items))
	if err != nil {
		return c, err
	}
	for _, item := range state.Items {
		if now, found := sold[item.Product]; found {
			c.Prices = append(c.Prices, quote(now))
		}
	}
	return c, nil
}

// Before returns the command that was carried out under an id, as it was filled in then, where it asked for the same as c does. The
// answer to a command is that of the first time, whatever the prices are by now; c is what Add, Accept and Checkout returned.
func (b Border) Before(ctx context.Context, id string, c command.Command) (command.Command, bool, error) {
	q := backbone.ReadQuery{Stream: baskets.Ref(c.Stream()).Stream(), Kinds: backbone.EventKinds(), Limit: 1000}
	for {
		list, err := b.Reader.Log(ctx, q)
		if err != nil {
			return nil, false, fmt.Errorf("basket %s: %w", c.Stream(), err)
		}
		for _, m := range list {
			if m.Causation != id {
				continue
			}
			return first(m, c)
		}
		if len(list) < q.Limit {
			return nil, false, nil
		}
		q.After = list[len(list)-1].Position
	}
}

// first returns the command that an event came of.
func first(m *backbone.Message, c command.Command) (was command.Command, same bool, err error) {
	switch c := c.(type) {
	case command.AddItem:
		var e event.ItemAdded
		if m.Type == e.EventType() {
			err = json.Unmarshal(m.Data, &e)
			was, same = command.AddItem{Basket: c.Basket, Item: e.Item, Sold: true}, e.Item.Product == c.Item.Product && e.Item.Quantity == c.Item.Quantity
		}
	case command.AcceptPrices:
		was, same = c, m.Type == event.PricesAccepted{}.EventType() // nothing is filled in
	case command.CheckoutBasket:
		var e event.BasketCheckedOut
		if m.Type == e.EventType() {
			err = json.Unmarshal(m.Data, &e)
			again := c
			again.Prices = nil
			for _, item := range e.Items {
				again.Prices = append(again.Prices, quote(item))
			}
			was, same = again, e.Order == c.Order && e.Payment == c.Payment && e.WaitForStock == c.WaitForStock && e.WhenShort == c.WhenShort
		}
	}
	return was, same && err == nil, err
}
