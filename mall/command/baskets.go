package command

import (
	"cmp"
	"fmt"

	"example.org/souk/mall"
)

// StartBasket asks for a basket. MayBuy is what is known of the customer where the command is made: false is refused.
type StartBasket struct {
	Basket   string `json:"basket"`
	Customer string `json:"customer"`
	MayBuy   bool   `json:"mayBuy"` // known and enabled
}

// CommandType returns StartBasketV1.
func (StartBasket) CommandType() string { return StartBasketV1 }

// Stream returns the id of the basket.
func (c StartBasket) Stream() string { return c.Basket }

// Validate names the first wrong field.
func (c StartBasket) Validate() error {
	return cmp.Or(
		id("basket", c.Basket),
		id("customer", c.Customer),
	)
}

// AddItem asks for Item.Quantity pieces more of a product. The item carries the store, the names and the price that the
// customer was shown, and Sold is what the catalogue says of it where the command is made: false is refused.
type AddItem struct {
	Basket string    `json:"basket"`
	Item   mall.Item `json:"item"`
	Sold   bool      `json:"sold"` // listed, by a shop that takes part
}

// CommandType returns AddItemV1.
func (AddItem) CommandType() string { return AddItemV1 }

// Stream returns the id of the basket.
func (c AddItem) Stream() string { return c.Basket }

// Validate names the first wrong field.
func (c AddItem) Validate() error {
	return cmp.Or(
		id("basket", c.Basket),
		item("item", c.Item),
		id("item.store", c.Item.Store),
	)
}

// RemoveItem asks for Quantity pieces fewer of a product; not more than there are.
type RemoveItem struct {
	Basket   string `json:"basket"`
	Product  string `json:"product"`
	Quantity int64  `json:"quantity"`
}

// CommandType returns RemoveItemV1.
func (RemoveItem) CommandType() string { return RemoveItemV1 }

// Stream returns the id of the basket.
func (c RemoveItem) Stream() string { return c.Basket }

// Validate names the first wrong field.
func (c RemoveItem) Validate() error {
	return cmp.Or(
		id("basket", c.Basket),
		id("product", c.Product),
		quantity("quantity", c.Quantity),
	)
}

// AcceptPrices says that the customer was shown these prices and wants the products all the same.
type AcceptPrices struct {
	Basket string       `json:"basket"`
	Prices []mall.Quote `json:"prices"`
}

// CommandType returns AcceptPricesV1.
func (AcceptPrices) CommandType() string { return AcceptPricesV1 }

// Stream returns the id of the basket.
func (c AcceptPrices) Stream() string { return c.Basket }

// Validate names the first wrong field.
func (c AcceptPrices) Validate() error {
	return cmp.Or(
		id("basket", c.Basket),
		quotes("prices", c.Prices),
	)
}

// ExtendBasket asks that the basket be kept for its whole time from now.
type ExtendBasket struct {
	Basket string `json:"basket"`
}

// CommandType returns ExtendBasketV1.
func (ExtendBasket) CommandType() string { return ExtendBasketV1 }

// Stream returns the id of the basket.
func (c ExtendBasket) Stream() string { return c.Basket }

// Validate names the first wrong field.
func (c ExtendBasket) Validate() error {
	return id("basket", c.Basket)
}

// CancelBasket ends a basket without an order. The service's own timer sends it too, with mall.ReasonBasketExpired; that is
// nothing to a basket which was extended since.
type CancelBasket struct {
	Basket string `json:"basket"`
	Reason string `json:"reason"`
}

// CommandType returns CancelBasketV1.
func (CancelBasket) CommandType() string { return CancelBasketV1 }

// Stream returns the id of the basket.
func (c CancelBasket) Stream() string { return c.Basket }

// Validate names the first wrong field.
func (c CancelBasket) Validate() error {
	return cmp.Or(
		id("basket", c.Basket),
		text("reason", c.Reason, maxReason),
	)
}

// CheckoutBasket ends a basket with an order of the id Order. Prices are those of now of all its products: a product that is
// not among them is not sold any more, and a price that differs from the basket's is refused until it is accepted.
type CheckoutBasket struct {
	Basket       string         `json:"basket"`
	Order        string         `json:"order"`
	Payment      string         `json:"payment,omitempty"` // authorized beforehand; empty: pays at the depot
	WaitForStock bool           `json:"waitForStock"`
	WhenShort    mall.WhenShort `json:"whenShort,omitempty"` // empty: the customer is asked
	Prices       []mall.Quote   `json:"prices"`
}

// CommandType returns CheckoutBasketV1.
func (CheckoutBasket) CommandType() string { return CheckoutBasketV1 }

// Stream returns the id of the basket.
func (c CheckoutBasket) Stream() string { return c.Basket }

// Validate names the first wrong field.
func (c CheckoutBasket) Validate() error {
	return cmp.Or(
		id("basket", c.Basket),
		id("order", c.Order),
		optionalID("payment", c.Payment),
		whenShort("whenShort", c.WhenShort),
		quotesOrNone("prices", c.Prices),
	)
}

// quotes asks for 1 to mall.MaxLines prices, each of a product of its own.
func quotes(field string, value []mall.Quote) error {
	if err := count(field, len(value)); err != nil {
		return err
	}
	seen := make(map[string]bool, len(value))
	for n, q := range value {
		at := fmt.Sprintf("%s[%d]", field, n)
		if err := cmp.Or(
			id(at+".product", q.Product),
			money(at+".price", q.Price),
			notNegative(at+".priceVersion", q.PriceVersion),
		); err != nil {
			return err
		}
		if seen[q.Product] {
			return wrong(at+".product", "must not be named twice")
		}
		seen[q.Product] = true
	}
	return nil
}

// quotesOrNone accepts no prices as well: of a basket of which nothing is sold any more.
func quotesOrNone(field string, value []mall.Quote) error {
	if len(value) == 0 {
		return nil
	}
	return quotes(field, value)
}
