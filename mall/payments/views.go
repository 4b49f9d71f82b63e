package payments

import (
	"context"
	"fmt"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
)

// ledger adds up what the provider did. A row belongs to a currency, so the payments of one currency are added one after
// another.
var ledger = backbone.View{
	Name: "ledger",
	From: backbone.FromFirst,
	Projections: []backbone.Projection{
		add(func(e event.PaymentAuthorized) mall.Money { return e.Amount }, 1, 0, 0, 0),
		add(func(e event.PaymentVoided) mall.Money { return e.Amount }, 0, 1, 0, 0),
		add(func(e event.PaymentCaptured) mall.Money { return e.Amount }, 0, 0, 1, 0),
		add(func(e event.PaymentRefunded) mall.Money { return e.Amount }, 0, 0, 0, 1),
	},
}

// add puts an amount into the columns whose factor is 1.
func add[E backbone.Event](amount func(E) mall.Money, authorized, voided, captured, refunded int64) backbone.Projection {
	return backbone.ProjectBy(
		func(e E) string { return amount(e).Currency },
		func(ctx context.Context, tx backbone.ViewTx, e E) error {
			m := amount(e)
			return tx.Exec(ctx, `INSERT INTO {ledger} AS l (currency, authorized, voided, captured, refunded) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (currency) DO UPDATE SET authorized = l.authorized + excluded.authorized, voided = l.voided + excluded.voided,
				captured = l.captured + excluded.captured, refunded = l.refunded + excluded.refunded`,
				m.Currency, authorized*m.Amount, voided*m.Amount, captured*m.Amount, refunded*m.Amount)
		})
}

// Sums is a line of the ledger: totals of all payments in one currency, in minor units.
type Sums struct {
	Currency   string `json:"currency"`
	Authorized int64  `json:"authorized"`
	Voided     int64  `json:"voided"`
	Captured   int64  `json:"captured"`
	Refunded   int64  `json:"refunded"`
}

// Ledger returns the sums of every currency that there was a payment in, ordered by its code. It follows the payments by
// a moment.
func Ledger(ctx context.Context, r *backbone.Reader) ([]Sums, error) {
	rows, err := r.Query(ctx, `SELECT currency, authorized, voided, captured, refunded FROM {ledger} ORDER BY currency`)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	defer rows.Close()
	var list []Sums
	for rows.Next() {
		var s Sums
		if err := rows.Scan(&s.Currency, &s.Authorized, &s.Voided, &s.Captured, &s.Refunded); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

// Get returns a payment as of now. One that nobody asked for has the Status None and no error.
func Get(ctx context.Context, r *backbone.Reader, id string) (Payment, error) {
	p, _, err := backbone.Load(ctx, r, payments, id)
	return p, err
}
