package payments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
)

// Provider is whoever moves the money. Every call has a key; made again with the same key it is not executed again but
// answered as before. An error means that it is not known whether the call was executed, or that it was not and may be
// later; it is made again with the same key.
type Provider interface {
	// Authorize sets an amount aside.
	Authorize(ctx context.Context, key, payment, customer string, amount mall.Money) (Outcome, error)
	// Void frees what is set aside for a payment of which nothing was captured.
	Void(ctx context.Context, key, payment string) (Outcome, error)
	// Capture takes an amount out of what is set aside.
	Capture(ctx context.Context, key, payment string, amount mall.Money) (Outcome, error)
	// Refund gives back an amount of what was captured.
	Refund(ctx context.Context, key, payment string, amount mall.Money) (Outcome, error)
	// Ask returns what became of the call with a key; false when it was never executed.
	Ask(ctx context.Context, key string) (Outcome, bool, error)
}

// Outcome is the provider's last word on a call.
type Outcome struct {
	Refused   bool   `json:"refused,omitempty"` // it was not executed and never will be; a declined payment, too
	Reason    string `json:"reason,omitempty"`  // why it was refused, for people
	Reference string `json:"reference,omitempty"`
}

// Operation is what the provider is asked to do.
type Operation string

// The operations.
const (
	OpAuthorize Operation = "authorize"
	OpCapture   Operation = "capture"
	OpVoid      Operation = "void"
	OpRefund    Operation = "refund"
)

// Request is a call to the provider as it stands in the log.
type Request struct {
	Key       string     `json:"key"` // that the provider knows the call by
	Operation Operation  `json:"operation"`
	Payment   string     `json:"payment"`
	Customer  string     `json:"customer,omitempty"` // for an authorization
	Amount    mall.Money `json:"amount"`             // zero for a void
	AskOnly   bool       `json:"askOnly,omitempty"`  // nothing is done: the call with that key is looked up
}

// SettleCall brings the outcome of a call back to its payment. The service sends it to itself; a Report becomes one too.
type SettleCall struct {
	Payment   string    `json:"payment"`
	Operation Operation `json:"operation"`
	Key       string    `json:"key"`
	Refused   bool      `json:"refused,omitempty"`
	Unknown   bool      `json:"unknown,omitempty"` // given up without an answer
	Reason    string    `json:"reason,omitempty"`
	// Amount is what was moved as a report has it; nil for the answer to a call, which was compared with the call.
	Amount *mall.Money `json:"amount,omitempty"`
}

// CommandType returns the wire name.
func (SettleCall) CommandType() string { return "souk.payments.SettleCall.v1" }

// Stream returns the id of the payment.
func (c SettleCall) Stream() string { return c.Payment }

// Report is the provider's own word on a call that it carried out or declined. It is sent unasked: late, several times,
// before the call's own answer, or never.
type Report struct {
	Key       string    // of the call
	Payment   string    // its id with us
	Operation Operation // that was carried out or, an authorization, declined
	Declined  bool
	Reason    string     // why it was declined, for people
	Amount    mall.Money // that was moved
}

// Settle returns the command that brings a report to its payment, or an error where it names no payment.
//
// The command settles the call that the payment waits for and has no effect otherwise: a copy, a report that comes after
// the call's own answer, one with another key, payment, operation or amount than the call. Whoever sends it
// gives all copies of a report one id.
//
// A call that was settled so may be under way still, or wait to be tried again. It is taken away, and the next call for the
// payment goes on at once; what an attempt comes to that is under way is told nobody.
func (r Report) Settle() (SettleCall, error) {
	if err := mall.ValidID(r.Payment); err != nil {
		return SettleCall{}, fmt.Errorf("the provider's report: payment: %w", err)
	}
	return SettleCall{
		Payment: r.Payment, Operation: r.Operation, Key: r.Key, Refused: r.Declined, Reason: r.Reason, Amount: &r.Amount,
	}, nil
}

const (
	providerName = "provider"
	// keyValidity is how long a provider remembers a key. An older one is never sent again, only asked about; and a call
	// is not tried for longer than that.
	keyValidity = 24 * time.Hour
)

func providerCall(p Provider) backbone.CallType {
	var caller backbone.Caller[Request]
	if p != nil {
		caller = providerCaller{p}
	}
	call := backbone.CallTo(providerName, caller, outcome)
	call.KeyValidity = keyValidity
	return call
}

type providerCaller struct{ provider Provider }

// Call makes the call once.
func (c providerCaller) Call(ctx context.Context, _ backbone.CallRequest, r Request) (any, error) {
	if r.AskOnly {
		return c.lookUp(ctx, r.Key)
	}
	switch r.Operation {
	case OpAuthorize:
		return c.provider.Authorize(ctx, r.Key, r.Payment, r.Customer, r.Amount)
	case OpVoid:
		return c.provider.Void(ctx, r.Key, r.Payment)
	case OpCapture:
		return c.provider.Capture(ctx, r.Key, r.Payment, r.Amount)
	case OpRefund:
		return c.provider.Refund(ctx, r.Key, r.Payment, r.Amount)
	}
	return nil, backbone.Permanent(fmt.Errorf("payment provider: no operation %q", r.Operation))
}

// Ask tells what became of a call.
func (c providerCaller) Ask(ctx context.Context, _ backbone.CallRequest, r Request) (any, bool, error) {
	if r.AskOnly {
		return nil, false, nil // looking up can be repeated
	}
	return c.provider.Ask(ctx, r.Key)
}

// lookUp looks for a call that nobody repeats any more. One that the provider has not seen by now never will be.
func (c providerCaller) lookUp(ctx context.Context, key string) (any, error) {
	o, found, err := c.provider.Ask(ctx, key)
	if err != nil {
		return nil, err
	}
	if !found {
		return Outcome{Refused: true, Reason: "never executed"}, nil
	}
	return o, nil
}

// outcome turns what came of a call into the command that settles it.
func outcome(r Request, o backbone.CallOutcome) backbone.Command {
	c := SettleCall{Payment: r.Payment, Operation: r.Operation, Key: r.Key}
	result, err := readOutcome(o)
	if err != nil {
		c.Unknown, c.Reason = true, err.Error()
		return c
	}
	c.Refused, c.Reason = result.Refused, result.Reason
	return c
}

func readOutcome(o backbone.CallOutcome) (Outcome, error) {
	if o.Failed {
		return Outcome{}, errors.New(o.Cause)
	}
	var result Outcome
	if err := json.Unmarshal(o.Result, &result); err != nil {
		return Outcome{}, fmt.Errorf("the provider's answer: %w", err)
	}
	return result, nil
}
