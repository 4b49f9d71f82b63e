package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"example.org/souk/internal/control"
)

type basketCommand struct {
	Start    basketStart    `cmd:"" help:"Give a customer a basket."`
	Add      basketAdd      `cmd:"" help:"Put something into a basket."`
	Remove   basketRemove   `cmd:"" help:"Take something out of a basket."`
	Show     basketShow     `cmd:"" help:"Show what is in a basket, and which prices are others by now."`
	Accept   basketAccept   `cmd:"" help:"Accept prices that have changed, as they were shown."`
	Extend   basketExtend   `cmd:"" help:"Keep a basket for its whole time from now."`
	Cancel   basketCancel   `cmd:"" help:"End a basket without an order."`
	Checkout basketCheckout `cmd:"" help:"Make an order of a basket."`
}

type basketStart struct {
	Customer string `help:"Whose it is: an id." required:""`
	Basket   string `help:"The basket's id; default a new one."`
}

// Help implements kong's long help.
func (basketStart) Help() string {
	return `Example:
  souk basket start --customer amina --basket b-1
  souk basket add b-1 LAMP-01=1 TEA-01=3
  souk basket checkout b-1

It is kept for a while, up --basket-hold, and for longer where it is extended.`
}

// Run starts a basket.
func (c *basketStart) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "basket start", control.Args{"customer": c.Customer, "basket": c.Basket})
}

type basketAdd struct {
	Basket string   `arg:"" help:"The basket's id."`
	Item   []string `arg:"" help:"What and how many." placeholder:"SKU=QTY"`
}

// Help implements kong's long help.
func (basketAdd) Help() string {
	return `Example:
  souk basket add b-1 LAMP-01=1 TEA-01=3

Pieces of a product that is there already are added to it, at the price of the first ones.`
}

// Run adds to a basket.
func (c *basketAdd) Run(ctx context.Context, env Env, r *root) error {
	return r.basketItems(ctx, env, "basket add", c.Basket, c.Item)
}

type basketRemove struct {
	Basket string   `arg:"" help:"The basket's id."`
	Item   []string `arg:"" help:"What and how many." placeholder:"SKU=QTY"`
}

// Help implements kong's long help.
func (basketRemove) Help() string {
	return `Example:
  souk basket remove b-1 TEA-01=2

What is not sold any more is named by the product's id, as souk basket show has it.`
}

// Run takes out of a basket.
func (c *basketRemove) Run(ctx context.Context, env Env, r *root) error {
	return r.basketItems(ctx, env, "basket remove", c.Basket, c.Item)
}

func (r *root) basketItems(ctx context.Context, env Env, name, basket string, lines []string) error {
	items, err := itemsOf(lines)
	if err != nil {
		return err
	}
	list, err := json.Marshal(items)
	if err != nil {
		return err
	}
	return r.do(ctx, env, name, control.Args{"basket": basket, "items": string(list)})
}

type basketShow struct {
	Basket string `arg:"" help:"The basket's id."`
}

// Help implements kong's long help.
func (basketShow) Help() string { return "Example:\n  souk basket show b-1" }

// Run shows a basket.
func (c *basketShow) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "basket show", control.Args{"basket": c.Basket})
}

type basketAccept struct {
	Basket string   `arg:"" help:"The basket's id."`
	Price  []string `arg:"" help:"A product's id and what it costs now." placeholder:"PRODUCT=PRICE"`
}

// Help implements kong's long help.
func (basketAccept) Help() string {
	return `Example:
  souk basket show b-1
  souk basket accept b-1 tea=7.20

A price that does not hold any more is refused.`
}

// Run accepts prices.
func (c *basketAccept) Run(ctx context.Context, env Env, r *root) error {
	var prices []map[string]string
	for _, line := range c.Price {
		product, price, found := strings.Cut(line, "=")
		if !found {
			return usageError{fmt.Errorf("%q: write PRODUCT=PRICE, for example tea=7.20", line)}
		}
		prices = append(prices, map[string]string{"product": product, "price": price})
	}
	list, err := json.Marshal(prices)
	if err != nil {
		return err
	}
	return r.do(ctx, env, "basket accept", control.Args{"basket": c.Basket, "prices": string(list)})
}

type basketExtend struct {
	Basket string `arg:"" help:"The basket's id."`
}

// Help implements kong's long help.
func (basketExtend) Help() string { return "Example:\n  souk basket extend b-1" }

// Run extends a basket.
func (c *basketExtend) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "basket extend", control.Args{"basket": c.Basket})
}

type basketCancel struct {
	Basket string `arg:"" help:"The basket's id."`
	Why    string `help:"Why."`
}

// Help implements kong's long help.
func (basketCancel) Help() string {
	return "Example:\n  souk basket cancel b-1 --why \"changed her mind\""
}

// Run cancels a basket.
func (c *basketCancel) Run(ctx context.Context, env Env, r *root) error {
	return r.do(ctx, env, "basket cancel", control.Args{"basket": c.Basket, "why": c.Why})
}

type basketCheckout struct {
	Basket       string `arg:"" help:"The basket's id."`
	Order        string `help:"The order's id; default the basket's."`
	Payment      string `help:"A payment that was authorized; default paid when collected."`
	WaitForStock bool   `help:"Wait for a delivery instead of being rejected."`
	WhenShort    string `help:"What is to become of it when goods are not found: ask, rest, substitute or cancel." enum:"ask,rest,substitute,cancel" default:"ask"`
}

// Help implements kong's long help.
func (basketCheckout) Help() string {
	return `Example:
  souk basket checkout b-1 --order o-1 --when-short rest

It is refused while something in it is not sold any more, or costs something else than was
accepted: souk basket show b-1, then souk basket accept.`
}

// Run checks a basket out.
func (c *basketCheckout) Run(ctx context.Context, env Env, r *root) error {
	a := control.Args{"basket": c.Basket, "order": c.Order, "payment": c.Payment, "short": c.WhenShort}
	if c.WaitForStock {
		a["wait"] = "yes"
	}
	return r.do(ctx, env, "basket checkout", a)
}
