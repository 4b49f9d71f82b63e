package entrance

import (
	"context"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

// cards says by which card each customer is known. A row belongs to a customer; who has a card is whoever it was linked to last.
var cards = backbone.View{
	Name: "cards",
	From: backbone.FromFirst,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.CustomerRegistered) error {
			return showCard(ctx, tx, e.Customer, e.Card)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.CardLinked) error {
			return showCard(ctx, tx, e.Customer, e.Card)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.CustomerForgotten) error {
			return tx.Exec(ctx, `DELETE FROM {cards} WHERE customer = $1`, e.Customer)
		}),
	},
}

func showCard(ctx context.Context, tx backbone.ViewTx, customer, card string) error {
	return tx.Exec(ctx, `INSERT INTO {cards} AS c (customer, card, linked) VALUES ($1, $2, $3)
		ON CONFLICT (customer) DO UPDATE SET card = excluded.card, linked = excluded.linked`,
		customer, card, tx.Message().Time.UnixMicro())
}
