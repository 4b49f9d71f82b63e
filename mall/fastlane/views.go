package fastlane

import (
	"context"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// prices holds every price that each product has had. Products that were removed keep theirs: pieces of them may still leave.
var prices = backbone.View{
	Name: "prices",
	From: backbone.FromFirst,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ProductAdded) error {
			return showPrice(ctx, tx, e.Product, e.Store, e.SKU, e.Price, 1)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.PriceIncreased) error {
			return showPrice(ctx, tx, e.Product, e.Store, e.SKU, e.Price, e.PriceVersion)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.PriceDecreased) error {
			return showPrice(ctx, tx, e.Product, e.Store, e.SKU, e.Price, e.PriceVersion)
		}),
	},
}

func showPrice(ctx context.Context, tx backbone.ViewTx, product, store, sku string, price mall.Money, version int64) error {
	return tx.Exec(ctx, `INSERT INTO {prices} (product, version, store, sku, price, currency, since) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (product, version) DO NOTHING`, product, version, store, sku, price.Amount, price.Currency, tx.Message().Time.UnixMicro())
}
