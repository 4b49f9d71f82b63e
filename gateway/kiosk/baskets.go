package kiosk

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"example.org/souk/backbone"
	"example.org/souk/gateway/door"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

type basketBody struct {
	Basket        string     `json:"basket"`
	Customer      string     `json:"customer"`
	Status        string     `json:"status" enum:"open,checked_out,canceled"`
	Items         []lineBody `json:"items"`
	Total         moneyBody  `json:"total" doc:"At the prices that the customer has seen."`
	PricesChanged bool       `json:"pricesChanged" doc:"Some price is another one now, or something is not sold any more: accept the prices, or remove the item, before checkout."`
	Expires       time.Time  `json:"expires" doc:"The basket is kept until then; it can be extended."`
	Order         string     `json:"order,omitempty" doc:"That it became."`
	Reason        string     `json:"reason,omitempty" doc:"Why it was canceled."`
	Version       int64      `json:"version" doc:"Grows with everything that happens to the basket."`
}

type lineBody struct {
	Product   string    `json:"product"`
	Store     string    `json:"store"`
	StoreName string    `json:"storeName"`
	Name      string    `json:"name"`
	Quantity  int64     `json:"quantity"`
	Price     moneyBody `json:"price" doc:"Of one piece, as the customer has seen it."`
	Total     moneyBody `json:"total"`
	Now       quoteBody `json:"now" doc:"What one piece costs as of now."`
	Changed   bool      `json:"changed" doc:"The price of now is another one."`
	Sold      bool      `json:"sold" doc:"It can be ordered as of now."`
	Stock     string    `json:"stock" enum:"in_stock,low,out"`
	Available *int64    `json:"available,omitempty" doc:"How many can be had now, where that is fewer than wanted; missing: enough."`
}

type quoteBody struct {
	Price        moneyBody `json:"price"`
	PriceVersion int64     `json:"priceVersion"`
}

// BasketPath names the basket of a path; it is exported for the library that reads it.
type BasketPath struct {
	Basket string `path:"basket" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
}

type basketOut struct{ Body basketBody }

type basketMade struct {
	Location string `header:"Location"`
	Body     basketBody
}

type startIn struct {
	Keyed
	Body *struct {
		Customer string `json:"customer,omitempty" maxLength:"64" pattern:"^[A-Za-z0-9_-]*$" doc:"For whom; a customer's own session needs none."`
	}
}

type addIn struct {
	Keyed
	BasketPath
	Body struct {
		Product  string     `json:"product" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
		Quantity int64      `json:"quantity" minimum:"1" maximum:"1000000"`
		Price    *moneyBody `json:"price,omitempty" doc:"That the customer was shown of one piece; if it is another one by now, that is 409 price_changed."`
	}
}

type removeIn struct {
	BasketPath
	Product  string `path:"product" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
	Quantity int64  `query:"quantity" minimum:"1" maximum:"1000000" doc:"How many pieces; missing: all of them."`
	Key      string `header:"Idempotency-Key" maxLength:"257"`
}

type acceptIn struct {
	BasketPath
	Body struct {
		Prices []struct {
			Product      string    `json:"product" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
			Price        moneyBody `json:"price"`
			PriceVersion int64     `json:"priceVersion" minimum:"0"`
		} `json:"prices" minItems:"1" maxItems:"100" doc:"That the customer was shown, and takes."`
	}
}

type checkoutIn struct {
	BasketPath
	Key  string `header:"Idempotency-Key" required:"true" minLength:"1" maxLength:"257" doc:"Chosen by the client: a request that is sent again with the same key gets the first answer."`
	Body *struct {
		Payment      string `json:"payment,omitempty" maxLength:"64" pattern:"^[A-Za-z0-9_-]*$" doc:"Authorized beforehand; missing: paid at the depot."`
		WaitForStock bool   `json:"waitForStock,omitempty" doc:"Wait for a delivery where too little is there."`
		WhenShort    string `json:"whenShort,omitempty" enum:"ask,rest,substitute,cancel" doc:"What to do when goods are not found after all; missing: ask."`
	}
}

type checkoutOut struct {
	Location string `header:"Location"`
	Body     orderBody
}

func (g *gateway) describeBaskets(a *api) {
	own := policy{access: door.Access{door.Customer: door.Own, door.Staff: door.All}}
	creating, streaming := own, own
	creating.creates = true
	streaming.stream = true
	tags := []string{"baskets"}
	add(a, huma.Operation{
		OperationID: "startBasket", Method: http.MethodPost, Path: "/baskets", Tags: tags, DefaultStatus: http.StatusCreated, Summary: "Start a basket",
	}, creating, func(ctx context.Context, r *door.Request, in *startIn) (*basketMade, error) {
		customer := ""
		if in.Body != nil {
			customer = in.Body.Customer
		}
		if customer == "" {
			if !r.Caller.Limited() {
				return nil, door.InvalidField("customer", "is required")
			}
			customer = r.Caller.Subject
		}
		if !r.Caller.Owns(customer) {
			return nil, door.NotFound("customer")
		}
		b, err := g.start(ctx, whoOf(r), customer, in.Key)
		return &basketMade{rest + "/baskets/" + b.Basket, b}, err
	})
	add(a, huma.Operation{OperationID: "getBasket", Method: http.MethodGet, Path: "/baskets/{basket}", Tags: tags, Summary: "A basket as it stands"},
		own, func(ctx context.Context, r *door.Request, in *BasketPath) (*basketOut, error) {
			if err := g.owned(ctx, r, in.Basket); err != nil {
				return nil, err
			}
			return g.answerBasket(ctx, in.Basket)
		})
	add(a, huma.Operation{
		OperationID: "followBasket", Method: http.MethodGet, Path: "/baskets/{basket}/events", Tags: tags, Summary: "Follow a basket live",
		Description: "Server-sent events named basket. Each has the whole basket as data, so nothing is missed when some are; " +
			"who comes back with Last-Event-ID is told at once if anything is another way.",
		Responses: streamOf(a, basketBody{}, "basket"),
	}, streaming, func(ctx context.Context, r *door.Request, in *followBasketIn) (*huma.StreamResponse, error) {
		if err := g.owned(ctx, r, in.Basket); err != nil {
			return nil, err
		}
		return g.follow(r, "basket", in.Last, []string{BasketTopic(in.Basket), Prices}, func(ctx context.Context) (any, int64, error) {
			body, err := g.answerBasket(ctx, in.Basket)
			if err != nil {
				return nil, 0, err
			}
			return body.Body, body.Body.Version, nil
		})
	})
	add(a, huma.Operation{OperationID: "addItem", Method: http.MethodPost, Path: "/baskets/{basket}/items", Tags: tags, Summary: "Add pieces of a product"},
		creating, func(ctx context.Context, r *door.Request, in *addIn) (*basketOut, error) {
			if err := g.owned(ctx, r, in.Basket); err != nil {
				return nil, err
			}
			var seen mall.Money
			if in.Body.Price != nil {
				seen = mall.Money(*in.Body.Price)
			}
			if err := g.addItem(ctx, whoOf(r), in.Basket, in.Body.Product, in.Body.Quantity, seen, in.Key); err != nil {
				return nil, err
			}
			return g.answerBasket(ctx, in.Basket)
		})
	add(a, huma.Operation{
		OperationID: "removeItem", Method: http.MethodDelete, Path: "/baskets/{basket}/items/{product}", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Take pieces of a product out",
	}, creating, func(ctx context.Context, r *door.Request, in *removeIn) (*basketOut, error) {
		b, err := g.ownBasket(ctx, r, in.Basket)
		if err != nil {
			return nil, err
		}
		if err := g.removeItem(ctx, whoOf(r), b, in.Product, in.Quantity, in.Key); err != nil {
			return nil, err
		}
		return g.answerBasket(ctx, b.ID)
	})
	add(a, huma.Operation{OperationID: "extendBasket", Method: http.MethodPost, Path: "/baskets/{basket}/extend", Tags: tags, Summary: "Keep a basket longer"},
		own, func(ctx context.Context, r *door.Request, in *BasketPath) (*basketOut, error) {
			b, err := g.ownBasket(ctx, r, in.Basket)
			if err != nil {
				return nil, err
			}
			if err := g.extend(ctx, whoOf(r), b); err != nil {
				return nil, err
			}
			return g.answerBasket(ctx, b.ID)
		})
	add(a, huma.Operation{
		OperationID: "acceptPrices", Method: http.MethodPost, Path: "/baskets/{basket}/prices", Tags: tags, Summary: "Accept prices that have changed",
		Description: "A price that is another one again meanwhile is 409 price_changed.",
	}, own, func(ctx context.Context, r *door.Request, in *acceptIn) (*basketOut, error) {
		b, err := g.ownBasket(ctx, r, in.Basket)
		if err != nil {
			return nil, err
		}
		quotes := make([]mall.Quote, len(in.Body.Prices))
		for i, p := range in.Body.Prices {
			quotes[i] = mall.Quote{Product: p.Product, Price: mall.Money(p.Price), PriceVersion: p.PriceVersion}
		}
		if err := g.accept(ctx, whoOf(r), b, quotes); err != nil {
			return nil, err
		}
		return g.answerBasket(ctx, b.ID)
	})
	add(a, huma.Operation{OperationID: "cancelBasket", Method: http.MethodPost, Path: "/baskets/{basket}/cancel", Tags: tags, Summary: "Give a basket up"},
		own, func(ctx context.Context, r *door.Request, in *BasketPath) (*basketOut, error) {
			if err := g.owned(ctx, r, in.Basket); err != nil {
				return nil, err
			}
			if err := g.giveUp(ctx, whoOf(r), in.Basket, "given up by the customer"); err != nil {
				return nil, err
			}
			return g.answerBasket(ctx, in.Basket)
		})
	add(a, huma.Operation{
		OperationID: "checkOut", Method: http.MethodPost, Path: "/baskets/{basket}/checkout", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Order what is in the basket",
	}, creating, func(ctx context.Context, r *door.Request, in *checkoutIn) (*checkoutOut, error) {
		b, err := g.ownBasket(ctx, r, in.Basket)
		if err != nil {
			return nil, err
		}
		c := command.CheckoutBasket{Basket: b.ID, Order: b.ID}
		if in.Body != nil {
			c.Payment, c.WaitForStock, c.WhenShort = in.Body.Payment, in.Body.WaitForStock, mall.WhenShort(in.Body.WhenShort)
		}
		if err := g.checkOut(ctx, whoOf(r), b, c); err != nil {
			return nil, err
		}
		o, err := g.order(ctx, c.Order)
		return &checkoutOut{rest + "/orders/" + c.Order, o}, err
	})
}

// owned refuses a basket that is not there for this caller.
func (g *gateway) owned(ctx context.Context, r *door.Request, id string) error {
	customer, ok, err := g.Baskets.Owner(ctx, id)
	if err != nil {
		return unavailable(err)
	}
	if !ok || !r.Caller.Owns(customer) {
		return door.NotFound("basket")
	}
	return nil
}

// ownBasket returns a basket, if it is there for this caller.
func (g *gateway) ownBasket(ctx context.Context, r *door.Request, id string) (Basket, error) {
	b, ok, err := g.Baskets.Basket(ctx, id)
	if err != nil {
		return b, unavailable(err)
	}
	if !ok || !r.Caller.Owns(b.Customer) {
		return b, door.NotFound("basket")
	}
	return b, nil
}

func (g *gateway) answerBasket(ctx context.Context, id string) (*basketOut, error) {
	b, err := g.basket(ctx, id)
	return &basketOut{b}, err
}

// basket shows a basket beside what the catalogue says of what is in it.
func (g *gateway) basket(ctx context.Context, id string) (basketBody, error) {
	b, ok, err := g.Baskets.Basket(ctx, id)
	if err != nil {
		return basketBody{}, unavailable(err)
	}
	if !ok {
		return basketBody{}, door.NotFound("basket")
	}
	body := basketBody{
		Basket: b.ID, Customer: b.Customer, Status: b.Status, Items: []lineBody{}, Expires: b.Expires.UTC(), Order: b.Order, Reason: b.Reason, Version: b.Version,
	}
	skus := make([]string, len(b.Lines))
	for i, l := range b.Lines {
		skus[i] = l.SKU
	}
	available, err := g.Stock.Available(ctx, skus)
	if err != nil {
		return body, unavailable(err)
	}
	body.Total = moneyOf(b.Total)
	if len(b.Lines) == 0 {
		body.Total.Currency = g.Currency
	}
	left := map[string]int64{}
	maps.Copy(left, available)
	for _, l := range b.Lines {
		cost, _ := l.Item.Total() // less than all together, which the basket has
		line := lineBody{
			Product: l.Product, Store: l.Store, StoreName: l.StoreName, Name: l.Name, Quantity: l.Quantity,
			Price: moneyOf(l.Price), Total: moneyOf(cost), Now: quoteBody{moneyOf(l.Price), l.PriceVersion}, Sold: true, Stock: g.level(available[l.SKU]),
		}
		if b.Status == BasketOpen {
			if line.Sold = l.Sold; l.Sold {
				line.Now = quoteBody{moneyOf(l.Now.Price), l.Now.PriceVersion}
			}
			line.Changed = line.Now.Price != line.Price
			body.PricesChanged = body.PricesChanged || line.Changed || !l.Sold
			if n := max(left[l.SKU], 0); n < l.Quantity {
				line.Available = &n
			}
			left[l.SKU] -= l.Quantity // another store may sell the same
		}
		body.Items = append(body.Items, line)
	}
	return body, nil
}

func (g *gateway) start(ctx context.Context, w who, customer, key string) (basketBody, error) {
	id, commandID := derive("basket", w.asked(), w.actor, key), derive("start", w.asked(), w.actor, key)
	c, err := g.Border.Start(ctx, id, customer)
	if err != nil {
		return basketBody{}, filled(err)
	}
	if err := g.do(ctx, w, commandID, c); err != nil {
		return basketBody{}, err
	}
	return g.basket(ctx, id)
}

func (g *gateway) addItem(ctx context.Context, w who, basket, product string, quantity int64, seen mall.Money, key string) error {
	id := derive("add", begun(basket), w.actor, basket, key)
	c, err := g.Border.Add(ctx, basket, product, quantity, seen)
	return g.again(ctx, w, id, c, err)
}

// filled is the error of filling a command in: what is said of the request, or that it could not be found out.
func filled(err error) error {
	_, refused := errors.AsType[*backbone.Refusal](err)
	_, wrong := errors.AsType[*mall.FieldError](err)
	if refused || wrong {
		return err
	}
	return unavailable(err)
}

// again has a command decided that the border filled in. One that the border refuses by now, and that was carried out
// under the same id before, is answered as it was then.
func (g *gateway) again(ctx context.Context, w who, id string, c command.Command, refused error) error {
	if refused != nil {
		if _, ok := errors.AsType[*backbone.Refusal](refused); !ok {
			return filled(refused)
		}
		was, same, err := g.Border.Before(ctx, id, c)
		if err != nil {
			return unavailable(err)
		}
		if !same {
			return refused
		}
		c = was
	}
	return g.do(ctx, w, id, c)
}

// removeItem takes pieces out; all of them where quantity is 0. Without a key the version of the basket tells a repeat from another removal.
func (g *gateway) removeItem(ctx context.Context, w who, b Basket, product string, quantity int64, key string) error {
	if quantity == 0 {
		for _, item := range b.Lines {
			if item.Product == product {
				quantity = item.Quantity
			}
		}
	}
	if quantity == 0 {
		return door.NotFound("item in this basket")
	}
	if key == "" {
		key = strconv.FormatInt(b.Version, 10)
	}
	return g.do(ctx, w, derive("remove", begun(b.ID), w.actor, b.ID, key), command.RemoveItem{Basket: b.ID, Product: product, Quantity: quantity})
}

// extend keeps a basket longer. Asked twice for one state of it, it does so once.
func (g *gateway) extend(ctx context.Context, w who, b Basket) error {
	return g.do(ctx, w, derive("extend", begun(b.ID), b.ID, strconv.FormatInt(b.Version, 10)), command.ExtendBasket{Basket: b.ID})
}

// accept takes prices that the customer was shown, if they still hold.
func (g *gateway) accept(ctx context.Context, w who, b Basket, quotes []mall.Quote) error {
	parts := []string{b.ID, strconv.FormatInt(b.Version, 10)}
	var changed []door.FieldError
	for i, q := range quotes {
		parts = append(parts, q.Product, strconv.FormatInt(q.PriceVersion, 10))
		for _, l := range b.Lines {
			if l.Product == q.Product && l.Sold && l.Now.Price != q.Price {
				changed = append(changed, differs("prices["+strconv.Itoa(i)+"].price", q.Price, l.Now.Price))
			}
		}
	}
	if len(changed) > 0 {
		return priceChanged(changed)
	}
	id := derive("accept", begun(b.ID), parts...)
	c, err := g.Border.Accept(ctx, command.AcceptPrices{Basket: b.ID, Prices: quotes})
	return g.again(ctx, w, id, c, err)
}

func differs(field string, sent, current mall.Money) door.FieldError {
	return door.FieldError{
		Field: field, Reason: "differs from the catalogue",
		Sent: json.Number(strconv.FormatInt(sent.Amount, 10)), Current: json.Number(strconv.FormatInt(current.Amount, 10)),
	}
}

func priceChanged(fields []door.FieldError) error {
	p := door.NewProblem(http.StatusConflict, "price_changed", "The catalogue's prices are others; look again before you order.")
	p.Errors = fields
	return p
}

// pricesHold refuses a basket some of whose prices are others by now.
func pricesHold(b Basket) error {
	var changed []door.FieldError
	for i, l := range b.Lines {
		if b.Status == BasketOpen && l.Sold && l.Now.Price != l.Price {
			changed = append(changed, differs("items["+strconv.Itoa(i)+"].price", l.Price, l.Now.Price))
		}
	}
	if len(changed) > 0 {
		return priceChanged(changed)
	}
	return nil
}

func (g *gateway) giveUp(ctx context.Context, w who, basket, reason string) error {
	return g.do(ctx, w, derive("give-up", begun(basket), basket), command.CancelBasket{Basket: basket, Reason: reason})
}

// checkOut orders what is in a basket, at the prices of now, which the customer must have accepted.
func (g *gateway) checkOut(ctx context.Context, w who, b Basket, c command.CheckoutBasket) error {
	if b.Status == BasketCheckedOut && b.Order == c.Order {
		return nil // again
	}
	if err := pricesHold(b); err != nil {
		return err
	}
	id := derive("check-out", begun(b.ID), b.ID, strconv.FormatInt(b.Version, 10), c.Payment, string(c.WhenShort), strconv.FormatBool(c.WaitForStock))
	c, err := g.Border.Checkout(ctx, c)
	err = g.again(ctx, w, id, c, err)
	if b.Status != BasketOpen || len(c.Prices) == 0 || len(c.Prices) != len(b.Lines) {
		return err // what is refused anyway is not taken in
	}
	return g.later(ctx, w, id, TakeCheckout{c}, err)
}
