package alacarte

import (
	"context"
	"testing/fstest"

	"example.org/souk/backbone"
)

// Shop says who owns the events, so that others can subscribe to them.
func Shop() *backbone.Service {
	return &backbone.Service{Name: "shop", Publishes: []backbone.Event{OrderPlaced{}}}
}

// Board shows how much each customer has ordered.
func Board() *backbone.Service {
	return &backbone.Service{
		Name:  "board",
		Views: []backbone.View{backbone.ViewOf("sums", backbone.FromFirst, sum).KeyedBy(func(e OrderPlaced) string { return e.Customer })},
		Migrations: fstest.MapFS{"0001_sums.sql": {Data: []byte(`-- +goose Up
			CREATE TABLE {sums} (customer TEXT PRIMARY KEY, cents BIGINT NOT NULL, orders BIGINT NOT NULL);`)}},
	}
}

func sum(ctx context.Context, tx backbone.ViewTx, e OrderPlaced) error {
	return tx.Exec(ctx, `INSERT INTO {sums} AS s (customer, cents, orders) VALUES ($1, $2, 1)
		ON CONFLICT (customer) DO UPDATE SET cents = s.cents + excluded.cents, orders = s.orders + 1`, e.Customer, e.Cents)
}
