package payments

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// keyOf returns the key of a call. It follows from what the call does to which payment, so whatever is decided or
// repeated, the provider does it once. A payment may have several refunds; n counts them from 1.
func keyOf(op Operation, payment string, n int64) string {
	switch op {
	case OpAuthorize:
		return "auth-" + payment
	case OpRefund:
		return "refund-" + payment + "-" + strconv.FormatInt(n, 10)
	default:
		return string(op) + "-" + payment
	}
}

func callAuthorize(e AuthorizationRequested, m backbone.Meta) []backbone.Effect {
	return callProvider(m, Request{Key: keyOf(OpAuthorize, e.Payment, 0), Operation: OpAuthorize, Payment: e.Payment, Customer: e.Customer, Amount: e.Amount})
}

func callCapture(e CaptureRequested, m backbone.Meta) []backbone.Effect {
	return callProvider(m, Request{Key: keyOf(OpCapture, e.Payment, 0), Operation: OpCapture, Payment: e.Payment, Amount: e.Amount})
}

func callVoid(e VoidRequested, m backbone.Meta) []backbone.Effect {
	return callProvider(m, voidRequest(e.Payment))
}

func voidRequest(payment string) Request {
	return Request{Key: keyOf(OpVoid, payment, 0), Operation: OpVoid, Payment: payment}
}

func callRefund(e RefundRequested, m backbone.Meta) []backbone.Effect {
	return callProvider(m, Request{Key: keyOf(OpRefund, e.Payment, e.Number), Operation: OpRefund, Payment: e.Payment, Amount: e.Amount})
}

// lapsing gives whoever had the amount set aside so much time to place an order with it.
func lapsing(hold time.Duration) func(event.PaymentAuthorized, backbone.Meta) []backbone.Effect {
	return func(e event.PaymentAuthorized, m backbone.Meta) []backbone.Effect {
		return []backbone.Effect{backbone.SetTimer(lapseTimer(e.Payment), m.Time.Add(hold), LapsePayment{Payment: e.Payment})}
	}
}

// lapsingAfter gives it as much time again after the end of an order that may still take it. The timer has a name of its own, since an
// order may be placed before the provider has answered, and its end is not that of the authorization.
func lapsingAfter(hold time.Duration) func(PaymentEarmarked, backbone.Meta) []backbone.Effect {
	return func(e PaymentEarmarked, _ backbone.Meta) []backbone.Effect {
		return []backbone.Effect{backbone.SetTimer(earmarkTimer(e.Payment), time.UnixMicro(e.Expires).UTC().Add(hold),
			LapsePayment{Payment: e.Payment, Kept: e.Expires})}
	}
}

func keepWhenConfirmed(e event.PaymentConfirmed, _ backbone.Meta) []backbone.Effect {
	return keep(e.Payment)
}

func keepWhenCharged(e event.VisitCharged, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.CancelTimer(lapseTimer(e.Payment))}
}

func keepWhenVoided(e event.PaymentVoided, _ backbone.Meta) []backbone.Effect { return keep(e.Payment) }

func keepWhenVoiding(e VoidRequested, _ backbone.Meta) []backbone.Effect { return keep(e.Payment) }

func keep(payment string) []backbone.Effect {
	return []backbone.Effect{backbone.CancelTimer(lapseTimer(payment)), backbone.CancelTimer(earmarkTimer(payment))}
}

func lapseTimer(payment string) string { return "lapse/" + payment }

func earmarkTimer(payment string) string { return "earmark/" + payment }

// clearUp follows a call that was given up without an answer. An authorization may still arrive, and nobody waits for it
// any more, so it is voided; anything else is asked about.
func clearUp(e OutcomeUnknown, m backbone.Meta) []backbone.Effect {
	if e.Operation == OpAuthorize {
		return callProvider(m, voidRequest(e.Payment))
	}
	return callProvider(m, Request{Key: e.Key, Operation: e.Operation, Payment: e.Payment, AskOnly: true})
}

// settled lets the next call of a payment go on: what it waited for has its outcome. That was the call's own answer, and
// nothing of it is left, or a report that came before; then the call may be out still, or wait to be made again.
func settled[E backbone.Event](payment func(E) string) backbone.Subscriber {
	return backbone.Whenever(func(e E, _ backbone.Meta) []backbone.Effect {
		return []backbone.Effect{backbone.DropCalls(providerName, payment(e))}
	})
}

func callProvider(m backbone.Meta, r Request) []backbone.Effect {
	id := r.Key
	if r.AskOnly {
		id = "ask-" + r.Key
	}
	return []backbone.Effect{backbone.MakeCall(providerName, id, r.Payment, r, m.Time.Add(keyValidity))}
}

// chargeWhenDue takes what a departure costs. Where all of it is for a clerk to price, or the bag was empty, nothing is due yet.
func chargeWhenDue(e event.PaymentDue, _ backbone.Meta) []backbone.Effect {
	if e.Total.Amount == 0 {
		return nil
	}
	return []backbone.Effect{backbone.Send(command.ChargeVisit{
		Payment: "walkout-" + e.Visit, Visit: e.Visit, Customer: e.Customer, Amount: e.Total,
	})}
}

// chargeWhenPriced takes what a clerk has priced, as a payment of its own.
func chargeWhenPriced(e event.ItemPriced, _ backbone.Meta) []backbone.Effect {
	item := sha256.Sum256([]byte(e.Visit + "/" + e.SKU))
	return []backbone.Effect{backbone.Send(command.ChargeVisit{
		Payment: "walkout-" + base64.RawURLEncoding.EncodeToString(item[:]), Visit: e.Visit, Customer: e.Customer, Amount: e.Amount,
	})}
}

// settleWhenReady takes the money for an order that is ready: out of the payment that was confirmed for it, as much as it came
// to, or at the depot.
func settleWhenReady(e event.OrderReadied, _ backbone.Meta) []backbone.Effect {
	switch {
	case e.Payment == "" && e.Total.Amount == 0:
		return nil
	case e.Payment == "":
		return []backbone.Effect{backbone.Send(BillOrder{Order: e.Order, Customer: e.Customer, Amount: e.Total})}
	case e.Total.Amount == 0:
		return []backbone.Effect{backbone.Send(command.VoidPayment{Payment: e.Payment, Order: e.Order, Reason: "nothing is due"})}
	}
	return []backbone.Effect{backbone.Send(command.CapturePayment{Payment: e.Payment, Amount: e.Total})}
}

// billWhenRefused asks at the depot for what the provider would not give, and frees what is set aside.
func billWhenRefused(e CaptureRefused, _ backbone.Meta) []backbone.Effect {
	if e.Order == "" {
		return nil
	}
	return []backbone.Effect{
		backbone.Send(command.VoidPayment{Payment: e.Payment, Order: e.Order, Reason: "not captured"}),
		backbone.Send(BillOrder{Order: e.Order, Customer: e.Customer, Amount: e.Amount}),
	}
}

func closeWhenRejected(e event.OrderRejected, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(CloseInvoice{Order: e.Order, Reason: e.Reason})}
}

func closeWhenCancelling(e event.OrderCancelling, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(CloseInvoice{Order: e.Order, Reason: e.Reason})}
}

func closeWhenExpired(e event.OrderExpired, _ backbone.Meta) []backbone.Effect {
	return []backbone.Effect{backbone.Send(CloseInvoice{Order: e.Order, Reason: mall.ReasonOrderExpired})}
}

// refundByPayment gives back what a payment paid by that payment.
func refundByPayment(e event.InvoiceRefunded, _ backbone.Meta) []backbone.Effect {
	if e.Payment == "" {
		return nil
	}
	return []backbone.Effect{backbone.Send(command.RefundPayment{Payment: e.Payment, Amount: e.Amount, Reason: e.Reason})}
}
