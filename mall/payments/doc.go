// Package payments minds the money: what is set aside, bound to an order, taken and given back, and what is asked for.
//
// Decides: how far a payment is: authorizing, authorized, declined, confirmed (bound to one order of the same customer,
// which it covers), capturing, captured, voiding, voided, refunding, refunded, or unknown until the provider has been
// asked; and whether an invoice is pending, paid or canceled.
//
// Keeps: a stream for each payment and each invoice; the view ledger, which adds up all payments by currency, and the view
// accounts, in which every movement goes from one account to another, so that they sum to zero.
//
// A payment may be a visit's: it is captured as soon as it is authorized, and told of as VisitCharged or VisitChargeFailed.
//
// What is authorized and bound to no order is voided after a time (Config.Hold). An order that was placed with it has it kept until the order ends,
// and as long again after that; the timers are the service's own, and commit with what they follow from.
//
// Handles: AuthorizePayment, EarmarkPayment, ConfirmPayment, CapturePayment, VoidPayment, RefundPayment; ChargeVisit; CreateInvoice, AdjustInvoice,
// PayInvoice, CancelInvoice, RefundInvoice; its own SettleCall, with which the outcome of a call to the provider comes back, LapsePayment, BillOrder
// and CloseInvoice.
//
// Subscribes: to fastlane.PaymentDue and ItemPriced, which a visitor is charged for; the checkout asks by commands. With a depot
// in the mall (Config.Depot) to orders.OrderReadied, whose money is taken then, as much as it came to: out of its payment, or by
// an invoice that has the order's id; and to orders.OrderRejected, OrderCancelling and OrderExpired, whose invoice is withdrawn
// or given back.
//
// Refuses: payment_exists, payment_unknown, payment_declined, payment_over, payment_used, wrong_customer, wrong_currency,
// too_small, not_authorized, not_confirmed, not_captured, too_much, busy; invoice_exists, invoice_unknown, invoice_closed, invoice_unpaid.
//
// Money moves at the provider only (interface Provider), under a key for each call that never changes. What undoes a call of
// unknown outcome waits until the outcome is known. Voiding what is captured already gives it back. What the provider tells
// unasked (Report) settles the call that a payment waits for, and is harmless otherwise.
package payments
