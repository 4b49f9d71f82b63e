package command

import (
	"cmp"

	"example.org/souk/mall"
)

// PriceUnknown has a clerk price what no price was known for: Price for one piece of SKU, as it stands among the unpriced lines.
type PriceUnknown struct {
	Visit string     `json:"visit"`
	SKU   string     `json:"sku"`
	Price mall.Money `json:"price"`
}

// CommandType returns PriceUnknownV1.
func (PriceUnknown) CommandType() string { return PriceUnknownV1 }

// Stream returns the id of the visit.
func (c PriceUnknown) Stream() string { return c.Visit }

// Validate names the first wrong field.
func (c PriceUnknown) Validate() error {
	return cmp.Or(
		id("visit", c.Visit),
		id("sku", c.SKU),
		positiveMoney("price", c.Price),
	)
}
