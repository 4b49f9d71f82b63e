package control

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/stores"
)

// Item is a line of an order as the command line names it: by SKU, by the product's id or by its name.
type Item struct {
	Product  string `json:"product"`
	Quantity int64  `json:"quantity"`
}

// placed is what is told of an order that was taken.
type placed struct {
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Status   string     `json:"status"`
	Total    mall.Money `json:"total"`
}

// placeOrder takes an order at today's prices. An order of the same id and content is told again, not placed again.
func placeOrder(ctx context.Context, h *house.House, a Args, emit Emit) error {
	var items []Item
	if err := json.Unmarshal([]byte(a["items"]), &items); err != nil {
		return fmt.Errorf("items: %w", err)
	}
	c := command.PlaceOrder{
		Order: cmp.Or(a["order"], newID()), Customer: a["customer"], Payment: a["payment"], WaitForStock: a["wait"] != "",
	}
	for _, i := range items {
		p, err := product(ctx, h.Reader("stores"), i.Product)
		if err != nil {
			return err
		}
		c.Items = append(c.Items, mall.Item{Product: p.Product, SKU: p.SKU, Name: p.Name, Price: p.Price, Quantity: i.Quantity})
	}
	if err := c.Validate(); err != nil {
		return err
	}
	total, err := mall.Total(c.Items)
	if err != nil {
		return err
	}
	answer, err := h.Do(ctx, c, backbone.By("operator:"+a["actor"]))
	if err != nil {
		return err
	}
	status := "PENDING"
	if err := answer.Err(); err != nil {
		var before orders.Existing
		refusal, ok := errors.AsType[*backbone.Refusal](err)
		if !ok || !errors.Is(err, orders.ErrExists) || json.Unmarshal(refusal.Data, &before) != nil {
			return err
		}
		if !before.Same {
			return fmt.Errorf("another order has the id %s", c.Order)
		}
		status = before.Status
	}
	return emit(placed{c.Order, c.Customer, status, total})
}

// product finds what is ordered by SKU, by the product's id or by its name.
func product(ctx context.Context, r *backbone.Reader, name string) (stores.Product, error) {
	p, found, err := stores.Find(ctx, r, name)
	if err != nil || found {
		return p, err
	}
	p, found, err = stores.Get(ctx, r, name)
	if err == nil && (!found || !p.Orderable) {
		err = fmt.Errorf("there is no product %q that can be ordered", name)
	}
	return p, err
}

// noCard refuses a text that an operator typed with the number of a payment card in it.
func noCard(field, text string) error {
	if mall.HoldsCard(text) {
		return &mall.FieldError{Field: field, Reason: mall.NoCard}
	}
	return nil
}

// newID returns an id for what the operator gave none.
func newID() string { return strings.ToLower(rand.Text()[:16]) }

// registerCustomer takes a customer in. What names the person is sealed before anything hears of it.
func registerCustomer(ctx context.Context, h *house.House, a Args, emit Emit) error {
	c := command.RegisterCustomer{Customer: cmp.Or(a["customer"], newID()), Card: a["card"]}
	c.Tell = mall.Tell{Asking: mall.Channel(a["asking"]), Progress: mall.Channel(a["progress"]), Receipts: mall.Channel(a["receipts"])}
	if !backbone.ValidID(c.Customer) {
		return fmt.Errorf("customer %q must be 1 to 64 letters, digits, _ or -", c.Customer)
	}
	if a["name"] == "" {
		return errors.New("a customer needs a name")
	}
	for name, field := range map[string]*mall.Personal{"name": &c.Name, "email": &c.Email, "sms": &c.SMS} {
		if name == "sms" && a[name] != "" && !mall.ValidNumber(a[name]) {
			return &mall.FieldError{Field: name, Reason: "is no number"}
		}
		if err := noCard(name, a[name]); name != "sms" && err != nil {
			return err
		}
		sealed, err := h.Keys.Seal(ctx, c.Customer, a[name])
		if err != nil {
			return err
		}
		*field = mall.Personal(sealed)
	}
	if err := do(ctx, h, a, c); err != nil {
		return err
	}
	return emit(struct {
		Customer string `json:"customer"`
	}{c.Customer})
}
