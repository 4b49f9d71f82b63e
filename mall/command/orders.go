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

	Basket    string         `json:"basket,omitempty"`    // that was checked out; empty: none
	WhenShort mall.WhenShort `json:"whenShort,omitempty"` // empty: the customer is asked
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
		optionalID("basket", c.Basket),
		whenShort("whenShort", c.WhenShort),
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

// PickOrder records that somebody fetches the goods. A policy of orders sends it when the depot has a robot for them.
type PickOrder struct {
	Order string `json:"order"`
}

// CommandType returns PickOrderV1.
func (PickOrder) CommandType() string { return PickOrderV1 }

// Stream returns the id of the order.
func (c PickOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c PickOrder) Validate() error {
	return id("order", c.Order)
}

// ShortenOrder records that goods were not found: Missing pieces of a stop. A policy of orders sends it when the depot says so.
type ShortenOrder struct {
	Order   string `json:"order"`
	Stop    int64  `json:"stop"`
	SKU     string `json:"sku"`
	Missing int64  `json:"missing"`
}

// CommandType returns ShortenOrderV1.
func (ShortenOrder) CommandType() string { return ShortenOrderV1 }

// Stream returns the id of the order.
func (c ShortenOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c ShortenOrder) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		number("stop", c.Stop, mall.MaxLines),
		id("sku", c.SKU),
		quantity("missing", c.Missing),
	)
}

// DecideShort says what becomes of an order of which goods were not found. Substitutes come instead of them, at prices that
// do not make the order dearer; only with the choice substitute, which is a clerk's.
type DecideShort struct {
	Order       string         `json:"order"`
	Choice      mall.WhenShort `json:"choice"` // rest, substitute or cancel
	Substitutes []mall.Item    `json:"substitutes,omitempty"`
}

// CommandType returns DecideShortV1.
func (DecideShort) CommandType() string { return DecideShortV1 }

// Stream returns the id of the order.
func (c DecideShort) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c DecideShort) Validate() error {
	if err := id("order", c.Order); err != nil {
		return err
	}
	switch c.Choice {
	case mall.ShortSubstitute:
		return items("substitutes", c.Substitutes)
	case mall.ShortRest, mall.ShortCancel:
		if len(c.Substitutes) > 0 {
			return wrong("substitutes", "must not be named with this choice")
		}
		return nil
	}
	return wrong("choice", "must be rest, substitute or cancel")
}

// ReadyOrder records that everything there is for the order is at the depot; Missing is all that was not found. A policy of
// orders sends it when the list is done.
type ReadyOrder struct {
	Order   string      `json:"order"`
	Missing []mall.Line `json:"missing,omitempty"`
}

// CommandType returns ReadyOrderV1.
func (ReadyOrder) CommandType() string { return ReadyOrderV1 }

// Stream returns the id of the order.
func (c ReadyOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c ReadyOrder) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		linesOrNone("missing", c.Missing),
	)
}

// PayOrder records that the order's money is there. A policy of orders sends it when an invoice was paid or a payment captured.
type PayOrder struct {
	Order   string     `json:"order"`
	Amount  mall.Money `json:"amount"`
	Payment string     `json:"payment,omitempty"` // empty: paid at the depot in cash
}

// CommandType returns PayOrderV1.
func (PayOrder) CommandType() string { return PayOrderV1 }

// Stream returns the id of the order.
func (c PayOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c PayOrder) Validate() error {
	return cmp.Or(
		id("order", c.Order),
		money("amount", c.Amount),
		optionalID("payment", c.Payment),
	)
}

// HandOverOrder says that the customer has the goods. The order must be ready and paid; with it, it is completed.
type HandOverOrder struct {
	Order string `json:"order"`
}

// CommandType returns HandOverOrderV1.
func (HandOverOrder) CommandType() string { return HandOverOrderV1 }

// Stream returns the id of the order.
func (c HandOverOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c HandOverOrder) Validate() error {
	return id("order", c.Order)
}

// ExpireUncollectedOrder ends an order that is ready and that nobody came for. Only its timer sends it.
type ExpireUncollectedOrder struct {
	Order string `json:"order"`
}

// CommandType returns ExpireUncollectedOrderV1.
func (ExpireUncollectedOrder) CommandType() string { return ExpireUncollectedOrderV1 }

// Stream returns the id of the order.
func (c ExpireUncollectedOrder) Stream() string { return c.Order }

// Validate names the first wrong field.
func (c ExpireUncollectedOrder) Validate() error {
	return id("order", c.Order)
}
