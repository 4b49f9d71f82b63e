package event

// PurchaseProposed says that more is to be bought of a SKU for a location.
type PurchaseProposed struct {
	Purchase  string `json:"purchase"`
	SKU       string `json:"sku"`
	Location  string `json:"location"`
	Quantity  int64  `json:"quantity"`
	Threshold int64  `json:"threshold"`
}

// PurchaseSent says that the bus of the logistics department took the purchase.
type PurchaseSent struct {
	Purchase string `json:"purchase"`
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Quantity int64  `json:"quantity"`
}

// PurchaseCanceled says that the Open pieces of the purchase will not come.
type PurchaseCanceled struct {
	Purchase string `json:"purchase"`
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Open     int64  `json:"open"`
	Reason   string `json:"reason"`
}

// GoodsReceived says that a delivery for a purchase came in. Settled is by how much less is on order from then on; it differs from Quantity
// where more came than was open.
type GoodsReceived struct {
	Purchase string `json:"purchase"`
	Delivery string `json:"delivery"`
	SKU      string `json:"sku"`
	Location string `json:"location"`
	Quantity int64  `json:"quantity"`
	Settled  int64  `json:"settled"`
}

// EventType returns PurchaseProposedV1.
func (PurchaseProposed) EventType() string { return PurchaseProposedV1 }

// EventType returns PurchaseSentV1.
func (PurchaseSent) EventType() string { return PurchaseSentV1 }

// EventType returns PurchaseCanceledV1.
func (PurchaseCanceled) EventType() string { return PurchaseCanceledV1 }

// EventType returns GoodsReceivedV1.
func (GoodsReceived) EventType() string { return GoodsReceivedV1 }
