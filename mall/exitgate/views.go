package exitgate

import (
	"context"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

// goods says which SKU is meant by what gates scan. A product that was removed stays: pieces of it may still leave.
var goods = backbone.View{
	Name:   "goods",
	Tables: []string{"places", "goods"},
	From:   backbone.FromFirst,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.StoreCreated) error {
			return tx.Exec(ctx, `INSERT INTO {places} AS p (store, location) VALUES ($1, $2)
				ON CONFLICT (store) DO UPDATE SET location = excluded.location`, e.Store, e.Location)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ProductAdded) error {
			return tx.Exec(ctx, `INSERT INTO {goods} AS g (product, store, sku, barcode) VALUES ($1, $2, $3, $4)
				ON CONFLICT (product) DO UPDATE SET store = excluded.store, sku = excluded.sku, barcode = excluded.barcode`,
				e.Product, e.Store, e.SKU, e.Barcode)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.BarcodeAssigned) error {
			return tx.Exec(ctx, `UPDATE {goods} SET barcode = $2 WHERE product = $1`, e.Product, e.Barcode)
		}),
	},
}
