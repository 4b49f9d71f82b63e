package payments

import (
	"slices"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// What the service refuses about payments; compare with errors.Is.
var (
	ErrExists        = backbone.Refuse("payment_exists", "a payment of this id has another customer or amount")
	ErrUnknown       = backbone.Refuse("payment_unknown", "there is no such payment")
	ErrDeclined      = backbone.Refuse("payment_declined", "the provider declined the payment")
	ErrOver          = backbone.Refuse("payment_over", "the payment was voided or given back")
	ErrUsed          = backbone.Refuse("payment_used", "the payment belongs to another order")
	ErrCustomer      = backbone.Refuse("wrong_customer", "the payment belongs to another customer")
	ErrCurrency      = backbone.Refuse("wrong_currency", "the payment is in another currency")
	ErrTooSmall      = backbone.Refuse("too_small", "the payment does not cover the amount")
	ErrNotAuthorized = backbone.Refuse("not_authorized", "the provider has not authorized the payment yet")
	ErrNotConfirmed  = backbone.Refuse("not_confirmed", "the payment is bound to no order")
	ErrNotCaptured   = backbone.Refuse("not_captured", "nothing was taken that could be given back")
	ErrTooMuch       = backbone.Refuse("too_much", "it is more than there is to take, or than was taken and not given back yet")
	ErrBusy          = backbone.Refuse("busy", "the provider has not answered the call before")
)

// Status says how far a payment is.
type Status string

// The statuses of a payment. Those in -ing wait for the provider.
const (
	None        Status = ""
	Authorizing Status = "authorizing"
	Authorized  Status = "authorized"
	Declined    Status = "declined"
	Confirmed   Status = "confirmed"
	Capturing   Status = "capturing"
	Captured    Status = "captured"
	Voiding     Status = "voiding"
	Voided      Status = "voided"
	Refunding   Status = "refunding"
	Refunded    Status = "refunded"
	Unclear     Status = "unknown" // a call was given up without an answer; the provider is being asked
)

// Payment is the state of a payment.
type Payment struct {
	Status   Status
	Customer string
	Amount   mall.Money // that was asked to be set aside
	Order    string     // that it is bound to
	Visit    string     // that it was made for; it is bound to no order then
	Due      mall.Money // what the order costs, and from the capture on what was captured
	Refunded mall.Money // given back so far

	capturing mall.Money // being taken
	refunds   int64      // asked for so far; numbers the keys
	refunding mall.Money // being given back
	reason    string     // why it is being given back
	unclear   Operation  // the call whose outcome is unknown, when Status is Unclear
	undo      bool       // what is under way is to be undone when its outcome is known
	barred    []string   // orders that may not have it
	kept      int64      // for an order that may still take it, until then, microseconds; 0: for none
}

var payments = &backbone.Aggregate[Payment]{
	Name: "payment",
	Public: []backbone.Event{
		event.PaymentAuthorized{},
		event.PaymentDeclined{},
		event.PaymentConfirmed{},
		event.PaymentCaptured{},
		event.PaymentVoided{},
		event.PaymentRefunded{},
		event.VisitCharged{},
		event.VisitChargeFailed{},
	},
	Private: []backbone.Event{
		AuthorizationRequested{},
		ChargeRequested{},
		CaptureRequested{},
		CaptureRefused{},
		VoidRequested{},
		RefundRequested{},
		RefundRefused{},
		UndoRequested{},
		OutcomeUnknown{},
		OrderBarred{},
		PaymentBarred{},
		PaymentEarmarked{},
	},
	Evolve: evolve,
}

func evolve(s Payment, e backbone.Event) Payment {
	switch e := e.(type) {
	case AuthorizationRequested:
		s.Status, s.Customer, s.Amount = Authorizing, e.Customer, e.Amount
	case ChargeRequested:
		s.Visit, s.Due = e.Visit, s.Amount
	case event.VisitChargeFailed:
		if s.Status == None {
			s.Status = Declined // nobody was asked
		}
	case event.PaymentAuthorized:
		s.Status = Authorized
	case event.PaymentDeclined:
		s.Status = Declined
	case event.PaymentConfirmed:
		s.Status, s.Order, s.Due = Confirmed, e.Order, e.Amount
	case CaptureRequested:
		s.Status, s.capturing = Capturing, e.Amount
	case CaptureRefused:
		s.Status = Confirmed
	case event.PaymentCaptured:
		s.Status, s.Due, s.Refunded = Captured, e.Amount, mall.Money{Currency: e.Amount.Currency}
	case VoidRequested:
		s.Status, s.undo = Voiding, false
	case event.PaymentVoided, PaymentBarred:
		s.Status = Voided
	case RefundRequested:
		s.Status, s.refunds, s.refunding, s.reason, s.undo = Refunding, e.Number, e.Amount, e.Reason, false
	case RefundRefused:
		s.Status, s.refunding = Captured, mall.Money{}
	case event.PaymentRefunded:
		s.Refunded.Amount += e.Amount.Amount
		s.refunding = mall.Money{}
		s.Status = Captured
		if s.Refunded == s.Due {
			s.Status = Refunded
		}
	case UndoRequested:
		s.undo = true
	case OutcomeUnknown:
		s.Status, s.unclear = Unclear, e.Operation
	case OrderBarred:
		s.barred = append(slices.Clip(s.barred), e.Order)
	case PaymentEarmarked:
		s.kept = e.Expires
	}
	return s
}

// left returns what was taken and not given back.
func (s Payment) left() mall.Money {
	return mall.Money{Amount: s.Due.Amount - s.Refunded.Amount, Currency: s.Due.Currency}
}

func authorize(s Payment, c command.AuthorizePayment, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Status == None:
		return one(AuthorizationRequested{Payment: c.Payment, Customer: c.Customer, Amount: c.Amount})
	case s.Customer == "": // voided before it was asked for
		return nil, ErrOver
	case s.Customer == c.Customer && s.Amount == c.Amount:
		return nil, nil
	}
	return nil, ErrExists
}

// earmark keeps a payment for an order that was placed and will take it, or end, by a time.
func earmark(s Payment, c command.EarmarkPayment, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Status == None:
		return nil, ErrUnknown
	case s.Customer != c.Customer:
		return nil, ErrCustomer
	case s.Visit != "", s.Order != "" && s.Order != c.Order:
		return nil, ErrUsed
	case s.Status == Declined:
		return nil, ErrDeclined
	case slices.Contains(s.barred, c.Order), s.Status == Voiding, s.Status == Voided, s.undo:
		return nil, ErrOver
	case s.Status != Authorizing && s.Status != Authorized, c.Expires <= s.kept:
		return nil, nil
	}
	return one(PaymentEarmarked{Payment: c.Payment, Order: c.Order, Expires: c.Expires})
}

// notTaken is why money is freed that no order took.
const notTaken = "no order took it"

// lapse frees what no order has taken by the time that c ends. Where an order came in between that may wait for longer, a later
// LapsePayment does.
func lapse(s Payment, c LapsePayment, _ backbone.Meta) ([]backbone.Event, error) {
	if s.Status != Authorized || s.kept > c.Kept {
		return nil, nil
	}
	return one(VoidRequested{Payment: c.Payment, Reason: notTaken})
}

func confirm(s Payment, c command.ConfirmPayment, _ backbone.Meta) ([]backbone.Event, error) {
	if slices.Contains(s.barred, c.Order) {
		return nil, ErrOver
	}
	switch s.Status {
	case None:
		return nil, ErrUnknown
	case Declined:
		return nil, ErrDeclined
	}
	switch {
	case s.Customer != c.Customer:
		return nil, ErrCustomer
	case s.Visit != "":
		return nil, ErrUsed
	case s.Order == c.Order && (s.Status == Confirmed || s.Status == Capturing || s.Status == Captured):
		return nil, nil
	case s.Order != "":
		return nil, ErrUsed
	case s.Status == Voiding || s.Status == Voided:
		return nil, ErrOver
	case s.Status != Authorized:
		return nil, ErrNotAuthorized
	}
	switch order, err := s.Amount.Cmp(c.Amount); {
	case err != nil:
		return nil, ErrCurrency
	case order < 0:
		return nil, ErrTooSmall
	}
	return one(event.PaymentConfirmed{Payment: c.Payment, Order: c.Order, Customer: s.Customer, Amount: c.Amount})
}

func capture(s Payment, c command.CapturePayment, _ backbone.Meta) ([]backbone.Event, error) {
	switch s.Status {
	case None:
		return nil, ErrUnknown
	case Capturing, Captured:
		return nil, nil
	case Confirmed:
	default:
		return nil, ErrNotConfirmed
	}
	amount := s.Due
	if c.Amount != (mall.Money{}) {
		switch order, err := c.Amount.Cmp(s.Due); {
		case err != nil:
			return nil, ErrCurrency
		case order > 0:
			return nil, ErrTooMuch
		}
		amount = c.Amount
	}
	return one(CaptureRequested{Payment: c.Payment, Amount: amount})
}

// void undoes a payment however far it is: what the provider has not answered yet is undone when it has.
func void(s Payment, c command.VoidPayment, _ backbone.Meta) ([]backbone.Event, error) {
	if c.Order != "" && c.Order != s.Order {
		// It is not this order's. Should a ConfirmPayment for it still be on its way, it comes too late.
		if s.Order != "" || slices.Contains(s.barred, c.Order) {
			return nil, nil
		}
		return one(OrderBarred{Payment: c.Payment, Order: c.Order})
	}
	switch s.Status {
	case None:
		return one(PaymentBarred{Payment: c.Payment, Reason: c.Reason})
	case Authorized, Confirmed:
		return one(VoidRequested{Payment: c.Payment, Reason: c.Reason})
	case Captured:
		return one(s.refundOf(c.Payment, s.left(), c.Reason))
	case Authorizing, Capturing, Refunding, Unclear:
		if !s.undo {
			return one(UndoRequested{Payment: c.Payment, Reason: c.Reason})
		}
	}
	return nil, nil // on its way, or nothing to undo
}

func refund(s Payment, c command.RefundPayment, _ backbone.Meta) ([]backbone.Event, error) {
	switch s.Status {
	case None:
		return nil, ErrUnknown
	case Capturing, Refunding, Unclear:
		return nil, ErrBusy
	case Captured:
	default:
		return nil, ErrNotCaptured
	}
	switch order, err := c.Amount.Cmp(s.left()); {
	case err != nil:
		return nil, ErrCurrency
	case order > 0:
		return nil, ErrTooMuch
	}
	return one(s.refundOf(c.Payment, c.Amount, c.Reason))
}

func (s Payment) refundOf(payment string, amount mall.Money, reason string) RefundRequested {
	return RefundRequested{Payment: payment, Number: s.refunds + 1, Amount: amount, Reason: reason}
}

// undone is why money moves back when an undo had to wait for the provider.
const undone = "undone"

// settle takes the outcome of a call, and for a payment of a visit says what the visit's charge came to.
func settle(s Payment, c SettleCall, m backbone.Meta) ([]backbone.Event, error) {
	events, err := settleCall(s, c, m)
	if s.Visit != "" {
		events = s.charge(c.Payment, events)
	}
	return events, err
}

// settleCall takes the outcome of a call: the answer to it, or a report of the provider's. One that nobody waits for is a
// copy, or comes late, or is not about this payment's call.
func settleCall(s Payment, c SettleCall, _ backbone.Meta) ([]backbone.Event, error) {
	if !s.waitsFor(c.Operation) || c.Key != keyOf(c.Operation, c.Payment, s.refunds) || !s.fits(c) {
		return nil, nil
	}
	if c.Unknown {
		if s.Status == Unclear {
			return nil, nil // still
		}
		return one(OutcomeUnknown{Payment: c.Payment, Operation: c.Operation, Key: c.Key, Reason: c.Reason})
	}
	var events []backbone.Event
	switch c.Operation {
	case OpAuthorize:
		if c.Refused {
			return one(s.declined(c))
		}
		events = append(events, event.PaymentAuthorized{Payment: c.Payment, Customer: s.Customer, Amount: s.Amount})
	case OpVoid:
		switch {
		case !c.Refused:
			if s.Status == Unclear && s.unclear == OpAuthorize { // nobody had heard that it was authorized
				events = append(events, event.PaymentAuthorized{Payment: c.Payment, Customer: s.Customer, Amount: s.Amount})
			}
			return append(events, event.PaymentVoided{Payment: c.Payment, Order: s.Order, Customer: s.Customer, Amount: s.Amount}), nil
		case s.Status == Unclear && s.unclear == OpAuthorize:
			return one(s.declined(c)) // there was nothing to void: the call had never arrived
		case s.Status == Unclear:
			return nil, nil
		}
		return one(OutcomeUnknown{Payment: c.Payment, Operation: c.Operation, Key: c.Key, Reason: c.Reason})
	case OpCapture:
		if c.Refused {
			events = append(events, s.refused(c))
		} else {
			events = append(events, s.captured(c.Payment))
		}
	case OpRefund:
		if c.Refused {
			return one(RefundRefused{Payment: c.Payment, Reason: c.Reason})
		}
		events = append(events, event.PaymentRefunded{
			Payment: c.Payment, Order: s.Order, Customer: s.Customer, Amount: s.refunding, Reason: s.reason,
		})
	}
	if !s.undo {
		return events, nil
	}
	for _, e := range events {
		s = evolve(s, e)
	}
	switch s.Status {
	case Authorized, Confirmed:
		events = append(events, VoidRequested{Payment: c.Payment, Reason: undone})
	case Captured:
		events = append(events, s.refundOf(c.Payment, s.left(), undone))
	}
	return events, nil
}

func (s Payment) refused(c SettleCall) CaptureRefused {
	if s.Order == "" {
		return CaptureRefused{Payment: c.Payment, Reason: c.Reason}
	}
	return CaptureRefused{Payment: c.Payment, Reason: c.Reason, Order: s.Order, Customer: s.Customer, Amount: s.capturing}
}

func (s Payment) captured(payment string) event.PaymentCaptured {
	e := event.PaymentCaptured{Payment: payment, Order: s.Order, Customer: s.Customer, Amount: s.capturing}
	if freed := s.Amount.Amount - s.capturing.Amount; freed > 0 {
		e.Freed = mall.Money{Amount: freed, Currency: s.Amount.Currency}
	}
	return e
}

func (s Payment) declined(c SettleCall) event.PaymentDeclined {
	return event.PaymentDeclined{Payment: c.Payment, Customer: s.Customer, Amount: s.Amount, Reason: c.Reason}
}

// reasonUnknown is why nobody is charged whom nobody knows.
const reasonUnknown = "customer_unknown"

// chargeVisit takes money from a visitor without another step of theirs: a payment that is captured as soon as
// it is authorized, and undone where that fails.
func chargeVisit(s Payment, c command.ChargeVisit, _ backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Visit == c.Visit && s.Amount == c.Amount && s.Customer == c.Customer, s.Status == Declined && s.Customer == "":
		return nil, nil // asked before
	case s.Status != None:
		return nil, ErrExists
	case c.Customer == "":
		return one(event.VisitChargeFailed{Payment: c.Payment, Visit: c.Visit, Amount: c.Amount, Reason: reasonUnknown})
	}
	return []backbone.Event{
		AuthorizationRequested{Payment: c.Payment, Customer: c.Customer, Amount: c.Amount},
		ChargeRequested{Payment: c.Payment, Visit: c.Visit},
	}, nil
}

// charge adds to what a call came to what follows for the visit.
func (s Payment) charge(payment string, events []backbone.Event) []backbone.Event {
	for i, e := range events {
		s = evolve(s, e)
		switch e := e.(type) {
		case event.PaymentAuthorized:
			if !s.undo && i == len(events)-1 {
				return append(events, CaptureRequested{Payment: payment, Amount: s.Due})
			}
		case CaptureRefused:
			if s.Status == Confirmed && !s.undo {
				return append(events, VoidRequested{Payment: payment, Reason: e.Reason})
			}
		case event.PaymentCaptured:
			return append(events, event.VisitCharged{Payment: payment, Visit: s.Visit, Customer: s.Customer, Amount: s.Due})
		case event.PaymentDeclined:
			return append(events, s.failed(payment, e.Reason))
		case event.PaymentVoided:
			return append(events, s.failed(payment, "not captured"))
		}
	}
	return events
}

func (s Payment) failed(payment, reason string) event.VisitChargeFailed {
	return event.VisitChargeFailed{Payment: payment, Visit: s.Visit, Customer: s.Customer, Amount: s.Due, Reason: reason}
}

func (s Payment) waitsFor(op Operation) bool {
	switch s.Status {
	case Authorizing:
		return op == OpAuthorize
	case Capturing:
		return op == OpCapture
	case Voiding:
		return op == OpVoid
	case Refunding:
		return op == OpRefund
	case Unclear:
		if s.unclear == OpAuthorize {
			return op == OpVoid // it is being voided, whatever it came to
		}
		return op == s.unclear
	}
	return false
}

// fits reports whether what a report says can be of the call that the payment waits for. Only an authorization is
// declined: a call that was refused for other reasons may be asked for again under its key, so its own answer has to end it first.
func (s Payment) fits(c SettleCall) bool {
	if c.Amount == nil {
		return true // an answer
	}
	if c.Refused {
		return c.Operation == OpAuthorize
	}
	switch c.Operation {
	case OpAuthorize:
		return *c.Amount == s.Amount
	case OpCapture:
		return *c.Amount == s.capturing
	case OpRefund:
		return *c.Amount == s.refunding
	}
	return true // a void has no amount
}

func one(e backbone.Event) ([]backbone.Event, error) { return []backbone.Event{e}, nil }

// AuthorizationRequested says that the provider is asked to set the amount aside.
type AuthorizationRequested struct {
	Payment  string     `json:"payment"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
}

// ChargeRequested says that the payment is a visit's, and captured at once.
type ChargeRequested struct {
	Payment string `json:"payment"`
	Visit   string `json:"visit"`
}

// CaptureRequested says that the provider is asked for the money.
type CaptureRequested struct {
	Payment string     `json:"payment"`
	Amount  mall.Money `json:"amount"`
}

// CaptureRefused says that the provider will not give it. The payment stays confirmed, and its order is asked for the amount
// at the depot.
type CaptureRefused struct {
	Payment  string     `json:"payment"`
	Reason   string     `json:"reason"`
	Order    string     `json:"order,omitempty"` // empty: it is a visit's
	Customer string     `json:"customer,omitempty"`
	Amount   mall.Money `json:"amount,omitzero"`
}

// VoidRequested says that the provider is asked to free what is set aside.
type VoidRequested struct {
	Payment string `json:"payment"`
	Reason  string `json:"reason"`
}

// RefundRequested says that the provider is asked to give the amount back. Number counts a payment's refunds from 1.
type RefundRequested struct {
	Payment string     `json:"payment"`
	Number  int64      `json:"number"`
	Amount  mall.Money `json:"amount"`
	Reason  string     `json:"reason"`
}

// RefundRefused says that the provider will not give it back. The payment stays captured.
type RefundRefused struct {
	Payment string `json:"payment"`
	Reason  string `json:"reason"`
}

// UndoRequested says that the payment is to be undone as soon as the call under way has an outcome.
type UndoRequested struct {
	Payment string `json:"payment"`
	Reason  string `json:"reason"`
}

// OutcomeUnknown says that a call was given up without an answer. The provider is asked what became of it.
type OutcomeUnknown struct {
	Payment   string    `json:"payment"`
	Operation Operation `json:"operation"`
	Key       string    `json:"key"`
	Reason    string    `json:"reason"`
}

// OrderBarred says that the order was undone before the payment was bound to it, and may not have it any more.
type OrderBarred struct {
	Payment string `json:"payment"`
	Order   string `json:"order"`
}

// PaymentBarred says that the payment was voided before anybody asked for it, and may not be asked for any more.
type PaymentBarred struct {
	Payment string `json:"payment"`
	Reason  string `json:"reason"`
}

// PaymentEarmarked says that an order was placed which may take the payment until Expires, microseconds.
type PaymentEarmarked struct {
	Payment string `json:"payment"`
	Order   string `json:"order"`
	Expires int64  `json:"expires"`
}

// LapsePayment is the timer of a payment that no order has taken: it frees what is set aside. Kept is until when it was kept for
// an order when the timer was set, microseconds; 0: for none. The service sends it to itself.
type LapsePayment struct {
	Payment string `json:"payment"`
	Kept    int64  `json:"kept,omitempty"`
}

// CommandType returns the wire name.
func (LapsePayment) CommandType() string { return "souk.payments.LapsePayment.v1" }

// Stream returns the id of the payment.
func (c LapsePayment) Stream() string { return c.Payment }

// EventType returns the wire name.
func (PaymentEarmarked) EventType() string { return "souk.payments.PaymentEarmarked.v1" }

// EventType returns the wire name.
func (AuthorizationRequested) EventType() string { return "souk.payments.AuthorizationRequested.v1" }

// EventType returns the wire name.
func (ChargeRequested) EventType() string { return "souk.payments.ChargeRequested.v1" }

// EventType returns the wire name.
func (CaptureRequested) EventType() string { return "souk.payments.CaptureRequested.v1" }

// EventType returns the wire name.
func (CaptureRefused) EventType() string { return "souk.payments.CaptureRefused.v1" }

// EventType returns the wire name.
func (VoidRequested) EventType() string { return "souk.payments.VoidRequested.v1" }

// EventType returns the wire name.
func (RefundRequested) EventType() string { return "souk.payments.RefundRequested.v1" }

// EventType returns the wire name.
func (RefundRefused) EventType() string { return "souk.payments.RefundRefused.v1" }

// EventType returns the wire name.
func (UndoRequested) EventType() string { return "souk.payments.UndoRequested.v1" }

// EventType returns the wire name.
func (OutcomeUnknown) EventType() string { return "souk.payments.OutcomeUnknown.v1" }

// EventType returns the wire name.
func (OrderBarred) EventType() string { return "souk.payments.OrderBarred.v1" }

// EventType returns the wire name.
func (PaymentBarred) EventType() string { return "souk.payments.PaymentBarred.v1" }
