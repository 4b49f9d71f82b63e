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

// The accounts of the ledger. Every movement of money is taken from one and put on another, so they sum to zero at any time.
const (
	// Customers is what customers have paid beyond what they got back, and what is set aside of theirs; negative.
	Customers = "customers"
	// SetAside is authorized and neither captured nor freed yet.
	SetAside = "set aside"
	// Taken was captured and not given back.
	Taken = "taken"
	// Till was paid at the depot and not given back.
	Till = "till"
)

// accounts keeps the balance of each account by currency.
var accounts = backbone.View{
	Name: "accounts",
	From: backbone.FromFirst,
	Projections: []backbone.Projection{
		move(func(e event.PaymentAuthorized) []movement { return []movement{{e.Amount, Customers, SetAside}} }),
		move(func(e event.PaymentVoided) []movement { return []movement{{e.Amount, SetAside, Customers}} }),
		move(func(e event.PaymentCaptured) []movement {
			return []movement{{e.Amount, SetAside, Taken}, {e.Freed, SetAside, Customers}}
		}),
		move(func(e event.PaymentRefunded) []movement { return []movement{{e.Amount, Taken, Customers}} }),
		move(func(e event.InvoicePaid) []movement { return []movement{{cash(e.Amount, e.Payment), Customers, Till}} }),
		move(func(e event.InvoiceRefunded) []movement {
			return []movement{{cash(e.Amount, e.Payment), Till, Customers}}
		}),
	},
}

// cash returns what goes over the counter: nothing where a payment moves the amount, whose own events tell.
func cash(amount mall.Money, payment string) mall.Money {
	if payment != "" {
		amount.Amount = 0
	}
	return amount
}

// movement is an amount that goes from one account to another.
type movement struct {
	amount   mall.Money
	from, to string
}

// move books the movements of one type of event.
func move[E backbone.Event](movements func(E) []movement) backbone.Projection {
	return backbone.ProjectBy(
		func(e E) string { return movements(e)[0].amount.Currency },
		func(ctx context.Context, tx backbone.ViewTx, e E) error {
			for _, m := range movements(e) {
				if m.amount.Amount == 0 {
					continue
				}
				if err := book(ctx, tx, m.amount.Currency, m.from, -m.amount.Amount); err != nil {
					return err
				}
				if err := book(ctx, tx, m.amount.Currency, m.to, m.amount.Amount); err != nil {
					return err
				}
			}
			return nil
		})
}

func book(ctx context.Context, tx backbone.ViewTx, currency, account string, amount int64) error {
	return tx.Exec(ctx, `INSERT INTO {accounts} AS a (currency, account, balance) VALUES ($1, $2, $3)
		ON CONFLICT (currency, account) DO UPDATE SET balance = a.balance + excluded.balance`, currency, account, amount)
}

// Accounts returns the balance of every account, in minor units, by currency and account. Those of a currency sum to zero. It
// follows the payments by a moment.
func Accounts(ctx context.Context, r *backbone.Reader) (map[string]map[string]int64, error) {
	rows, err := r.Query(ctx, `SELECT currency, account, balance FROM {accounts}`)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	defer rows.Close()
	all := map[string]map[string]int64{}
	for rows.Next() {
		var currency, account string
		var balance int64
		if err := rows.Scan(&currency, &account, &balance); err != nil {
			return nil, fmt.Errorf("accounts: %w", err)
		}
		if all[currency] == nil {
			all[currency] = map[string]int64{}
		}
		all[currency][account] = balance
	}
	return all, rows.Err()
}

// Get returns a payment as of now. One that nobody asked for has the Status None and no error.
func Get(ctx context.Context, r *backbone.Reader, id string) (Payment, error) {
	p, _, err := backbone.Load(ctx, r, payments, id)
	return p, err
}
