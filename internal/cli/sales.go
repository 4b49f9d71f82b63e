package cli

import (
	"context"

	"example.org/souk/internal/control"
)

// span is the time that figures are of.
type span struct {
	From  string `help:"At this time or later (RFC 3339); default a day before --until." placeholder:"TIME"`
	Until string `help:"Before this time; default now." placeholder:"TIME"`
}

type salesCommand struct {
	By string `help:"hour, shop or product." enum:"hour,shop,product" default:"hour"`
	span
}

// Help implements kong's long help.
func (salesCommand) Help() string {
	return `Examples:
  souk sales
  souk sales --by product --from 2026-05-01T00:00:00Z --until 2026-06-01T00:00:00Z -o json

An order counts in the hour in which it was placed, a visitor in that in which they left,
each as it is now: what was undone does not count, what was missing is off, and what was
given back stands beside it. Visitors are in all sums and stand apart as well. Amounts
are minor units in -o json. Hours are those of UTC; a product is a SKU of a shop.`
}

// Run tells what was sold.
func (c *salesCommand) Run(ctx context.Context, env Env, r *root) error {
	return r.doOr(ctx, env, "sales", control.Args{"by": c.By, "from": c.From, "until": c.Until}, "Nothing was sold then.")
}

type funnelCommand struct {
	Times bool `help:"How long orders took to be ready instead: half of them and 95 in 100."`
	span
}

// Help implements kong's long help.
func (funnelCommand) Help() string {
	return `Examples:
  souk funnel
  souk funnel --times --from 2026-05-01T00:00:00Z

Baskets count by when they were started, orders without a basket by when they were placed,
visitors by when they left. Of those who reached a step, the next step and the columns
behind say what became of each: waiting, rejected, canceled, expired, or free where a
visitor had nothing to pay.`
}

// Run tells how far they came.
func (c *funnelCommand) Run(ctx context.Context, env Env, r *root) error {
	a := control.Args{"from": c.From, "until": c.Until}
	if c.Times {
		a["times"] = "yes"
	}
	return r.do(ctx, env, "funnel", a)
}
