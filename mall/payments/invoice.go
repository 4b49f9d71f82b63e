package payments

import (
	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// What the service refuses about invoices; compare with errors.Is.
var (
	ErrInvoiceExists  = backbone.Refuse("invoice_exists", "an invoice of this id was written before")
	ErrInvoiceUnknown = backbone.Refuse("invoice_unknown", "there is no such invoice")
	ErrInvoiceClosed  = backbone.Refuse("invoice_closed", "the invoice is paid or canceled")
)

type invoiceStatus string

const (
	invoicePending  invoiceStatus = "pending"
	invoicePaid     invoiceStatus = "paid"
	invoiceCanceled invoiceStatus = "canceled"
)

// invoice is the state of an invoice. The zero value is one that nobody wrote.
type invoice struct {
	Status   invoiceStatus
	Order    string
	Customer string
	Amount   mall.Money
}

var invoices = &backbone.Aggregate[invoice]{
	Name:   "invoice",
	Public: []backbone.Event{event.InvoiceCreated{}, event.InvoiceAdjusted{}, event.InvoicePaid{}, event.InvoiceCanceled{}},
	Evolve: evolveInvoice,
}

func evolveInvoice(s invoice, e backbone.Event) invoice {
	switch e := e.(type) {
	case event.InvoiceCreated:
		return invoice{Status: invoicePending, Order: e.Order, Customer: e.Customer, Amount: e.Amount}
	case event.InvoiceAdjusted:
		s.Amount = e.Amount
	case event.InvoicePaid:
		s.Status = invoicePaid
	case event.InvoiceCanceled:
		s.Status = invoiceCanceled
	}
	return s
}

// open returns the refusal of everything that needs a pending invoice.
func (s invoice) open() error {
	switch s.Status {
	case "":
		return ErrInvoiceUnknown
	case invoicePending:
		return nil
	}
	return ErrInvoiceClosed
}

func createInvoice(s invoice, c command.CreateInvoice, _ backbone.Meta) ([]backbone.Event, error) {
	if s.Status != "" {
		return nil, ErrInvoiceExists
	}
	return one(event.InvoiceCreated{Invoice: c.Invoice, Order: c.Order, Customer: c.Customer, Amount: c.Amount})
}

func adjustInvoice(s invoice, c command.AdjustInvoice, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.open(); err != nil || s.Amount == c.Amount {
		return nil, err
	}
	if c.Amount.Currency != s.Amount.Currency {
		return nil, ErrCurrency
	}
	return one(event.InvoiceAdjusted{Invoice: c.Invoice, Order: s.Order, Customer: s.Customer, Amount: c.Amount})
}

func payInvoice(s invoice, c command.PayInvoice, _ backbone.Meta) ([]backbone.Event, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	return one(event.InvoicePaid{Invoice: c.Invoice, Order: s.Order, Customer: s.Customer, Amount: s.Amount, Payment: c.Payment})
}

func cancelInvoice(s invoice, c command.CancelInvoice, _ backbone.Meta) ([]backbone.Event, error) {
	if s.Status == invoiceCanceled {
		return nil, nil
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	return one(event.InvoiceCanceled{Invoice: c.Invoice, Order: s.Order, Customer: s.Customer, Reason: c.Reason})
}
