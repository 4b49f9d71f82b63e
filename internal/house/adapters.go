package house

import (
	"context"

	"example.org/souk/backbone"
	"example.org/souk/gateway/online"
	"example.org/souk/mall"
	"example.org/souk/mall/customers"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/orders"
	"example.org/souk/mall/payments"
	"example.org/souk/mall/stores"
	"example.org/souk/provider/payment"
)

// provider makes the payments service's calls with the provider's client.
type provider struct{ client *payment.Client }

func (p provider) Authorize(ctx context.Context, key, id, customer string, amount mall.Money) (payments.Outcome, error) {
	return said(p.client.Authorize(ctx, key, payment.Authorization{Payment: id, Customer: customer, Amount: amount}))
}

func (p provider) Void(ctx context.Context, key, id string) (payments.Outcome, error) {
	return said(p.client.Void(ctx, key, id))
}

func (p provider) Capture(ctx context.Context, key, id string, amount mall.Money) (payments.Outcome, error) {
	return said(p.client.Capture(ctx, key, id, amount))
}

func (p provider) Refund(ctx context.Context, key, id string, amount mall.Money) (payments.Outcome, error) {
	return said(p.client.Refund(ctx, key, id, amount))
}

func (p provider) Ask(ctx context.Context, key string) (payments.Outcome, bool, error) {
	r, found, err := p.client.Ask(ctx, key)
	if !found {
		return payments.Outcome{}, false, err
	}
	o, err := said(r, err)
	return o, true, err
}

// said turns the provider's answer into the service's words. What the provider
// refuses for good is an outcome too; every other failure is tried again.
func said(r payment.Result, err error) (payments.Outcome, error) {
	backbone.CrashPoint("payment.answered")
	switch {
	case err == nil && r.State == payment.Declined:
		return payments.Outcome{Refused: true, Reason: r.Reason, Reference: r.Reference}, nil
	case err == nil:
		return payments.Outcome{Reference: r.Reference}, nil
	case payment.ClassOf(err) == payment.Refused:
		return payments.Outcome{Refused: true, Reason: payment.CodeOf(err)}, nil
	default:
		return payments.Outcome{}, backbone.Transient(err)
	}
}

// catalogue shows the online store what can be ordered.
type catalogue struct{ stores *backbone.Reader }

func (c catalogue) Product(ctx context.Context, id string) (online.Product, bool, error) {
	p, found, err := stores.Get(ctx, c.stores, id)
	if err != nil || !found || !p.Orderable {
		return online.Product{}, false, err
	}
	return online.Product{SKU: p.SKU, Name: p.Name, Price: p.Price}, true, nil
}

// Known reports whether a SKU is a product's, or was.
func (c catalogue) Known(ctx context.Context, sku string) (bool, error) {
	_, known, err := stores.OfSKU(ctx, c.stores, sku)
	return known, err
}

// people says who may buy.
type people struct{ customers *backbone.Reader }

// MayBuy implements baskets.Customers.
func (p people) MayBuy(ctx context.Context, customer string) (bool, error) {
	c, err := customers.Get(ctx, p.customers, customer)
	return c.Status == customers.Enabled, err
}

// stock shows the online store what is there of a product.
type stock struct{ stores, inventory *backbone.Reader }

func (s stock) Level(ctx context.Context, product string) (online.Level, bool, error) {
	p, found, err := stores.Get(ctx, s.stores, product)
	if err != nil || !found {
		return online.Level{}, false, err
	}
	l, err := inventory.Get(ctx, s.inventory, p.SKU, mall.MainLocation)
	return online.Level{OnHand: l.OnHand, Held: l.Held, Committed: l.Committed, Available: l.Available}, true, err
}

// orderBook shows the online store its orders.
type orderBook struct{ orders *backbone.Reader }

func (b orderBook) Order(ctx context.Context, id string) (online.Order, bool, error) {
	v, found, err := orders.Get(ctx, b.orders, id)
	if err != nil || !found {
		return online.Order{}, false, err
	}
	o := online.Order{
		ID: id, Customer: v.Customer, Status: v.Shown(), Items: v.Items, Total: v.Total,
		Payment: v.Payment, WaitForStock: v.WaitForStock, WhenShort: v.WhenShort,
	}
	for _, s := range v.History {
		o.History = append(o.History, online.Change{Status: s.Status, At: s.Time})
	}
	if v.Reason != "" || v.Short.SKU != "" {
		o.Shortage = &online.Shortage{Reason: v.Reason, SKU: v.Short.SKU, Wanted: v.Short.Wanted, Available: v.Short.Available}
	}
	return o, true, nil
}

var parts = map[orders.Part]online.Part{orders.Asked: online.Asked, orders.Stocked: online.Stocked, orders.Happened: online.Happened}

func (b orderBook) Feed(ctx context.Context, customer string, after int64, limit int) ([]online.Entry, error) {
	list, err := orders.Feed(ctx, b.orders, customer, after, limit)
	if err != nil {
		return nil, err
	}
	entries := make([]online.Entry, len(list))
	for i, e := range list {
		entries[i] = online.Entry{N: e.N, Part: parts[e.Part], Event: e.Event, Type: e.Type, Data: e.Data}
	}
	return entries, nil
}
