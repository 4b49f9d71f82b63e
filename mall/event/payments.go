package event

import "example.org/souk/mall"

// PaymentAuthorized says that the provider sets the amount aside for the customer to spend here. No order has it yet.
type PaymentAuthorized struct {
	Payment  string     `json:"payment"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
}

// PaymentDeclined says that the provider said no. The payment has ended.
type PaymentDeclined struct {
	Payment  string     `json:"payment"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
	Reason   string     `json:"reason"`
}

// PaymentConfirmed binds an authorized payment to one order, which it covers. No other order can have it. Amount is what
// the order costs and what will be captured.
type PaymentConfirmed struct {
	Payment  string     `json:"payment"`
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
}

// PaymentCaptured says that the money was taken.
type PaymentCaptured struct {
	Payment  string     `json:"payment"`
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
	Freed    mall.Money `json:"freed,omitzero"` // was set aside as well and is free again; zero: nothing
}

// PaymentVoided says that nothing was taken and what was set aside is free again.
type PaymentVoided struct {
	Payment  string     `json:"payment"`
	Order    string     `json:"order,omitempty"` // empty: no order had it
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
}

// PaymentRefunded says that Amount, which is all or a part of what was captured, was given back.
type PaymentRefunded struct {
	Payment  string     `json:"payment"`
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
	Reason   string     `json:"reason"`
}

// InvoiceCreated asks the customer for the amount.
type InvoiceCreated struct {
	Invoice  string     `json:"invoice"`
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
}

// InvoiceAdjusted carries the amount that is asked from now on.
type InvoiceAdjusted struct {
	Invoice  string     `json:"invoice"`
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
}

// InvoicePaid says that the customer paid the amount at the depot, or that a payment did.
type InvoicePaid struct {
	Invoice  string     `json:"invoice"`
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
	Payment  string     `json:"payment,omitempty"` // empty: paid at the depot
}

// InvoiceCanceled says that nothing is asked any more.
type InvoiceCanceled struct {
	Invoice  string `json:"invoice"`
	Order    string `json:"order"`
	Customer string `json:"customer"`
	Reason   string `json:"reason"`
}

// InvoiceRefunded says that Amount, which is all or a part of what was paid, is given back: at the depot, or by the payment
// that paid it.
type InvoiceRefunded struct {
	Invoice  string     `json:"invoice"`
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
	Reason   string     `json:"reason"`
	Payment  string     `json:"payment,omitempty"`
}

// VisitCharged says that a visitor's money was taken for what they walked out with.
type VisitCharged struct {
	Payment  string     `json:"payment"`
	Visit    string     `json:"visit"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
}

// VisitChargeFailed says that nothing was taken: somebody has to ask the visitor.
type VisitChargeFailed struct {
	Payment  string     `json:"payment"`
	Visit    string     `json:"visit"`
	Customer string     `json:"customer,omitempty"` // empty: nobody is known
	Amount   mall.Money `json:"amount"`
	Reason   string     `json:"reason"`
}

// EventType returns PaymentAuthorizedV1.
func (PaymentAuthorized) EventType() string { return PaymentAuthorizedV1 }

// EventType returns PaymentDeclinedV1.
func (PaymentDeclined) EventType() string { return PaymentDeclinedV1 }

// EventType returns PaymentConfirmedV1.
func (PaymentConfirmed) EventType() string { return PaymentConfirmedV1 }

// EventType returns PaymentCapturedV1.
func (PaymentCaptured) EventType() string { return PaymentCapturedV1 }

// EventType returns PaymentVoidedV1.
func (PaymentVoided) EventType() string { return PaymentVoidedV1 }

// EventType returns PaymentRefundedV1.
func (PaymentRefunded) EventType() string { return PaymentRefundedV1 }

// EventType returns InvoiceCreatedV1.
func (InvoiceCreated) EventType() string { return InvoiceCreatedV1 }

// EventType returns InvoiceAdjustedV1.
func (InvoiceAdjusted) EventType() string { return InvoiceAdjustedV1 }

// EventType returns InvoicePaidV1.
func (InvoicePaid) EventType() string { return InvoicePaidV1 }

// EventType returns InvoiceCanceledV1.
func (InvoiceCanceled) EventType() string { return InvoiceCanceledV1 }

// EventType returns VisitChargedV1.
func (VisitCharged) EventType() string { return VisitChargedV1 }

// EventType returns VisitChargeFailedV1.
func (VisitChargeFailed) EventType() string { return VisitChargeFailedV1 }

// EventType returns InvoiceRefundedV1.
func (InvoiceRefunded) EventType() string { return InvoiceRefundedV1 }
