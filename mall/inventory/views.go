package inventory

import (
	"context"
	"strings"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// levels is inline: it is what GET /stock answers, without folding the stream of a SKU that sells a million times.
var levels = backbone.View{
	Name:   "levels",
	Tables: []string{"stock"},
	Inline: true,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.StockReceived) error {
			return showOnHand(ctx, tx, e.SKU, e.Location, e.Quantity)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.StockAdjusted) error {
			return showOnHand(ctx, tx, e.SKU, e.Location, e.Delta)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e StockTaken) error {
			return showOnHand(ctx, tx, e.SKU, e.Location, -e.Quantity)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e StockShifted) error {
			id := strings.TrimPrefix(tx.Message().Stream, stock.Name+"/")
			return tx.Exec(ctx, `UPDATE {stock} SET held = held + $2, committed = committed + $3 WHERE id = $1`, id, e.Held, e.Committed)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e ThresholdSet) error {
			return tx.Exec(ctx, `INSERT INTO {stock} AS s (id, sku, location, on_hand, held, committed, threshold) VALUES ($1, $2, $3, 0, 0, 0, $4)
				ON CONFLICT (id) DO UPDATE SET threshold = excluded.threshold`, mall.StockID(e.SKU, e.Location), e.SKU, e.Location, e.Threshold)
		}),
	},
}

func showOnHand(ctx context.Context, tx backbone.ViewTx, sku, location string, delta int64) error {
	return tx.Exec(ctx, `INSERT INTO {stock} AS s (id, sku, location, on_hand, held, committed, threshold) VALUES ($1, $2, $3, $4, 0, 0, 0)
		ON CONFLICT (id) DO UPDATE SET on_hand = s.on_hand + excluded.on_hand`, mall.StockID(sku, location), sku, location, delta)
}
