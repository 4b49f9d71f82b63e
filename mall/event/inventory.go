package event

import "example.org/souk/mall"

// StockReceived says that goods came in.
type StockReceived struct {
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Quantity int64  `json:"quantity"`
}

// StockReserved says that all lines are held for the order until Expires, unless committed or released before.
type StockReserved struct {
	Order    string      `json:"order"`
	Location string      `json:"location"`
	Lines    []mall.Line `json:"lines"` // one a SKU
	Expires  int64       `json:"expires"`
}

// StockRejected says that nothing is held for the order, since of SKU, the first that was short, only Available pieces
// were to be had.
type StockRejected struct {
	Order     string `json:"order"`
	Location  string `json:"location"`
	SKU       string `json:"sku"`
	Wanted    int64  `json:"wanted"`
	Available int64  `json:"available"`
}

// StockCommitted says that what was held for the order is now promised to it for good.
type StockCommitted struct {
	Order    string      `json:"order"`
	Location string      `json:"location"`
	Lines    []mall.Line `json:"lines"`
}

// StockReleased says that what was held or committed for the order is available again.
type StockReleased struct {
	Order    string      `json:"order"`
	Location string      `json:"location"`
	Lines    []mall.Line `json:"lines"`
	Reason   string      `json:"reason"`
}

// ReservationExpired says that the order's time to hold stock is over and the lines are available again.
type ReservationExpired struct {
	Order    string      `json:"order"`
	Location string      `json:"location"`
	Lines    []mall.Line `json:"lines"`
}

// StockIssued says that goods left the building: those of a collected order, or those that a visitor walked out with. The one is named, the
// other is empty.
type StockIssued struct {
	Order    string      `json:"order,omitempty"`
	Visit    string      `json:"visit,omitempty"`
	Location string      `json:"location"`
	Lines    []mall.Line `json:"lines"`
}

// StockDiscrepancy says that Quantity pieces left that were not on hand by the books, or that they were not found where the
// books have them. Stock is never negative; somebody has to count.
type StockDiscrepancy struct {
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Visit    string `json:"visit,omitempty"`
	Quantity int64  `json:"quantity"`
	Order    string `json:"order,omitempty"` // whose goods were not found
}

// StockAdjusted says that the books were set right by hand; Delta pieces, negative when there were fewer than written.
type StockAdjusted struct {
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Delta    int64  `json:"delta"`
	Reason   string `json:"reason"`
}

// InventoryUpdated carries the levels of one SKU at one location after a change. Available is OnHand - Held - Committed and never negative.
type InventoryUpdated struct {
	SKU       string `json:"sku"`
	Location  string `json:"location"`
	OnHand    int64  `json:"onHand"`
	Held      int64  `json:"held"`
	Committed int64  `json:"committed"`
	Available int64  `json:"available"`
}

// RestockNeeded asks for Quantity pieces more: what is on hand and on order fell below Threshold. It is said once, and
// again only after the level was back at the threshold.
type RestockNeeded struct {
	SKU       string `json:"sku"`
	Location  string `json:"location"`
	OnHand    int64  `json:"onHand"`
	Threshold int64  `json:"threshold"`
	Quantity  int64  `json:"quantity"`
}

// EventType returns StockReceivedV1.
func (StockReceived) EventType() string { return StockReceivedV1 }

// EventType returns StockReservedV1.
func (StockReserved) EventType() string { return StockReservedV1 }

// EventType returns StockRejectedV1.
func (StockRejected) EventType() string { return StockRejectedV1 }

// EventType returns StockCommittedV1.
func (StockCommitted) EventType() string { return StockCommittedV1 }

// EventType returns StockReleasedV1.
func (StockReleased) EventType() string { return StockReleasedV1 }

// EventType returns ReservationExpiredV1.
func (ReservationExpired) EventType() string { return ReservationExpiredV1 }

// EventType returns StockIssuedV1.
func (StockIssued) EventType() string { return StockIssuedV1 }

// EventType returns StockDiscrepancyV1.
func (StockDiscrepancy) EventType() string { return StockDiscrepancyV1 }

// EventType returns StockAdjustedV1.
func (StockAdjusted) EventType() string { return StockAdjustedV1 }

// EventType returns InventoryUpdatedV1.
func (InventoryUpdated) EventType() string { return InventoryUpdatedV1 }

// EventType returns RestockNeededV1.
func (RestockNeeded) EventType() string { return RestockNeededV1 }
