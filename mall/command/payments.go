package command

import (
	"cmp"

	"example.org/souk/mall"
)

// AuthorizePayment asks the provider to set the amount aside.
type AuthorizePayment struct {
	Payment  string     `json:"payment"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
}

// CommandType returns AuthorizePaymentV1.
func (AuthorizePayment) CommandType() string { return AuthorizePaymentV1 }

// Stream returns the id of the payment.
func (c AuthorizePayment) Stream() string { return c.Payment }

// Validate names the first wrong field.
func (c AuthorizePayment) Validate() error {
	return cmp.Or(
		id("payment", c.Payment),
		id("customer", c.Customer),
		positiveMoney("amount", c.Amount),
	)
}

// EarmarkPayment says that an order was placed that is to be paid with what is set aside, and waits for its approval until Expires
// at the latest: until then it is kept. The payment is bound to no order by it: that is ConfirmPayment's. It is refused where
// the payment is another customer's, is used or is over. Only orders sends it.
type EarmarkPayment struct {
	Payment  string `json:"payment"`
	Order    string `json:"order"`
	Customer string `json:"customer"`
	Expires  int64  `json:"expires"` // microseconds
}

// CommandType returns EarmarkPaymentV1.
func (EarmarkPayment) CommandType() string { return EarmarkPaymentV1 }

// Stream returns the id of the payment.
func (c EarmarkPayment) Stream() string { return c.Payment }

// Validate names the first wrong field.
func (c EarmarkPayment) Validate() error {
	return cmp.Or(
		id("payment", c.Payment),
		id("order", c.Order),
		id("customer", c.Customer),
		positive("expires", c.Expires),
	)
}

// ConfirmPayment binds an authorized payment of the customer to the order, which costs Amount. It is refused where the
// payment is another customer's, is used, or does not cover Amount. Only the checkout saga sends it.
type ConfirmPayment struct {
	Payment  string     `json:"payment"`
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
}

// CommandType returns ConfirmPaymentV1.
func (ConfirmPayment) CommandType() string { return ConfirmPaymentV1 }

// Stream returns the id of the payment.
func (c ConfirmPayment) Stream() string { return c.Payment }

// Validate names the first wrong field.
func (c ConfirmPayment) Validate() error {
	return cmp.Or(
		id("payment", c.Payment),
		id("order", c.Order),
		id("customer", c.Customer),
		money("amount", c.Amount),
	)
}

// CapturePayment takes the confirmed amount, or the part of it that the order came to in the end. The rest is free again.
type CapturePayment struct {
	Payment string     `json:"payment"`
	Amount  mall.Money `json:"amount,omitzero"` // zero: all of it
}

// CommandType returns CapturePaymentV1.
func (CapturePayment) CommandType() string { return CapturePaymentV1 }

// Stream returns the id of the payment.
func (c CapturePayment) Stream() string { return c.Payment }

// Validate names the first wrong field.
func (c CapturePayment) Validate() error {
	if err := id("payment", c.Payment); err != nil || c.Amount == (mall.Money{}) {
		return err
	}
	return positiveMoney("amount", c.Amount)
}

// VoidPayment frees what was set aside. Order names the order that the payment was meant for: a payment that is bound to
// another one is left alone, and one that is bound to none, or unknown, refuses that order's ConfirmPayment from then on.
type VoidPayment struct {
	Payment string `json:"payment"`
	Order   string `json:"order,omitempty"` // empty: whatever order has it
	Reason  string `json:"reason"`
}

// CommandType returns VoidPaymentV1.
func (VoidPayment) CommandType() string { return VoidPaymentV1 }

// Stream returns the id of the payment.
func (c VoidPayment) Stream() string { return c.Payment }

// Validate names the first wrong field.
func (c VoidPayment) Validate() error {
	return cmp.Or(
		id("payment", c.Payment),
		optionalID("order", c.Order),
		text("reason", c.Reason, maxReason),
	)
}

// RefundPayment gives back a captured payment or a part of it.
type RefundPayment struct {
	Payment string     `json:"payment"`
	Amount  mall.Money `json:"amount"`
	Reason  string     `json:"reason"`
}

// CommandType returns RefundPaymentV1.
func (RefundPayment) CommandType() string { return RefundPaymentV1 }

// Stream returns the id of the payment.
func (c RefundPayment) Stream() string { return c.Payment }

// Validate names the first wrong field.
func (c RefundPayment) Validate() error {
	return cmp.Or(
		id("payment", c.Payment),
		positiveMoney("amount", c.Amount),
		text("reason", c.Reason, maxReason),
	)
}

// CreateInvoice asks the customer for the amount.
type CreateInvoice struct {
	Invoice  string     `json:"invoice"`
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
}

// CommandType returns CreateInvoiceV1.
func (CreateInvoice) CommandType() string { return CreateInvoiceV1 }

// Stream returns the id of the invoice.
func (c CreateInvoice) Stream() string { return c.Invoice }

// Validate names the first wrong field.
func (c CreateInvoice) Validate() error {
	return cmp.Or(
		id("invoice", c.Invoice),
		id("order", c.Order),
		id("customer", c.Customer),
		money("amount", c.Amount),
	)
}

// AdjustInvoice changes what a pending invoice asks for.
type AdjustInvoice struct {
	Invoice string     `json:"invoice"`
	Amount  mall.Money `json:"amount"` // the new amount, not the difference
}

// CommandType returns AdjustInvoiceV1.
func (AdjustInvoice) CommandType() string { return AdjustInvoiceV1 }

// Stream returns the id of the invoice.
func (c AdjustInvoice) Stream() string { return c.Invoice }

// Validate names the first wrong field.
func (c AdjustInvoice) Validate() error {
	return cmp.Or(
		id("invoice", c.Invoice),
		money("amount", c.Amount),
	)
}

// PayInvoice records that the customer paid.
type PayInvoice struct {
	Invoice string `json:"invoice"`
	Payment string `json:"payment,omitempty"` // empty: paid at the depot
}

// CommandType returns PayInvoiceV1.
func (PayInvoice) CommandType() string { return PayInvoiceV1 }

// Stream returns the id of the invoice.
func (c PayInvoice) Stream() string { return c.Invoice }

// Validate names the first wrong field.
func (c PayInvoice) Validate() error {
	return cmp.Or(
		id("invoice", c.Invoice),
		optionalID("payment", c.Payment),
	)
}

// CancelInvoice withdraws a pending invoice.
type CancelInvoice struct {
	Invoice string `json:"invoice"`
	Reason  string `json:"reason"`
}

// CommandType returns CancelInvoiceV1.
func (CancelInvoice) CommandType() string { return CancelInvoiceV1 }

// Stream returns the id of the invoice.
func (c CancelInvoice) Stream() string { return c.Invoice }

// Validate names the first wrong field.
func (c CancelInvoice) Validate() error {
	return cmp.Or(
		id("invoice", c.Invoice),
		text("reason", c.Reason, maxReason),
	)
}

// ChargeVisit takes the amount from a visitor for what they walked out with. Customer is empty where nobody is known; then it fails.
type ChargeVisit struct {
	Payment  string     `json:"payment"`
	Visit    string     `json:"visit"`
	Customer string     `json:"customer,omitempty"`
	Amount   mall.Money `json:"amount"`
}

// CommandType returns ChargeVisitV1.
func (ChargeVisit) CommandType() string { return ChargeVisitV1 }

// Stream returns the id of the payment.
func (c ChargeVisit) Stream() string { return c.Payment }

// Validate names the first wrong field.
func (c ChargeVisit) Validate() error {
	return cmp.Or(
		id("payment", c.Payment),
		id("visit", c.Visit),
		optionalID("customer", c.Customer),
		positiveMoney("amount", c.Amount),
	)
}

// RefundInvoice gives back what was paid, or a part of it.
type RefundInvoice struct {
	Invoice string     `json:"invoice"`
	Amount  mall.Money `json:"amount"`
	Reason  string     `json:"reason"`
}

// CommandType returns RefundInvoiceV1.
func (RefundInvoice) CommandType() string { return RefundInvoiceV1 }

// Stream returns the id of the invoice.
func (c RefundInvoice) Stream() string { return c.Invoice }

// Validate names the first wrong field.
func (c RefundInvoice) Validate() error {
	return cmp.Or(
		id("invoice", c.Invoice),
		positiveMoney("amount", c.Amount),
		text("reason", c.Reason, maxReason),
	)
}
