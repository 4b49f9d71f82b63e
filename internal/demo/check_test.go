package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/event"
	"example.org/souk/mall/inventory"
	"example.org/souk/mall/orders"
)

// Whoever falls below a threshold asks for more once, behind the last change of a decision. The check sees who does not, and takes a decision of
// several changes for one.
func TestStockIsCheckedByDecision(t *testing.T) {
	t.Parallel()
	begin := []backbone.Event{
		inventory.ThresholdSet{SKU: "LAMP", Location: "main", Threshold: 10, Quantity: 20},
		event.StockReceived{SKU: "LAMP", Location: "main", Quantity: 12},
		event.InventoryUpdated{OnHand: 12},
		inventory.StockShifted{Order: "o", Committed: 5},
	}
	collect := []backbone.Event{ // three of the five were not found
		inventory.StockShifted{Order: "o", Committed: -5},
		event.StockDiscrepancy{SKU: "LAMP", Location: "main", Order: "o", Quantity: 3},
		event.StockAdjusted{SKU: "LAMP", Location: "main", Delta: -3},
		inventory.StockTaken{SKU: "LAMP", Location: "main", Quantity: 2},
		event.InventoryUpdated{OnHand: 7},
	}
	need := event.RestockNeeded{SKU: "LAMP", Location: "main", OnHand: 7, Threshold: 10, Quantity: 20}
	less := need
	less.Quantity = 1 // which does not reach the threshold
	one := []backbone.Event{inventory.StockTaken{SKU: "LAMP", Location: "main", Quantity: 1}, event.InventoryUpdated{OnHand: 6}}
	for name, c := range map[string]struct {
		events []backbone.Event
		wrong  string // what is told; "" for nothing
	}{
		"asked once":                         {append(collect, need), ""},
		"asked once, and one more was taken": {append(append(collect, need), one...), ""},
		"not asked":                          {append(collect, one...), "stock of LAMP--main fell below 10 and no more was asked for"},
		"not asked at the end":               {collect, "stock of LAMP--main fell below its threshold 1 times, and more was asked for 0 times"},
		"asked twice":                        {append(append(collect, less), append(one, less)...), "more of LAMP--main was asked for twice"},
		"asked without need":                 {[]backbone.Event{need}, "stock of LAMP--main fell below its threshold 0 times, and more was asked for 1 times"},
		"called off, and asked again": {
			append(append(append(collect, need), inventory.PurchaseSettled{Quantity: 20, Canceled: true}), append(one, need)...), "",
		},
		"called off, and not asked again": {
			append(append(append(collect, need), inventory.PurchaseSettled{Quantity: 20, Canceled: true}), append(one, one...)...),
			"stock of LAMP--main fell below 10 and no more was asked for",
		},
		"more promised than there is": {[]backbone.Event{inventory.StockShifted{Order: "p", Held: 8}}, "stock of LAMP--main: 12 on hand, 8 held, 5 committed at position 5"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := shelves{}
			var told []string
			tell := func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }
			for i, e := range append(append([]backbone.Event{}, begin...), c.events...) {
				data, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				at := int64(i + 1)
				if err := all.book(&backbone.Message{Type: e.EventType(), Stream: "stock/LAMP--main", Version: at, Position: at, Data: data}, tell); err != nil {
					t.Fatal(err)
				}
			}
			all.sums(tell)
			if c.wrong == "" && len(told) > 0 || !strings.Contains(strings.Join(told, "\n"), c.wrong) {
				t.Fatalf("told: %q", told)
			}
		})
	}
}

// What is asked, taken and given back for an order is as its status wants it. Red when a status is content with another sum, or not with its own.
func TestMoneyIsAsTheStatusWants(t *testing.T) {
	t.Parallel()
	asks, paid, gone := invoice{1, "open", 10}, invoice{1, "paid", 10}, invoice{1, "canceled", 0}
	for name, c := range map[string]struct {
		status  orders.Status
		taken   int64
		back    int64
		invoice invoice
		right   bool
	}{
		"ready and asked for":                      {orders.Ready, 0, 0, asks, true},
		"ready and captured":                       {orders.Ready, 10, 0, invoice{}, true},
		"ready, and nothing is asked":              {orders.Ready, 0, 0, invoice{}, false},
		"ready, and the invoice was called off":    {orders.Ready, 0, 0, gone, false},
		"ready, and too much is asked":             {orders.Ready, 0, 0, invoice{1, "open", 11}, false},
		"ready, captured, and asked for":           {orders.Ready, 10, 0, asks, false},
		"completed and paid":                       {orders.Completed, 10, 0, paid, true},
		"completed and captured":                   {orders.Completed, 10, 0, invoice{}, true},
		"completed, paid before goods were missed": {orders.Completed, 12, 2, invoice{1, "paid", 12}, true},
		"completed, and a part given back by hand": {orders.Completed, 10, 3, paid, true},
		"completed, and too much was paid":         {orders.Completed, 12, 1, invoice{1, "paid", 12}, false},
		"completed, and too little was paid":       {orders.Completed, 9, 0, paid, false},
		"completed, and asked for":                 {orders.Completed, 0, 0, asks, false},
		"completed, and more given back":           {orders.Completed, 10, 11, paid, false},
		"cancelled":                                {orders.Canceled, 0, 0, gone, true},
		"cancelled, and all given back":            {orders.Canceled, 10, 10, paid, true},
		"cancelled, and a part is kept":            {orders.Canceled, 10, 9, paid, false},
		"expired, and still asked for":             {orders.Expired, 0, 0, asks, false},
		"rejected":                                 {orders.Rejected, 0, 0, invoice{}, true},
		"short, and nothing is asked yet":          {orders.Short, 0, 0, invoice{}, true},
	} {
		if got := squared(c.status, &deal{total: 10, taken: c.taken, back: c.back}, c.invoice); got != c.right {
			t.Errorf("%s: is right: %v", name, got)
		}
	}
}

// An open order has of the stock what it was promised, and one that ended nothing. Red when an ended order may hold goods, or an open one need not.
func TestStockIsAsTheStatusWants(t *testing.T) {
	t.Parallel()
	held, committed := share{Held: 3}, share{Committed: 3}
	for _, c := range []struct {
		order orders.Order
		want  share
	}{
		{orders.Order{Status: orders.Backordered}, share{}},
		{orders.Order{Status: orders.Backordered, Reserved: true}, held},
		{orders.Order{Status: orders.Pending, Reserved: true}, held},
		{orders.Order{Status: orders.Approved, Reserved: true}, committed},
		{orders.Order{Status: orders.Picking, Reserved: true}, committed},
		{orders.Order{Status: orders.Short, Reserved: true}, committed},
		{orders.Order{Status: orders.Ready, Reserved: true}, committed},
		{orders.Order{Status: orders.Completed, Reserved: true}, share{}},
		{orders.Order{Status: orders.Canceled, Reserved: true}, share{}},
		{orders.Order{Status: orders.Expired, Reserved: true}, share{}},
		{orders.Order{Status: orders.Rejected}, share{}},
	} {
		if got := mustHave(c.order, 3); got != c.want {
			t.Errorf("%s must have %+v", c.order.Shown(), got)
		}
	}
}

// What a payment paid of an invoice that is not bound to its order counts as taken, and the payment must have it. Red when such invoices are not
// reckoned, and when it is not asked what the payment has.
func TestInvoicesPaidByPaymentsAreReckoned(t *testing.T) {
	t.Parallel()
	eur := func(n int64) mall.Money { return mall.Money{Amount: n, Currency: "EUR"} }
	begin := []backbone.Event{
		event.OrderPlaced{Order: "o", Total: eur(10)},
		event.InvoiceCreated{Invoice: "o", Order: "o", Amount: eur(10)},
		event.PaymentAuthorized{Payment: "p", Amount: eur(10)},
	}
	bound, paid := event.PaymentConfirmed{Payment: "p", Order: "o"}, event.InvoicePaid{Invoice: "o", Order: "o", Amount: eur(10), Payment: "p"}
	says := event.OrderPaid{Order: "o", Amount: eur(10), Payment: "p"}
	captured := func(order string, n int64) event.PaymentCaptured {
		return event.PaymentCaptured{Payment: "p", Order: order, Amount: eur(n)}
	}
	returned := []backbone.Event{event.InvoiceRefunded{Invoice: "o", Order: "o", Amount: eur(10), Payment: "p"}, event.PaymentRefunded{Payment: "p", Amount: eur(10)}}
	for name, c := range map[string]struct {
		events []backbone.Event
		status orders.Status
		wrong  string // what is told; "" for nothing
	}{
		"captured before":                 {[]backbone.Event{captured("", 10), paid, says}, orders.Completed, ""},
		"the order's own":                 {[]backbone.Event{bound, captured("o", 10), paid, says}, orders.Completed, ""},
		"undone, and given back":          {append([]backbone.Event{captured("", 10), paid}, returned...), orders.Canceled, ""},
		"undone, and kept":                {[]backbone.Event{captured("", 10), paid}, orders.Canceled, "10 was taken, 0 given back"},
		"undone, and only said":           {[]backbone.Event{captured("", 10), paid, returned[0]}, orders.Canceled, "was to give 10 of it back"},
		"never captured":                  {[]backbone.Event{paid, says}, orders.Completed, "paid invoices over 10"},
		"captured too little":             {[]backbone.Event{captured("", 9), paid, says}, orders.Completed, "paid invoices over 10"},
		"another order's":                 {[]backbone.Event{event.PaymentConfirmed{Payment: "p", Order: "q"}, captured("q", 10), paid, says}, orders.Completed, "paid invoices over 10"},
		"the order says another sum":      {[]backbone.Event{captured("", 10), paid, event.OrderPaid{Order: "o", Amount: eur(9)}}, orders.Completed, "says that 9 was paid, and 10 was taken"},
		"completed, and nothing was paid": {[]backbone.Event{captured("", 10)}, orders.Completed, `is "open"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLedger()
			for _, e := range append(append([]backbone.Event{}, begin...), c.events...) {
				data, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				m := &backbone.Message{Type: e.EventType(), Data: data}
				if err := errors.Join(l.takeOrders(m), l.takePayments(m)); err != nil {
					t.Fatal(err)
				}
			}
			check := &checker{books: l, state: map[string]orders.Order{"o": {Status: c.status}, "q": {Status: orders.Ready}}}
			l.orders["q"], l.invoices["q"] = &deal{taken: 10, paid: 10, total: 10}, &invoice{1, "paid", 10}
			if err := check.invoices(t.Context()); err != nil {
				t.Fatal(err)
			}
			if told := strings.Join(check.found.Broken, "\n"); c.wrong == "" && told != "" || !strings.Contains(told, c.wrong) {
				t.Fatalf("told: %q", told)
			}
		})
	}
}
