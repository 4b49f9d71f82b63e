package baskets

import (
	"context"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

// known is what the service knows of others: who may buy, which shops take part, and what their products are called and cost. Rows belong
// to a customer, a shop or a product, each a stream of its owner.
var known = backbone.View{
	Name:   "known",
	Tables: []string{"customers", "shops", "products"},
	From:   backbone.FromFirst,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.CustomerRegistered) error {
			return showCustomer(ctx, tx, e.Customer, 1)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.CustomerEnabled) error {
			return showCustomer(ctx, tx, e.Customer, 1)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.CustomerDisabled) error {
			return showCustomer(ctx, tx, e.Customer, 0)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.CustomerForgotten) error {
			return showCustomer(ctx, tx, e.Customer, 0)
		}),

		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.StoreCreated) error {
			return tx.Exec(ctx, `INSERT INTO {shops} (store, name, participating) VALUES ($1, $2, 0)`, e.Store, e.Name)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.StoreRebranded) error {
			return tx.Exec(ctx, `UPDATE {shops} SET name = $2 WHERE store = $1`, e.Store, e.Name)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ParticipationEnabled) error {
			return tx.Exec(ctx, `UPDATE {shops} SET participating = 1 WHERE store = $1`, e.Store)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ParticipationDisabled) error {
			return tx.Exec(ctx, `UPDATE {shops} SET participating = 0 WHERE store = $1`, e.Store)
		}),

		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ProductAdded) error {
			return tx.Exec(ctx, `INSERT INTO {products} (product, store, sku, name, price, currency, price_version, removed)
				VALUES ($1, $2, $3, $4, $5, $6, 1, 0)`, e.Product, e.Store, e.SKU, e.Name, e.Price.Amount, e.Price.Currency)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ProductRebranded) error {
			return tx.Exec(ctx, `UPDATE {products} SET name = $2 WHERE product = $1`, e.Product, e.Name)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.PriceIncreased) error {
			return showPrice(ctx, tx, e.Product, e.Price.Amount, e.PriceVersion)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.PriceDecreased) error {
			return showPrice(ctx, tx, e.Product, e.Price.Amount, e.PriceVersion)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ProductRemoved) error {
			return tx.Exec(ctx, `UPDATE {products} SET removed = 1 WHERE product = $1`, e.Product)
		}),
	},
}

func showCustomer(ctx context.Context, tx backbone.ViewTx, customer string, enabled int64) error {
	return tx.Exec(ctx, `INSERT INTO {customers} AS c (customer, enabled) VALUES ($1, $2)
		ON CONFLICT (customer) DO UPDATE SET enabled = excluded.enabled`, customer, enabled)
}

func showPrice(ctx context.Context, tx backbone.ViewTx, product string, price, version int64) error {
	return tx.Exec(ctx, `UPDATE {products} SET price = $2, price_version = $3 WHERE product = $1`, product, price, version)
}
