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
	ErrInvoiceUnpaid  = backbone.Refuse("invoice_unpaid", "nothing was paid that could be given back")
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
	Payment  string // that paid it; empty: paid at the depot
	Refunded int64  // of the amount, in minor units
}

var invoices = &backbone.Aggregate[invoice]{
	Name: "invoice",
	Public: []backbone.Event{
		event.InvoiceCreated{}, event.InvoiceAdjusted{}, event.InvoicePaid{}, event.InvoiceCanceled{}, event.InvoiceRefunded{},
	},
	Private: []backbone.Event{InvoiceBarred{}},
	Evolve:  evolveInvoice,
}

func evolveInvoice(s invoice, e backbone.Event) invoice {
	switch e := e.(type) {
	case event.InvoiceCreated:
		return invoice{Status: invoicePending, Order: e.Order, Customer: e.Customer, Amount: e.Amount}
	case event.InvoiceAdjusted:
		s.Amount = e.Amount
	case event.InvoicePaid:
		s.Status, s.Amount, s.Payment = invoicePaid, e.Amount, e.Payment
	case event.InvoiceRefunded:
		s.Refunded += e.Amount.Amount
	case event.InvoiceCanceled, InvoiceBarred:
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

func refundInvoice(s invoice, c command.RefundInvoice, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Status == "":
		return nil, ErrInvoiceUnknown
	case s.Status != invoicePaid:
		return nil, ErrInvoiceUnpaid
	}
	switch order, err := c.Amount.Cmp(s.left()); {
	case err != nil:
		return nil, ErrCurrency
	case order > 0:
		return nil, ErrTooMuch
	}
	return one(s.refunded(c.Invoice, c.Amount, c.Reason))
}

// left returns what was paid and not given back.
func (s invoice) left() mall.Money {
	return mall.Money{Amount: s.Amount.Amount - s.Refunded, Currency: s.Amount.Currency}
}

func (s invoice) refunded(invoice string, amount mall.Money, reason string) event.InvoiceRefunded {
	return event.InvoiceRefunded{
		Invoice: invoice, Order: s.Order, Customer: s.Customer, Amount: amount, Reason: reason, Payment: s.Payment,
	}
}

// BillOrder asks the customer of an order that is ready for what it came to. The invoice has the order's id; one that was
// written when the customer arrived is set right. The service sends it to itself.
type BillOrder struct {
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
}

// CommandType returns the wire name.
func (BillOrder) CommandType() string { return "souk.payments.BillOrder.v1" }

// Stream returns the id of the invoice.
func (c BillOrder) Stream() string { return c.Order }

func billOrder(s invoice, c BillOrder, m backbone.Meta) ([]backbone.Event, error) {
	switch s.Status {
	case "":
		return createInvoice(s, command.CreateInvoice{Invoice: c.Order, Order: c.Order, Customer: c.Customer, Amount: c.Amount}, m)
	case invoicePending:
		return adjustInvoice(s, command.AdjustInvoice{Invoice: c.Order, Amount: c.Amount}, m)
	case invoicePaid:
		// It was paid before it was known that goods were missing.
		if over := s.left().Amount - c.Amount.Amount; over > 0 && c.Amount.Currency == s.Amount.Currency {
			return one(s.refunded(c.Order, mall.Money{Amount: over, Currency: s.Amount.Currency}, mall.ReasonShort))
		}
	}
	return nil, nil
}

// CloseInvoice ends what an order owes that was undone: nothing is asked any more, what was paid is given back, and an
// invoice that is written afterwards is refused. The service sends it to itself.
type CloseInvoice struct {
	Order  string `json:"order"`
	Reason string `json:"reason"`
}

// CommandType returns the wire name.
func (CloseInvoice) CommandType() string { return "souk.payments.CloseInvoice.v1" }

// Stream returns the id of the invoice.
func (c CloseInvoice) Stream() string { return c.Order }

func closeInvoice(s invoice, c CloseInvoice, m backbone.Meta) ([]backbone.Event, error) {
	switch s.Status {
	case "":
		return one(InvoiceBarred{Invoice: c.Order, Reason: c.Reason})
	case invoicePending:
		return cancelInvoice(s, command.CancelInvoice{Invoice: c.Order, Reason: c.Reason}, m)
	case invoicePaid:
		if left := s.left(); left.Amount > 0 {
			return one(s.refunded(c.Order, left, c.Reason))
		}
	}
	return nil, nil
}

// InvoiceBarred says that there never will be such an invoice.
type InvoiceBarred struct {
	Invoice string `json:"invoice"`
	Reason  string `json:"reason"`
}

// EventType returns the wire name.
func (InvoiceBarred) EventType() string { return "souk.payments.InvoiceBarred.v1" }
