package payments

import (
	"testing"

	"pgregory.net/rapid"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// A visitor is charged in two calls of one payment: authorize, capture. Whatever the provider says, the visit ends charged or
// failed, once, and nothing stays set aside.
func TestCharges(t *testing.T) {
	t.Parallel()
	charge := command.ChargeVisit{Payment: "p1", Visit: "v1", Customer: "c1", Amount: eur(4000)}
	forVisit := ChargeRequested{Payment: "p1", Visit: "v1"}
	taking := CaptureRequested{Payment: "p1", Amount: eur(4000)}
	taken := event.PaymentCaptured{Payment: "p1", Customer: "c1", Amount: eur(4000)}
	charged := event.VisitCharged{Payment: "p1", Visit: "v1", Customer: "c1", Amount: eur(4000)}
	failed := func(reason string) event.VisitChargeFailed {
		return event.VisitChargeFailed{Payment: "p1", Visit: "v1", Customer: "c1", Amount: eur(4000), Reason: reason}
	}
	no := func(op Operation) SettleCall {
		return SettleCall{Payment: "p1", Operation: op, Key: keyOf(op, "p1", 0), Refused: true, Reason: "no"}
	}
	yes := func(op Operation) SettleCall {
		return SettleCall{Payment: "p1", Operation: op, Key: keyOf(op, "p1", 0)}
	}
	lost := func(op Operation) SettleCall {
		return SettleCall{Payment: "p1", Operation: op, Key: keyOf(op, "p1", 0), Unknown: true, Reason: "time"}
	}
	unclear := OutcomeUnknown{Payment: "p1", Operation: OpAuthorize, Key: "auth-p1", Reason: "time"}
	given := events(asked, forVisit)
	freed := event.PaymentVoided{Payment: "p1", Customer: "c1", Amount: eur(4000)}
	for name, c := range map[string]struct {
		given   []backbone.Event
		when    backbone.Command
		then    []backbone.Event
		refused string
	}{
		"asked":                          {nil, charge, events(asked, forVisit), ""},
		"asked twice":                    {given, charge, nil, ""},
		"authorized":                     {given, yes(OpAuthorize), events(authorized, taking), ""},
		"authorized, told twice":         {append(given[:2:2], authorized, taking), yes(OpAuthorize), nil, ""},
		"declined":                       {given, no(OpAuthorize), events(event.PaymentDeclined{Payment: "p1", Customer: "c1", Amount: eur(4000), Reason: "no"}, failed("no")), ""},
		"captured":                       {append(given[:2:2], authorized, taking), yes(OpCapture), events(taken, charged), ""},
		"not captured":                   {append(given[:2:2], authorized, taking), no(OpCapture), events(CaptureRefused{Payment: "p1", Reason: "no"}, VoidRequested{Payment: "p1", Reason: "no"}), ""},
		"not captured, freed":            {append(given[:2:2], authorized, taking, CaptureRefused{}, VoidRequested{}), yes(OpVoid), events(freed, failed("not captured")), ""},
		"lost":                           {given, lost(OpAuthorize), events(unclear), ""},
		"lost, freed":                    {append(given[:2:2], unclear), yes(OpVoid), events(authorized, freed, failed("not captured")), ""},
		"lost, never arrived":            {append(given[:2:2], unclear), no(OpVoid), events(event.PaymentDeclined{Payment: "p1", Customer: "c1", Amount: eur(4000), Reason: "no"}, failed("no")), ""},
		"of nobody":                      {nil, command.ChargeVisit{Payment: "p1", Visit: "v1", Amount: eur(4000)}, events(event.VisitChargeFailed{Payment: "p1", Visit: "v1", Amount: eur(4000), Reason: reasonUnknown}), ""},
		"under the id of another":        {events(asked), charge, nil, "payment_exists"},
		"no order can have it":           {append(given[:2:2], authorized), command.ConfirmPayment{Payment: "p1", Order: "o1", Customer: "c1", Amount: eur(1)}, nil, "payment_used"},
		"given back when it was a wrong": {append(given[:2:2], authorized, taking, taken, charged), command.RefundPayment{Payment: "p1", Amount: eur(1000), Reason: "misread"}, events(RefundRequested{Payment: "p1", Number: 1, Amount: eur(1000), Reason: "misread"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := backbonetest.Given(t, Service(nil, Config{Depot: true}), c.given...).When(c.when)
			if c.refused != "" {
				o.ThenRefused(c.refused, c.then...)
				return
			}
			o.Then(c.then...)
		})
	}
}

// Nobody is charged twice and nobody both charged and let off, whatever answers come in whatever order, also from an
// operator who voids it meanwhile.
func TestAChargeEndsOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		history, _ := chargeVisit(Payment{}, command.ChargeVisit{Payment: "p1", Visit: "v1", Customer: "c1", Amount: eur(4000)}, backbone.Meta{})
		for range rapid.IntRange(1, 12).Draw(rt, "answers") {
			s := payments.Fold(history...)
			var out []backbone.Event
			if rapid.IntRange(0, 9).Draw(rt, "void") == 0 {
				out, _ = void(s, command.VoidPayment{Payment: "p1", Reason: "r"}, backbone.Meta{})
			} else {
				op := rapid.SampledFrom([]Operation{OpAuthorize, OpCapture, OpVoid, OpRefund}).Draw(rt, "op")
				out, _ = settle(s, SettleCall{
					Payment: "p1", Operation: op, Key: keyOf(op, "p1", s.refunds), Reason: "r",
					Refused: rapid.Bool().Draw(rt, "refused"), Unknown: rapid.IntRange(0, 3).Draw(rt, "unknown") == 0,
				}, backbone.Meta{})
			}
			history = append(history, out...)
		}
		charged, failed := 0, 0
		for _, e := range history {
			switch e.(type) {
			case event.VisitCharged:
				charged++
			case event.VisitChargeFailed:
				failed++
			}
		}
		s := payments.Fold(history...)
		taken := s.Status == Captured || s.Status == Refunding || s.Status == Refunded || s.Status == Unclear && s.unclear == OpRefund
		if charged+failed > 1 || (charged == 1) != taken || (failed == 1) != (s.Status == Voided || s.Status == Declined) {
			rt.Fatalf("charged %d times, failed %d times, and the payment is %s", charged, failed, s.Status)
		}
	})
}
