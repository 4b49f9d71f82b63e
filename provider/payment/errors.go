package payment

import (
	"errors"
	"fmt"
)

// Class says what a failed call means for the caller.
type Class string

const (
	// Unavailable: the provider did not execute the call (it could not be reached, or turned it away unread). The same
	// call may be made again later.
	Unavailable Class = "unavailable"
	// Unknown: the call may or may not have been executed (time-out, connection lost, 5xx, an answer that makes no
	// sense). Ask, or repeat with the same key.
	Unknown Class = "unknown"
	// Refused: the provider understood the call and will not execute it. Repeating it changes nothing.
	Refused Class = "refused"
)

// Codes of refusals that callers may tell apart. A provider may send others.
const (
	CodeInvalid        = "invalid"         // the call is malformed; this package refuses some itself, before sending
	CodeKeyReused      = "key_reused"      // the key was used before with another content
	CodePaymentExists  = "payment_exists"  // the payment is authorized already, under another key
	CodePaymentUnknown = "payment_unknown" // no such payment was ever authorized
	CodeNotAllowed     = "not_allowed"     // the payment's state does not allow it, such as voiding what is captured
	CodeExceeds        = "exceeds"         // more than is authorized (capture) or captured (refund)
	CodeCurrency       = "currency"        // not the currency of the payment

	codeKeyUnknown = "key_unknown"
	codeInFlight   = "in_flight"
	codeBadAnswer  = "bad_answer"
)

// Error is the error of every failed call.
type Error struct {
	Class  Class
	Op     string // authorize, void, capture, refund or ask
	Key    string // the call's idempotency key
	Status int    // the HTTP status, 0 when there was no answer
	Code   string // the provider's code for it, empty when it gave none
	Err    error  // the cause, if there is more to say
}

func (e *Error) Error() string {
	text := fmt.Sprintf("payment %s: %s", e.Op, e.Class)
	if e.Status != 0 {
		text += fmt.Sprintf(" (status %d)", e.Status)
	}
	if e.Code != "" {
		text += ": " + e.Code
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class that err carries. An error from elsewhere is Unknown, the class that promises least; nil has
// none.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure.Class
	}
	return Unknown
}

// CodeOf returns the provider's code that err carries, or "".
func CodeOf(err error) string {
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure.Code
	}
	return ""
}
