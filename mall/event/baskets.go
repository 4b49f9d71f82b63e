package event

import "example.org/souk/mall"

// BasketStarted says that a customer has a basket, which is kept until Expires unless it is extended.
type BasketStarted struct {
	Basket   string `json:"basket"`
	Customer string `json:"customer"`
	Expires  int64  `json:"expires"`
}

// ItemAdded says that Item.Quantity pieces more are wanted of a product, at the price that the customer was shown. Nothing is reserved.
type ItemAdded struct {
	Basket   string    `json:"basket"`
	Customer string    `json:"customer"`
	Item     mall.Item `json:"item"`
}

// ItemRemoved says that Quantity pieces fewer are wanted of a product; what remains is what was added and not removed.
type ItemRemoved struct {
	Basket   string `json:"basket"`
	Customer string `json:"customer"`
	Product  string `json:"product"`
	Quantity int64  `json:"quantity"`
}

// PricesAccepted carries the prices that changed and that the customer has seen and accepted.
type PricesAccepted struct {
	Basket   string       `json:"basket"`
	Customer string       `json:"customer"`
	Prices   []mall.Quote `json:"prices"`
}

// BasketExtended says that the basket is kept longer.
type BasketExtended struct {
	Basket   string `json:"basket"`
	Customer string `json:"customer"`
	Expires  int64  `json:"expires"`
}

// BasketCanceled says that the basket has ended without an order: given up by its customer, or kept for its whole time.
type BasketCanceled struct {
	Basket   string `json:"basket"`
	Customer string `json:"customer"`
	Reason   string `json:"reason"`
}

// BasketCheckedOut says what the customer orders: the basket has ended, and the order of that id is to be placed.
type BasketCheckedOut struct {
	Basket       string         `json:"basket"`
	Order        string         `json:"order"`
	Customer     string         `json:"customer"`
	Payment      string         `json:"payment,omitempty"` // authorized beforehand; empty: paid at the depot
	WaitForStock bool           `json:"waitForStock"`
	WhenShort    mall.WhenShort `json:"whenShort,omitempty"` // empty: the customer is asked
	Items        []mall.Item    `json:"items"`               // one a product, with store, names and the accepted prices
	Total        mall.Money     `json:"total"`
}

// EventType returns BasketStartedV1.
func (BasketStarted) EventType() string { return BasketStartedV1 }

// EventType returns ItemAddedV1.
func (ItemAdded) EventType() string { return ItemAddedV1 }

// EventType returns ItemRemovedV1.
func (ItemRemoved) EventType() string { return ItemRemovedV1 }

// EventType returns PricesAcceptedV1.
func (PricesAccepted) EventType() string { return PricesAcceptedV1 }

// EventType returns BasketExtendedV1.
func (BasketExtended) EventType() string { return BasketExtendedV1 }

// EventType returns BasketCanceledV1.
func (BasketCanceled) EventType() string { return BasketCanceledV1 }

// EventType returns BasketCheckedOutV1.
func (BasketCheckedOut) EventType() string { return BasketCheckedOutV1 }
