package points

import (
	"context"
	"embed"
	"errors"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Service is the table of the service.
func Service() *backbone.Service {
	return &backbone.Service{
		Name:       "points",
		About:      "Gives a customer a point for each whole unit of currency spent.",
		Views:      []backbone.View{balance}, // a table, rebuilt from the log at will
		Migrations: migrations,
	}
}

var balance = backbone.ViewOf("points", backbone.FromFirst, award).KeyedBy(customer)

// award runs once per completed order, whatever the transport delivers twice.
func award(ctx context.Context, tx backbone.ViewTx, e event.OrderCompleted) error {
	return tx.Exec(ctx, `INSERT INTO {points} AS p (customer, points) VALUES ($1, $2)
		ON CONFLICT (customer) DO UPDATE SET points = p.points + excluded.points`, e.Customer, e.Total.Whole())
}

func customer(e event.OrderCompleted) string { return e.Customer }

// Of returns a customer's points, 0 for one who has none.
func Of(ctx context.Context, r *backbone.Reader, customer string) (points int64, err error) {
	rows, err := r.Query(ctx, `SELECT points FROM {points} WHERE customer = $1`, customer)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if rows.Next() {
		err = rows.Scan(&points)
	}
	return points, errors.Join(err, rows.Err())
}
