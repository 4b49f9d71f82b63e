package payments

import (
	"context"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Invoice is what a customer was asked for, as it is shown.
type Invoice struct {
	Status   string // pending, paid or canceled
	Order    string
	Customer string
	Amount   mall.Money
	Refunded mall.Money // of the amount
}

// Pending reports whether it can be paid.
func (i Invoice) Pending() bool { return i.Status == string(invoicePending) }

// Paid reports whether the invoice was paid, whatever was given back of it since.
func (i Invoice) Paid() bool { return i.Status == string(invoicePaid) }

// InvoiceOf returns an invoice as of now; false for one that nobody wrote.
func InvoiceOf(ctx context.Context, r *backbone.Reader, id string) (Invoice, bool, error) {
	i, version, err := backbone.Load(ctx, r, invoices, id)
	return Invoice{
		Status: string(i.Status), Order: i.Order, Customer: i.Customer, Amount: i.Amount,
		Refunded: mall.Money{Amount: i.Refunded, Currency: i.Amount.Currency},
	}, version > 0 && i.Order != "", err
}
