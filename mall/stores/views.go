package stores

import (
	"context"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// catalogue is inline: whoever was told that a price changed finds it changed.
var catalogue = backbone.View{
	Name:   "catalogue",
	Tables: []string{"stores", "products", "prices"},
	Inline: true,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.StoreCreated) error {
			return tx.Exec(ctx, `INSERT INTO {stores} (store, name, location, participating) VALUES ($1, $2, $3, 0)`, e.Store, e.Name, e.Location)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.StoreRebranded) error {
			return tx.Exec(ctx, `UPDATE {stores} SET name = $2 WHERE store = $1`, e.Store, e.Name)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ParticipationEnabled) error {
			return tx.Exec(ctx, `UPDATE {stores} SET participating = 1 WHERE store = $1`, e.Store)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ParticipationDisabled) error {
			return tx.Exec(ctx, `UPDATE {stores} SET participating = 0 WHERE store = $1`, e.Store)
		}),
		backbone.Project(showProduct),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ProductRebranded) error {
			return tx.Exec(ctx, `UPDATE {products} SET name = $2, description = $3 WHERE product = $1`, e.Product, e.Name, e.Description)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.BarcodeAssigned) error {
			return tx.Exec(ctx, `UPDATE {products} SET barcode = $2 WHERE product = $1`, e.Product, e.Barcode)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ProductCategorized) error {
			return tx.Exec(ctx, `UPDATE {products} SET category = $2 WHERE product = $1`, e.Product, e.Category)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.PriceIncreased) error {
			return showPrice(ctx, tx, e.Product, e.Price, e.PriceVersion)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.PriceDecreased) error {
			return showPrice(ctx, tx, e.Product, e.Price, e.PriceVersion)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ProductRemoved) error {
			return tx.Exec(ctx, `UPDATE {products} SET removed = 1 WHERE product = $1`, e.Product)
		}),
	},
}

func showProduct(ctx context.Context, tx backbone.ViewTx, e event.ProductAdded) error {
	err := tx.Exec(ctx, `INSERT INTO {products}
		(product, store, sku, barcode, name, description, category, price, currency, price_version, removed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, 0)`,
		e.Product, e.Store, e.SKU, e.Barcode, e.Name, e.Description, e.Category, e.Price.Amount, e.Price.Currency)
	if err != nil {
		return err
	}
	return recordPrice(ctx, tx, e.Product, e.Price, 1)
}

func showPrice(ctx context.Context, tx backbone.ViewTx, product string, price mall.Money, version int64) error {
	err := tx.Exec(ctx, `UPDATE {products} SET price = $2, price_version = $3 WHERE product = $1`, product, price.Amount, version)
	if err != nil {
		return err
	}
	return recordPrice(ctx, tx, product, price, version)
}

func recordPrice(ctx context.Context, tx backbone.ViewTx, product string, price mall.Money, version int64) error {
	return tx.Exec(ctx, `INSERT INTO {prices} (product, version, price, currency, since) VALUES ($1, $2, $3, $4, $5)`,
		product, version, price.Amount, price.Currency, tx.Message().Time.UnixMicro())
}
