package command

import (
	"cmp"
	"fmt"

	"example.org/souk/mall"
)

// ReceiveStock records that goods came in.
type ReceiveStock struct {
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Quantity int64  `json:"quantity"`
}

// CommandType returns ReceiveStockV1.
func (ReceiveStock) CommandType() string { return ReceiveStockV1 }

// Stream returns the id of the SKU at its location.
func (c ReceiveStock) Stream() string { return mall.StockID(c.SKU, c.Location) }

// Validate names the first wrong field.
func (c ReceiveStock) Validate() error {
	return cmp.Or(
		id("sku", c.SKU),
		id("location", c.Location),
		quantity("quantity", c.Quantity),
	)
}

// ReserveStock asks that all lines be held for the order until Expires, or none. With Wait, what is short is waited for
// instead of being refused. Only the checkout saga sends it.
type ReserveStock struct {
	Order    string      `json:"order"`
	Lines    []mall.Line `json:"lines"` // one a SKU, as mall.Lines makes them
	Location string      `json:"location"`
	Wait     bool        `json:"wait"`
	Expires  int64       `json:"expires"`
}

// CommandType returns ReserveStockV1.
func (ReserveStock) CommandType() string { return ReserveStockV1 }

// Stream returns the id of the order.
func (c ReserveStock) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c ReserveStock) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		lines("lines", c.Lines),
		id("location", c.Location),
		instant("expires", c.Expires),
	)
}

// CommitStock promises what is held to the order for good. Lines and Location are those of the ReserveStock, so that the stock concerned
// is known before anything is looked up. Only the checkout saga sends it.
type CommitStock struct {
	Order    string      `json:"order"`
	Lines    []mall.Line `json:"lines"`
	Location string      `json:"location"`
}

// CommandType returns CommitStockV1.
func (CommitStock) CommandType() string { return CommitStockV1 }

// Stream returns the id of the order.
func (c CommitStock) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c CommitStock) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		lines("lines", c.Lines),
		id("location", c.Location),
	)
}

// ReleaseStock makes what is held or committed for the order available again. For an order that holds nothing it leaves a
// mark that refuses a late ReserveStock. Lines and Location are those of the ReserveStock. Only the checkout saga sends it.
type ReleaseStock struct {
	Order    string      `json:"order"`
	Lines    []mall.Line `json:"lines"`
	Location string      `json:"location"`
	Reason   string      `json:"reason"`
}

// CommandType returns ReleaseStockV1.
func (ReleaseStock) CommandType() string { return ReleaseStockV1 }

// Stream returns the id of the order.
func (c ReleaseStock) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c ReleaseStock) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		lines("lines", c.Lines),
		id("location", c.Location),
		text("reason", c.Reason, maxReason),
	)
}

// AdjustStock sets the books right after a count: Delta pieces more, or fewer when negative.
type AdjustStock struct {
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Delta    int64  `json:"delta"`
	Reason   string `json:"reason"`
}

// CommandType returns AdjustStockV1.
func (AdjustStock) CommandType() string { return AdjustStockV1 }

// Stream returns the id of the SKU at its location.
func (c AdjustStock) Stream() string { return mall.StockID(c.SKU, c.Location) }

// Validate names the first wrong field.
func (c AdjustStock) Validate() error {
	return cmp.Or(
		id("sku", c.SKU),
		id("location", c.Location),
		delta("delta", c.Delta),
		text("reason", c.Reason, maxReason),
	)
}

// SetThreshold says below which level how many pieces are ordered. Threshold 0 asks for no restocking.
type SetThreshold struct {
	SKU       string `json:"sku"`
	Location  string `json:"location"`
	Threshold int64  `json:"threshold"`
	Quantity  int64  `json:"quantity"`
}

// CommandType returns SetThresholdV1.
func (SetThreshold) CommandType() string { return SetThresholdV1 }

// Stream returns the id of the SKU at its location.
func (c SetThreshold) Stream() string { return mall.StockID(c.SKU, c.Location) }

// Validate names the first wrong field.
func (c SetThreshold) Validate() error {
	return cmp.Or(
		id("sku", c.SKU),
		id("location", c.Location),
		restock("threshold", c.Threshold, "quantity", c.Quantity),
	)
}

// ExpireReservation ends a reservation whose time is over. Lines and Location are those of the reservation. Only its timer sends it.
type ExpireReservation struct {
	Order    string      `json:"order"`
	Lines    []mall.Line `json:"lines"`
	Location string      `json:"location"`
}

// CommandType returns ExpireReservationV1.
func (ExpireReservation) CommandType() string { return ExpireReservationV1 }

// Stream returns the id of the order.
func (c ExpireReservation) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c ExpireReservation) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		lines("lines", c.Lines),
		id("location", c.Location),
	)
}

// IssueStock records that a visitor walked out with goods. What is not there becomes a discrepancy.
type IssueStock struct {
	Visit    string      `json:"visit"`
	Location string      `json:"location"`
	Lines    []mall.Line `json:"lines"`
}

// CommandType returns IssueStockV1.
func (IssueStock) CommandType() string { return IssueStockV1 }

// Stream returns the id of the visit.
func (c IssueStock) Stream() string { return c.Visit }

// Validate names the first wrong field.
func (c IssueStock) Validate() error {
	return cmp.Or(
		id("visit", c.Visit),
		id("location", c.Location),
		lines("lines", c.Lines),
	)
}

// IssueReservedStock records that what is committed to an order left the building with its customer. Lines and Location are
// those of the ReserveStock; Missing, which is part of them, was not found when it was picked, and becomes a discrepancy. Also
// was taken instead and was never reserved: it leaves as a visitor's goods do.
type IssueReservedStock struct {
	Order    string      `json:"order"`
	Location string      `json:"location"`
	Lines    []mall.Line `json:"lines"`
	Missing  []mall.Line `json:"missing,omitempty"`
	Also     []mall.Line `json:"also,omitempty"`
}

// CommandType returns IssueReservedStockV1.
func (IssueReservedStock) CommandType() string { return IssueReservedStockV1 }

// Stream returns the id of the order.
func (c IssueReservedStock) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c IssueReservedStock) Validate() error {
	if err := cmp.Or(
		id("order", c.Order),
		id("location", c.Location),
		lines("lines", c.Lines),
		linesOrNone("missing", c.Missing),
		linesOrNone("also", c.Also),
	); err != nil {
		return err
	}
	reserved := make(map[string]int64, len(c.Lines))
	for _, l := range c.Lines {
		reserved[l.SKU] = l.Quantity
	}
	for n, l := range c.Missing {
		if l.Quantity > reserved[l.SKU] {
			return wrong(fmt.Sprintf("missing[%d].quantity", n), "must not be more than was reserved")
		}
	}
	return nil
}

// CountStock sets the books right after somebody counted: Counted pieces are there, held and committed ones included.
type CountStock struct {
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Counted  int64  `json:"counted"`
	Reason   string `json:"reason"`
}

// CommandType returns CountStockV1.
func (CountStock) CommandType() string { return CountStockV1 }

// Stream returns the id of the SKU at its location.
func (c CountStock) Stream() string { return mall.StockID(c.SKU, c.Location) }

// Validate names the first wrong field.
func (c CountStock) Validate() error {
	return cmp.Or(
		id("sku", c.SKU),
		id("location", c.Location),
		notNegative("counted", c.Counted),
		text("reason", c.Reason, maxReason),
	)
}
