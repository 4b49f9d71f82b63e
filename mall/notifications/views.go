package notifications

import (
	"context"
	"fmt"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

var contacts = backbone.View{
	Name: "contacts",
	From: backbone.FromFirst,
	Projections: []backbone.Projection{
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.CustomerRegistered) error {
			return showContact(ctx, tx, e.Customer, Contact{Name: e.Name, Email: e.Email, SMS: e.SMS, Tell: e.Tell}, 0)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.ContactChanged) error {
			return showContact(ctx, tx, e.Customer, Contact{Name: e.Name, Email: e.Email, SMS: e.SMS, Tell: e.Tell}, 0)
		}),
		backbone.Project(func(ctx context.Context, tx backbone.ViewTx, e event.CustomerForgotten) error {
			return showContact(ctx, tx, e.Customer, Contact{}, 1)
		}),
	},
}

func showContact(ctx context.Context, tx backbone.ViewTx, customer string, c Contact, forgotten int64) error {
	return tx.Exec(ctx, `INSERT INTO {contacts} AS c (customer, name, email, sms, forgotten, asking, progress, receipts)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (customer) DO UPDATE SET name = excluded.name, email = excluded.email, sms = excluded.sms, forgotten = excluded.forgotten,
			asking = excluded.asking, progress = excluded.progress, receipts = excluded.receipts`,
		customer, string(c.Name), string(c.Email), string(c.SMS), forgotten, string(c.Tell.Asking), string(c.Tell.Progress), string(c.Tell.Receipts))
}

// Contact is how a customer is reached. A field that was not given is empty.
type Contact struct {
	Name      mall.Personal
	Email     mall.Personal
	SMS       mall.Personal
	Tell      mall.Tell
	Forgotten bool // asked to be forgotten; nothing is left
}

// GetContact returns a customer's contact; false when the service has not heard of the customer yet. It follows the
// customers by a moment, so that is worth another try.
func GetContact(ctx context.Context, r *backbone.Reader, customer string) (Contact, bool, error) {
	rows, err := r.Query(ctx, `SELECT name, email, sms, forgotten, asking, progress, receipts FROM {contacts} WHERE customer = $1`, customer)
	if err != nil {
		return Contact{}, false, fmt.Errorf("contact of %s: %w", customer, err)
	}
	defer rows.Close()
	if !rows.Next() {
		return Contact{}, false, rows.Err()
	}
	var name, email, sms, asking, progress, receipts string
	var forgotten int64
	if err := rows.Scan(&name, &email, &sms, &forgotten, &asking, &progress, &receipts); err != nil {
		return Contact{}, false, fmt.Errorf("contact of %s: %w", customer, err)
	}
	return Contact{
		Name: mall.Personal(name), Email: mall.Personal(email), SMS: mall.Personal(sms), Forgotten: forgotten == 1,
		Tell: mall.Tell{Asking: mall.Channel(asking), Progress: mall.Channel(progress), Receipts: mall.Channel(receipts)},
	}, true, rows.Err()
}
