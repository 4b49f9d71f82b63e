package payments

import (
	"testing"

	"pgregory.net/rapid"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// reported is the command that a report of the provider's becomes.
func reported(t testing.TB, r Report) backbone.Command {
	t.Helper()
	c, err := r.Settle()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A report settles the call that its payment waits for, and nothing else whatever it says. Red where settle does not look
// at the key, at the amount, or at what is being cleared up already.
func TestReports(t *testing.T) {
	t.Parallel()
	service := Service(nil, Config{Depot: true})
	done := func(op Operation, amount mall.Money) Report {
		return Report{Key: keyOf(op, "p1", 1), Payment: "p1", Operation: op, Amount: amount}
	}
	no := Report{Key: "auth-p1", Payment: "p1", Operation: OpAuthorize, Declined: true, Reason: "no", Amount: eur(4000)}
	taken := events(asked, authorized, confirmed, capturing, captured)
	given := events(asked, authorized, confirmed, capturing, captured, refunding)
	again := RefundRequested{Payment: "p1", Number: 2, Amount: eur(1000), Reason: "r"}
	lost := func(op Operation) OutcomeUnknown {
		return OutcomeUnknown{Payment: "p1", Operation: op, Key: keyOf(op, "p1", 1), Reason: "time"}
	}
	change := func(r Report, f func(*Report)) Report { f(&r); return r }
	for _, c := range []struct {
		name   string
		given  []backbone.Event
		report Report
		then   []backbone.Event
	}{
		{"before the answer: authorized", events(asked), done(OpAuthorize, eur(4000)), events(authorized)},
		{"before the answer: declined", events(asked), no, events(declined)},
		{"before the answer: taken", events(asked, authorized, confirmed, capturing), done(OpCapture, eur(3000)), events(captured)},
		{"before the answer: freed", events(asked, authorized, confirmed, voiding), done(OpVoid, eur(4000)), events(voided)},
		{"before the answer: given back", given, done(OpRefund, eur(1000)), events(refunded)},
		{
			"before the answer, and it is to be undone", events(asked, undoing), done(OpAuthorize, eur(4000)),
			events(authorized, VoidRequested{Payment: "p1", Reason: undone}),
		},
		{"after the call was given up", events(asked, authorized, confirmed, capturing, lost(OpCapture)), done(OpCapture, eur(3000)), events(captured)},

		{"late or twice: authorized", events(asked, authorized), done(OpAuthorize, eur(4000)), nil},
		{"late or twice: declined", events(asked, declined), no, nil},
		{"late or twice: taken", taken, done(OpCapture, eur(3000)), nil},
		{"late or twice: freed", events(asked, authorized, confirmed, voiding, voided), done(OpVoid, eur(4000)), nil},
		{"late or twice: given back", append(given[:6:6], refunded), done(OpRefund, eur(1000)), nil},
		{"late, while the next is given back", append(given[:6:6], refunded, again), done(OpRefund, eur(1000)), nil},
		{"late, while the same is taken again", events(asked, authorized, confirmed, capturing), done(OpAuthorize, eur(4000)), nil},
		{"late, and it is being voided since nobody knew", events(asked, lost(OpAuthorize)), done(OpAuthorize, eur(4000)), nil},
		{"declined late, and it is being voided since nobody knew", events(asked, lost(OpAuthorize)), no, nil},

		{"of a payment that nobody asked for", nil, done(OpAuthorize, eur(4000)), nil},
		{"of a key that nobody knows", events(asked), change(done(OpAuthorize, eur(4000)), func(r *Report) { r.Key = "k" }), nil},
		{"of another payment's key", events(asked), change(done(OpAuthorize, eur(4000)), func(r *Report) { r.Key = "auth-p2" }), nil},
		{"of another payment", events(asked), change(done(OpAuthorize, eur(4000)), func(r *Report) { r.Payment = "p2"; r.Key = "auth-p2" }), nil},
		{"of another operation than its key", events(asked), change(done(OpAuthorize, eur(4000)), func(r *Report) { r.Operation = OpCapture }), nil},
		{"of no operation", events(asked), change(done(OpAuthorize, eur(4000)), func(r *Report) { r.Operation = "" }), nil},
		{"of another amount: authorized", events(asked), done(OpAuthorize, eur(4001)), nil},
		{"of another amount: taken", events(asked, authorized, confirmed, capturing), done(OpCapture, eur(4000)), nil},
		{"of another amount: given back", given, done(OpRefund, eur(999)), nil},
		{"in another currency", events(asked), done(OpAuthorize, chf(4000)), nil},
		{"of no amount", events(asked), done(OpAuthorize, mall.Money{}), nil},
		{
			"of a refusal, which does not end the call", events(asked, authorized, confirmed, capturing),
			change(done(OpCapture, eur(3000)), func(r *Report) { r.Declined = true }), nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			history := c.given
			if c.report.Payment != "p1" {
				history = nil // it goes to a stream of its own
			}
			backbonetest.Given(t, service, history...).When(reported(t, c.report)).Then(c.then...)
		})
	}
	for _, id := range []string{"", "p/1", "a payment"} {
		if _, err := (Report{Key: "auth-p1", Payment: id, Operation: OpAuthorize}).Settle(); err == nil {
			t.Errorf("a report of payment %q is accepted", id)
		}
	}
}

// till is a provider, and the calls that wait to be made to it: for one payment, one after another.
type till struct {
	history  []backbone.Event
	queue    []Request
	done     map[string]Outcome // by key: what the call came to
	reports  []Report           // that can still come, each any number of times
	account  struct{ authorized, captured, refunded, voided int64 }
	conflict string // a call that was asked for while another of its id waited
}

// take has a command decided, and the calls that follow wait.
func (b *till) take(t testing.TB, c backbone.Command) {
	t.Helper()
	got, _ := decide(t, b.history, c)
	b.history = append(b.history, got...)
	for _, e := range got {
		switch e := e.(type) {
		case AuthorizationRequested:
			b.ask(Request{Key: keyOf(OpAuthorize, "p1", 0), Operation: OpAuthorize, Amount: e.Amount})
		case CaptureRequested:
			b.ask(Request{Key: keyOf(OpCapture, "p1", 0), Operation: OpCapture, Amount: e.Amount})
		case VoidRequested:
			b.ask(voidRequest("p1"))
		case RefundRequested:
			b.ask(Request{Key: keyOf(OpRefund, "p1", e.Number), Operation: OpRefund, Amount: e.Amount})
		case event.PaymentAuthorized, event.PaymentDeclined, event.PaymentCaptured, event.PaymentVoided, event.PaymentRefunded:
			b.queue = nil
		case OutcomeUnknown:
			if e.Operation == OpAuthorize {
				b.ask(voidRequest("p1"))
			} else {
				b.ask(Request{Key: e.Key, Operation: e.Operation, AskOnly: true})
			}
		}
	}
}

func (b *till) ask(r Request) {
	for _, waits := range b.queue {
		if waits.Key == r.Key && waits.AskOnly == r.AskOnly {
			b.conflict = r.Key
		}
	}
	b.queue = append(b.queue, r)
}

// execute carries out the call that is first in line, once for its key.
func (b *till) execute(refuse bool) {
	r := b.queue[0]
	if _, known := b.done[r.Key]; known || r.AskOnly {
		return
	}
	a := &b.account
	switch r.Operation {
	case OpAuthorize:
		if !refuse {
			a.authorized = r.Amount.Amount
		}
	case OpVoid:
		if refuse = a.authorized == 0 || a.captured > 0; !refuse {
			a.voided = a.authorized
		}
	case OpCapture:
		if refuse = refuse || a.authorized == 0 || a.voided > 0 || a.captured > 0; !refuse {
			a.captured = r.Amount.Amount
		}
	case OpRefund:
		if refuse = refuse || r.Amount.Amount > a.captured-a.refunded; !refuse {
			a.refunded += r.Amount.Amount
		}
	}
	b.done[r.Key] = Outcome{Refused: refuse}
	b.reports = append(b.reports, Report{Key: r.Key, Payment: "p1", Operation: r.Operation, Declined: refuse, Amount: r.Amount})
}

// answer brings what the first call came to, or that it was given up, and lets the next one follow.
func (b *till) answer(t testing.TB, giveUp bool) {
	t.Helper()
	r := b.queue[0]
	o, known := b.done[r.Key]
	c := SettleCall{Payment: "p1", Operation: r.Operation, Key: r.Key, Refused: o.Refused}
	switch {
	case giveUp:
		c.Unknown, c.Refused = true, false
	case r.AskOnly && !known:
		c.Refused = true
	case !known:
		return // it has not been made yet
	}
	b.queue = b.queue[1:]
	b.take(t, c)
}

// However reports and answers come in between: in the end the payment is what the provider's books say, and no call is
// asked for while one of its id waits. Red where settle does not look at the key, ends a call by a report of a refusal, or
// takes a late authorization for good that is being voided.
func TestReportsAgreeWithTheProvider(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		b := &till{done: map[string]Outcome{}}
		b.take(t, command.AuthorizePayment{Payment: "p1", Customer: "c1", Amount: eur(4000)})
		if rapid.IntRange(0, 3).Draw(rt, "straight on") > 0 {
			b.execute(false)
			b.answer(t, false)
			b.take(t, confirmOf("o1", "c1", eur(3000)))
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch step := rapid.IntRange(0, 9).Draw(rt, "step"); {
			case step < 3:
				b.take(t, rapid.SampledFrom([]backbone.Command{
					command.CapturePayment{Payment: "p1"},
					command.CapturePayment{Payment: "p1"},
					command.RefundPayment{Payment: "p1", Amount: eur(1000), Reason: "r"},
					command.RefundPayment{Payment: "p1", Amount: eur(500), Reason: "r"},
					command.RefundPayment{Payment: "p1", Amount: eur(250), Reason: "r"},
					confirmOf("o1", "c1", eur(3000)),
					command.VoidPayment{Payment: "p1", Reason: "r"},
				}).Draw(rt, "command"))
			case step < 6 && len(b.queue) > 0:
				b.execute(rapid.IntRange(0, 2).Draw(rt, "refuse") == 0)
			case step < 8 && len(b.reports) > 0:
				b.take(t, reported(t, rapid.SampledFrom(b.reports).Draw(rt, "report")))
			case len(b.queue) > 0:
				b.answer(t, b.queue[0].Operation != OpVoid && !b.queue[0].AskOnly && rapid.IntRange(0, 5).Draw(rt, "give up") == 0)
			}
		}
		for len(b.queue) > 0 {
			b.execute(false)
			b.answer(t, false)
		}
		if b.conflict != "" {
			rt.Fatalf("%s was asked for while a call of that id waited", b.conflict)
		}
		var voided, captured, refunded int64
		for _, e := range b.history {
			switch e := e.(type) {
			case event.PaymentVoided:
				voided += e.Amount.Amount
			case event.PaymentCaptured:
				captured += e.Amount.Amount
			case event.PaymentRefunded:
				refunded += e.Amount.Amount
			}
		}
		if a := b.account; voided != a.voided || captured != a.captured || refunded != a.refunded {
			rt.Fatalf("voided %d, captured %d, refunded %d with us, %+v at the provider: %+v", voided, captured, refunded, a, b.history)
		}
		switch s := payments.Fold(b.history...).Status; s {
		case Authorizing, Capturing, Voiding, Refunding, Unclear:
			rt.Fatalf("the payment is %s and nothing is under way: %+v", s, b.history)
		}
	})
}
