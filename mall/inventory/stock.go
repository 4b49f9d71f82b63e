package inventory

import (
	"slices"

	"example.org/souk/backbone"
	"example.org/souk/mall"
	"example.org/souk/mall/command"
	"example.org/souk/mall/event"
)

// ErrBelowPromised refuses a correction that would leave less than what is held and committed. The goods are promised:
// somebody has to release them first.
var ErrBelowPromised = backbone.Refuse("below_promised", "less would be on hand than is held and committed")

// maxWaiting is how many orders may wait for one SKU. The next ones are refused, as without waiting.
const maxWaiting = 100

// sku is the state of one SKU at one location.
type sku struct {
	OnHand    int64
	Held      int64
	Committed int64
	Threshold int64       `json:",omitempty"` // more is ordered below it; 0: never
	Restock   int64       `json:",omitempty"` // how many more
	Stocked   bool        `json:",omitempty"` // there was ever something to run out of
	OnOrder   int64       `json:",omitempty"` // asked for, and neither come nor cancelled
	Asked     bool        `json:",omitempty"` // RestockNeeded was said and the level has not been back at the threshold
	Waiting   []Backorder `json:",omitempty"` // who found too little, in the order of asking
	Counts    int64       `json:",omitempty"` // how often it was counted
}

// level is what is compared with the threshold: what is there or will be.
func (s sku) level() int64 { return s.OnHand + s.OnOrder }

func (s sku) available() int64 { return s.OnHand - s.Held - s.Committed }

// waits reports whether the order waits for this SKU.
func (s sku) waits(order string) bool {
	return slices.ContainsFunc(s.Waiting, func(b Backorder) bool { return b.Order == order })
}

// Backorder is an order that waits for goods, with all that it needs.
type Backorder struct {
	Order string      `json:"order"`
	Lines []mall.Line `json:"lines"`
}

var stock = &backbone.Aggregate[sku]{
	Name: "stock",
	Public: []backbone.Event{
		event.StockReceived{}, event.StockAdjusted{}, event.StockDiscrepancy{}, event.InventoryUpdated{}, event.RestockNeeded{},
	},
	Private: []backbone.Event{
		StockShifted{}, StockTaken{}, ThresholdSet{}, PurchaseSettled{}, StockAwaited{}, StockNotAwaited{}, BackordersDue{}, StockCounted{},
	},
	Evolve: evolveStock,
	// The stream of a SKU that sells well has no end; its state must not be folded from the beginning.
	SnapshotEvery:  500,
	SnapshotSchema: "3",
}

func evolveStock(s sku, e backbone.Event) sku {
	switch e := e.(type) {
	case event.StockReceived:
		s.OnHand += e.Quantity
		s.Stocked = true
	case event.StockAdjusted:
		s.OnHand += e.Delta
		s.Stocked = true
	case StockTaken:
		s.OnHand -= e.Quantity
	case PurchaseSettled:
		s.OnOrder = max(0, s.OnOrder-e.Quantity)
		if e.Canceled {
			s.Asked = false // whoever takes one more asks again
		}
	case StockShifted:
		s.Held += e.Held
		s.Committed += e.Committed
		s.Waiting = without(s.Waiting, e.Order)
	case ThresholdSet:
		s.Threshold, s.Restock = e.Threshold, e.Quantity
	case StockAwaited:
		s.Waiting = append(slices.Clip(s.Waiting), Backorder(e))
	case StockNotAwaited:
		s.Waiting = without(s.Waiting, e.Order)
	case StockCounted:
		s.Counts++
	case event.RestockNeeded:
		s.OnOrder += e.Quantity
		s.Asked = true
	}
	// Goods that came by another way than the purchase, by hand say, fill the shelf as well: then nothing is counted on any more.
	if s.OnHand >= s.Threshold {
		s.OnOrder = 0
	}
	if s.level() >= s.Threshold {
		s.Asked = false
	}
	return s
}

// without returns the list less one order, and leaves the list itself alone.
func without(waiting []Backorder, order string) []Backorder {
	at := slices.IndexFunc(waiting, func(b Backorder) bool { return b.Order == order })
	if at < 0 {
		return waiting
	}
	if len(waiting) == 1 {
		return nil
	}
	return slices.Concat(waiting[:at], waiting[at+1:])
}

func receive(s sku, c command.ReceiveStock, _ backbone.Meta) ([]backbone.Event, error) {
	return s.changed(c.SKU, c.Location, event.StockReceived{SKU: c.SKU, Location: c.Location, Quantity: c.Quantity}), nil
}

func adjust(s sku, c command.AdjustStock, _ backbone.Meta) ([]backbone.Event, error) {
	if s.available()+c.Delta < 0 {
		return nil, ErrBelowPromised.With(s.levels(c.SKU, c.Location))
	}
	return s.changed(c.SKU, c.Location, event.StockAdjusted{SKU: c.SKU, Location: c.Location, Delta: c.Delta, Reason: c.Reason}), nil
}

// count sets the books right to what somebody counted, and remembers that somebody did where they were right too.
func count(s sku, c command.CountStock, m backbone.Meta) ([]backbone.Event, error) {
	counted := StockCounted{SKU: c.SKU, Location: c.Location, Counted: c.Counted}
	if c.Counted == s.OnHand {
		return []backbone.Event{counted}, nil
	}
	events, err := adjust(s, command.AdjustStock{SKU: c.SKU, Location: c.Location, Delta: c.Counted - s.OnHand, Reason: c.Reason}, m)
	if err != nil {
		return nil, err
	}
	return append(events, counted), nil
}

func setThreshold(s sku, c command.SetThreshold, _ backbone.Meta) ([]backbone.Event, error) {
	if s.Threshold == c.Threshold && s.Restock == c.Quantity {
		return nil, nil
	}
	set := ThresholdSet{SKU: c.SKU, Location: c.Location, Threshold: c.Threshold, Quantity: c.Quantity}
	return append([]backbone.Event{set}, evolveStock(s, set).restock(c.SKU, c.Location)...), nil
}

// TakeDelivery records that goods of a purchase came, by which Settled pieces less are on order. The service sends it to
// itself.
type TakeDelivery struct {
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Purchase string `json:"purchase"`
	Quantity int64  `json:"quantity"`
	Settled  int64  `json:"settled"`
}

// ForgetPurchase records that Open pieces of a purchase will not come. The service sends it to itself.
type ForgetPurchase struct {
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Purchase string `json:"purchase"`
	Open     int64  `json:"open"`
}

// CommandType returns the wire name.
func (TakeDelivery) CommandType() string { return "souk.inventory.TakeDelivery.v1" }

// Stream returns the id of the SKU at its location.
func (c TakeDelivery) Stream() string { return mall.StockID(c.SKU, c.Location) }

// CommandType returns the wire name.
func (ForgetPurchase) CommandType() string { return "souk.inventory.ForgetPurchase.v1" }

// Stream returns the id of the SKU at its location.
func (c ForgetPurchase) Stream() string { return mall.StockID(c.SKU, c.Location) }

func takeDelivery(s sku, c TakeDelivery, _ backbone.Meta) ([]backbone.Event, error) {
	settled := PurchaseSettled{Purchase: c.Purchase, Quantity: c.Settled}
	received := event.StockReceived{SKU: c.SKU, Location: c.Location, Quantity: c.Quantity}
	return append([]backbone.Event{settled}, evolveStock(s, settled).changed(c.SKU, c.Location, received)...), nil
}

func forgetPurchase(s sku, c ForgetPurchase, _ backbone.Meta) ([]backbone.Event, error) {
	return []backbone.Event{PurchaseSettled{Purchase: c.Purchase, Quantity: c.Open, Canceled: true}}, nil
}

// changed returns a change of what is on hand with what follows from it.
func (s sku) changed(name, location string, change backbone.Event) []backbone.Event {
	s = evolveStock(s, change)
	events := []backbone.Event{change, s.levels(name, location)}
	events = append(events, s.restock(name, location)...)
	return append(events, s.due(name, location)...)
}

func (s sku) levels(name, location string) event.InventoryUpdated {
	return event.InventoryUpdated{
		SKU: name, Location: location, OnHand: s.OnHand, Held: s.Held, Committed: s.Committed, Available: s.available(),
	}
}

// restock says once that what is on hand and on order fell below the threshold, and again only after it was back or a
// purchase was cancelled. What was never in stock has not fallen.
func (s sku) restock(name, location string) []backbone.Event {
	if !s.Stocked || s.Asked || s.level() >= s.Threshold {
		return nil
	}
	return []backbone.Event{event.RestockNeeded{
		SKU: name, Location: location, OnHand: s.OnHand, Threshold: s.Threshold, Quantity: s.Restock,
	}}
}

// maxDue is how many lines of waiting orders one BackordersDue carries. Those that it leaves out wait for the next one.
const maxDue = 1000

// due calls those who wait and whose line of this SKU could be served now. Whether the rest of their order is there, and
// who comes first, is decided when they are tried.
func (s sku) due(name, location string) []backbone.Event {
	var orders []Backorder
	lines := 0
	for _, b := range s.Waiting {
		if quantityOf(b.Lines, name) > s.available() {
			continue
		}
		if lines += len(b.Lines); lines > maxDue {
			break
		}
		orders = append(orders, b)
	}
	if len(orders) == 0 {
		return nil
	}
	return []backbone.Event{BackordersDue{SKU: name, Location: location, Orders: orders}}
}

func quantityOf(lines []mall.Line, sku string) int64 {
	for _, l := range lines {
		if l.SKU == sku {
			return l.Quantity
		}
	}
	return 0
}

// StockShifted says, on the stream of a SKU, that pieces went into or out of what is held or committed for an order. What
// is on hand stays.
type StockShifted struct {
	Order     string `json:"order"`
	Held      int64  `json:"held"`
	Committed int64  `json:"committed"`
}

// ThresholdSet says below which level how many pieces are ordered.
type ThresholdSet struct {
	SKU       string `json:"sku"`
	Location  string `json:"location"`
	Threshold int64  `json:"threshold"`
	Quantity  int64  `json:"quantity"`
}

// PurchaseSettled says that Quantity pieces less are on order: they came, or the purchase was cancelled.
type PurchaseSettled struct {
	Purchase string `json:"purchase"`
	Quantity int64  `json:"quantity"`
	Canceled bool   `json:"canceled,omitempty"`
}

// StockAwaited says, on the stream of a SKU, that the order found too little of it and waits.
type StockAwaited struct {
	Order string      `json:"order"`
	Lines []mall.Line `json:"lines"` // all that the order needs
}

// StockNotAwaited says that the order stopped waiting without goods.
type StockNotAwaited struct {
	Order string `json:"order"`
}

// StockCounted says that somebody counted a SKU, and that as many are on hand by the books from here on.
type StockCounted struct {
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Counted  int64  `json:"counted"`
}

// BackordersDue names those who wait for a SKU and could have it now.
type BackordersDue struct {
	SKU      string      `json:"sku"`
	Location string      `json:"location"`
	Orders   []Backorder `json:"orders"`
}

// EventType returns the wire name.
func (StockShifted) EventType() string { return "souk.inventory.StockShifted.v1" }

// EventType returns the wire name.
func (PurchaseSettled) EventType() string { return "souk.inventory.PurchaseSettled.v1" }

// EventType returns the wire name.
func (ThresholdSet) EventType() string { return "souk.inventory.ThresholdSet.v1" }

// EventType returns the wire name.
func (StockAwaited) EventType() string { return "souk.inventory.StockAwaited.v1" }

// EventType returns the wire name.
func (StockNotAwaited) EventType() string { return "souk.inventory.StockNotAwaited.v1" }

// EventType returns the wire name.
func (StockCounted) EventType() string { return "souk.inventory.StockCounted.v1" }

// EventType returns the wire name.
func (BackordersDue) EventType() string { return "souk.inventory.BackordersDue.v1" }
