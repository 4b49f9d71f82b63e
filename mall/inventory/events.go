package inventory

import "example.org/souk/mall"

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

// StockAwaited says, on the stream of a SKU, that the order found too little of it and waits.
type StockAwaited struct {
	Order string      `json:"order"`
	Lines []mall.Line `json:"lines"` // all that the order needs
}

// StockNotAwaited says that the order stopped waiting without goods.
type StockNotAwaited struct {
	Order string `json:"order"`
}

// BackordersDue names those who wait for a SKU and could have it now.
type BackordersDue struct {
	SKU      string      `json:"sku"`
	Location string      `json:"location"`
	Orders   []Backorder `json:"orders"`
}

// StockRequested says that the order waits for goods until Expires.
type StockRequested struct {
	Order    string      `json:"order"`
	Location string      `json:"location"`
	Lines    []mall.Line `json:"lines"`
	Expires  int64       `json:"expires"`
}

// ReservationClosed says that nothing is, and nothing will be, held for the order.
type ReservationClosed struct {
	Order  string `json:"order"`
	Reason string `json:"reason"`
}

// EventType returns the wire name.
func (StockShifted) EventType() string { return "souk.inventory.StockShifted.v1" }

// EventType returns the wire name.
func (ThresholdSet) EventType() string { return "souk.inventory.ThresholdSet.v1" }

// EventType returns the wire name.
func (StockAwaited) EventType() string { return "souk.inventory.StockAwaited.v1" }

// EventType returns the wire name.
func (StockNotAwaited) EventType() string { return "souk.inventory.StockNotAwaited.v1" }

// EventType returns the wire name.
func (BackordersDue) EventType() string { return "souk.inventory.BackordersDue.v1" }

// EventType returns the wire name.
func (StockRequested) EventType() string { return "souk.inventory.StockRequested.v1" }

// EventType returns the wire name.
func (ReservationClosed) EventType() string { return "souk.inventory.ReservationClosed.v1" }
