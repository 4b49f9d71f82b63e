package event

import "example.org/souk/mall"

// PaymentDue says what a visitor owes, once for each departure. What has no price is left out of the total and stands in Unpriced, for a clerk.
type PaymentDue struct {
	Store    string            `json:"store"`
	Visit    string            `json:"visit"`
	Customer string            `json:"customer,omitempty"` // empty: nobody is known
	Lines    []mall.PricedLine `json:"lines"`
	Total    mall.Money        `json:"total"`
	Unpriced []mall.Line       `json:"unpriced,omitempty"`
}

// ItemPriced says that a clerk has priced what was unpriced; the visitor owes Amount more.
type ItemPriced struct {
	Store    string     `json:"store"`
	Visit    string     `json:"visit"`
	Customer string     `json:"customer,omitempty"`
	SKU      string     `json:"sku"`
	Quantity int64      `json:"quantity"`
	Price    mall.Money `json:"price"` // of one piece
	Amount   mall.Money `json:"amount"`
}

// EventType returns PaymentDueV1.
func (PaymentDue) EventType() string { return PaymentDueV1 }

// EventType returns ItemPricedV1.
func (ItemPriced) EventType() string { return ItemPricedV1 }
