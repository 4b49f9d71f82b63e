package orders

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.org/souk/backbone"
	"example.org/souk/backbone/backbonetest"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; look at it and run with -update:\n%s", path, got)
	}
}

func eur(amount int64) mall.Money { return mall.Money{Amount: amount, Currency: "EUR"} }

var (
	now     = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	kept    = now.Add(48 * time.Hour).UnixMicro()
	expires = now.Add(24 * time.Hour).UnixMicro()
	items   = []mall.Item{
		{Product: "PRODUCT_001", SKU: "pen", Name: "Pen", Price: eur(1000), Quantity: 3},
		{Product: "PRODUCT_002", SKU: "ink", Name: "Ink", Price: eur(500), Quantity: 2},
	}
	ordered = command.PlaceOrder{Order: "o1", Message: "m1", Customer: "c1", Items: items}

	placed      = event.OrderPlaced{Order: "o1", Message: "m1", Customer: "c1", Items: items, Total: eur(4000), Expires: expires}
	patient     = event.OrderPlaced{Order: "o1", Customer: "c1", Items: items, Total: eur(4000), Expires: expires, WaitForStock: true}
	reserved    = event.OrderStockReserved{Order: "o1", Customer: "c1", Lines: mall.Lines(items), InventoryEvent: "e1"}
	backordered = event.OrderBackordered{Order: "o1", Customer: "c1", SKU: "pen", Wanted: 3, Available: 2}
	approved    = event.OrderApproved{Order: "o1", Customer: "c1", Total: eur(4000)}
	rejected    = event.OrderRejected{Order: "o1", Customer: "c1", Reason: mall.ReasonOutOfStock, SKU: "pen", Wanted: 3, Available: 2}
	expired     = event.OrderExpired{Order: "o1", Customer: "c1"}
	cancelling  = event.OrderCancelling{Order: "o1", Customer: "c1", Reason: "changed my mind"}
	canceled    = event.OrderCanceled{Order: "o1", Customer: "c1", Reason: "changed my mind"}
	picking     = event.OrderPicking{Order: "o1", Customer: "c1"}
	readied     = event.OrderReadied{Order: "o1", Customer: "c1", Total: eur(4000), Until: kept}
	completed   = event.OrderCompleted{Order: "o1", Customer: "c1", Total: eur(4000)}
	paid        = event.OrderPaid{Order: "o1", Customer: "c1", Amount: eur(4000)}
	collected   = event.OrderCollected{Order: "o1", Customer: "c1", Lines: mall.Lines(items)}
	noInk       = event.OrderShort{Order: "o1", Customer: "c1", Missing: []mall.Line{{SKU: "ink", Quantity: 1}}}
	withoutInk  = event.OrderAmended{Order: "o1", Customer: "c1", Choice: mall.ShortRest, Missing: noInk.Missing, Total: eur(3500)}
	fetched     = events(placed, reserved, approved, picking)
)

// preferring returns the order of a customer who has said beforehand what is to be done when goods are missing.
func preferring(choice mall.WhenShort) event.OrderPlaced {
	p := placed
	p.WhenShort = choice
	return p
}

func after(history []backbone.Event, more ...backbone.Event) []backbone.Event {
	return append(append([]backbone.Event(nil), history...), more...)
}

func events(list ...backbone.Event) []backbone.Event { return list }

func TestDecisions(t *testing.T) {
	t.Parallel()
	inTime, late, priced := ordered, ordered, ordered
	inTime.Expires, late.Expires = expires+1, now.UnixMicro()
	priced.Items = []mall.Item{{Product: "a", Price: eur(1), Quantity: 1}, {Product: "b", Price: mall.Money{Amount: 1, Currency: "CHF"}, Quantity: 1}}
	placedLater := placed
	placedLater.Expires = expires + 1

	record := command.ReserveOrderStock{Order: "o1", Lines: mall.Lines(items), InventoryEvent: "e1"}
	wait := command.BackorderOrder{Order: "o1", SKU: "pen", Wanted: 3, Available: 2}
	approveIt := command.ApproveOrder{Order: "o1"}
	rejectIt := command.RejectOrder{Order: "o1", Reason: mall.ReasonOutOfStock, SKU: "pen", Wanted: 3, Available: 2}
	cancelIt := command.CancelOrder{Order: "o1", Reason: "changed my mind"}
	finish := command.FinishCancelOrder{Order: "o1"}
	expireIt := command.ExpireOrder{Order: "o1"}

	for _, c := range []struct {
		name    string
		given   []backbone.Event
		when    backbone.Command
		then    backbone.Event
		refused *backbone.Refusal
	}{
		{"placed", nil, ordered, placed, nil},
		{"placed with an end", nil, inTime, placedLater, nil},
		{"placed too late", nil, late, nil, ErrTooLate},
		{"placed in two currencies", nil, priced, nil, ErrItems},
		{"placed twice", events(placed), ordered, nil, ErrExists},

		{"stock", events(placed), record, reserved, nil},
		{"stock twice", events(placed, reserved), record, nil, nil},
		{"stock for a backorder", events(patient, backordered), record, reserved, nil},
		{"stock for nothing", nil, record, nil, ErrUnknown},
		{"stock for a cancelled order", events(placed, cancelling), record, nil, ErrNotOpen},

		{"short", events(patient), wait, backordered, nil},
		{"short twice", events(patient, backordered), wait, nil, nil},
		{"short but has it by now", events(patient, reserved), wait, nil, nil},
		{"short and does not wait", events(placed), wait, nil, nil},
		{"short for nothing", nil, wait, nil, nil},

		{"approved", events(placed, reserved), approveIt, approved, nil},
		{"approved after a backorder", events(patient, backordered, reserved), approveIt, approved, nil},
		{"approved twice", events(placed, reserved, approved), approveIt, nil, nil},
		{"approved without stock", events(placed), approveIt, nil, ErrNotReserved},
		{"approved when cancelled", events(placed, reserved, cancelling), approveIt, nil, ErrNotOpen},
		{"approved when expired", events(placed, reserved, expired), approveIt, nil, ErrNotOpen},

		{"rejected", events(placed), rejectIt, rejected, nil},
		{"rejected backorder", events(patient, backordered), rejectIt, rejected, nil},
		{"rejected twice", events(placed, rejected), rejectIt, nil, nil},
		{"rejected after the pivot", events(placed, reserved, approved), rejectIt, nil, ErrNotOpen},
		{"nothing rejected", nil, rejectIt, nil, ErrUnknown},

		{"B8 cancelled pending", events(placed), cancelIt, cancelling, nil},
		{"B8 cancelled backordered", events(patient, backordered), cancelIt, cancelling, nil},
		{"B8 cancelled approved", events(placed, reserved, approved), cancelIt, cancelling, nil},
		{"B8 cancelled while picked", events(placed, reserved, approved, picking), cancelIt, cancelling, nil},
		{"B8 cancelled ready", events(placed, reserved, approved, picking, readied), cancelIt, cancelling, nil},
		{"B8 cancelled twice", events(placed, cancelling), cancelIt, nil, nil},
		{"B8 cancelled again", events(placed, cancelling, canceled), cancelIt, nil, nil},
		{"B8 cancelled completed", events(placed, reserved, approved, picking, readied, completed), cancelIt, nil, ErrNotOpen},
		{"B8 cancelled rejected", events(placed, rejected), cancelIt, nil, ErrNotOpen},
		{"B8 cancelled expired", events(placed, expired), cancelIt, nil, ErrNotOpen},
		{"nothing cancelled", nil, cancelIt, nil, ErrUnknown},

		{"undone", events(placed, cancelling), finish, canceled, nil},
		{"undone twice", events(placed, cancelling, canceled), finish, nil, nil},
		{"undone without a cancel", events(placed), finish, nil, ErrNotOpen},

		{"expired", events(placed, reserved), expireIt, expired, nil},
		{"expired backorder", events(patient, backordered), expireIt, expired, nil},
		{"expired after approval", events(placed, reserved, approved), expireIt, nil, nil},
		{"expired twice", events(placed, expired), expireIt, nil, nil},
		{"nothing expired", nil, expireIt, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := decide(t, c.given, c.when)
			switch {
			case c.refused != nil:
				got.ThenRefused(c.refused.Code)
			case c.then != nil:
				got.Then(c.then)
			default:
				got.ThenNothing()
			}
		})
	}
}

// The life of an order after its approval: what the depot and payments say, in whatever order it comes.
func TestDecisionsAfterTheApproval(t *testing.T) {
	t.Parallel()
	pickIt, readyIt, handOver := command.PickOrder{Order: "o1"}, command.ReadyOrder{Order: "o1"}, command.HandOverOrder{Order: "o1"}
	payIt := command.PayOrder{Order: "o1", Amount: eur(4000)}
	shortIt := command.ShortenOrder{Order: "o1", Stop: 2, SKU: "ink", Missing: 1}
	noneIt := command.ReadyOrder{Order: "o1", Missing: noInk.Missing}
	expireIt := command.ExpireUncollectedOrder{Order: "o1"}
	choose := func(choice mall.WhenShort, substitutes ...mall.Item) command.DecideShort {
		return command.DecideShort{Order: "o1", Choice: choice, Substitutes: substitutes}
	}
	gel := mall.Item{Product: "p3", SKU: "gel", Name: "Gel", Price: eur(400), Quantity: 1}
	dear := gel
	dear.Price = eur(501)
	withGel := withoutInk
	withGel.Choice, withGel.Substitutes, withGel.Total = mall.ShortSubstitute, []mall.Item{gel}, eur(3900)
	cheaper := event.OrderReadied{Order: "o1", Customer: "c1", Total: eur(3500), Until: kept}
	short := after(fetched, noInk)
	because := event.OrderCancelling{Order: "o1", Customer: "c1", Reason: mall.ReasonShort}
	preferred := func(choice mall.WhenShort) []backbone.Event {
		return events(preferring(choice), reserved, approved, picking)
	}
	noInkBut := func(choice mall.WhenShort) event.OrderShort {
		e := noInk
		e.WhenShort = choice
		return e
	}
	all := event.OrderShort{Order: "o1", Customer: "c1", Missing: mall.Lines(items), WhenShort: mall.ShortRest}
	free := placed
	free.Items, free.Total = []mall.Item{{Product: "g", SKU: "gift", Name: "Gift", Price: eur(0), Quantity: 1}}, eur(0)

	for _, c := range []struct {
		name    string
		given   []backbone.Event
		when    backbone.Command
		then    []backbone.Event
		refused *backbone.Refusal
	}{
		{"picked", events(placed, reserved, approved), pickIt, events(picking), nil},
		{"picked twice", fetched, pickIt, nil, nil},
		{"picked before it is approved", events(placed), pickIt, nil, nil},
		{"picked when it is cancelled", after(fetched, cancelling), pickIt, nil, nil},
		{"nothing picked", nil, pickIt, nil, ErrUnknown},

		{"ready", fetched, readyIt, events(readied), nil},
		{"ready unpicked", events(placed, reserved, approved), readyIt, events(picking, readied), nil},
		{"ready twice", after(fetched, readied), readyIt, nil, nil},
		{"ready when it is cancelled", after(fetched, cancelling), readyIt, nil, nil},
		{"ready before it is approved", events(placed, reserved), readyIt, nil, ErrNotOpen},
		{"ready and free", events(free, reserved, approved, picking), readyIt, events(
			event.OrderReadied{Order: "o1", Customer: "c1", Total: eur(0), Until: kept}, event.OrderPaid{Order: "o1", Customer: "c1", Amount: eur(0)}), nil},

		{"short", fetched, shortIt, events(noInk), nil},
		{"short unpicked", events(placed, reserved, approved), shortIt, events(picking, noInk), nil},
		{"short by more than there was", fetched, command.ShortenOrder{Order: "o1", Stop: 2, SKU: "ink", Missing: 9}, events(
			event.OrderShort{Order: "o1", Customer: "c1", Missing: []mall.Line{{SKU: "ink", Quantity: 2}}}), nil},
		{"short of what was never wanted", fetched, command.ShortenOrder{Order: "o1", Stop: 2, SKU: "gel", Missing: 1}, nil, nil},
		{"short when it is cancelled", after(fetched, cancelling), shortIt, nil, nil},
		{"short after it is ready", after(fetched, readied), shortIt, nil, nil},
		{"short and the rest is wanted", preferred(mall.ShortRest), shortIt, events(noInkBut(mall.ShortRest), withoutInk), nil},
		{"short and nothing is wanted", preferred(mall.ShortCancel), shortIt, events(noInkBut(mall.ShortCancel), because), nil},
		{"short and a clerk chooses", preferred(mall.ShortSubstitute), shortIt, events(noInkBut(mall.ShortSubstitute)), nil},
		{"short of everything", preferred(mall.ShortRest), command.ReadyOrder{Order: "o1", Missing: mall.Lines(items)}, events(all, because), nil},

		{"ready while short", short, noneIt, events(GoodsArrived{Order: "o1"}), nil},
		{"ready while short, twice", after(short, GoodsArrived{Order: "o1"}), noneIt, nil, nil},
		{"ready tells of the shortage first", fetched, noneIt, events(noInk, GoodsArrived{Order: "o1"}), nil},
		{"the shortage is told late", after(fetched, noInk, GoodsArrived{Order: "o1"}), shortIt, nil, nil},
		{"ready tells what was preferred", preferred(mall.ShortRest), noneIt, events(noInkBut(mall.ShortRest), withoutInk, cheaper), nil},
		{"ready tells what is known", after(short, withoutInk), noneIt, events(cheaper), nil},

		{"the rest", short, choose(mall.ShortRest), events(withoutInk), nil},
		{"the rest, of what has arrived", after(short, GoodsArrived{Order: "o1"}), choose(mall.ShortRest), events(withoutInk, cheaper), nil},
		{"a substitute", short, choose(mall.ShortSubstitute, gel), events(withGel), nil},
		{"a dear substitute", short, choose(mall.ShortSubstitute, dear), nil, ErrTooDear},
		{"nothing", short, choose(mall.ShortCancel), events(because), nil},
		{"nothing, twice", after(short, because), choose(mall.ShortCancel), nil, nil},
		{"a choice without a question", fetched, choose(mall.ShortRest), nil, ErrNotOpen},
		{"a choice for nothing", nil, choose(mall.ShortRest), nil, ErrUnknown},

		{"B4 paid before all is in", fetched, payIt, events(paid), nil},
		{"B4 paid while short", short, payIt, events(paid), nil},
		{"B4 paid after all is in", after(fetched, readied), payIt, events(paid), nil},
		{"B4 paid before it is approved", events(placed), payIt, events(paid), nil},
		{"B4 paid twice", after(fetched, paid), payIt, nil, nil},
		{"B4 paid when it is cancelled", after(fetched, cancelling), payIt, nil, nil},
		{"B4 nothing paid", nil, payIt, nil, ErrUnknown},
		{"B4 handed over", after(fetched, readied, paid), handOver, events(collected, completed), nil},
		{"B4 handed over, paid early", after(fetched, paid, readied), handOver, events(collected, completed), nil},
		{"B4 handed over unpaid", after(fetched, readied), handOver, nil, ErrNotPaid},
		{"B4 handed over unready", after(fetched, paid), handOver, nil, ErrNotReady},
		{"B4 handed over while short", after(short, paid), handOver, nil, ErrNotReady},
		{"B4 handed over twice", after(fetched, readied, paid, collected, completed), handOver, nil, nil},
		{"B4 handed over when it is cancelled", after(fetched, readied, paid, cancelling), handOver, nil, ErrNotOpen},
		{"B4 handed over with a substitute", after(short, withGel, paid, event.OrderReadied{Order: "o1", Customer: "c1", Total: eur(3900), Until: kept}), handOver, events(
			event.OrderCollected{Order: "o1", Customer: "c1", Lines: mall.Lines(items), Missing: noInk.Missing, Also: []mall.Line{{SKU: "gel", Quantity: 1}}},
			event.OrderCompleted{Order: "o1", Customer: "c1", Total: eur(3900)}), nil},

		{"nobody came", after(fetched, readied), expireIt, events(expired), nil},
		{"nobody came, paid", after(fetched, readied, paid), expireIt, events(expired), nil},
		{"somebody came", after(fetched, readied, paid, collected, completed), expireIt, nil, nil},
		{"nobody came, nothing there", fetched, expireIt, nil, nil},
		{"B8 cancelled while short", short, command.CancelOrder{Order: "o1", Reason: "changed my mind"}, events(cancelling), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := decide(t, c.given, c.when)
			switch {
			case c.refused != nil:
				got.ThenRefused(c.refused.Code)
			case c.then != nil:
				got.Then(c.then...)
			default:
				got.ThenNothing()
			}
		})
	}
}

func decide(t testing.TB, given []backbone.Event, c backbone.Command) *backbonetest.Outcome {
	t.Helper()
	return backbonetest.Given(t, Service(Config{}), given...).At(now).When(c)
}

// E3: whoever repeats an order id learns whether it is the same order.
func TestE3_ExistingTellsWhetherItIsTheSame(t *testing.T) {
	t.Parallel()
	renamed, other, more := ordered, ordered, ordered
	renamed.Message = "m2"
	renamed.Items = append([]mall.Item(nil), items...)
	renamed.Items[0].Name = "Quill"
	other.Customer = "c2"
	more.Items = append([]mall.Item(nil), items...)
	more.Items[1].Quantity++
	for _, c := range []struct {
		when command.PlaceOrder
		want Existing
	}{
		{ordered, Existing{Same: true, Status: "RESERVED"}},
		{renamed, Existing{Same: true, Status: "RESERVED"}},
		{other, Existing{Status: "RESERVED"}},
		{more, Existing{Status: "RESERVED"}},
	} {
		refusal := decide(t, events(placed, reserved), c.when).Refusal()
		var got Existing
		if refusal == nil || json.Unmarshal(refusal.Data, &got) != nil || got != c.want {
			t.Errorf("%+v: %v, want %+v", got, refusal, c.want)
		}
	}
}

func TestTransitionsAreAsPrinted(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for _, s := range transitions {
		from := string(s.from)
		if s.from == Unknown {
			from = "-"
		}
		fmt.Fprintf(&b, "%-12s %-20s -> %s\n", from, strings.TrimSuffix(strings.TrimPrefix(s.on, "souk.orders."), ".v1"), s.to)
	}
	golden(t, "transitions.txt", b.Bytes())
}

// Nothing follows a terminal status, and every status that is not terminal has a way out.
func TestTerminal(t *testing.T) {
	t.Parallel()
	for _, s := range []Status{Pending, Backordered, Approved, Picking, Short, Ready, Completed, Rejected, Expired, Cancelling, Canceled} {
		if s.Terminal() != (len(steps[s]) == 0) {
			t.Errorf("%s: terminal %v, %d ways out", s, s.Terminal(), len(steps[s]))
		}
	}
}

// A version of the checkout is never changed once orders have begun it.
func TestCheckoutIsAsPrinted(t *testing.T) {
	t.Parallel()
	for name, saga := range map[string]*backbone.Saga[purchase]{"checkout.json": checkout, "checkout.2.json": checkoutWithDepot} {
		table, err := json.MarshalIndent(saga.Table(), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, append(table, '\n'))
	}
}

// An event advances the step that has the number of the newest version's; running sagas of an older one rely on it.
func TestStepsThatEventsAdvanceStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	at := func(s *backbone.Saga[purchase]) int {
		return slices.IndexFunc(s.Steps, func(s backbone.Step[purchase]) bool { return s.Name == reserveTheStock })
	}
	if at(checkout) != at(checkoutWithDepot) {
		t.Errorf("%q is step %d, and was %d", reserveTheStock, at(checkoutWithDepot), at(checkout))
	}
}

func TestRejection(t *testing.T) {
	t.Parallel()
	short := event.StockRejected{Order: "o1", Location: "main", SKU: "pen", Wanted: 3, Available: 2}
	for _, c := range []struct {
		step string
		r    *backbone.Refusal
		want command.RejectOrder
	}{
		{authorizeCustomer, backbone.Refuse("customer_disabled", ""), command.RejectOrder{Order: "o1", Reason: mall.ReasonCustomerRefused}},
		{createList, backbone.Refuse("store_unknown", ""), command.RejectOrder{Order: "o1", Reason: "store_unknown"}},
		{confirmPayment, backbone.Refuse("payment_used", ""), command.RejectOrder{Order: "o1", Reason: mall.ReasonPaymentRefused}},
		{
			reserveTheStock, backbone.Refuse("insufficient_stock", "").With(short),
			command.RejectOrder{Order: "o1", Reason: mall.ReasonOutOfStock, SKU: "pen", Wanted: 3, Available: 2},
		},
		{reserveTheStock, backbone.Refuse("reservation_over", ""), command.RejectOrder{Order: "o1", Reason: "reservation_over"}},
		{"approve", backbone.Refuse("aborted", ""), command.RejectOrder{Order: "o1", Reason: "aborted"}},
	} {
		got := rejection(purchase{Order: "o1"}, c.step, *c.r)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.step, got, c.want)
		}
		if err := c.want.Validate(); err != nil {
			t.Errorf("%s: %v", c.step, err)
		}
	}
}

// What the saga sends is what the services take.
func TestCheckoutSendsValidCommands(t *testing.T) {
	t.Parallel()
	p := purchase{Order: "o1", Customer: "c1", Lines: mall.Lines(items), Total: eur(4000), Payment: "p1", Expires: expires, Stops: mall.Stops(items)}
	for _, s := range slices.Concat(checkout.Steps, checkoutWithDepot.Steps) {
		for _, make := range []func(purchase) backbone.Command{s.Do, s.Undo, s.Local} {
			if make == nil {
				continue
			}
			if c, ok := make(p).(command.Command); !ok || c.Validate() != nil {
				t.Errorf("%s: %+v", s.Name, make(p))
			}
		}
	}
	_, recorded, progress := checkout.Steps[1].Then(p, backbone.Answer{Refs: []backbone.AppendedRef{{Type: event.StockReservedV1, ID: "e1"}}})
	want := []backbone.Command{command.ReserveOrderStock{Order: "o1", Lines: p.Lines, InventoryEvent: "e1"}}
	if progress != backbone.Next || !reflect.DeepEqual(recorded, want) {
		t.Errorf("reserved: %+v, %v", recorded, progress)
	}
	if _, recorded, progress := checkout.Steps[1].Then(p, backbone.Answer{}); progress != backbone.Stay || recorded != nil {
		t.Errorf("waiting: %+v, %v", recorded, progress)
	}
	if checkout.Steps[2].When(purchase{}) || !checkout.Steps[2].When(p) {
		t.Error("a payment is confirmed when there is one")
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	cancelTimer := []backbone.Effect{backbone.CancelTimer("expire/o1")}
	for _, c := range []struct {
		name      string
		got, want []backbone.Effect
	}{
		{
			"placed", expireWhenPlaced(placed, backbone.Meta{}),
			[]backbone.Effect{backbone.SetTimer("expire/o1", time.UnixMicro(expires).UTC(), command.ExpireOrder{Order: "o1"})},
		},
		{"placed, to be paid at the depot", earmarkWhenPlaced(placed, backbone.Meta{}), nil},
		{
			"placed, with money that was set aside", earmarkWhenPlaced(event.OrderPlaced{Order: "o1", Customer: "c1", Payment: "p1", Expires: expires}, backbone.Meta{}),
			[]backbone.Effect{backbone.Send(command.EarmarkPayment{Payment: "p1", Order: "o1", Customer: "c1", Expires: expires})},
		},
		{"approved", keepWhenApproved(approved, backbone.Meta{}), cancelTimer},
		{"rejected", keepWhenRejected(rejected, backbone.Meta{}), cancelTimer},
		{"cancelling", keepWhenCancelling(cancelling, backbone.Meta{}), []backbone.Effect{backbone.CancelTimer("expire/o1"), backbone.CancelTimer("collect/o1")}},
		{
			"ready", expireWhenReady(time.Hour)(event.OrderReadied{Order: "o1", Customer: "c1", Total: eur(4000)}, backbone.Meta{Time: now}),
			[]backbone.Effect{backbone.SetTimer("collect/o1", now.Add(time.Hour), command.ExpireUncollectedOrder{Order: "o1"})},
		},
		{
			"ready, and says until when", expireWhenReady(time.Hour)(readied, backbone.Meta{Time: now}),
			[]backbone.Effect{backbone.SetTimer("collect/o1", now.Add(48*time.Hour), command.ExpireUncollectedOrder{Order: "o1"})},
		},
		{"completed", keepWhenCompleted(completed, backbone.Meta{}), []backbone.Effect{backbone.CancelTimer("collect/o1")}},
		{
			"collected", issueWhenCollected(collected, backbone.Meta{}),
			[]backbone.Effect{backbone.Send(command.IssueReservedStock{Order: "o1", Location: "main", Lines: mall.Lines(items)})},
		},
		{
			"checked out", placeWhenCheckedOut(event.BasketCheckedOut{Basket: "b1", Order: "o1", Customer: "c1", Payment: "p1", WaitForStock: true, WhenShort: mall.ShortRest, Items: items}, backbone.Meta{}),
			[]backbone.Effect{backbone.Send(command.PlaceOrder{Order: "o1", Customer: "c1", Items: items, Payment: "p1", WaitForStock: true, Basket: "b1", WhenShort: mall.ShortRest})},
		},
		{
			"assigned", pickWhenAssigned(event.ShoppingListAssigned{List: "o1", Order: "o1"}, backbone.Meta{}),
			[]backbone.Effect{backbone.Send(command.PickOrder{Order: "o1"})},
		},
		{
			"stop short", shortenWhenShort(event.StopShort{Order: "o1", Stop: 2, SKU: "ink", Wanted: 2, Picked: 1}, backbone.Meta{}),
			[]backbone.Effect{backbone.Send(command.ShortenOrder{Order: "o1", Stop: 2, SKU: "ink", Missing: 1})},
		},
		{
			"list completed", readyWhenListCompleted(event.ShoppingListCompleted{Order: "o1", Missing: noInk.Missing}, backbone.Meta{}),
			[]backbone.Effect{backbone.Send(command.ReadyOrder{Order: "o1", Missing: noInk.Missing})},
		},
		{
			"invoice paid", payWhenInvoicePaid(event.InvoicePaid{Invoice: "o1", Order: "o1", Amount: eur(4000)}, backbone.Meta{}),
			[]backbone.Effect{backbone.Send(command.PayOrder{Order: "o1", Amount: eur(4000)})},
		},
		{
			"captured", payWhenCaptured(event.PaymentCaptured{Payment: "p1", Order: "o1", Amount: eur(4000)}, backbone.Meta{}),
			[]backbone.Effect{backbone.Send(command.PayOrder{Order: "o1", Amount: eur(4000), Payment: "p1"})},
		},
		{"captured for a visit", payWhenCaptured(event.PaymentCaptured{Payment: "p1", Amount: eur(4000)}, backbone.Meta{}), nil},
		{
			"short", backorderWhenShort(event.StockRejected{Order: "o1", SKU: "pen", Wanted: 3, Available: 2}, backbone.Meta{}),
			[]backbone.Effect{backbone.Send(command.BackorderOrder{Order: "o1", SKU: "pen", Wanted: 3, Available: 2})},
		},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, c.got, c.want)
		}
	}
}

// Whatever arrives in whatever order: every event is a step of the table, there is one end, nothing comes after it, and
// what was approved had its stock.
func TestLifeIsLegal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		place := ordered
		place.WaitForStock = rapid.Bool().Draw(rt, "wait")
		place.WhenShort = rapid.SampledFrom([]mall.WhenShort{"", mall.ShortAsk, mall.ShortRest, mall.ShortSubstitute, mall.ShortCancel}).Draw(rt, "when short")
		history := []backbone.Event{}
		for range rapid.IntRange(1, 40).Draw(rt, "commands") {
			c := rapid.SampledFrom([]backbone.Command{
				place,
				command.ReserveOrderStock{Order: "o1", Lines: mall.Lines(items), InventoryEvent: "e1"},
				command.BackorderOrder{Order: "o1", SKU: "pen", Wanted: 3, Available: 2},
				command.ApproveOrder{Order: "o1"},
				command.RejectOrder{Order: "o1", Reason: "x"},
				command.CancelOrder{Order: "o1", Reason: "x"},
				command.FinishCancelOrder{Order: "o1"},
				command.ExpireOrder{Order: "o1"},
				command.PickOrder{Order: "o1"},
				command.ShortenOrder{Order: "o1", Stop: 1, SKU: "pen", Missing: rapid.Int64Range(1, 3).Draw(rt, "missing")},
				command.ReadyOrder{Order: "o1", Missing: rapid.SampledFrom([][]mall.Line{nil, {{SKU: "ink", Quantity: 2}}, mall.Lines(items)}).Draw(rt, "all that is missing")},
				command.DecideShort{Order: "o1", Choice: mall.ShortRest},
				command.DecideShort{Order: "o1", Choice: mall.ShortSubstitute, Substitutes: []mall.Item{{Product: "g", SKU: "gel", Price: eur(rapid.SampledFrom([]int64{0, 100, 4000}).Draw(rt, "price")), Quantity: 1}}},
				command.PayOrder{Order: "o1", Amount: eur(4000)},
				command.HandOverOrder{Order: "o1"},
				command.ExpireUncollectedOrder{Order: "o1"},
			}).Draw(rt, "command")
			before := orders.Fold(history...)
			events := decide(t, history, c).Events()
			now := before
			for _, e := range events {
				if now.Status.Terminal() || !now.Status.allows(e.EventType()) {
					rt.Fatalf("%s after %s", e.EventType(), now.Status)
				}
				if e.EventType() == event.OrderApprovedV1 && !now.Reserved {
					rt.Fatal("approved without stock")
				}
				now = evolve(now, e)
				if now.Status == Completed && (!now.Paid || !now.Collected) {
					rt.Fatalf("completed: %+v", now)
				}
				if now.Status == Ready && len(now.Undecided) > 0 {
					rt.Fatalf("ready while it is not decided what comes of %v", now.Undecided)
				}
				if dearer, err := now.Total.Cmp(before.Total); before.Status != Unknown && (err != nil || dearer > 0) {
					rt.Fatalf("%v became %v: %v", before.Total, now.Total, err)
				}
			}
			history = append(history, events...)
			// Live equals replayed.
			live := before
			for _, e := range events {
				live = evolve(live, e)
			}
			if replayed := orders.Fold(history...); !reflect.DeepEqual(live, replayed) {
				rt.Fatalf("live %+v, replayed %+v", live, replayed)
			}
		}
	})
}

func TestFrozenSamples(t *testing.T) {
	t.Parallel()
	backbonetest.Frozen(t, GoodsArrived{Order: "ORDER_001"})
}

func encoded(e backbone.Event) []byte {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return data
}

func logOf(list ...backbone.Event) []*backbone.Message {
	var log []*backbone.Message
	for i, e := range list {
		log = append(log, &backbone.Message{
			Meta: backbone.Meta{ID: fmt.Sprintf("event-%d", i+1), Time: now.Add(time.Duration(i) * time.Second), Causation: "command-1"},
			Type: e.EventType(), Stream: "order/o1", Version: int64(i + 1), Data: encoded(e),
		})
	}
	return log
}

// E4: what a customer hears of an event, in order and without holes.
func TestE4_EntriesOfAnEvent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		e    backbone.Event
		want []Part
	}{
		{placed, []Part{Asked, Happened}},
		{reserved, []Part{Stocked, Happened}},
		{approved, []Part{Happened}},
		{rejected, []Part{Stocked, Happened}},
		{event.OrderRejected{Order: "o1", Customer: "c1", Reason: mall.ReasonCustomerRefused}, []Part{Happened}},
		{canceled, []Part{Happened}},
	} {
		m := logOf(c.e)[0]
		got := entriesOf(m, feedRow{last: 7, entries: int64(entriesIn(c.e)), order: "o1", event: m.ID})
		var parts []Part
		for i, e := range got {
			parts = append(parts, e.Part)
			if want := 7 - int64(len(got)) + 1 + int64(i); e.N != want {
				t.Errorf("%s: entry %d has number %d, want %d", m.Type, i, e.N, want)
			}
		}
		if !reflect.DeepEqual(parts, c.want) {
			t.Errorf("%s: parts %v, want %v", m.Type, parts, c.want)
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	got := stepsOf(logOf(patient, backordered, reserved, approved))
	want := []Step{{"PENDING", now}, {"BACKORDERED", now.Add(time.Second)}, {"RESERVED", now.Add(2 * time.Second)}, {"APPROVED", now.Add(3 * time.Second)}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
