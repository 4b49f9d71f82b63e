package staff

import (
	"cmp"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
)

// What the service refuses; compare with errors.Is.
var (
	ErrApprovalExists  = backbone.Refuse("approval_exists", "something else was asked for under this id")
	ErrApprovalUnknown = backbone.Refuse("approval_unknown", "nobody asked for this")
	ErrApprovalDecided = backbone.Refuse("approval_decided", "this was decided already")
	ErrSamePerson      = backbone.Refuse("same_person", "somebody else than who asked has to decide this")
	ErrApprovalLate    = backbone.Refuse("approval_late", "it was asked for too long ago: ask again")
	ErrNotOffered      = backbone.Refuse("not_offered", "this cannot be done from here")
)

// What says what is to be done once a second person agrees.
type What string

// What needs a second person.
const (
	RefundPayment What = "refund_payment" // of a captured payment, or a part of it
	RefundInvoice What = "refund_invoice" // of what was paid at the depot
	OpenGate      What = "open_gate"      // against the gate's own judgement
)

// overrideFor is for how long a gate may be opened after it was asked for: whoever stood there is gone then.
const overrideFor = 5 * time.Minute

// AskApproval asks that something be done that needs a second person.
type AskApproval struct {
	Approval string     `json:"approval"`
	What     What       `json:"what"`
	Subject  string     `json:"subject"`         // id of the payment, the invoice or the gate
	Amount   mall.Money `json:"amount,omitzero"` // of a refund
	Reason   string     `json:"reason"`
}

// GiveApproval agrees, as somebody else than who asked.
type GiveApproval struct {
	Approval string `json:"approval"`
}

// RefuseApproval does not agree. Who asked may do it, too: that takes the question back.
type RefuseApproval struct {
	Approval string `json:"approval"`
	Reason   string `json:"reason"`
}

// SettleApproval brings back what became of it; Code is empty where it was done. The service sends it to itself.
type SettleApproval struct {
	Approval string `json:"approval"`
	Code     string `json:"code,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

// CommandType returns the wire name.
func (AskApproval) CommandType() string { return "souk.staff.AskApproval.v1" }

// CommandType returns the wire name.
func (GiveApproval) CommandType() string { return "souk.staff.GiveApproval.v1" }

// CommandType returns the wire name.
func (RefuseApproval) CommandType() string { return "souk.staff.RefuseApproval.v1" }

// CommandType returns the wire name.
func (SettleApproval) CommandType() string { return "souk.staff.SettleApproval.v1" }

// Stream returns the id of the approval.
func (c AskApproval) Stream() string { return c.Approval }

// Stream returns the id of the approval.
func (c GiveApproval) Stream() string { return c.Approval }

// Stream returns the id of the approval.
func (c RefuseApproval) Stream() string { return c.Approval }

// Stream returns the id of the approval.
func (c SettleApproval) Stream() string { return c.Approval }

// Validate names the first wrong field.
func (c AskApproval) Validate() error {
	if err := anID("approval", c.Approval); err != nil {
		return err
	}
	switch c.What {
	case RefundPayment:
		return named(command.RefundPayment{Payment: c.Subject, Amount: c.Amount, Reason: c.Reason}.Validate(), "payment")
	case RefundInvoice:
		return named(command.RefundInvoice{Invoice: c.Subject, Amount: c.Amount, Reason: c.Reason}.Validate(), "invoice")
	case OpenGate:
		if c.Amount != (mall.Money{}) {
			return &mall.FieldError{Field: "amount", Reason: "must not be there: a gate costs nothing"}
		}
		return cmp.Or(anID("subject", c.Subject), aReason(c.Reason))
	}
	return &mall.FieldError{Field: "what", Reason: "must be refund_payment, refund_invoice or open_gate"}
}

// Validate names the first wrong field.
func (c GiveApproval) Validate() error { return anID("approval", c.Approval) }

// Validate names the first wrong field.
func (c RefuseApproval) Validate() error {
	return cmp.Or(anID("approval", c.Approval), aReason(c.Reason))
}

// named has a problem with the field of another command that stands for the subject name that.
func named(err error, field string) error {
	if f, ok := err.(*mall.FieldError); ok && f.Field == field { //nolint:errorlint // Validate returns it as it is
		return &mall.FieldError{Field: "subject", Reason: f.Reason}
	}
	return err
}

// ApprovalAsked says that something waits for a second person.
type ApprovalAsked struct {
	Approval string     `json:"approval"`
	What     What       `json:"what"`
	Subject  string     `json:"subject"`
	Amount   mall.Money `json:"amount,omitzero"`
	Reason   string     `json:"reason"`
	Asker    string     `json:"asker"`             // the actor
	Expires  int64      `json:"expires,omitempty"` // it cannot be agreed to later; 0: never
}

// ApprovalGiven says that a second person agrees: it is going to be done.
type ApprovalGiven struct {
	Approval string     `json:"approval"`
	What     What       `json:"what"`
	Subject  string     `json:"subject"`
	Amount   mall.Money `json:"amount,omitzero"`
	Reason   string     `json:"reason"`
	Asker    string     `json:"asker"`
	Decider  string     `json:"decider"`
}

// ApprovalRefused says that it will not be done.
type ApprovalRefused struct {
	Approval string `json:"approval"`
	Reason   string `json:"reason"`
	Decider  string `json:"decider"`
}

// ApprovalSettled says what became of what was agreed to; Code is empty where it was done.
type ApprovalSettled struct {
	Approval string `json:"approval"`
	Code     string `json:"code,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

// EventType returns the wire name.
func (ApprovalAsked) EventType() string { return "souk.staff.ApprovalAsked.v1" }

// EventType returns the wire name.
func (ApprovalGiven) EventType() string { return "souk.staff.ApprovalGiven.v1" }

// EventType returns the wire name.
func (ApprovalRefused) EventType() string { return "souk.staff.ApprovalRefused.v1" }

// EventType returns the wire name.
func (ApprovalSettled) EventType() string { return "souk.staff.ApprovalSettled.v1" }

// approval is the state of a question. The zero value is one that nobody asked.
type approval struct {
	Asked   ApprovalAsked
	Decided bool
	Settled bool
}

var approvals = &backbone.Aggregate[approval]{
	Name:    "approval",
	Private: []backbone.Event{ApprovalAsked{}, ApprovalGiven{}, ApprovalRefused{}, ApprovalSettled{}},
	Evolve: func(s approval, e backbone.Event) approval {
		switch e := e.(type) {
		case ApprovalAsked:
			s.Asked = e
		case ApprovalGiven, ApprovalRefused:
			s.Decided = true
		case ApprovalSettled:
			s.Settled = true
		}
		return s
	},
}

func ask(gates bool) func(approval, AskApproval, backbone.Meta) ([]backbone.Event, error) {
	return func(s approval, c AskApproval, by backbone.Meta) ([]backbone.Event, error) {
		e := ApprovalAsked{Approval: c.Approval, What: c.What, Subject: c.Subject, Amount: c.Amount, Reason: c.Reason, Asker: by.Actor}
		if c.What == OpenGate {
			e.Expires = by.Time.Add(overrideFor).UnixMicro()
		}
		switch {
		case s.Asked.Approval != "":
			e.Expires = s.Asked.Expires
			if e == s.Asked {
				return nil, nil
			}
			return nil, ErrApprovalExists
		case c.What == OpenGate && !gates:
			return nil, ErrNotOffered
		}
		return []backbone.Event{e}, nil
	}
}

// give is where one person alone comes no further, by whichever way they are let in: people are told apart by who they are, not by their rank
// or their session.
func give(s approval, c GiveApproval, m backbone.Meta) ([]backbone.Event, error) {
	a := s.Asked
	switch {
	case a.Approval == "":
		return nil, ErrApprovalUnknown
	case s.Decided:
		return nil, ErrApprovalDecided
	case a.Asker == m.Actor:
		return nil, ErrSamePerson
	case a.Expires > 0 && m.Time.UnixMicro() > a.Expires:
		return nil, ErrApprovalLate
	}
	return []backbone.Event{ApprovalGiven{
		Approval: c.Approval, What: a.What, Subject: a.Subject, Amount: a.Amount, Reason: a.Reason, Asker: a.Asker, Decider: m.Actor,
	}}, nil
}

func refuse(s approval, c RefuseApproval, m backbone.Meta) ([]backbone.Event, error) {
	switch {
	case s.Asked.Approval == "":
		return nil, ErrApprovalUnknown
	case s.Decided:
		return nil, ErrApprovalDecided
	}
	return []backbone.Event{ApprovalRefused{Approval: c.Approval, Reason: c.Reason, Decider: m.Actor}}, nil
}

func settle(s approval, c SettleApproval, _ backbone.Meta) ([]backbone.Event, error) {
	if s.Settled {
		return nil, nil
	}
	return []backbone.Event{ApprovalSettled(c)}, nil
}

// carrying does what was agreed to. Its service may be away for as long as it likes: the command waits, and is done once.
func carrying(open func(gate, key string) backbone.Command) *backbone.Saga[ApprovalGiven] {
	steps := []backbone.Step[ApprovalGiven]{{
		Name: "refund payment",
		When: func(d ApprovalGiven) bool { return d.What == RefundPayment },
		Do: func(d ApprovalGiven) backbone.Command {
			return command.RefundPayment{Payment: d.Subject, Amount: d.Amount, Reason: d.Reason}
		},
		OnTimeout: backbone.Wait,
	}, {
		Name: "refund invoice",
		When: func(d ApprovalGiven) bool { return d.What == RefundInvoice },
		Do: func(d ApprovalGiven) backbone.Command {
			return command.RefundInvoice{Invoice: d.Subject, Amount: d.Amount, Reason: d.Reason}
		},
		OnTimeout: backbone.Wait,
	}}
	if open != nil {
		steps = append(steps, backbone.Step[ApprovalGiven]{
			Name:      "open gate",
			When:      func(d ApprovalGiven) bool { return d.What == OpenGate },
			Do:        func(d ApprovalGiven) backbone.Command { return open(d.Subject, d.Approval) },
			OnTimeout: backbone.Wait,
		})
	}
	return &backbone.Saga[ApprovalGiven]{
		Name:    "carrying",
		Version: 1,
		Starts:  backbone.StartsOn(func(e ApprovalGiven, _ backbone.Meta) (string, ApprovalGiven) { return e.Approval, e }),
		Steps: append(steps, backbone.Step[ApprovalGiven]{
			Name:  "settle",
			Local: func(d ApprovalGiven) backbone.Command { return SettleApproval{Approval: d.Approval} },
		}),
		Rejected: func(d ApprovalGiven, _ string, r backbone.Refusal) backbone.Command {
			return SettleApproval{Approval: d.Approval, Code: r.Code, Detail: r.Detail}
		},
	}
}

func anID(field, value string) error {
	if err := mall.ValidID(value); err != nil {
		return &mall.FieldError{Field: field, Reason: err.Error()}
	}
	return nil
}

// aReason asks of a reason what the mall's commands ask of theirs.
func aReason(value string) error {
	return command.CancelOrder{Order: "o", Reason: value}.Validate()
}
