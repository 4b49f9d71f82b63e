package demo

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"example.org/souk/backbone"
	"example.org/souk/mall/event"
	"example.org/souk/mall/inventory"
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
