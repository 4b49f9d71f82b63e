// Package points gives a customer one point for each whole unit of currency in an approved order.
//
// It lives in a repository of its own and knows of the mall only its events.
package points

import (
	"context"
	"embed"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:       "points",
		About:      "Gives a customer a point for each whole unit of currency in an approved order.",
		Views:      []backbone.View{balance}, // a table, rebuilt from the log at will
		Migrations: migrations,
	}
}

var balance = backbone.ViewOf("points", backbone.FromFirst, award).KeyedBy(customer)

// award takes effect once per approved order, whatever is delivered twice.
func award(ctx context.Context, tx backbone.ViewTx, e event.OrderApproved) error {
	return tx.Exec(ctx, `INSERT INTO {points} AS p (customer, points) VALUES ($1, $2)
		ON CONFLICT (customer) DO UPDATE SET points = p.points + excluded.points`, e.Customer, e.Total.Whole())
}

func customer(e event.OrderApproved) string { return e.Customer }
