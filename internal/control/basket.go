package control

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"example.org/souk/internal/house"
	"example.org/souk/mall"
	"example.org/souk/mall/baskets"
	"example.org/souk/mall/command"
)

// basketLine is a product in a basket; a basket without any has one line that names none.
type basketLine struct {
	Basket   string      `json:"basket"`
	Customer string      `json:"customer"`
	Status   string      `json:"status"`
	Until    time.Time   `json:"until"`
	Product  string      `json:"product"`
	Name     string      `json:"name"`
	Quantity int64       `json:"quantity"`
	Price    mall.Money  `json:"price"` // accepted
	Sold     bool        `json:"sold"`  // now, of an open basket
	Now      *mall.Money `json:"now"`   // what it costs now, where that is to be accepted
	Total    mall.Money  `json:"total"`
	Order    string      `json:"order"`
}

// showBasket lists what is in a basket.
func showBasket(ctx context.Context, h *house.House, a Args, emit Emit) error {
	v, found, err := baskets.Get(ctx, h.Reader("baskets"), a["basket"])
	if err != nil || !found {
		return cmp.Or(err, fmt.Errorf("there is no basket %q", a["basket"]))
	}
	head := basketLine{
		Basket: v.ID, Customer: v.Customer, Status: string(v.Status), Until: time.UnixMicro(v.Expires).UTC(), Total: v.Total, Order: v.Order,
	}
	if len(v.Lines) == 0 {
		return emit(head)
	}
	for _, l := range v.Lines {
		row := head
		row.Product, row.Name, row.Quantity, row.Price, row.Sold = l.Product, l.Name, l.Quantity, l.Price, l.Sold
		if l.Changed() {
			row.Now = &l.Now.Price
		}
		if err := emit(row); err != nil {
			return err
		}
	}
	return nil
}

// changeBasket has a command decided once it was filled in, and shows the basket.
func changeBasket[C command.Command](ctx context.Context, h *house.House, a Args, emit Emit, c C, err error) error {
	if err == nil {
		err = do(ctx, h, a, c)
	}
	if err != nil {
		return err
	}
	return showBasket(ctx, h, a, emit)
}

func startBasket(ctx context.Context, h *house.House, a Args, emit Emit) error {
	a["basket"] = cmp.Or(a["basket"], newID())
	c, err := h.Baskets().Start(ctx, a["basket"], a["customer"])
	return changeBasket(ctx, h, a, emit, c, err)
}

func addToBasket(ctx context.Context, h *house.House, a Args, emit Emit) error {
	return eachItem(ctx, h, a, emit, func(product string, quantity int64) error {
		c, err := h.Baskets().Add(ctx, a["basket"], product, quantity, mall.Money{})
		if err != nil {
			return err
		}
		return do(ctx, h, a, c)
	})
}

func removeFromBasket(ctx context.Context, h *house.House, a Args, emit Emit) error {
	return eachItem(ctx, h, a, emit, func(product string, quantity int64) error {
		return do(ctx, h, a, command.RemoveItem{Basket: a["basket"], Product: product, Quantity: quantity})
	})
}

// eachItem changes the basket for each of the items that were named, by SKU, by the product's id or by its name, and shows it.
func eachItem(ctx context.Context, h *house.House, a Args, emit Emit, change func(product string, quantity int64) error) error {
	var items []Item
	if err := json.Unmarshal([]byte(a["items"]), &items); err != nil {
		return fmt.Errorf("items: %w", err)
	}
	for _, i := range items {
		id := i.Product
		if p, err := product(ctx, h.Reader("stores"), i.Product); err == nil {
			id = p.Product // what is not sold any more can still be taken out, by its id
		}
		if err := change(id, i.Quantity); err != nil {
			return fmt.Errorf("%s: %w", i.Product, err)
		}
	}
	return showBasket(ctx, h, a, emit)
}

// acceptPrices accepts prices as they were shown, PRODUCT to decimal price.
func acceptPrices(ctx context.Context, h *house.House, a Args, emit Emit) error {
	var shown []struct{ Product, Price string }
	if err := json.Unmarshal([]byte(a["prices"]), &shown); err != nil {
		return fmt.Errorf("prices: %w", err)
	}
	c := command.AcceptPrices{Basket: a["basket"]}
	for _, s := range shown {
		price, err := mall.ParseMoney(s.Price, h.Currency())
		if err != nil {
			return fmt.Errorf("price of %s: %w", s.Product, err)
		}
		c.Prices = append(c.Prices, mall.Quote{Product: s.Product, Price: price})
	}
	c, err := h.Baskets().Accept(ctx, c)
	return changeBasket(ctx, h, a, emit, c, err)
}

func extendBasket(ctx context.Context, h *house.House, a Args, emit Emit) error {
	return changeBasket(ctx, h, a, emit, command.ExtendBasket{Basket: a["basket"]}, nil)
}

func cancelBasket(ctx context.Context, h *house.House, a Args, emit Emit) error {
	c := command.CancelBasket{Basket: a["basket"], Reason: cmp.Or(a["why"], "canceled by an operator")}
	return changeBasket(ctx, h, a, emit, c, nil)
}

func checkoutBasket(ctx context.Context, h *house.House, a Args, emit Emit) error {
	c, err := h.Baskets().Checkout(ctx, command.CheckoutBasket{
		Basket: a["basket"], Order: a["order"], Payment: a["payment"], WaitForStock: a["wait"] != "", WhenShort: mall.WhenShort(a["short"]),
	})
	return changeBasket(ctx, h, a, emit, c, err)
}
