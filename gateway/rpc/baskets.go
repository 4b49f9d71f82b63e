package rpc

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/baskets"
	"example.org/souk/mall/command"
)

var basketsPolicy = map[string]Access{
	"StartBasket":    ownOrder,
	"AddItem":        ownOrder,
	"RemoveItem":     ownOrder,
	"AcceptPrices":   ownOrder,
	"ExtendBasket":   ownOrder,
	"CancelBasket":   ownOrder,
	"CheckoutBasket": ownOrder,
	"GetBasket":      ownLook,
}

// basketsFace answers for baskets. What commands say of customers and products is filled in here, whoever calls.
type basketsFace struct{ *server }

func serveBaskets(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewBasketsServiceHandler(basketsFace{s}, o...)
}

// own returns a basket that the caller may see.
func (h basketsFace) own(ctx context.Context, id string) (baskets.View, error) {
	if err := validID("basket", id); err != nil {
		return baskets.View{}, err
	}
	b, found, err := baskets.Get(ctx, h.Reader("baskets"), id)
	if err != nil {
		return b, unread(err)
	}
	if !visitOf(ctx).owns(b.Customer) || !found {
		return b, ErrNotFound
	}
	return b, nil
}

// change has a command about a basket of the caller's decided, once fill has filled it in. A repeat gets its first answer, whatever would
// be filled in by now.
func (h basketsFace) change(ctx context.Context, r interface {
	GetBasket() string
	GetCommandId() string
}, fill func() (command.Command, error),
) (*soukv1.Answer, error) {
	if visitOf(ctx).scope == Own {
		if _, err := h.own(ctx, r.GetBasket()); err != nil {
			return nil, err
		}
	}
	c, err := fill()
	_, refused := errors.AsType[*backbone.Refusal](err)
	_, wrong := errors.AsType[*mall.FieldError](err)
	var a *soukv1.Answer
	switch {
	case err == nil:
		a, err = h.do(ctx, r, c)
	case !refused && !wrong:
		return nil, unread(err)
	}
	if !refused && !errors.Is(err, backbone.ErrDifferentCommand) {
		return a, err
	}
	was, found, lookErr := h.Baskets.Before(ctx, visitOf(ctx).commandID(r.GetCommandId()), c)
	switch {
	case lookErr != nil:
		return nil, unread(lookErr)
	case found:
		return h.do(ctx, r, was)
	}
	return nil, err
}

// just is fill for a command that says nothing that would have to be filled in.
func just(c command.Command) func() (command.Command, error) {
	return func() (command.Command, error) { return c, nil }
}

func (h basketsFace) StartBasket(ctx context.Context, r *connect.Request[soukv1.StartBasketRequest]) (*connect.Response[soukv1.StartBasketResponse], error) {
	if !visitOf(ctx).owns(r.Msg.GetCustomer()) {
		return nil, ErrNotFound
	}
	c, err := h.Baskets.Start(ctx, r.Msg.GetBasket(), r.Msg.GetCustomer())
	_, refused := errors.AsType[*backbone.Refusal](err)
	_, wrong := errors.AsType[*mall.FieldError](err)
	switch {
	case refused, wrong:
		return nil, err
	case err != nil:
		return nil, unread(err)
	}
	a, err := h.do(ctx, r.Msg, c)
	return done(&soukv1.StartBasketResponse{Answer: a}, err)
}

func (h basketsFace) AddItem(ctx context.Context, r *connect.Request[soukv1.AddItemRequest]) (*connect.Response[soukv1.AddItemResponse], error) {
	a, err := h.change(ctx, r.Msg, func() (command.Command, error) {
		return h.Baskets.Add(ctx, r.Msg.GetBasket(), r.Msg.GetProduct(), r.Msg.GetQuantity(), money(r.Msg.GetPrice()))
	})
	return done(&soukv1.AddItemResponse{Answer: a}, err)
}

func (h basketsFace) RemoveItem(ctx context.Context, r *connect.Request[soukv1.RemoveItemRequest]) (*connect.Response[soukv1.RemoveItemResponse], error) {
	a, err := h.change(ctx, r.Msg, just(command.RemoveItem{Basket: r.Msg.GetBasket(), Product: r.Msg.GetProduct(), Quantity: r.Msg.GetQuantity()}))
	return done(&soukv1.RemoveItemResponse{Answer: a}, err)
}

func (h basketsFace) AcceptPrices(ctx context.Context, r *connect.Request[soukv1.AcceptPricesRequest]) (*connect.Response[soukv1.AcceptPricesResponse], error) {
	a, err := h.change(ctx, r.Msg, func() (command.Command, error) {
		c := command.AcceptPrices{Basket: r.Msg.GetBasket()}
		for _, q := range r.Msg.GetPrices() {
			c.Prices = append(c.Prices, mall.Quote{Product: q.GetProduct(), Price: money(q.GetPrice()), PriceVersion: q.GetPriceVersion()})
		}
		return h.Baskets.Accept(ctx, c)
	})
	return done(&soukv1.AcceptPricesResponse{Answer: a}, err)
}

func (h basketsFace) ExtendBasket(ctx context.Context, r *connect.Request[soukv1.ExtendBasketRequest]) (*connect.Response[soukv1.ExtendBasketResponse], error) {
	a, err := h.change(ctx, r.Msg, just(command.ExtendBasket{Basket: r.Msg.GetBasket()}))
	return done(&soukv1.ExtendBasketResponse{Answer: a}, err)
}

func (h basketsFace) CancelBasket(ctx context.Context, r *connect.Request[soukv1.CancelBasketRequest]) (*connect.Response[soukv1.CancelBasketResponse], error) {
	a, err := h.change(ctx, r.Msg, just(command.CancelBasket{Basket: r.Msg.GetBasket(), Reason: r.Msg.GetReason()}))
	return done(&soukv1.CancelBasketResponse{Answer: a}, err)
}

var whenShort = map[soukv1.WhenShort]mall.WhenShort{
	soukv1.WhenShort_WHEN_SHORT_UNSPECIFIED: "",
	soukv1.WhenShort_WHEN_SHORT_ASK:         mall.ShortAsk,
	soukv1.WhenShort_WHEN_SHORT_REST:        mall.ShortRest,
	soukv1.WhenShort_WHEN_SHORT_SUBSTITUTE:  mall.ShortSubstitute,
	soukv1.WhenShort_WHEN_SHORT_CANCEL:      mall.ShortCancel,
}

func (h basketsFace) CheckoutBasket(ctx context.Context, r *connect.Request[soukv1.CheckoutBasketRequest]) (*connect.Response[soukv1.CheckoutBasketResponse], error) {
	wish, known := whenShort[r.Msg.GetWhenShort()]
	if !known {
		return nil, wrong("whenShort", "is none that is known here")
	}
	a, err := h.change(ctx, r.Msg, func() (command.Command, error) {
		return h.Baskets.Checkout(ctx, command.CheckoutBasket{
			Basket: r.Msg.GetBasket(), Order: r.Msg.GetOrder(), Payment: r.Msg.GetPayment(), WaitForStock: r.Msg.GetWaitForStock(), WhenShort: wish,
		})
	})
	return done(&soukv1.CheckoutBasketResponse{Answer: a}, err)
}

var basketStatuses = map[baskets.Status]soukv1.BasketStatus{
	baskets.Open:       soukv1.BasketStatus_BASKET_STATUS_OPEN,
	baskets.CheckedOut: soukv1.BasketStatus_BASKET_STATUS_CHECKED_OUT,
	baskets.Canceled:   soukv1.BasketStatus_BASKET_STATUS_CANCELED,
}

func (h basketsFace) GetBasket(ctx context.Context, r *connect.Request[soukv1.GetBasketRequest]) (*connect.Response[soukv1.GetBasketResponse], error) {
	b, err := h.own(ctx, r.Msg.GetBasket())
	if err != nil {
		return nil, err
	}
	answer := &soukv1.Basket{
		Basket: b.ID, Customer: b.Customer, Status: basketStatuses[b.Status], Expires: microsOf(b.Expires), Total: moneyOf(b.Total),
		Order: b.Order, Payment: b.Payment, Reason: b.Reason,
	}
	for _, l := range b.Lines {
		i := &soukv1.BasketItem{
			Product: l.Product, Store: l.Store, StoreName: l.StoreName, Sku: l.SKU, Name: l.Name, Quantity: l.Quantity,
			Price: moneyOf(l.Price), PriceVersion: l.PriceVersion, Sold: l.Sold,
		}
		if l.Changed() {
			i.Changed = &soukv1.Quote{Product: l.Product, Price: moneyOf(l.Now.Price), PriceVersion: l.Now.PriceVersion}
		}
		answer.Items = append(answer.Items, i)
	}
	return done(&soukv1.GetBasketResponse{Basket: answer}, nil)
}
