package payments

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the samples that are missing; a sample that exists is frozen and stays")

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }
func chf(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "CHF"} }

var (
	asked      = AuthorizationRequested{Payment: "p1", Customer: "c1", Amount: eur(4000)}
	authorized = event.PaymentAuthorized{Payment: "p1", Customer: "c1", Amount: eur(4000)}
	declined   = event.PaymentDeclined{Payment: "p1", Customer: "c1", Amount: eur(4000), Reason: "no"}
	confirmed  = event.PaymentConfirmed{Payment: "p1", Order: "o1", Customer: "c1", Amount: eur(3000)}
	capturing  = CaptureRequested{Payment: "p1", Amount: eur(3000)}
	captured   = event.PaymentCaptured{Payment: "p1", Order: "o1", Customer: "c1", Amount: eur(3000), Freed: eur(1000)}
	voiding    = VoidRequested{Payment: "p1", Reason: "r"}
	voided     = event.PaymentVoided{Payment: "p1", Order: "o1", Customer: "c1", Amount: eur(4000)}
	refunding  = RefundRequested{Payment: "p1", Number: 1, Amount: eur(1000), Reason: "r"}
	refunded   = event.PaymentRefunded{Payment: "p1", Order: "o1", Customer: "c1", Amount: eur(1000), Reason: "r"}
	undoing    = UndoRequested{Payment: "p1", Reason: "r"}
	barred     = OrderBarred{Payment: "p1", Order: "o1"}
	earmarked  = PaymentEarmarked{Payment: "p1", Order: "o1", Expires: 2000}
	tombstone  = PaymentBarred{Payment: "p1", Reason: "r"}

	billed = event.InvoiceCreated{Invoice: "i1", Order: "o1", Customer: "c1", Amount: eur(4000)}
	paid   = event.InvoicePaid{Invoice: "i1", Order: "o1", Customer: "c1", Amount: eur(4000)}
	waived = event.InvoiceCanceled{Invoice: "i1", Order: "o1", Customer: "c1", Reason: "r"}
)

func returned(amount int64, reason string) event.InvoiceRefunded {
	return event.InvoiceRefunded{Invoice: "i1", Order: "o1", Customer: "c1", Amount: eur(amount), Reason: reason}
}

func events(list ...backbone.Event) []backbone.Event { return list }

func confirmOf(order, customer string, amount mall.Money) command.ConfirmPayment {
	return command.ConfirmPayment{Payment: "p1", Order: order, Customer: customer, Amount: amount}
}

func earmarkOf(order, customer string, expires int64) command.EarmarkPayment {
	return command.EarmarkPayment{Payment: "p1", Order: order, Customer: customer, Expires: expires}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	ask := command.AuthorizePayment{Payment: "p1", Customer: "c1", Amount: eur(4000)}
	take := command.CapturePayment{Payment: "p1"}
	voidAny := command.VoidPayment{Payment: "p1", Reason: "r"}
	voidO1 := command.VoidPayment{Payment: "p1", Order: "o1", Reason: "r"}
	back := command.RefundPayment{Payment: "p1", Amount: eur(1000), Reason: "r"}
	settled := func(op Operation) SettleCall {
		return SettleCall{Payment: "p1", Operation: op, Key: keyOf(op, "p1", 1)}
	}
	refused := func(op Operation) SettleCall {
		return SettleCall{Payment: "p1", Operation: op, Key: keyOf(op, "p1", 1), Refused: true, Reason: "no"}
	}
	lost := func(op Operation) SettleCall {
		return SettleCall{Payment: "p1", Operation: op, Key: keyOf(op, "p1", 1), Unknown: true, Reason: "time"}
	}
	unknown := func(op Operation) OutcomeUnknown {
		return OutcomeUnknown{Payment: "p1", Operation: op, Key: keyOf(op, "p1", 1), Reason: "time"}
	}

	for _, c := range []struct {
		name    string
		given   []backbone.Event
		when    backbone.Command
		then    []backbone.Event
		refused error
	}{
		{"asked for", nil, ask, events(asked), nil},
		{"asked for twice", events(asked), ask, nil, nil},
		{"asked for with another amount", events(asked), command.AuthorizePayment{Payment: "p1", Customer: "c1", Amount: eur(1)}, nil, ErrExists},
		{"asked for after it was voided", events(tombstone), ask, nil, ErrOver},
		{"authorized", events(asked), settled(OpAuthorize), events(authorized), nil},
		{"authorized twice", events(asked, authorized), settled(OpAuthorize), nil, nil},
		{"declined", events(asked), refused(OpAuthorize), events(declined), nil},

		{"confirmed", events(asked, authorized), confirmOf("o1", "c1", eur(3000)), events(confirmed), nil},
		{"confirmed twice", events(asked, authorized, confirmed), confirmOf("o1", "c1", eur(3000)), nil, nil},
		{"confirmed in full", events(asked, authorized), confirmOf("o1", "c1", eur(4000)), events(event.PaymentConfirmed{Payment: "p1", Order: "o1", Customer: "c1", Amount: eur(4000)}), nil},
		{"B9 too small", events(asked, authorized), confirmOf("o1", "c1", eur(4001)), nil, ErrTooSmall},
		{"B9 another customer's", events(asked, authorized), confirmOf("o1", "c2", eur(3000)), nil, ErrCustomer},
		{"B9 used", events(asked, authorized, confirmed), confirmOf("o2", "c1", eur(3000)), nil, ErrUsed},
		{"B9 used and captured", events(asked, authorized, confirmed, capturing, captured), confirmOf("o2", "c1", eur(3000)), nil, ErrUsed},
		{"in another currency", events(asked, authorized), confirmOf("o1", "c1", chf(1)), nil, ErrCurrency},
		{"confirmed too early", events(asked), confirmOf("o1", "c1", eur(3000)), nil, ErrNotAuthorized},
		{"declined and confirmed", events(asked, declined), confirmOf("o1", "c1", eur(3000)), nil, ErrDeclined},
		{"voided and confirmed", events(asked, authorized, voiding), confirmOf("o1", "c1", eur(3000)), nil, ErrOver},
		{"unheard of", nil, confirmOf("o1", "c1", eur(3000)), nil, ErrUnknown},
		{"confirmed after it was undone", events(asked, authorized, barred), confirmOf("o1", "c1", eur(3000)), nil, ErrOver},
		{"undone for another order", events(asked, authorized, OrderBarred{Payment: "p1", Order: "o2"}), confirmOf("o1", "c1", eur(3000)), events(confirmed), nil},

		{"earmarked", events(asked, authorized), earmarkOf("o1", "c1", 2000), events(earmarked), nil},
		{"earmarked while it is asked for", events(asked), earmarkOf("o1", "c1", 2000), events(earmarked), nil},
		{"earmarked twice", events(asked, authorized, earmarked), earmarkOf("o1", "c1", 2000), nil, nil},
		{"earmarked by an order that waits longer", events(asked, authorized, earmarked), earmarkOf("o2", "c1", 2001), events(PaymentEarmarked{Payment: "p1", Order: "o2", Expires: 2001}), nil},
		{"earmarked by a stranger's order", events(asked, authorized), earmarkOf("o1", "c2", 2000), nil, ErrCustomer},
		{"earmarked when it is bound", events(asked, authorized, confirmed), earmarkOf("o1", "c1", 2000), nil, nil},
		{"earmarked when another order has it", events(asked, authorized, confirmed), earmarkOf("o2", "c1", 2000), nil, ErrUsed},
		{"earmarked when it is a visit's", events(asked, ChargeRequested{Payment: "p1", Visit: "v1"}), earmarkOf("o1", "c1", 2000), nil, ErrUsed},
		{"earmarked when it is declined", events(asked, declined), earmarkOf("o1", "c1", 2000), nil, ErrDeclined},
		{"earmarked when it is being freed", events(asked, authorized, voiding), earmarkOf("o1", "c1", 2000), nil, ErrOver},
		{"earmarked when it will be", events(asked, undoing), earmarkOf("o1", "c1", 2000), nil, ErrOver},
		{"earmarked when the order was undone", events(asked, authorized, barred), earmarkOf("o1", "c1", 2000), nil, ErrOver},
		{"earmarked, unheard of", nil, earmarkOf("o1", "c1", 2000), nil, ErrUnknown},
		{"lapsed", events(asked, authorized), LapsePayment{Payment: "p1"}, events(VoidRequested{Payment: "p1", Reason: notTaken}), nil},
		{"lapsed when it is kept for an order", events(asked, authorized, earmarked), LapsePayment{Payment: "p1"}, nil, nil},
		{"lapsed when that order is over", events(asked, authorized, earmarked), LapsePayment{Payment: "p1", Kept: 2000}, events(VoidRequested{Payment: "p1", Reason: notTaken}), nil},
		{"lapsed when it is bound", events(asked, authorized, confirmed), LapsePayment{Payment: "p1"}, nil, nil},
		{"lapsed when it was taken", events(asked, authorized, confirmed, capturing, captured), LapsePayment{Payment: "p1"}, nil, nil},
		{"lapsed twice", events(asked, authorized, voiding), LapsePayment{Payment: "p1"}, nil, nil},
		{"bound when it has lapsed", events(asked, authorized, VoidRequested{Payment: "p1", Reason: notTaken}), confirmOf("o1", "c1", eur(3000)), nil, ErrOver},

		{"captured", events(asked, authorized, confirmed), take, events(capturing), nil},
		{"captured twice", events(asked, authorized, confirmed, capturing), take, nil, nil},
		{"captured unbound", events(asked, authorized), take, nil, ErrNotConfirmed},
		{"nothing captured", nil, take, nil, ErrUnknown},
		{"captured in part", events(asked, authorized, confirmed), command.CapturePayment{Payment: "p1", Amount: eur(2500)}, events(CaptureRequested{Payment: "p1", Amount: eur(2500)}), nil},
		{"captured beyond what is due", events(asked, authorized, confirmed), command.CapturePayment{Payment: "p1", Amount: eur(3001)}, nil, ErrTooMuch},
		{"captured in francs", events(asked, authorized, confirmed), command.CapturePayment{Payment: "p1", Amount: chf(3000)}, nil, ErrCurrency},
		{
			"taken in part", events(asked, authorized, confirmed, CaptureRequested{Payment: "p1", Amount: eur(2500)}), settled(OpCapture),
			events(event.PaymentCaptured{Payment: "p1", Order: "o1", Customer: "c1", Amount: eur(2500), Freed: eur(1500)}), nil,
		},
		{
			"voided when a part was taken", events(asked, authorized, confirmed, CaptureRequested{Payment: "p1", Amount: eur(2500)},
				event.PaymentCaptured{Payment: "p1", Order: "o1", Customer: "c1", Amount: eur(2500), Freed: eur(1500)}), voidO1,
			events(RefundRequested{Payment: "p1", Number: 1, Amount: eur(2500), Reason: "r"}), nil,
		},
		{"taken", events(asked, authorized, confirmed, capturing), settled(OpCapture), events(captured), nil},
		{"not taken", events(asked, authorized, confirmed, capturing), refused(OpCapture), events(CaptureRefused{Payment: "p1", Reason: "no", Order: "o1", Customer: "c1", Amount: eur(3000)}), nil},

		{"voided", events(asked, authorized), voidAny, events(voiding), nil},
		{"voided for its order", events(asked, authorized, confirmed), voidO1, events(voiding), nil},
		{"voided twice", events(asked, authorized, voiding), voidAny, nil, nil},
		{"voided before it was asked for", nil, voidAny, events(tombstone), nil},
		{"voided for an order that never had it", events(asked, authorized), voidO1, events(barred), nil},
		{"voided for an order, unheard of", nil, voidO1, events(barred), nil},
		{"voided for an order again", events(asked, authorized, barred), voidO1, nil, nil},
		{"voided for another order", events(asked, authorized, event.PaymentConfirmed{Payment: "p1", Order: "o2", Customer: "c1", Amount: eur(1)}), voidO1, nil, nil},
		{"voided while it is asked for", events(asked), voidAny, events(undoing), nil},
		{"voided while it is asked for, twice", events(asked, undoing), voidAny, nil, nil},
		{"then authorized", events(asked, undoing), settled(OpAuthorize), events(authorized, VoidRequested{Payment: "p1", Reason: undone}), nil},
		{"then declined", events(asked, undoing), refused(OpAuthorize), events(declined), nil},
		{"voided while it is taken", events(asked, authorized, confirmed, capturing), voidO1, events(undoing), nil},
		{
			"then taken", events(asked, authorized, confirmed, capturing, undoing), settled(OpCapture),
			events(captured, RefundRequested{Payment: "p1", Number: 1, Amount: eur(3000), Reason: undone}), nil,
		},
		{
			"then not taken", events(asked, authorized, confirmed, capturing, undoing), refused(OpCapture),
			events(CaptureRefused{Payment: "p1", Reason: "no", Order: "o1", Customer: "c1", Amount: eur(3000)}, VoidRequested{Payment: "p1", Reason: undone}), nil,
		},
		{
			"voided when taken", events(asked, authorized, confirmed, capturing, captured), voidO1,
			events(RefundRequested{Payment: "p1", Number: 1, Amount: eur(3000), Reason: "r"}), nil,
		},
		{"freed", events(asked, authorized, confirmed, voiding), settled(OpVoid), events(voided), nil},
		{"not freed", events(asked, authorized, confirmed, voiding), refused(OpVoid), events(OutcomeUnknown{Payment: "p1", Operation: OpVoid, Key: "void-p1", Reason: "no"}), nil},

		{"given back", events(asked, authorized, confirmed, capturing, captured), back, events(refunding), nil},
		{"too much given back", events(asked, authorized, confirmed, capturing, captured), command.RefundPayment{Payment: "p1", Amount: eur(3001)}, nil, ErrTooMuch},
		{"too much given back in parts", events(asked, authorized, confirmed, capturing, captured, refunding, refunded), command.RefundPayment{Payment: "p1", Amount: eur(2001)}, nil, ErrTooMuch},
		{"given back in francs", events(asked, authorized, confirmed, capturing, captured), command.RefundPayment{Payment: "p1", Amount: chf(1)}, nil, ErrCurrency},
		{"given back twice at once", events(asked, authorized, confirmed, capturing, captured, refunding), back, nil, ErrBusy},
		{"given back before it is taken", events(asked, authorized, confirmed), back, nil, ErrNotCaptured},
		{"nothing given back", nil, back, nil, ErrUnknown},
		{"back", events(asked, authorized, confirmed, capturing, captured, refunding), settled(OpRefund), events(refunded), nil},
		{"not back", events(asked, authorized, confirmed, capturing, captured, refunding), refused(OpRefund), events(RefundRefused{Payment: "p1", Reason: "no"}), nil},
		{
			"back, then the rest", events(asked, authorized, confirmed, capturing, captured, refunding, undoing), settled(OpRefund),
			events(refunded, RefundRequested{Payment: "p1", Number: 2, Amount: eur(2000), Reason: undone}), nil,
		},

		{"no answer", events(asked), lost(OpAuthorize), events(unknown(OpAuthorize)), nil},
		{"no answer again", events(asked, unknown(OpAuthorize)), lost(OpVoid), nil, nil},
		{
			"was authorized and is freed", events(asked, unknown(OpAuthorize)), settled(OpVoid),
			events(authorized, event.PaymentVoided{Payment: "p1", Customer: "c1", Amount: eur(4000)}), nil,
		},
		{"was never authorized", events(asked, unknown(OpAuthorize)), refused(OpVoid), events(declined), nil},
		{"was taken", events(asked, authorized, confirmed, capturing, unknown(OpCapture)), settled(OpCapture), events(captured), nil},
		{
			"was taken but is undone", events(asked, authorized, confirmed, capturing, unknown(OpCapture), undoing), settled(OpCapture),
			events(captured, RefundRequested{Payment: "p1", Number: 1, Amount: eur(3000), Reason: undone}), nil,
		},
		{"given back while unknown", events(asked, authorized, confirmed, capturing, unknown(OpCapture)), back, nil, ErrBusy},
		{"an outcome that nobody waits for", events(asked, authorized), settled(OpRefund), nil, nil},

		{"billed", nil, command.CreateInvoice{Invoice: "i1", Order: "o1", Customer: "c1", Amount: eur(4000)}, events(billed), nil},
		{"billed twice", events(billed), command.CreateInvoice{Invoice: "i1", Order: "o1", Customer: "c1", Amount: eur(4000)}, nil, ErrInvoiceExists},
		{"adjusted", events(billed), command.AdjustInvoice{Invoice: "i1", Amount: eur(1)}, events(event.InvoiceAdjusted{Invoice: "i1", Order: "o1", Customer: "c1", Amount: eur(1)}), nil},
		{"adjusted to the same", events(billed), command.AdjustInvoice{Invoice: "i1", Amount: eur(4000)}, nil, nil},
		{"adjusted to francs", events(billed), command.AdjustInvoice{Invoice: "i1", Amount: chf(4000)}, nil, ErrCurrency},
		{"adjusted when paid", events(billed, paid), command.AdjustInvoice{Invoice: "i1", Amount: eur(1)}, nil, ErrInvoiceClosed},
		{"paid", events(billed), command.PayInvoice{Invoice: "i1"}, events(paid), nil},
		{"paid twice", events(billed, paid), command.PayInvoice{Invoice: "i1"}, nil, ErrInvoiceClosed},
		{"nothing paid", nil, command.PayInvoice{Invoice: "i1"}, nil, ErrInvoiceUnknown},
		{"B4 billed when ready", nil, BillOrder{Order: "i1", Customer: "c1", Amount: eur(4000)}, events(event.InvoiceCreated{Invoice: "i1", Order: "i1", Customer: "c1", Amount: eur(4000)}), nil},
		{"B4 billed at the arrival, and less is ready", events(billed), BillOrder{Order: "i1", Customer: "c1", Amount: eur(3500)}, events(event.InvoiceAdjusted{Invoice: "i1", Order: "o1", Customer: "c1", Amount: eur(3500)}), nil},
		{"B4 billed at the arrival", events(billed), BillOrder{Order: "i1", Customer: "c1", Amount: eur(4000)}, nil, nil},
		{"B4 paid at the arrival", events(billed, paid), BillOrder{Order: "i1", Customer: "c1", Amount: eur(4000)}, nil, nil},
		{"B4 paid at the arrival, and less is ready", events(billed, paid), BillOrder{Order: "i1", Customer: "c1", Amount: eur(3500)}, events(returned(500, mall.ReasonShort)), nil},
		{"billed when it is undone", events(billed, waived), BillOrder{Order: "i1", Customer: "c1", Amount: eur(4000)}, nil, nil},

		{"undone unbilled", nil, CloseInvoice{Order: "i1", Reason: "r"}, events(InvoiceBarred{Invoice: "i1", Reason: "r"}), nil},
		{"undone unbilled, twice", events(InvoiceBarred{Invoice: "i1", Reason: "r"}), CloseInvoice{Order: "i1", Reason: "r"}, nil, nil},
		{"billed too late", events(InvoiceBarred{Invoice: "i1", Reason: "r"}), command.CreateInvoice{Invoice: "i1", Order: "o1", Customer: "c1", Amount: eur(4000)}, nil, ErrInvoiceExists},
		{"ready too late", events(InvoiceBarred{Invoice: "i1", Reason: "r"}), BillOrder{Order: "i1", Customer: "c1", Amount: eur(4000)}, nil, nil},
		{"undone unpaid", events(billed), CloseInvoice{Order: "i1", Reason: "r"}, events(waived), nil},
		{"undone paid", events(billed, paid), CloseInvoice{Order: "i1", Reason: "r"}, events(returned(4000, "r")), nil},
		{"undone paid, a part given back", events(billed, paid, returned(500, "r")), CloseInvoice{Order: "i1", Reason: "r"}, events(returned(3500, "r")), nil},
		{"undone paid, twice", events(billed, paid, returned(4000, "r")), CloseInvoice{Order: "i1", Reason: "r"}, nil, nil},

		{"cash back", events(billed, paid), command.RefundInvoice{Invoice: "i1", Amount: eur(500), Reason: "r"}, events(returned(500, "r")), nil},
		{"too much cash back", events(billed, paid, returned(500, "r")), command.RefundInvoice{Invoice: "i1", Amount: eur(3501), Reason: "r"}, nil, ErrTooMuch},
		{"cash back in francs", events(billed, paid), command.RefundInvoice{Invoice: "i1", Amount: chf(1), Reason: "r"}, nil, ErrCurrency},
		{"cash back unpaid", events(billed), command.RefundInvoice{Invoice: "i1", Amount: eur(1), Reason: "r"}, nil, ErrInvoiceUnpaid},
		{"no cash back", nil, command.RefundInvoice{Invoice: "i1", Amount: eur(1), Reason: "r"}, nil, ErrInvoiceUnknown},

		{"waived", events(billed), command.CancelInvoice{Invoice: "i1", Reason: "r"}, events(waived), nil},
		{"waived twice", events(billed, waived), command.CancelInvoice{Invoice: "i1", Reason: "r"}, nil, nil},
		{"waived when paid", events(billed, paid), command.CancelInvoice{Invoice: "i1", Reason: "r"}, nil, ErrInvoiceClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := decide(t, c.given, c.when)
			if !errors.Is(err, c.refused) || (err == nil) != (c.refused == nil) {
				t.Errorf("refused %v, want %v", err, c.refused)
			}
			if !reflect.DeepEqual(got, c.then) {
				t.Errorf("events %+v, want %+v", got, c.then)
			}
		})
	}
}

func decide(t testing.TB, given []backbone.Event, c backbone.Command) ([]backbone.Event, error) {
	t.Helper()
	for _, h := range Service(nil, Config{Depot: true}).Handles {
		if h.CommandType() != c.CommandType() {
			continue
		}
		history := map[string][]backbone.Event{"payment/" + c.Stream(): given, "invoice/" + c.Stream(): given}
		appended, err := h.Decision(history, c, backbone.Meta{})
		var events []backbone.Event
		for _, a := range appended {
			events = append(events, a.Events...)
		}
		return events, err
	}
	t.Fatalf("nobody handles %s", c.CommandType())
	return nil, nil
}

// Whatever is asked and answered, in whatever order and however often: a payment belongs to one order at most, never more
// is taken than is set aside, and never more is given back than was taken.
func TestMoneyAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var history []backbone.Event
		order := ""
		var taken, back int64
		for range rapid.IntRange(1, 50).Draw(rt, "commands") {
			o := rapid.SampledFrom([]string{"o1", "o2", ""}).Draw(rt, "order")
			amount := eur(rapid.Int64Range(1, 4100).Draw(rt, "amount"))
			operation := rapid.SampledFrom([]Operation{OpAuthorize, OpCapture, OpVoid, OpRefund}).Draw(rt, "operation")
			outcome := SettleCall{
				Payment: "p1", Key: keyOf(operation, "p1", rapid.Int64Range(1, 3).Draw(rt, "number")), Operation: operation,
				Refused: rapid.Bool().Draw(rt, "refused"), Unknown: rapid.Bool().Draw(rt, "unknown"),
			}
			c := rapid.SampledFrom([]backbone.Command{
				command.AuthorizePayment{Payment: "p1", Customer: "c1", Amount: eur(4000)},
				confirmOf(max(o, "o1"), "c1", amount),
				earmarkOf(max(o, "o1"), "c1", amount.Amount),
				LapsePayment{Payment: "p1", Kept: rapid.Int64Range(0, 4100).Draw(rt, "kept")},
				command.CapturePayment{Payment: "p1"},
				command.VoidPayment{Payment: "p1", Order: o, Reason: "r"},
				command.RefundPayment{Payment: "p1", Amount: amount, Reason: "r"},
				outcome, outcome, outcome,
			}).Draw(rt, "command")
			got, _ := decide(t, history, c)
			for _, e := range got {
				switch e := e.(type) {
				case VoidRequested:
					if order != "" && e.Reason == notTaken {
						rt.Fatalf("lapsed, and %s has it", order)
					}
				case event.PaymentConfirmed:
					if order != "" && order != e.Order {
						rt.Fatalf("bound to %s and %s", order, e.Order)
					}
					order = e.Order
				case event.PaymentCaptured:
					taken += e.Amount.Amount
				case event.PaymentRefunded:
					back += e.Amount.Amount
				case event.PaymentVoided:
					if taken > 0 {
						rt.Fatal("voided what was taken")
					}
				}
			}
			if taken > 4000 || back > taken {
				rt.Fatalf("taken %d, given back %d", taken, back)
			}
			live := payments.Fold(history...)
			for _, e := range got {
				live = evolve(live, e)
			}
			history = append(history, got...)
			if replayed := payments.Fold(history...); !reflect.DeepEqual(live, replayed) {
				rt.Fatalf("live %+v, replayed %+v", live, replayed)
			}
		}
	})
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	m := backbone.Meta{Time: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	end := m.Time.Add(24 * time.Hour)
	call := func(id string, r Request) []backbone.Effect {
		return []backbone.Effect{backbone.MakeCall("provider", id, "p1", r, end)}
	}
	for _, c := range []struct {
		name      string
		got, want []backbone.Effect
	}{
		{"authorize", callAuthorize(asked, m), call("auth-p1", Request{Key: "auth-p1", Operation: OpAuthorize, Payment: "p1", Customer: "c1", Amount: eur(4000)})},
		{"capture", callCapture(capturing, m), call("capture-p1", Request{Key: "capture-p1", Operation: OpCapture, Payment: "p1", Amount: eur(3000)})},
		{"void", callVoid(voiding, m), call("void-p1", Request{Key: "void-p1", Operation: OpVoid, Payment: "p1"})},
		{"refund", callRefund(refunding, m), call("refund-p1-1", Request{Key: "refund-p1-1", Operation: OpRefund, Payment: "p1", Amount: eur(1000)})},
		{"authorization lost", clearUp(OutcomeUnknown{Payment: "p1", Operation: OpAuthorize, Key: "auth-p1"}, m), call("void-p1", Request{Key: "void-p1", Operation: OpVoid, Payment: "p1"})},
		{
			"capture lost", clearUp(OutcomeUnknown{Payment: "p1", Operation: OpCapture, Key: "capture-p1"}, m),
			call("ask-capture-p1", Request{Key: "capture-p1", Operation: OpCapture, Payment: "p1", AskOnly: true}),
		},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, c.got, c.want)
		}
	}
}

// bank notes what is asked of it.
type bank struct {
	calls []string
	known map[string]Outcome
}

func (b *bank) note(op, key string) (Outcome, error) {
	b.calls = append(b.calls, op+" "+key)
	return Outcome{Reference: key}, nil
}

func (b *bank) Authorize(_ context.Context, key, _, _ string, _ mall.Money) (Outcome, error) {
	return b.note("authorize", key)
}

func (b *bank) Void(_ context.Context, key, _ string) (Outcome, error) { return b.note("void", key) }

func (b *bank) Capture(_ context.Context, key, _ string, _ mall.Money) (Outcome, error) {
	return b.note("capture", key)
}

func (b *bank) Refund(_ context.Context, key, _ string, _ mall.Money) (Outcome, error) {
	return b.note("refund", key)
}

func (b *bank) Ask(_ context.Context, key string) (Outcome, bool, error) {
	b.calls = append(b.calls, "ask "+key)
	o, ok := b.known[key]
	return o, ok, nil
}

func TestCallsReachTheProvider(t *testing.T) {
	t.Parallel()
	b := &bank{known: map[string]Outcome{"capture-p1": {Reference: "r"}}}
	caller := providerCaller{b}
	for _, r := range []Request{
		{Key: "auth-p1", Operation: OpAuthorize},
		{Key: "capture-p1", Operation: OpCapture},
		{Key: "void-p1", Operation: OpVoid},
		{Key: "refund-p1-1", Operation: OpRefund},
		{Key: "capture-p1", Operation: OpCapture, AskOnly: true},
	} {
		if got, err := caller.Call(t.Context(), backbone.CallRequest{}, r); err != nil || got.(Outcome).Refused {
			t.Errorf("%+v: %+v, %v", r, got, err)
		}
	}
	if got, _ := caller.Call(t.Context(), backbone.CallRequest{}, Request{Key: "capture-p2", AskOnly: true}); !got.(Outcome).Refused {
		t.Errorf("a call that was never executed: %+v", got)
	}
	if _, err := caller.Call(t.Context(), backbone.CallRequest{}, Request{Operation: "donate"}); backbone.ClassOf(err) != backbone.ClassPermanent {
		t.Errorf("an operation that there is not: %v", err)
	}
	if _, found, err := caller.Ask(t.Context(), backbone.CallRequest{}, Request{Key: "capture-p1"}); !found || err != nil {
		t.Errorf("asked: %v, %v", found, err)
	}
	want := []string{"authorize auth-p1", "capture capture-p1", "void void-p1", "refund refund-p1-1", "ask capture-p1", "ask capture-p2", "ask capture-p1"}
	if !reflect.DeepEqual(b.calls, want) {
		t.Errorf("calls %v, want %v", b.calls, want)
	}
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	r := Request{Key: "auth-p1", Operation: OpAuthorize, Payment: "p1"}
	for _, c := range []struct {
		o    backbone.CallOutcome
		want SettleCall
	}{
		{backbone.CallOutcome{Result: []byte(`{"reference":"r"}`)}, SettleCall{Payment: "p1", Operation: OpAuthorize, Key: "auth-p1"}},
		{backbone.CallOutcome{Result: []byte(`{"refused":true,"reason":"no"}`)}, SettleCall{Payment: "p1", Operation: OpAuthorize, Key: "auth-p1", Refused: true, Reason: "no"}},
		{backbone.CallOutcome{Failed: true, Cause: "deadline"}, SettleCall{Payment: "p1", Operation: OpAuthorize, Key: "auth-p1", Unknown: true, Reason: "deadline"}},
	} {
		if got := outcome(r, c.o); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.o, got, c.want)
		}
	}
	if got := outcome(r, backbone.CallOutcome{Result: []byte(`[`)}).(SettleCall); !got.Unknown {
		t.Errorf("an answer that makes no sense: %+v", got)
	}
}

func TestServiceIsWellFormed(t *testing.T) {
	t.Parallel()
	if err := backbone.Check(append(neighbours(), Service(nil, Config{Depot: true}))); err != nil {
		t.Fatal(err)
	}
}

// What the service keeps to itself stands in its log for ever as well, so it is frozen like what it publishes.
func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	for _, sample := range []any{
		AuthorizationRequested{Payment: "PAYMENT_001", Customer: "CUSTOMER_001", Amount: eur(4000)},
		ChargeRequested{Payment: "PAYMENT_001", Visit: "VISIT_001"},
		CaptureRequested{Payment: "PAYMENT_001", Amount: eur(4000)},
		CaptureRefused{Payment: "PAYMENT_001", Reason: "not_allowed"},
		VoidRequested{Payment: "PAYMENT_001", Reason: "undone"},
		RefundRequested{Payment: "PAYMENT_001", Number: 1, Amount: eur(4000), Reason: "undone"},
		RefundRefused{Payment: "PAYMENT_001", Reason: "exceeds"},
		UndoRequested{Payment: "PAYMENT_001", Reason: "undone"},
		OutcomeUnknown{Payment: "PAYMENT_001", Operation: OpCapture, Key: "capture-PAYMENT_001", Reason: "deadline"},
		OrderBarred{Payment: "PAYMENT_001", Order: "ORDER_001"},
		BillOrder{Order: "ORDER_001", Customer: "CUSTOMER_001", Amount: eur(4000)},
		CloseInvoice{Order: "ORDER_001", Reason: mall.ReasonOrderExpired},
		InvoiceBarred{Invoice: "ORDER_001", Reason: mall.ReasonOrderExpired},
		PaymentBarred{Payment: "PAYMENT_001", Reason: "undone"},
		PaymentEarmarked{Payment: "PAYMENT_001", Order: "ORDER_001", Expires: 1777723200000000},
		LapsePayment{Payment: "PAYMENT_001", Kept: 1777723200000000},
		SettleCall{Payment: "PAYMENT_001", Operation: OpAuthorize, Key: "auth-PAYMENT_001", Refused: true, Unknown: true, Reason: "insufficient funds"},
	} {
		var wire string
		switch s := sample.(type) {
		case interface{ EventType() string }:
			wire = s.EventType()
		case interface{ CommandType() string }:
			wire = s.CommandType()
		}
		path := filepath.Join("testdata", wire+".json")
		want, err := json.MarshalIndent(sample, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, '\n')
		stored, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && *update {
			stored, err = want, os.WriteFile(path, want, 0o644)
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(stored, want) {
			t.Errorf("%s is no longer written as it was:\n%s", wire, want)
		}
		read := reflect.New(reflect.TypeOf(sample))
		if err := json.Unmarshal(stored, read.Interface()); err != nil || !reflect.DeepEqual(read.Elem().Interface(), sample) {
			t.Errorf("%s is no longer read as it was: %v", wire, err)
		}
	}
}
