package command

import "cmp"

// AcceptDelivery records that goods of a purchase came. Delivery is the supplier's id of the delivery; the same one again is a copy.
type AcceptDelivery struct {
	Purchase string `json:"purchase"`
	Delivery string `json:"delivery"`
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// CommandType returns AcceptDeliveryV1.
func (AcceptDelivery) CommandType() string { return AcceptDeliveryV1 }

// Stream returns the id of the purchase.
func (c AcceptDelivery) Stream() string { return c.Purchase }

// Validate names the first wrong field.
func (c AcceptDelivery) Validate() error {
	return cmp.Or(
		id("purchase", c.Purchase),
		id("delivery", c.Delivery),
		id("sku", c.SKU),
		quantity("quantity", c.Quantity),
	)
}

// CancelPurchase says that what is open of the purchase will not come.
type CancelPurchase struct {
	Purchase string `json:"purchase"`
	Reason   string `json:"reason"`
}

// CommandType returns CancelPurchaseV1.
func (CancelPurchase) CommandType() string { return CancelPurchaseV1 }

// Stream returns the id of the purchase.
func (c CancelPurchase) Stream() string { return c.Purchase }

// Validate names the first wrong field.
func (c CancelPurchase) Validate() error {
	return cmp.Or(
		id("purchase", c.Purchase),
		text("reason", c.Reason, maxReason),
	)
}
