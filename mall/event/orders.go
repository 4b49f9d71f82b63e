package event

import "example.org/souk/mall"

// OrderPlaced says that an order was accepted for keeping: it is pending. Nothing is reserved, authorized or promised yet.
type OrderPlaced struct {
	Order        string      `json:"order"`
	Message      string      `json:"message,omitempty"` // the id that the client gave its request
	Customer     string      `json:"customer"`
	Items        []mall.Item `json:"items"`
	Total        mall.Money  `json:"total"`
	Payment      string      `json:"payment,omitempty"` // authorized beforehand; empty: paid at the depot
	WaitForStock bool        `json:"waitForStock"`      // a short order becomes a backorder instead of being rejected
	Expires      int64       `json:"expires"`           // the order waits until then and no longer

	Basket    string         `json:"basket,omitempty"`    // that was checked out; empty: none
	WhenShort mall.WhenShort `json:"whenShort,omitempty"` // empty: the customer is asked
}

// OrderStockReserved says that everything the order needs is held for it. InventoryEvent is the id of the StockReserved
// that says so.
type OrderStockReserved struct {
	Order          string      `json:"order"`
	Customer       string      `json:"customer"`
	Lines          []mall.Line `json:"lines"`
	InventoryEvent string      `json:"inventoryEvent"`
}

// OrderApproved is the pivot: before it everything is undone when something fails, after it everything is carried through.
type OrderApproved struct {
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Total    mall.Money `json:"total"`
}

// OrderRejected says that the order will not be carried out and nothing is held for it. Where stock was short, SKU names the first that was,
// Wanted and Available say by how much; otherwise SKU is empty and both are 0.
type OrderRejected struct {
	Order     string `json:"order"`
	Customer  string `json:"customer"`
	Reason    string `json:"reason"`
	SKU       string `json:"sku,omitempty"`
	Wanted    int64  `json:"wanted"`
	Available int64  `json:"available"`
}

// OrderBackordered says that stock is short and the order waits for the next delivery, until it expires.
type OrderBackordered struct {
	Order     string `json:"order"`
	Customer  string `json:"customer"`
	SKU       string `json:"sku"`
	Wanted    int64  `json:"wanted"`
	Available int64  `json:"available"`
}

// OrderPicking says that somebody is fetching the goods.
type OrderPicking struct {
	Order    string `json:"order"`
	Customer string `json:"customer"`
}

// OrderShort says that goods that the stock had promised were not found. The order waits for a decision: its customer's, or
// with WhenShort substitute a clerk's. Where the customer has decided beforehand, OrderAmended or OrderCancelling follows at once.
type OrderShort struct {
	Order     string         `json:"order"`
	Customer  string         `json:"customer"`
	Missing   []mall.Line    `json:"missing"`
	WhenShort mall.WhenShort `json:"whenShort,omitempty"` // as the order has it
}

// OrderAmended says what became of what was short, and what the order costs from now on. Missing is left out of the order;
// Substitutes came instead.
type OrderAmended struct {
	Order       string         `json:"order"`
	Customer    string         `json:"customer"`
	Choice      mall.WhenShort `json:"choice"` // rest or substitute
	Missing     []mall.Line    `json:"missing"`
	Substitutes []mall.Item    `json:"substitutes,omitempty"`
	Total       mall.Money     `json:"total"`
}

// OrderReadied says that everything is at the depot and can be collected.
type OrderReadied struct {
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Total    mall.Money `json:"total"`
	Payment  string     `json:"payment,omitempty"` // empty: still to be paid at the depot, unless OrderPaid came before
	Until    int64      `json:"until,omitempty"`   // it is kept for its customer until then, and expires; 0: not said
}

// OrderPaid says that the order's money is there.
type OrderPaid struct {
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Amount   mall.Money `json:"amount"`
	Payment  string     `json:"payment,omitempty"` // empty: paid at the depot in cash
}

// OrderCollected says that the goods were handed over: Lines as they were reserved, less what is Missing of them, and Also
// what came instead.
type OrderCollected struct {
	Order    string      `json:"order"`
	Customer string      `json:"customer"`
	Lines    []mall.Line `json:"lines,omitempty"`
	Missing  []mall.Line `json:"missing,omitempty"`
	Also     []mall.Line `json:"also,omitempty"`
}

// OrderCompleted says that the order is ready, paid and collected: it has ended well.
type OrderCompleted struct {
	Order    string     `json:"order"`
	Customer string     `json:"customer"`
	Total    mall.Money `json:"total"`
}

// OrderCancelling says that the order is being undone; OrderCanceled follows when all of it is.
type OrderCancelling struct {
	Order    string `json:"order"`
	Customer string `json:"customer"`
	Reason   string `json:"reason"`
}

// OrderCanceled says that the order has ended undone: nothing is held, nothing is owed.
type OrderCanceled struct {
	Order    string `json:"order"`
	Customer string `json:"customer"`
	Reason   string `json:"reason"`
}

// OrderExpired says that the order has waited until its time was over, and ended.
type OrderExpired struct {
	Order    string `json:"order"`
	Customer string `json:"customer"`
}

// EventType returns OrderPlacedV1.
func (OrderPlaced) EventType() string { return OrderPlacedV1 }

// EventType returns OrderStockReservedV1.
func (OrderStockReserved) EventType() string { return OrderStockReservedV1 }

// EventType returns OrderApprovedV1.
func (OrderApproved) EventType() string { return OrderApprovedV1 }

// EventType returns OrderRejectedV1.
func (OrderRejected) EventType() string { return OrderRejectedV1 }

// EventType returns OrderBackorderedV1.
func (OrderBackordered) EventType() string { return OrderBackorderedV1 }

// EventType returns OrderPickingV1.
func (OrderPicking) EventType() string { return OrderPickingV1 }

// EventType returns OrderShortV1.
func (OrderShort) EventType() string { return OrderShortV1 }

// EventType returns OrderReadiedV1.
func (OrderReadied) EventType() string { return OrderReadiedV1 }

// EventType returns OrderPaidV1.
func (OrderPaid) EventType() string { return OrderPaidV1 }

// EventType returns OrderCollectedV1.
func (OrderCollected) EventType() string { return OrderCollectedV1 }

// EventType returns OrderCompletedV1.
func (OrderCompleted) EventType() string { return OrderCompletedV1 }

// EventType returns OrderCancellingV1.
func (OrderCancelling) EventType() string { return OrderCancellingV1 }

// EventType returns OrderCanceledV1.
func (OrderCanceled) EventType() string { return OrderCanceledV1 }

// EventType returns OrderExpiredV1.
func (OrderExpired) EventType() string { return OrderExpiredV1 }

// EventType returns OrderAmendedV1.
func (OrderAmended) EventType() string { return OrderAmendedV1 }
