package orders

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
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
	readied     = event.OrderReadied{Order: "o1", Customer: "c1", Total: eur(4000)}
	completed   = event.OrderCompleted{Order: "o1", Customer: "c1", Total: eur(4000)}
)

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
	for _, s := range []Status{Pending, Backordered, Approved, Picking, Ready, Completed, Rejected, Expired, Cancelling, Canceled} {
		if s.Terminal() != (len(steps[s]) == 0) {
			t.Errorf("%s: terminal %v, %d ways out", s, s.Terminal(), len(steps[s]))
		}
	}
}

func TestCheckoutIsAsPrinted(t *testing.T) {
	t.Parallel()
	table, err := json.MarshalIndent(checkout.Table(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "checkout.json", append(table, '\n'))
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
	p := purchase{Order: "o1", Customer: "c1", Lines: mall.Lines(items), Total: eur(4000), Payment: "p1", Expires: expires}
	for _, s := range checkout.Steps {
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
		{"approved", keepWhenApproved(approved, backbone.Meta{}), cancelTimer},
		{"rejected", keepWhenRejected(rejected, backbone.Meta{}), cancelTimer},
		{"cancelling", keepWhenCancelling(cancelling, backbone.Meta{}), cancelTimer},
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
			}).Draw(rt, "command")
			before := orders.Fold(history...)
			events := decide(t, history, c).Events()
			for _, e := range events {
				if before.Status.Terminal() || !before.Status.allows(e.EventType()) {
					rt.Fatalf("%s after %s", e.EventType(), before.Status)
				}
				if e.EventType() == event.OrderApprovedV1 && !before.Reserved {
					rt.Fatal("approved without stock")
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
