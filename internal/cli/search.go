package cli

import (
	"context"
	"fmt"
	"strings"

	"example.org/souk/internal/control"
)

type orderSearch struct {
	Words    []string `arg:"" optional:"" help:"Words of the order's id, or of what its goods and shops were called: whole, or how they begin."`
	Customer string   `help:"Of this customer."`
	Card     string   `help:"Of the customer with this loyalty card."`
	Status   []string `help:"In one of these statuses: pending, reserved, backordered, approved, picking, short, ready, completed, rejected, expired, cancelling, canceled." placeholder:"STATUS,..."`
	Store    string   `help:"With something of this shop."`
	Product  string   `help:"With this product: its id, or its SKU."`
	Basket   string   `help:"That came of this basket."`
	Payment  string   `help:"That is paid with this payment."`
	Method   string   `help:"Paid so: prepaid or depot." enum:",prepaid,depot" default:""`
	Paid     string   `help:"Paid, or not yet." enum:",yes,no" default:""`
	Least    string   `help:"With at least this total, in minor units." placeholder:"CENTS"`
	Most     string   `help:"With at most this total, in minor units." placeholder:"CENTS"`
	Currency string   `help:"In this currency."`
	From     string   `help:"Placed at this time or later (RFC 3339)." placeholder:"TIME"`
	Until    string   `help:"Placed before this time." placeholder:"TIME"`
	Limit    string   `help:"At most so many, newest first." short:"n" default:"50"`
}

// Help implements kong's long help.
func (orderSearch) Help() string {
	return `Examples:
  souk order search lamp
  souk order search --customer amina --status ready,picking -o json
  souk order search --store souq --from 2026-05-01T00:00:00Z --least 5000 -n 500

Everything that is said has to hold. Nobody is found by name: names are sealed.`
}

// Run finds orders.
func (c *orderSearch) Run(ctx context.Context, env Env, r *root) error {
	for _, s := range c.Status {
		if s == "" {
			return usageError{fmt.Errorf("--status: name a status, for example ready")}
		}
	}
	return r.doOr(ctx, env, "order search", control.Args{
		"text": strings.Join(c.Words, " "), "customer": c.Customer, "card": c.Card, "status": strings.Join(c.Status, ","), "store": c.Store,
		"product": c.Product, "basket": c.Basket, "payment": c.Payment, "method": c.Method, "paid": c.Paid, "least": c.Least, "most": c.Most,
		"currency": c.Currency, "from": c.From, "until": c.Until, "limit": c.Limit,
	}, "No order is like that.")
}
