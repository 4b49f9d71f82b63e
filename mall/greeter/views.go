package greeter

import (
	"context"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// people is what there is to say to each customer. A row belongs to a customer, whose orders are counted there.
var people = backbone.View{
	Name: "people",
	From: backbone.FromFirst,
	Projections: []backbone.Projection{
		backbone.ProjectBy(func(e event.CustomerRegistered) string { return e.Customer },
			func(ctx context.Context, tx backbone.ViewTx, e event.CustomerRegistered) error {
				return showName(ctx, tx, e.Customer, e.Name)
			}),
		backbone.ProjectBy(func(e event.ContactChanged) string { return e.Customer },
			func(ctx context.Context, tx backbone.ViewTx, e event.ContactChanged) error {
				return showName(ctx, tx, e.Customer, e.Name)
			}),
		backbone.ProjectBy(func(e event.CustomerForgotten) string { return e.Customer },
			func(ctx context.Context, tx backbone.ViewTx, e event.CustomerForgotten) error {
				return showName(ctx, tx, e.Customer, "")
			}),
		backbone.ProjectBy(func(e event.OrderApproved) string { return e.Customer },
			func(ctx context.Context, tx backbone.ViewTx, e event.OrderApproved) error {
				return tx.Exec(ctx, `INSERT INTO {people} AS p (customer, name, orders) VALUES ($1, '', 1)
					ON CONFLICT (customer) DO UPDATE SET orders = p.orders + 1`, e.Customer)
			}),
	},
}

func showName(ctx context.Context, tx backbone.ViewTx, customer string, name mall.Personal) error {
	return tx.Exec(ctx, `INSERT INTO {people} AS p (customer, name, orders) VALUES ($1, $2, 0)
		ON CONFLICT (customer) DO UPDATE SET name = excluded.name`, customer, string(name))
}

// pickups says which orders wait at the depot. A row belongs to an order.
var pickups = backbone.View{
	Name: "pickups",
	From: backbone.FromFirst,
	Projections: []backbone.Projection{
		pickup(func(e event.OrderReadied) (string, string) { return e.Order, e.Customer }, 1),
		pickup(func(e event.OrderCollected) (string, string) { return e.Order, e.Customer }, 0),
		pickup(func(e event.OrderCompleted) (string, string) { return e.Order, e.Customer }, 0),
		pickup(func(e event.OrderExpired) (string, string) { return e.Order, e.Customer }, 0),
		pickup(func(e event.OrderCanceled) (string, string) { return e.Order, e.Customer }, 0),
	},
}

// pickup notes whether an order waits. One that never did has no row.
func pickup[E backbone.Event](of func(E) (order, customer string), ready int64) backbone.Projection {
	return backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e E) error {
		order, customer := of(e)
		if ready == 0 {
			return tx.Exec(ctx, `DELETE FROM {pickups} WHERE order_id = $1`, order)
		}
		return tx.Exec(ctx, `INSERT INTO {pickups} AS p (order_id, customer, ready) VALUES ($1, $2, $3)
			ON CONFLICT (order_id) DO UPDATE SET ready = excluded.ready`, order, customer, ready)
	})
}
