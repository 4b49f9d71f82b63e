package command

import (
	"cmp"

	"example.org/souk/mall"
)

// PlaceOrder asks that an order be accepted. Items carry the prices that the customer was shown.
type PlaceOrder struct {
	Order        string      `json:"order"`
	Message      string      `json:"message,omitempty"` // the id that the client gave its request; empty: none
	Customer     string      `json:"customer"`
	Items        []mall.Item `json:"items"`
	Payment      string      `json:"payment,omitempty"` // authorized beforehand; empty: pays at the depot
	WaitForStock bool        `json:"waitForStock"`      // a short order becomes a backorder instead of being rejected
	Expires      int64       `json:"expires,omitempty"` // how long the order may wait; 0: the service's default
}

// CommandType returns PlaceOrderV1.
func (PlaceOrder) CommandType() string { return PlaceOrderV1 }

// Stream returns the id of the order.
func (c PlaceOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c PlaceOrder) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		optionalID("message", c.Message),
		id("customer", c.Customer),
		items("items", c.Items),
		optionalID("payment", c.Payment),
		optionalInstant("expires", c.Expires),
	)
}

// RejectOrder ends a pending order. SKU, Wanted and Available say what was short; SKU is empty where stock is not the
// reason. Only the checkout saga sends it.
type RejectOrder struct {
	Order     string `json:"order"`
	Reason    string `json:"reason"`
	SKU       string `json:"sku,omitempty"`
	Wanted    int64  `json:"wanted"`
	Available int64  `json:"available"`
}

// CommandType returns RejectOrderV1.
func (RejectOrder) CommandType() string { return RejectOrderV1 }

// Stream returns the id of the order.
func (c RejectOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c RejectOrder) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		text("reason", c.Reason, maxReason),
		shortage(c.SKU, c.Wanted, c.Available),
	)
}

// BackorderOrder records that stock is short and the order waits for the next delivery. A policy of orders sends it when
// inventory says StockRejected of an order that may wait; in any other state of the order it changes nothing.
type BackorderOrder struct {
	Order     string `json:"order"`
	SKU       string `json:"sku"`
	Wanted    int64  `json:"wanted"`
	Available int64  `json:"available"`
}

// CommandType returns BackorderOrderV1.
func (BackorderOrder) CommandType() string { return BackorderOrderV1 }

// Stream returns the id of the order.
func (c BackorderOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c BackorderOrder) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		id("sku", c.SKU),
		shortage(c.SKU, c.Wanted, c.Available),
	)
}

// ReserveOrderStock records on the order that inventory holds its lines. InventoryEvent is the id of the StockReserved
// that said so. Only the checkout saga sends it.
type ReserveOrderStock struct {
	Order          string      `json:"order"`
	Lines          []mall.Line `json:"lines"`
	InventoryEvent string      `json:"inventoryEvent"`
}

// CommandType returns ReserveOrderStockV1.
func (ReserveOrderStock) CommandType() string { return ReserveOrderStockV1 }

// Stream returns the id of the order.
func (c ReserveOrderStock) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c ReserveOrderStock) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		lines("lines", c.Lines),
		id("inventoryEvent", c.InventoryEvent),
	)
}

// ApproveOrder is the pivot: from here the order is carried through. Only the checkout saga sends it.
type ApproveOrder struct {
	Order string `json:"order"`
}

// CommandType returns ApproveOrderV1.
func (ApproveOrder) CommandType() string { return ApproveOrderV1 }

// Stream returns the id of the order.
func (c ApproveOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c ApproveOrder) Validate() error {
	return id("order", c.Order)
}

// CancelOrder asks that an order which is not completed be undone.
type CancelOrder struct {
	Order  string `json:"order"`
	Reason string `json:"reason"`
}

// CommandType returns CancelOrderV1.
func (CancelOrder) CommandType() string { return CancelOrderV1 }

// Stream returns the id of the order.
func (c CancelOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c CancelOrder) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		text("reason", c.Reason, maxReason),
	)
}

// FinishCancelOrder records that all of a cancelled order is undone. Only the checkout saga sends it.
type FinishCancelOrder struct {
	Order string `json:"order"`
}

// CommandType returns FinishCancelOrderV1.
func (FinishCancelOrder) CommandType() string { return FinishCancelOrderV1 }

// Stream returns the id of the order.
func (c FinishCancelOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c FinishCancelOrder) Validate() error {
	return id("order", c.Order)
}

// ExpireOrder ends an order that has waited until its time was over. Only its timer sends it.
type ExpireOrder struct {
	Order string `json:"order"`
}

// CommandType returns ExpireOrderV1.
func (ExpireOrder) CommandType() string { return ExpireOrderV1 }

// Stream returns the id of the order.
func (c ExpireOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c ExpireOrder) Validate() error {
	return id("order", c.Order)
}
